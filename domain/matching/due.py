"""When to look at a leg again, in whole seconds of event time."""

from collections.abc import Iterator
from heapq import heappop, heappush

from domain.matching.legs import Leg, by_time

SECOND_US = 1_000_000
# Fewer stale entries than this are not worth a sweep.
_STALE_MIN = 10_000


class DueQueue:
    """Legs by the second they are due in.

    A leg is due once event time has reached the whole second after its instant: at most a second
    late and never early, and no leg is looked at twice because the second is half over.
    Planning and forgetting cost the same however many legs wait: `Leg.due` says which entry is
    meant, entries it does not speak of are stale, and stale ones are swept out once they are many.
    """

    def __init__(self) -> None:
        self._legs: dict[int, list[Leg]] = {}
        self._seconds: list[int] = []
        self._entries = 0
        self._stale = 0

    def plan(self, leg: Leg, instant_us: int) -> None:
        """Look at `leg` once event time has passed `instant_us`; replaces an earlier plan."""
        if leg.due:
            self.forget(leg)
        second = instant_us // SECOND_US + 1
        leg.due = second
        self._entries += 1
        legs = self._legs.get(second)
        if legs is None:
            self._legs[second] = [leg]
            heappush(self._seconds, second)
        else:
            legs.append(leg)

    def forget(self, leg: Leg) -> None:
        """Drop the plan for `leg`, if there is one."""
        if leg.due:
            leg.due = 0
            self._stale += 1
            if self._stale > _STALE_MIN and 2 * self._stale > self._entries:
                self._sweep()

    def _sweep(self) -> None:
        kept = {
            second: [leg for leg in legs if leg.due == second]
            for second, legs in self._legs.items()
        }
        self._legs = {second: legs for second, legs in kept.items() if legs}
        self._seconds = sorted(self._legs)
        self._entries = sum(map(len, self._legs.values()))
        self._stale = 0

    def take(self, watermark_us: int) -> Iterator[Leg]:
        """Take out what is due at `watermark_us`, in order of seconds.

        Legs planned while this runs are given too, when they are due.
        """
        now = watermark_us // SECOND_US
        while self._seconds and self._seconds[0] <= now:
            second = heappop(self._seconds)
            entries = self._legs.pop(second)
            self._entries -= len(entries)
            legs = sorted({leg for leg in entries if leg.due == second}, key=by_time)
            self._stale -= len(entries) - len(legs)
            for leg in legs:
                leg.due = 0
            yield from legs

    def first_us(self) -> int | None:
        """The event time at which the next leg is due, None when none waits."""
        while self._seconds:
            second = self._seconds[0]
            legs = self._legs[second]
            # Stale entries at the end go as they are met, so that asking often stays cheap.
            while legs and legs[-1].due != second:
                legs.pop()
                self._entries -= 1
                self._stale -= 1
            if legs:
                return second * SECOND_US
            heappop(self._seconds)
            del self._legs[second]
        return None
