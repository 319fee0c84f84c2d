"""What the guardian makes of the lines it reads."""

import signal
import subprocess
import sys

from deploy import guardian


def test_it_keeps_who_has_not_ended_and_what_is_to_be_removed():
    lines = ["+11 15\n", "=/a folder\n", "+12 3\n", "-11\n", "-99\n"]
    assert guardian.watch(lines) == ({12: 3}, ["/a folder"])


def test_it_ends_children_and_spares_the_dead():
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert guardian.send(child.pid, 0)
    child.send_signal(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not guardian.send(gone.pid, 0)
