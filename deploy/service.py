"""One embedded service: a child process with a port, a log and a way to tell that it is ready."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.children import ChildProcesses
from domain.errors import SettlerError

HOST = "127.0.0.1"
READY_SECONDS = 30.0
STOP_SECONDS = 20.0
LAUNCHES = 5
"""Tries on a first start: another program can take a free port before ours does."""


class EmbeddedError(SettlerError):
    """An embedded service cannot be started or used."""

    code = "embedded.failed"


class Service:
    """Base of the embedded services; a subclass gives the command and the readiness check.

    The port is chosen at the first start and kept, so that a stopped service comes back where its
    clients look for it.
    """

    name = ""
    stop_signal: int = signal.SIGTERM
    kill_signal: int = signal.SIGKILL
    user: int | None = None
    ready_seconds: float = READY_SECONDS

    def __init__(self, folder: Path, children: ChildProcesses, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self._children = children
        self._process: subprocess.Popen[bytes] | None = None
        self._port_is_proven = bool(port)

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self.folder.with_name(f"{self.name}.log")

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    def command(self) -> list[str]:
        """Return the program and its arguments, for the current port."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Say whether it answers its clients."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Return the environment it runs in."""
        return os.environ

    def prepare(self) -> None:
        """Make the folder ready for a first start."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            EmbeddedError: It ended or did not answer in time; the message has its log's end.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert self._process is None, f"{self.name} is already running"
        self.prepare()
        if not self.port:
            self.port = free_port()
        with self.log_path.open("ab") as output:
            self._process = self._children.start(
                self.command(),
                environment=self.environment(),
                output=output,
                folder=self.folder,
                user=self.user,
                on_orphan=self.kill_signal,
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers; start it again elsewhere when its first port was taken."""
        deadline = time.monotonic() + self.ready_seconds
        launches = 1
        while not self.ready():
            if time.monotonic() > deadline:
                self.kill()
                late = f"did not answer within {self.ready_seconds:.0f} s"
                raise EmbeddedError(self._failure(late))
            if self._process is None or self._process.poll() is not None:
                self._forget()
                if launches == LAUNCHES:
                    raise EmbeddedError(self._failure("ended while starting"))
                launches += 1
                time.sleep(0.1)  # after a crash the old process may still hold port or memory
                if not self._port_is_proven:
                    self.port = 0
                self.launch()
            time.sleep(0.01)
        self._port_is_proven = True

    def stop(self) -> None:
        """End it in good order and wait for that."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(self.kill_signal)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, as behind a dead network."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen service go on."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(signal.SIGCONT)

    def _end(self, signal_number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal_number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._process is not None:
            self._children.ended(self._process)
        self._process = None

    def _failure(self, what: str) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()[-15:]
        except OSError:
            lines = []
        tail = "".join(f"\n  {line}" for line in lines)
        return f"Embedded {self.name} {what} on {HOST}:{self.port}; its log ends with:{tail}"


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, request: bytes = b"", reply: bytes = b"") -> bool:
    """Say whether something on 127.0.0.1 accepts a connection and answers as expected."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            if not request:
                return True
            connection.sendall(request)
            return connection.recv(64).startswith(reply)
    except OSError:
        return False
