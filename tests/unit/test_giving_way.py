"""Who gives way to others, in a process and a session of its own."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, sys
from pathlib import Path
from deploy.giving_way import give_way

def session():
    # Nothing where sessions do not count, and for a session from before they did: an empty file.
    told = Path("/proc/self/autogroup")
    words = told.read_text().split() if told.exists() else []
    return words[-1] if words else None

before = session()
give_way(int(sys.argv[1]))
print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), before, session()]))
"""


def giving_way(niceness, *, own_session):
    """Its niceness after it, and its session's before and after, if this system has such."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(niceness)],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("niceness", [0, 3])
def test_a_process_and_the_session_that_is_its_own_give_way(niceness):
    process, before, after = giving_way(niceness, own_session=True)
    assert process == min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    assert after == (None if before is None else str(niceness))


def test_a_session_with_others_in_it_keeps_its_place():
    process, before, after = giving_way(3, own_session=False)
    assert process == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    assert after == before
