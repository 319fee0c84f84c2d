"""The embedded services: up in a moment, stopped with us however we end, the same port again."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer

from deploy import embedded_postgres_server
from deploy.embedded import EmbeddedStack
from deploy.proxy import TcpProxy
from deploy.service import EmbeddedError, answers


def send(bootstrap_servers: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(10) == 0


def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    from confluent_kafka import TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "unused"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=10)
    consumer.close()
    return [message.value() for message in messages]


def wait_until(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True


def test_each_service_works(own_stack):
    environment = own_stack.environment()
    with psycopg.connect(environment["SETTLER_DATABASE_URL"]) as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("fsync", "jit", "listen_addresses", "shared_buffers")
        ]
        assert shown == ["on", "off", "127.0.0.1", "256MB"]
        row = connection.execute("SELECT 'a' < 'B', 'ä' ILIKE 'Ä'").fetchone()
        assert row == (False, True)  # byte order, and letters beyond ASCII fold
    servers = environment["SETTLER_KAFKA_BOOTSTRAP_SERVERS"]
    send(servers, "settler.transactions.source", b"one", b"two")
    assert read(servers, "settler.transactions.source", 2) == [b"one", b"two"]
    with redis.Redis.from_url(environment["SETTLER_REDIS_URL"]) as client:
        assert client.set("key", "value")


def test_postgres_keeps_strangers_out(own_stack):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://settler@127.0.0.1:{own_stack.postgres.port}/settler")


def test_a_killed_postgres_comes_back_on_its_port_with_what_was_committed(own_stack):
    url = own_stack.postgres.url()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    own_stack.postgres.kill()
    assert not answers(own_stack.postgres.port)
    own_stack.postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_a_restarted_broker_is_a_new_and_empty_cluster_on_the_same_port(own_stack):
    servers, first_id = own_stack.broker.bootstrap_servers, own_stack.broker.cluster_id
    own_stack.broker.stop()
    own_stack.broker.start()
    assert own_stack.broker.bootstrap_servers == servers
    assert own_stack.broker.cluster_id != first_id
    own_stack.create_topics()
    send(servers, "settler.events", b"new")
    assert read(servers, "settler.events", 1) == [b"new"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_survives_a_killed_parent():
    script = """
        import signal
        from deploy.embedded import EmbeddedStack
        with EmbeddedStack() as stack:
            print(stack.data_dir, *(service.port for service in stack.services), flush=True)
            signal.pause()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        folder, *ports = parent.stdout.readline().split()
        assert all(answers(int(port)) for port in ports)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not any(answers(int(port)) for port in ports))
    assert wait_until(lambda: not os.path.exists(folder))  # noqa: PTH110


def test_a_given_folder_is_kept_and_used_again(tmp_path_factory):
    # pytest's own temporary folders are closed to the user that Postgres runs as under root.
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        for expected in (0, 1):
            with EmbeddedStack(folder, broker=False, valkey=False) as stack:
                with psycopg.connect(stack.postgres.url()) as connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS runs (n int)")
                    count = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
                    connection.execute("INSERT INTO runs VALUES (1)")
                assert count == expected


def test_a_service_that_cannot_start_says_why(own_stack):
    own_stack.valkey.stop()
    own_stack.valkey.port = own_stack.postgres.port
    with pytest.raises(EmbeddedError, match=r"(?s)Embedded valkey .*Address already in use"):
        own_stack.valkey.start()


def test_a_home_that_cannot_be_written_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("HOME", "/proc/none")
    with EmbeddedStack(postgres=False, valkey=False) as stack:
        assert stack.broker.ready()


def test_the_proxy_cuts_and_restores(postgres_server):
    with TcpProxy(postgres_server.port) as proxy:
        url = postgres_server.url("postgres").replace(
            f":{postgres_server.port}/", f":{proxy.port}/"
        )
        connection = psycopg.connect(url)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        proxy.restore()
        with psycopg.connect(url) as again:
            assert again.execute("SELECT 2").fetchone() == (2,)


def test_the_proxy_stalls_without_closing(postgres_server):
    with TcpProxy(postgres_server.port) as proxy:
        url = postgres_server.url("postgres").replace(
            f":{postgres_server.port}/", f":{proxy.port}/"
        )
        proxy.stall()
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(url, connect_timeout=1)
        proxy.restore()
        psycopg.connect(url, connect_timeout=5).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
def test_programs_in_a_folder_closed_to_others_are_no_obstacle(monkeypatch):
    monkeypatch.setattr(embedded_postgres_server, "_is_open_to_all", lambda _path: False)
    with EmbeddedStack(broker=False, valkey=False) as stack:
        assert list((stack.data_dir / "postgres-programs").rglob("bin/postgres"))
        with psycopg.connect(stack.postgres.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
def test_a_data_folder_postgres_cannot_reach_is_refused_in_words(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match="closed to others; choose a data folder elsewhere"):
        EmbeddedStack(closed / "data", broker=False, valkey=False).start()


def test_the_proxy_slows_each_way_until_restored(valkey):
    with TcpProxy(valkey.port) as proxy, redis.Redis(port=proxy.port) as client:
        client.ping()
        proxy.slow(0.1)
        began = time.monotonic()
        client.ping()
        assert time.monotonic() - began >= 0.2
        proxy.restore()
        assert client.ping()
