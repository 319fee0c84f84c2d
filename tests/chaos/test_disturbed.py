"""A module run disturbed: its clock as a file says, its breakdown once, its code untouched."""

import json
import subprocess
import sys

import pytest

from deploy.bench.chaos.disturbed import Disturbance, _Clock, disturbed


@pytest.fixture
def told(tmp_path):
    return Disturbance(tmp_path)


def test_a_breakdown_is_taken_once(told):
    assert not told.take_breakdown()
    told.break_down()
    assert told.take_breakdown()
    assert not told.take_breakdown()


def test_sources_sleep_until_a_clock_that_went_back_is_again_where_it_was(told):
    clock = _Clock(told)
    system = [1_000.0]
    clock._time = lambda: system[0]
    assert (clock.time(), clock.next_awake()) == (1_000.0, 1_000.0)
    clock.move(-60.0)
    assert (clock.time(), clock.next_awake()) == (940.0, 1_060.0)
    system[0] = 1_061.0
    assert (clock.time(), clock.next_awake()) == (1_001.0, 1_061.0)
    clock.move(3_600.0)
    assert (clock.time(), clock.next_awake()) == (4_661.0, 1_061.0), "forward wakes everybody"


def test_sources_that_are_made_after_a_step_back_sleep_no_longer_for_it(told):
    clock = _Clock(told)
    clock._time = lambda: 1_000.0
    clock.move(-60.0)
    assert clock.next_awake() == 1_000.0


def test_a_process_that_starts_with_a_wrong_clock_has_it_from_the_start(told):
    told.set_clock(-7_200.0)
    clock = _Clock(told)
    clock._time = lambda: 10_000.0
    assert (clock.time(), clock.next_awake()) == (2_800.0, 10_000.0)
    assert clock.time_ns() - clock._time_ns() == pytest.approx(-7_200e9, abs=1e9)


def test_a_role_is_run_as_its_own_command_would(told, tmp_path):
    """Its clock, what its own processes are run by, and the module with its arguments."""
    module = tmp_path / "role.py"
    module.write_text(
        "import sys, time, json, deploy.supervisor, flows.clock\n"
        "watch = flows.clock.WatchForStepsBack(print)\n"
        "print(json.dumps([__name__, sys.argv, time.time(), watch._wall(),"
        " deploy.supervisor._RUN]))\n"
    )
    told.set_clock(1e10)
    command = disturbed([sys.executable, "-m", "role", "flow", "--processes", "2"], tmp_path)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    name, arguments, now, watched, children = json.loads(done.stdout)
    assert (name, arguments[1:]) == ("__main__", ["flow", "--processes", "2"])
    assert min(now, watched) > 1e10
    assert children[1:] == [*command[1:4], "deploy.cli.main", "run"]
