"""The guardian of child processes is a process too, and may be the one that is killed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from deploy.children import ChildProcesses

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def children() -> Iterator[ChildProcesses]:
    children = ChildProcesses()
    yield children
    children.close()


@pytest.fixture
def sleeping() -> Iterator[list[subprocess.Popen]]:
    processes: list[subprocess.Popen] = []
    yield processes
    for one in processes:
        one.kill()
        one.wait()


def test_a_guardian_that_is_killed_is_replaced_and_told_of_every_child(
    children, sleeping, tmp_path
):
    for _ in range(2):
        sleeping.append(children.start(SLEEPER))
    kept = tmp_path / "kept"
    kept.mkdir()
    children.remove_when_orphaned(kept)
    ended = sleeping.pop(0)
    ended.kill()
    ended.wait()
    guardian = children._guardian
    guardian.kill()
    guardian.wait()
    children.ended(ended)
    sleeping.append(children.start(SLEEPER))
    assert children._guardian is not guardian
    children.close()
    assert [one.wait(10) for one in sleeping] == [-15, -15]
    assert not kept.exists()
