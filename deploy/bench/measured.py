"""Processes under measurement: started, watched for CPU and memory, ended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from connectors.settings import PREFIX
from deploy.children import ChildProcesses
from domain.errors import SettlerError

STOP_SECONDS = 30.0
PEER_SECONDS = 600.0


class BenchFailed(SettlerError):
    """A benchmark has no figures to show; the message says what went wrong."""

    code = "bench.failed"


class Role:
    """One role of Settler as a process of its own, its output in a file.

    Args:
        name: As in `settler run NAME`.
        environment: The SETTLER_* variables it gets, and no others.
        folder: Where it runs and its log goes.
        arguments: What follows `settler run NAME`.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        children: ChildProcesses,
        folder: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._children = children
        self._log_path = folder / f"{name}.log"
        # Not what the person who benchmarks has set for another installation.
        plain = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        with self._log_path.open("wb") as output:
            self._process = children.start(
                [sys.executable, "-m", "deploy.cli.main", "run", name, *arguments],
                environment=plain | dict(environment) | {"SETTLER_LOG_FORMAT": "json"},
                output=output,
                folder=folder,
            )
        self.pid = self._process.pid
        self._measured = psutil.Process(self.pid)
        self.rss_bytes_max = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._children.ended(self._process)

    def kill(self) -> None:
        """End it by SIGKILL, as the loss of its machine would."""
        self._process.kill()
        self._process.wait()

    def look(self) -> None:
        """Note how much memory it takes.

        Raises:
            BenchFailed: It has ended by itself.
        """
        if self._process.poll() is not None:
            tail = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-8:])
            raise BenchFailed(f"`settler run {self.name}` ended; its last lines:\n{tail}")
        self.rss_bytes_max = max(self.rss_bytes_max, self.rss_bytes())

    def rss_bytes(self) -> int:
        """Memory it takes now."""
        return int(self._measured.memory_info().rss)

    def cpu_seconds(self) -> float:
        """CPU it has used since its start."""
        return cpu_seconds(self._process.pid)

    def logged_at(self, event: str) -> float | None:
        """Clock time of the first line about an event; None: not yet."""
        for line in self._log_path.read_bytes().splitlines():
            if event.encode() not in line:
                continue
            told = json.loads(line)
            if told.get("event") == event:
                return datetime.fromisoformat(told["timestamp"]).timestamp()
        return None

    def wait_for(self, event: str, seconds: float = 30.0) -> float:
        """Wait for the first line about an event; returns its clock time.

        Raises:
            BenchFailed: It did not come in time.
        """
        for _ in until(seconds, f"line {event!r} of `settler run {self.name}`"):
            self.look()
            at = self.logged_at(event)
            if at is not None:
                return at
        raise AssertionError("until() raises when the time is over")


def cpu_seconds(pid: int | None) -> float:
    """CPU used by a process and its children so far, those that ended included."""
    if pid is None:
        return 0.0
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if one is process:
            total += times.children_user + times.children_system
    return total


def until(seconds: float, what: str, every: float = 0.01) -> Iterator[None]:
    """Yield again and again, with a pause between.

    Raises:
        BenchFailed: The time is over; the message names what was waited for.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(every)
    raise BenchFailed(f"waited {seconds:.0f} s for {what}")


def run_peer(
    module: str, task: Mapping[str, object], children: ChildProcesses, log_path: Path
) -> dict[str, Any]:
    """Run a peer to its end and return what it reports.

    Raises:
        BenchFailed: It failed, or did not write a row for every pair.
    """
    with log_path.open("wb") as output:
        process = children.start(
            [sys.executable, "-m", f"deploy.bench.{module}", json.dumps(task)], output=output
        )
    try:
        code = process.wait(PEER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    children.ended(process)
    lines = log_path.read_text(errors="replace").splitlines()
    if code or not lines:
        raise BenchFailed(f"{module} ended with {code}:\n" + "\n".join(lines[-8:]))
    result: dict[str, Any] = json.loads(lines[-1])
    if result["matches"] != task["pairs"]:
        raise BenchFailed(f"{module} wrote {result['matches']} of {task['pairs']} matches")
    return result


def last_line(log_path: Path) -> str:
    """What a process said last: of one that failed, why."""
    lines = log_path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def sending(
    module: str, task: Mapping[str, object], children: ChildProcesses, log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a load generator beside the block; it is ended when the block is left early."""
    with log_path.open("wb") as output:
        process = children.start(
            [sys.executable, "-m", f"deploy.bench.{module}", json.dumps(task)], output=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        children.ended(process)
