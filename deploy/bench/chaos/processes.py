"""Roles as processes that are killed, frozen and woken, and start again when they end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from connectors.settings import PREFIX
from deploy.bench.chaos.disturbed import Disturbance, disturbed
from deploy.children import ChildProcesses

AGAIN_SECONDS = 0.2
STOP_SECONDS = 30.0
RUN = (sys.executable, "-m", "deploy.cli.main", "run")


class KeptProcess:
    """One role: whenever its process ends, another starts, as under a supervisor.

    Args:
        name: What it is called here, such as `flow-a`.
        command: `PYTHON -m MODULE` and arguments.
        environment: The SETTLER_* variables it gets, and no others.
        folder: Where its log goes.

    Attributes:
        disturbance: Sets its clock wrong and has it break down.
        ends: How its processes ended by themselves or by us: exit code (negative: the signal) →
            how often.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        children: ChildProcesses,
        folder: Path,
    ) -> None:
        self.name = name
        told = folder / f"{name}.disturbed"
        told.mkdir(exist_ok=True)
        self.disturbance = Disturbance(told)
        self.ends: Counter[int] = Counter()
        self._command = disturbed(command, told)
        plain = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        self._environment = plain | dict(environment)
        self._children = children
        self._log_path = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0
        self._stopped: list[psutil.Process] = []

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    def step(self) -> None:
        """Start it where it is due, and note that it has ended."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self._start()
            return
        code = self._process.poll()
        if code is not None:
            self._note_end(code)

    def kill(self, share: float = 1.0) -> None:
        """SIGKILL; does nothing while it is down.

        Args:
            share: Of a process with children, such as a cluster's supervisor: 1 kills all of them,
                less the one that far down the list of them.
        """
        if self._process is None:
            return
        tree = self._tree()
        victims = tree if share >= 1 else [tree[int(share * len(tree))]] if tree else []
        # The parent first, or it would start again what is killed.
        for one in victims:
            _send(one, signal.SIGKILL)
        if self._process.pid in [one.pid for one in victims]:
            self._note_end(self._process.wait())

    def freeze(self) -> None:
        """SIGSTOP, children included; does nothing while it is down."""
        if self._process is not None and self._process.poll() is None:
            self._stopped = self._tree()
            for one in self._stopped:
                _send(one, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT to what is frozen."""
        for one in self._stopped:
            _send(one, signal.SIGCONT)
        self._stopped = []

    def stop(self) -> int | None:
        """SIGTERM and wait; returns the exit code, None when it was down already."""
        if self._process is None:
            return None
        self.wake()
        ended_by_itself = self._process.poll()
        if ended_by_itself is not None:
            self._note_end(ended_by_itself)
            return None
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._note_end(code)
        return code

    def log(self) -> str:
        """All that its processes have said."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def keep_log(self, folder: Path) -> None:
        """Copy the log to where it outlives the run."""
        if self._log_path.exists():
            shutil.copy(self._log_path, folder)

    def _tree(self) -> list[psutil.Process]:
        """The process and all it started, itself first; empty when it has just ended."""
        try:
            parent = psutil.Process(self._process.pid if self._process is not None else -1)
            return [parent, *parent.children(recursive=True)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def _start(self) -> None:
        with self._log_path.open("ab") as output:
            self._process = self._children.start(
                self._command,
                environment=self._environment,
                output=output,
            )

    def _note_end(self, code: int) -> None:
        assert self._process is not None, "only what ran can end"
        self._children.ended(self._process)
        self._process = None
        self.wake()
        self.ends[code] += 1
        self._start_at = time.monotonic() + AGAIN_SECONDS


def _send(process: psutil.Process, signal_number: signal.Signals) -> None:
    # By psutil's own handle, which knows a process apart from a later one with its number.
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal_number)


class Keeper:
    """Starts what ends, from a thread of its own, while others kill and freeze under its lock."""

    def __init__(self, processes: Sequence[KeptProcess]) -> None:
        self.processes = {one.name: one for one in processes}
        self.lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def retire(self, names: Sequence[str]) -> list[int | None]:
        """End some in order, not to start again; returns their exit codes."""
        with self.lock:
            retired = [self.processes.pop(name) for name in names]
        return [one.stop() for one in retired]

    def stop(self) -> list[int | None]:
        """Let nothing start any more and end all in order; returns the exit codes."""
        self._stopping.set()
        self._thread.join()
        return self.retire(list(self.processes))

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            with self.lock:
                for one in self.processes.values():
                    one.step()
