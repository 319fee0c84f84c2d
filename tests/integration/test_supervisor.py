"""The supervisor: what ends is started again, together with its peers, until it is hopeless."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from deploy import supervisor
from deploy.supervisor import Program, Supervisor

WAIT = "import signal; signal.pause()"
DRAIN = """
import pathlib, signal, sys
def drained(*_):
    pathlib.Path(sys.argv[1]).write_text("drained")
    sys.exit(0)
signal.signal(signal.SIGTERM, drained)
print("up", flush=True)
while True:
    signal.pause()
"""


def program(name: str, *scripts: str) -> Program:
    return Program(name, lambda: [[sys.executable, "-c", script] for script in scripts])


def until(condition, seconds: float = 10.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail(f"did not come true within {seconds} s")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def running():
    """Run a supervisor in a thread; it is stopped at the end of the test."""
    started = []

    def run(keeper: Supervisor) -> threading.Thread:
        thread = threading.Thread(target=lambda: started.append(keeper.run()))
        thread.start()
        threads.append((keeper, thread))
        return thread

    threads: list[tuple[Supervisor, threading.Thread]] = []
    run.codes = started
    yield run
    for keeper, thread in threads:
        keeper.stop()
        thread.join()


def test_a_killed_process_takes_its_peers_along_and_all_come_back(running):
    keeper = Supervisor([program("cluster", WAIT, WAIT), program("other", WAIT)])
    running(keeper)
    until(lambda: len(keeper.pids("cluster")) == 2 and keeper.pids("other"))
    first, other = keeper.pids("cluster"), keeper.pids("other")
    os.kill(first[1], signal.SIGKILL)
    until(lambda: len(keeper.pids("cluster")) == 2 and not set(keeper.pids("cluster")) & set(first))
    assert not any(map(alive, first))
    assert keeper.pids("other") == other


def test_stopping_lets_every_child_drain(running, tmp_path):
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", DRAIN, str(mark)]
    output = tmp_path / "output"
    with output.open("wb") as sink:
        keeper = Supervisor([Program("drains", lambda: [command])], output=sink)
        thread = running(keeper)
        until(lambda: output.read_bytes() == b"up\n")
        keeper.stop()
        thread.join()
    assert mark.read_text() == "drained"
    assert running.codes == [0]


def test_a_crash_loop_is_given_up(monkeypatch):
    monkeypatch.setattr(supervisor, "DELAY_FIRST_SECONDS", 0.001)
    keeper = Supervisor([program("crashes", "raise SystemExit(3)")], crashes_max=3)
    assert keeper.run() == 1


def test_an_end_with_exit_code_0_is_an_end_too(monkeypatch):
    monkeypatch.setattr(supervisor, "DELAY_FIRST_SECONDS", 0.001)
    assert Supervisor([program("ends", "pass")], crashes_max=1).run() == 1


def test_unusable_settings_stop_everything_at_once():
    keeper = Supervisor([program("waits", WAIT), program("refuses", "raise SystemExit(2)")])
    assert keeper.run() == 2
    assert keeper.pids("waits") == []


def test_children_die_with_a_killed_supervisor():
    script = f"""
import sys
from deploy.supervisor import Program, Supervisor
keeper = Supervisor([Program("waits", lambda: [[sys.executable, "-c", {WAIT!r}]])])
keeper._step()
print("pids", *keeper.pids("waits"), file=sys.stderr, flush=True)
keeper.run()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stderr.readline().split()[-1])
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid))


def test_the_processes_of_a_cluster_know_each_other():
    first, second = supervisor.flow_cluster(2).commands()
    addresses = first[first.index("--addresses") + 1]
    assert second[second.index("--addresses") + 1] == addresses
    assert len(set(addresses.split(";"))) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses.split(";"))
    assert [command[command.index("--index") + 1] for command in (first, second)] == ["0", "1"]
