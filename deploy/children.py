"""Child processes that never outlive the process that started them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

GUARDIAN = Path(__file__).with_name("guardian.py")


class ChildProcesses:
    """Starts children in sessions of their own and has a guardian end them if this process dies.

    A Ctrl-C at the terminal therefore reaches this process only, which ends its children in order.
    """

    def __init__(self) -> None:
        self._guardian: subprocess.Popen[str] | None = None
        # What a guardian has to know, by what it is about.
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        folder: Path | None = None,
        user: int | None = None,
        on_orphan: int = signal.SIGTERM,
    ) -> subprocess.Popen[bytes]:
        """Start a child.

        Args:
            command: Program and arguments.
            environment: The child's whole environment; default this process's.
            output: Where its standard output and error go; default where ours do.
            folder: Its working directory.
            user: Numeric user (and group) to run as; only root can set it.
            on_orphan: The signal it gets when this process has died.
        """
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            start_new_session=True,
        )
        self._tell(f"+{child.pid} {int(on_orphan)}")
        return child

    def ended(self, child: subprocess.Popen[bytes]) -> None:
        """Say that a child has been waited for, so that its pid is never signalled again."""
        self._tell(f"-{child.pid}")

    def remove_when_orphaned(self, folder: Path) -> None:
        """Have the guardian remove a folder after this process is gone."""
        self._tell(f"={folder}")

    def close(self) -> None:
        """End the guardian, and by it every child that still runs."""
        with self._lock:
            guardian, self._guardian = self._guardian, None
            self._told.clear()
        _dismiss(guardian)

    def _tell(self, line: str) -> None:
        with self._lock:
            if line.startswith("-"):
                self._told.pop(f"+{line[1:]}", None)
            else:
                self._told[line.partition(" ")[0] if line.startswith("+") else line] = line
            if not self._write([line]):
                # There is none yet, or somebody has killed it: a new one is told everything.
                _dismiss(self._guardian)
                self._guardian = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARDIAN)],
                    stdin=subprocess.PIPE,
                    text=True,
                    cwd=os.sep,
                    start_new_session=True,
                )
                self._write(self._told.values())

    def _write(self, lines: Iterable[str]) -> bool:
        """Tell the guardian; False when there is none that lives."""
        guardian = self._guardian
        if guardian is None or guardian.stdin is None or guardian.poll() is not None:
            return False
        try:
            guardian.stdin.writelines(f"{line}\n" for line in lines)
            guardian.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def _dismiss(guardian: subprocess.Popen[str] | None) -> None:
    """Close a guardian's input, by which it ends, and wait for that."""
    if guardian is not None and guardian.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            guardian.stdin.close()
        guardian.wait()
