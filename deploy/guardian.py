"""Ends a process's children when that process is gone, however it went.

Runs as a process of its own, in a session of its own, reading one line a child from its standard
input: `+PID SIGNAL`, `-PID` once it has ended, `=FOLDER` for a folder to remove. When the input
closes, the parent is dead: what is still listed gets its signal, and SIGKILL two seconds later.
A death signal (PR_SET_PDEATHSIG) would be lost when the thread that started the child ends.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 2.0


def watch(lines: Iterable[str]) -> tuple[dict[int, int], list[str]]:
    """Read until the end; return the children left (pid to signal) and the folders to remove."""
    children: dict[int, int] = {}
    folders: list[str] = []
    for line in lines:
        kind, rest = line[:1], line[1:].rstrip("\n")
        if kind == "+":
            pid, signal_number = rest.split()
            children[int(pid)] = int(signal_number)
        elif kind == "-":
            children.pop(int(rest), None)
        elif kind == "=":
            folders.append(rest)
    return children, folders


def send(pid: int, signal_number: int) -> bool:
    """Send a signal (0 only asks); return whether the process is still there."""
    try:
        os.kill(pid, signal_number)
    except OSError:
        return False
    return True


def end(children: dict[int, int]) -> None:
    """Signal every child, wait a little, then kill what is left."""
    left = {pid for pid, signal_number in children.items() if send(pid, signal_number)}
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = {pid for pid in left if send(pid, 0)}
    for pid in left:
        send(pid, signal.SIGKILL)


def main() -> None:
    """Watch standard input and clean up after its writer."""
    children, folders = watch(sys.stdin)
    end(children)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
