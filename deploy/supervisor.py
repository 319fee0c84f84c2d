"""Runs roles as child processes and starts again what ends: `settler up` and a cluster of a flow.

A program is one or more processes that live and die together: a Bytewax cluster that has lost one
process stalls, so the end of any ends all, and all start again. Crashing is safe, for every role
takes up from what is committed; waiting for a database or broker is the role's own business.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import structlog

from deploy.children import ChildProcesses
from deploy.service import HOST, free_port

log = structlog.get_logger(__name__)

_RUN = (sys.executable, "-m", "deploy.cli.main", "run")
ROLES = ("flow", "projections", "publish", "api")
POLL_SECONDS = 0.05
DRAIN_SECONDS = 20.0  # after SIGTERM; a flow drains one epoch, at most a second or two
PEER_SECONDS = 2.0  # for the rest of a program after one of its processes ended
STABLE_SECONDS = 10.0  # a run this long forgives the crashes before it
DELAY_FIRST_SECONDS = 0.2
DELAY_MAX_SECONDS = 10.0
CRASHES_MAX = 12  # short runs in a row before giving up: about a minute and a half
EXIT_UNUSABLE = 2  # settings cannot be used: starting again would not help


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a name, and the commands of one start of it (ports may differ each time)."""

    name: str
    commands: Callable[[], Sequence[Sequence[str]]]


@dataclass(slots=True)
class _Run:
    program: Program
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started_at: float = 0.0
    start_at: float = 0.0
    crashes: int = 0


class Supervisor:
    """Keeps programs running until told to stop, or until one of them cannot be helped.

    Args:
        programs: What to run.
        environment: The children's whole environment; default this process's.
        output: Where their output goes; default where ours does.
        crashes_max: Runs shorter than `STABLE_SECONDS` in a row before giving up.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        crashes_max: int = CRASHES_MAX,
    ) -> None:
        self._runs = [_Run(program) for program in programs]
        self._environment = environment
        self._output = output
        self._crashes_max = crashes_max
        self._children = ChildProcesses()
        self._stopping = threading.Event()

    def pids(self, name: str) -> list[int]:
        """Return the process ids of a program, in the order of its commands."""
        return [
            process.pid
            for run in self._runs
            if run.program.name == name
            for process in run.processes
        ]

    def stop(self) -> None:
        """Ask `run` to drain and return; callable from a signal handler or another thread."""
        self._stopping.set()

    def run(self) -> int:
        """Run until stopped.

        Returns:
            0 after `stop`, else the exit code of the program that could not be kept running.
        """
        code = 0
        try:
            while not code and not self._stopping.wait(POLL_SECONDS):
                code = self._step()
        finally:
            self._drain()
        return code

    def run_until_signalled(self) -> int:
        """Run until SIGTERM or Ctrl-C; only in the main thread."""
        before = {
            number: signal.signal(number, lambda *_: self.stop())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            return self.run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _step(self) -> int:
        now = time.monotonic()
        for run in self._runs:
            if not run.processes:
                if now >= run.start_at:
                    self._start(run)
                continue
            codes = [process.poll() for process in run.processes]
            ended = [code for code in codes if code is not None]
            if ended and (failure := self._after_end(run, codes.index(ended[0]), ended[0])):
                return failure
        return 0

    def _start(self, run: _Run) -> None:
        for command in run.program.commands():
            process = self._children.start(
                command, environment=self._environment, output=self._output
            )
            run.processes.append(process)
        run.started_at = time.monotonic()
        log.info(
            "supervisor.started",
            program=run.program.name,
            pids=[process.pid for process in run.processes],
        )

    def _after_end(self, run: _Run, index: int, code: int) -> int:
        """End the program's other processes and plan its next start, or return a failure."""
        lasted = time.monotonic() - run.started_at
        self._end(run.processes, PEER_SECONDS)
        run.processes.clear()
        told = {"program": run.program.name, "process": index, "exit": _exit_name(code)}
        if code == EXIT_UNUSABLE:
            log.error("supervisor.unusable", **told, hint="see its last lines, then start again")
            return EXIT_UNUSABLE
        run.crashes = 1 if lasted >= STABLE_SECONDS else run.crashes + 1
        if run.crashes > self._crashes_max:
            log.error("supervisor.gave_up", **told, runs=run.crashes)
            return 1
        delay = min(DELAY_FIRST_SECONDS * 2 ** (run.crashes - 1), DELAY_MAX_SECONDS)
        run.start_at = time.monotonic() + delay
        log.warning("supervisor.ended", **told, lasted_seconds=round(lasted, 1), again_in=delay)
        return 0

    def _drain(self) -> None:
        processes = [process for run in self._runs for process in run.processes]
        self._end(processes, DRAIN_SECONDS)
        for run in self._runs:
            run.processes.clear()
        self._children.close()

    def _end(self, processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + seconds
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("supervisor.killed", pid=process.pid, waited_seconds=seconds)
                process.kill()
                process.wait()
            self._children.ended(process)


def role_program(role: str, arguments: Sequence[str] = ()) -> Program:
    """Return the program that runs one role by `settler run`."""
    return Program(role, lambda: [[*_RUN, role, *arguments]])


def flow_cluster(processes: int) -> Program:
    """Return a Bytewax cluster of the reconciling flow on this machine.

    Its processes talk plain, unauthenticated TCP to each other: on 127.0.0.1 only.
    """

    def commands() -> list[list[str]]:
        addresses = ";".join(f"{HOST}:{port}" for port in _different_ports(processes))
        base = [*_RUN, "flow", "--addresses", addresses, "--child", "of-all"]
        return [[*base, "--index", str(index)] for index in range(processes)]

    return Program("flow", commands)


def flow_process(addresses: str, index: int) -> Program:
    """Return one process of a cluster whose others run elsewhere, each supervised by itself.

    They talk plain, unauthenticated TCP to each other: let nobody else reach those ports.
    """
    command = [*_RUN, "flow", "--addresses", addresses, "--index", str(index), "--child", "of-one"]
    return Program("flow", lambda: [command])


def lease_holder() -> str:
    """Return a name for the flow's lease that only this process and its children use.

    A flow started again under it need not wait for the lease of the one before to run out.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _different_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def _exit_name(code: int) -> str:
    if code >= 0:
        return str(code)
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
