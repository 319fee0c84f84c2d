"""The time a flow decides by, and a machine's clock that goes back."""

from flows.clock import BACK_SECONDS_MAX, DatabaseClock, WatchForStepsBack
from flows.process import FlowProcess

NOON_US = 1_767_614_400_000_000


def test_the_database_s_time_goes_on_between_two_tellings():
    seconds = [100.0]
    clock = DatabaseClock(lambda: seconds[0])
    clock.tell(NOON_US)
    assert clock.now_us() == NOON_US
    seconds[0] += 2.5
    assert clock.now_us() == NOON_US + 2_500_000
    # The machine stood still for an hour, and its monotonic clock with it.
    clock.tell(NOON_US + 3_600_000_000)
    assert clock.now_us() == NOON_US + 3_600_000_000


def test_what_a_flow_decides_goes_by_the_database_s_clock(make_settings):
    process = FlowProcess(make_settings(), clustered=False)
    process.clock.tell(NOON_US)
    told = [process.surroundings().clock_us(), process.control_part()._clock_us()]
    assert all(0 <= one - NOON_US < 60_000_000 for one in told)


def test_a_clock_that_goes_back_is_told_once_and_by_how_much():
    seconds, wall, told = [0.0], [5_000.0], []
    watch = WatchForStepsBack(told.append, lambda: seconds[0], lambda: wall[0])

    def after(passed, moved):
        seconds[0] += passed
        wall[0] += passed + moved
        return watch.look()

    assert not after(0.5, 0.0)
    assert not after(0.5, 7_200.0), "forward: nothing waits for longer"
    assert not after(0.5, -BACK_SECONDS_MAX), "as far as that it may"
    assert not after(3_600.0, 0.0), "a process that was frozen"
    assert told == []
    assert after(0.5, -7_200.0)
    assert [str(one) for one in told] == ["this machine's clock went back by 7200.0 s"]
    assert not after(0.5, 0.0)
