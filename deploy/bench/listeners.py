"""Holds many live streams open and reads what comes.

As a process of its own. It prints `open_seconds` once every stream has had its first events, and
then answers the lines of its standard input: `idle SECONDS` with what came in that time, `moved`
with `ready`, and with how long it took until every stream of the first key had another event.

    python -m deploy.bench.listeners '{"port": 8080, "keys": ["rk_…"], "listeners": 5000}'
"""

import json
import select
import socket
import sys
import time

from deploy.bench.http_load import HOST, STALL_SECONDS, UnexpectedAnswer, percentile

#: Connections made before the answers of the ones before are waited for.
BATCH = 50
SETTLE_SECONDS = 2.0
MOVED_SECONDS = 60.0


class Listeners:
    """The streams, spread evenly over the keys."""

    def __init__(self, port: int, keys: list[str], listeners: int) -> None:
        self._port = port
        self._keys = keys
        self._count = listeners
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._of_first: set[int] = set()
        self._heard: dict[int, float] = {}

    def open(self) -> float:
        """Open them all; returns how many seconds it took until each had its first event.

        Raises:
            UnexpectedAnswer: One was refused or said nothing.
        """
        began = time.perf_counter()
        for number in range(self._count):
            opened = socket.create_connection((HOST, self._port), timeout=STALL_SECONDS)
            key = self._keys[number % len(self._keys)]
            opened.sendall(
                f"GET /api/v1/stream HTTP/1.1\r\nHost: {HOST}\r\n"
                f"Authorization: Bearer {key}\r\n\r\n".encode()
            )
            self._sockets[opened.fileno()] = opened
            if number % len(self._keys) == 0:
                self._of_first.add(opened.fileno())
            self._poll.register(opened.fileno(), select.EPOLLIN)
            if number % BATCH == BATCH - 1:
                self._await(number + 1, STALL_SECONDS)
        self._await(self._count, STALL_SECONDS)
        return time.perf_counter() - began

    def moved(self) -> dict[str, float]:
        """Wait until every stream of the first key has had an event; milliseconds from now."""
        began = time.perf_counter()
        self._heard.clear()
        while not self._of_first <= self._heard.keys():
            if not self._take(MOVED_SECONDS):
                raise UnexpectedAnswer("not every stream was told of the movement")
        delays = sorted((self._heard[each] - began) * 1000 for each in self._of_first)
        return {
            "told": len(delays),
            "p50": percentile(delays, 0.5),
            "p99": percentile(delays, 0.99),
            "max": percentile(delays, 1.0),
        }

    def idle(self, seconds: float) -> int:
        """Read for so long; returns how many pieces came."""
        until = time.perf_counter() + seconds
        pieces = 0
        while (left := until - time.perf_counter()) > 0:
            pieces += self._take(left)
        return pieces

    def _await(self, streams: int, seconds: float) -> None:
        while len(self._heard) < streams:
            if not self._take(seconds):
                raise UnexpectedAnswer(f"{streams - len(self._heard)} streams say nothing")

    def _take(self, seconds: float) -> int:
        ready = self._poll.poll(seconds)
        for descriptor, _ in ready:
            piece = self._sockets[descriptor].recv(256 * 1024)
            if not piece or (
                piece.startswith(b"HTTP/1.1 ") and not piece.startswith(b"HTTP/1.1 200")
            ):
                raise UnexpectedAnswer(piece[:500].decode(errors="replace") or "a stream has ended")
            if b"event: " in piece:
                self._heard[descriptor] = time.perf_counter()
        return len(ready)


def main() -> None:
    """Open the streams, then do what the lines of standard input say."""
    given = json.loads(sys.argv[1])
    listeners = Listeners(**given)
    seconds = listeners.open()
    listeners.idle(SETTLE_SECONDS)
    print(json.dumps({"open_seconds": seconds}), flush=True)
    for line in sys.stdin:
        word, _, value = line.partition(" ")
        if word == "idle":
            told: dict[str, float] = {"pieces": listeners.idle(float(value))}
        else:
            print(json.dumps({"ready": True}), flush=True)
            told = listeners.moved()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
