"""The commands of a document, typed into one shell, and held against what it says they print."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MARK = "-- end of the command --"


def commands_of(document: Path, *said: str) -> list[tuple[str, str]]:
    """Commands and what they print; `…` stands for anything.

    Args:
        said: Of the blocks that say any of these; of every block if there are none.
    """
    blocks = re.findall(r"^```console\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)
    wanted = (block for block in blocks if not said or any(word in block for word in said))
    found: list[list[list[str]]] = []
    for line in "".join(wanted).splitlines():
        if line.startswith("$ "):
            found.append([[line[2:]], []])
        elif line.startswith("> "):
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


class Shell:
    """A shell in a folder of its own; a command that fails ends it."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *programs: Path) -> None:
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), *map(str, programs), os.environ["PATH"]]
        )
        self._process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            env={**environment, "PATH": path, "HOME": str(folder)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # as on a terminal
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """Run a command; give what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho '{MARK}'\n")
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line.rstrip("\n").endswith(MARK):
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"{command!r} failed: {''.join(printed)[-4000:]}")

    def close(self) -> None:
        """End the shell and what it has left running."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.communicate(timeout=30)

    def walk(self, document: Path, after: Mapping[str, Callable[[], None]]) -> None:
        """Run a document's commands, in order.

        Args:
            after: What happens in the world after the first command that begins so.
        """
        commands, waiting = commands_of(document), dict(after)
        assert commands
        for command, expected in commands:
            printed = self.run(command).rstrip("\n")
            pattern = ".*".join(re.escape(part) for part in expected.split("…"))
            assert re.fullmatch(pattern, printed, re.DOTALL), (command, printed[:2000])
            for begin in [one for one in waiting if command.startswith(one)]:
                waiting.pop(begin)()
        assert not waiting, "a command that the test waits for is not in the document"


@contextmanager
def shell(environment: Mapping[str, str], folder: Path, *programs: Path) -> Iterator[Shell]:
    """A shell, ended with all it has started."""
    one = Shell(environment, folder, *programs)
    try:
        yield one
    finally:
        one.close()
