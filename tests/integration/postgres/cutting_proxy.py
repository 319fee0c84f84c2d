"""A proxy that loses one COMMIT: its way there, its answer, or nothing until it is let go."""

import contextlib
import socket
import threading
from typing import Literal, Self

HOST = "127.0.0.1"
Fate = Literal["before", "after", "held"]


class CommitCutter:
    """Forwards to Postgres; the first COMMIT while `fate` is set meets it.

    before: the connection breaks and the server never sees the COMMIT; it notices at once.
    after: the server commits, its answer is lost and the connection breaks.
    held: the client's connection breaks; the server gets the COMMIT when `release()` is called.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.fate: Fate | None = None
        self.cuts = 0
        self.cut_happened = threading.Event()
        self._released = threading.Event()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        for one in (self._listener, *self._sockets):
            _end(one)

    def release(self) -> None:
        """Let a held COMMIT through."""
        self._released.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._target_port))
                self._sockets += [client, server]
                lost = threading.Event()
                threading.Thread(
                    target=self._to_server, args=(client, server, lost), daemon=True
                ).start()
                threading.Thread(
                    target=self._to_client, args=(client, server, lost), daemon=True
                ).start()

    def _to_server(self, client: socket.socket, server: socket.socket, lost: threading.Event):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.fate and b"COMMIT" in data:
                    self._meet(data, client, server, lost)
                    return
                server.sendall(data)
        _end(server)

    def _meet(self, data: bytes, client: socket.socket, server: socket.socket, lost) -> None:
        fate, self.fate = self.fate, None
        self.cuts += 1
        lost.set()  # nothing of the server's answer gets through from here on
        if fate == "before":
            _end(server)
        elif fate == "after":
            server.sendall(data)
            return  # _to_client sees the answer, drops it and ends both
        else:
            _end(client)
            self.cut_happened.set()
            self._released.wait(30)
            server.sendall(data)
            return
        _end(client)
        self.cut_happened.set()

    def _to_client(self, client: socket.socket, server: socket.socket, lost: threading.Event):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if lost.is_set():
                    break
                client.sendall(data)
        _end(client)
        _end(server)
        self.cut_happened.set()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
