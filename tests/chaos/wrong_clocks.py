"""Scenarios of a machine whose clock is wrong, or is set while a flow runs; see `scenarios`."""

from contextlib import AbstractContextManager
from unittest import mock

from flows.clock import WatchForStepsBack
from tests.chaos.scenarios import (
    DAY_US,
    NOON_US,
    GuardMissing,
    Rig,
    all_accepted,
    matched_after_all,
    nothing_opened,
    pass_days,
)


def nothing_expires_by_a_clock_set_forward(rig: Rig) -> None:
    """The machine's clock is set days ahead for a while, between one side and the other."""
    rig.progress.note()
    rig.send(0, "s-1")
    with machine_clock(days=0):
        rig.read(0)
    rig.writer.drain()
    with machine_clock(days=20):
        rig.seconds += 1
        rig.progress.note()
        rig.tick()
    nothing_opened(rig)
    rig.send(1, "t-1")
    rig.read(1)
    rig.writer.drain()
    pass_days(rig, 20)
    rig.tick()
    matched_after_all(rig)


def nothing_is_refused_by_a_clock_set_back(rig: Rig) -> None:
    """The machine's clock is days behind: today's records do not lie ahead of the present."""
    rig.progress.note()
    with machine_clock(days=-20):
        rig.send(0, "s-1")
        rig.send(1, "t-1")
        for side in (0, 1):
            rig.read(side)
    all_accepted(rig)


def a_flow_ends_when_the_clock_goes_back() -> None:
    """What waits for an instant would wait for as long as the clock went back by."""
    seconds, wall, told = [0.0], [1_000.0], []
    watch = WatchForStepsBack(told.append, lambda: seconds[0], lambda: wall[0])
    watch.look()
    seconds[0], wall[0] = 1.0, 1_000.0 - 3_600.0
    watch.look()
    if not told:
        raise GuardMissing("a clock went back by an hour and nobody noticed")


def machine_clock(days: float) -> AbstractContextManager[object]:
    """Let this machine's clock be days ahead of noon while the block runs."""
    return mock.patch("time.time_ns", return_value=(NOON_US + round(days * DAY_US)) * 1000)
