"""The time by which a flow decides, and what it does when its machine's clock goes back.

How long a transaction waits, and what lies ahead of the present, is decided by the database's
clock, as who holds a lease is: a machine whose clock is wrong decides nothing differently.
"""

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

BACK_SECONDS_MAX = 1.0
"""A machine's clock may go back by so much and the process goes on."""
_LOOK_SECONDS = 0.5


class DatabaseClock:
    """The database's clock, carried on by the monotonic one between two tellings.

    It trails by as long as the database took to answer, which is the safe side: event time may
    come late, never early.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The database's clock less ours, in one value: it is read from several threads.
        self._ahead_us: int | None = None

    def tell(self, database_us: int) -> None:
        """Take in what the database's clock has just said, microseconds since the epoch."""
        self._ahead_us = database_us - self._own_us()

    def now_us(self) -> int:
        """The time, microseconds since the epoch; it has to have been told before."""
        assert self._ahead_us is not None, "the database is asked for the time before any record"
        return self._ahead_us + self._own_us()

    def _own_us(self) -> int:
        return int(self._clock() * 1e6)


class ClockWentBack(RuntimeError):
    """This machine's clock was set back."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"this machine's clock went back by {seconds:.1f} s")


class WatchForStepsBack:
    """Notices that the machine's clock went back.

    Bytewax lets an epoch end, and a source that had nothing be asked again, at an instant of that
    clock. Set back by an hour, it would do neither for an hour; a new process does at once.

    Args:
        went_back: Called once, from a thread, with what has happened; it ends the process.
        clock: Seconds, monotonic.
        wall: Seconds since the epoch, by the machine's clock.
    """

    def __init__(
        self,
        went_back: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._went_back = went_back
        self._clock = clock
        self._wall = wall
        self._ahead = self._wall() - self._clock()

    def start(self, stop: threading.Event) -> None:
        """Look now and then, from a thread of its own, until stopped."""
        threading.Thread(target=self._run, args=(stop,), name="clock", daemon=True).start()

    def look(self) -> bool:
        """Compare the two clocks once; say whether the one has gone back and that was told."""
        ahead = self._wall() - self._clock()
        back = self._ahead - ahead
        # A clock that is slowed down to meet the time goes back by little at each look, and what
        # waits for an instant waits no longer for it: only a step counts.
        self._ahead = ahead
        if back <= BACK_SECONDS_MAX:
            return False
        self._went_back(ClockWentBack(back))
        return True

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_SECONDS):
            if self.look():
                return
