"""The proxy that chaos puts between two parts."""

import gc
import socket
import warnings

from deploy.proxy import HOST, TcpProxy


def test_a_connection_made_in_the_last_moment_is_closed_with_the_proxy():
    with (
        socket.create_server((HOST, 0), backlog=300) as target,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        for _ in range(40):
            with TcpProxy(target.getsockname()[1]) as proxy:
                clients = [socket.create_connection((HOST, proxy.port)) for _ in range(3)]
            for client in clients:
                client.close()
            del proxy
        gc.collect()
    assert [str(one.message) for one in told if one.category is ResourceWarning] == []
