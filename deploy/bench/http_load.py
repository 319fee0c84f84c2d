"""Asks for one thing over and over, from many connections, each waiting for its answer.

As a process of its own, so that measuring does not slow what is measured: plain sockets and one
poll, some ten microseconds an answer. Prints one object; an answer that is not the expected one
ends it at once.

    python -m deploy.bench.http_load '{"port": 8080, "request": "GET …", "status": 200, …}'
"""

import json
import re
import select
import socket
import sys
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
#: Answers before this are not counted: connections are made, caches filled, code is warm.
WARM_SHARE = 0.25
STALL_SECONDS = 10.0
_READ_BYTES = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class UnexpectedAnswer(Exception):
    """The server did not answer as the task says; the message holds how it did."""


@dataclass(slots=True)
class Connection:
    """One client: what has come of its answer so far, and when it asked."""

    socket: socket.socket
    asked_at: float = 0.0
    parts: list[bytes] = field(default_factory=list)
    received: int = 0
    expected: int = 0


def percentile(ordered: list[float], share: float) -> float:
    """Return the value that `share` of them do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Load:
    """Keeps every connection asking until the time is over.

    Args:
        port: On this machine.
        request: Head of the request, in full.
        status: What each answer's status must be.
        clients: Connections.
        seconds: How long, the warming included.
    """

    def __init__(self, port: int, request: str, status: int, clients: int, seconds: float) -> None:
        self._address = (HOST, port)
        self._request = request.encode()
        self._expected = f"HTTP/1.1 {status} ".encode()
        self._clients = clients
        self._seconds = seconds
        self._latencies: list[float] = []
        self._answer_bytes = 0

    def run(self) -> dict[str, float]:
        """Ask, and return the figures; latencies in milliseconds.

        Raises:
            UnexpectedAnswer: Another status, or none for `STALL_SECONDS`.
        """
        poll = select.epoll()
        connections: dict[int, Connection] = {}
        for _ in range(self._clients):
            opened = socket.create_connection(self._address, timeout=STALL_SECONDS)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections[opened.fileno()] = Connection(opened)
            poll.register(opened.fileno(), select.EPOLLIN)
        began = time.perf_counter()
        counted_from = began + self._seconds * WARM_SHARE
        until = began + self._seconds
        cpu = time.process_time()
        for connection in connections.values():
            self._ask(connection)
        while (now := time.perf_counter()) < until:
            ready = poll.poll(STALL_SECONDS)
            if not ready:
                raise UnexpectedAnswer(f"no answer for {STALL_SECONDS:.0f} s")
            for descriptor, _ in ready:
                connection = connections[descriptor]
                if self._read(connection):
                    now = time.perf_counter()
                    if connection.asked_at >= counted_from:
                        self._latencies.append(now - connection.asked_at)
                    self._ask(connection)
        cpu = time.process_time() - cpu
        for connection in connections.values():
            connection.socket.close()
        return self._figures(now - counted_from, cpu)

    def _ask(self, connection: Connection) -> None:
        connection.asked_at = time.perf_counter()
        connection.socket.send(self._request)

    def _read(self, connection: Connection) -> bool:
        """Take what has come; True: the answer is whole."""
        piece = connection.socket.recv(_READ_BYTES)
        if not piece:
            raise UnexpectedAnswer("the server closed a connection")
        if connection.expected:
            connection.received += len(piece)
        else:
            connection.parts.append(piece)
            head = b"".join(connection.parts)
            ends = head.find(b"\r\n\r\n")
            if ends < 0:
                return False
            if not head.startswith(self._expected):
                raise UnexpectedAnswer(head[:2000].decode(errors="replace"))
            length = _LENGTH.search(head, 0, ends)
            connection.expected = ends + 4 + (int(length[1]) if length else 0)
            connection.received = len(head)
            connection.parts.clear()
        if connection.received < connection.expected:
            return False
        self._answer_bytes = connection.expected
        connection.received = connection.expected = 0
        return True

    def _figures(self, seconds: float, cpu: float) -> dict[str, float]:
        ordered = sorted(self._latencies)
        return {
            "per_second": len(ordered) / seconds,
            "p50": percentile(ordered, 0.50) * 1000,
            "p95": percentile(ordered, 0.95) * 1000,
            "p99": percentile(ordered, 0.99) * 1000,
            "max": percentile(ordered, 1.0) * 1000,
            "answers": len(ordered),
            "answer_bytes": self._answer_bytes,
            "cpu_seconds": cpu,
        }


if __name__ == "__main__":
    print(json.dumps(Load(**json.loads(sys.argv[1])).run()))
