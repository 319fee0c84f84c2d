"""Who gives way to others, in a process and a session of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = Path("/proc/self/autogroup")
PROGRAM = """
import json, os, sys
from pathlib import Path
from deploy.giving_way import give_way
give_way(int(sys.argv[1]))
session = Path("/proc/self/autogroup")
told = session.read_text().split()[-1] if session.exists() else None
print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), told]))
"""


def after_giving_way(niceness, *, own_session):
    """Its niceness and its session's, if this system has such."""
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
    before = os.getpriority(os.PRIO_PROCESS, 0)
    process, session = after_giving_way(niceness, own_session=True)
    assert process == min(19, before + niceness)
    assert session == (str(niceness) if SESSION.exists() else None)


def test_a_session_with_others_in_it_keeps_its_place():
    before = SESSION.read_text().split()[-1] if SESSION.exists() else None
    process, session = after_giving_way(3, own_session=False)
    assert process == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    assert session == before
