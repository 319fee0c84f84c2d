"""When to look at a leg again, in whole seconds of event time."""

from collections.abc import Iterator
from heapq import heappop, heappush
from operator import attrgetter

from domain.matching.legs import Leg, by_time

SECOND_US = 1_000_000
#: `Leg.due` of a leg whose first look is planned and whose second nobody has asked for yet: most
#: legs match long before, and working it out for them would be for nothing.
FIRST_LOOK = -1
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
        # Legs planned together and not sorted into seconds yet: the first of their seconds, a
        # serial number, how long after occurring each is due, all legs, and the place of one that
        # waits, or did when it was looked for: none before it does.
        self._unsorted: list[tuple[int, int, int, list[Leg], int]] = []
        self._serial = 0
        self._entries = 0
        self._stale = 0

    def plan(self, leg: Leg, instant_us: int) -> None:
        """Look at `leg` once event time has passed `instant_us`; replaces an earlier plan."""
        if leg.due:
            self.forget(leg)
        second = leg.due = _second(instant_us)
        self._entries += 1
        self._enter(leg, second)

    def plan_first(self, legs: list[Leg], oldest_us: int, after_us: int) -> None:
        """Look at new legs, whose `due` is `FIRST_LOOK`, so long after they occurred.

        Args:
            legs: The queue keeps the list.
            oldest_us: When the first of them occurred.
        """
        self._entries += len(legs)
        self._serial += 1  # entries are never compared further than to here
        second = _second(oldest_us + after_us)
        heappush(self._unsorted, (second, self._serial, after_us, legs, 0))

    def _enter(self, leg: Leg, second: int) -> None:
        legs = self._legs.get(second)
        if legs is None:
            self._legs[second] = [leg]
            heappush(self._seconds, second)
        else:
            legs.append(leg)

    def _sort_until(self, second: int) -> None:
        """Sort what may be due in that second or before."""
        while self._unsorted and self._unsorted[0][0] <= second:
            _, _, after_us, legs, _ = heappop(self._unsorted)
            waiting = [leg for leg in legs if leg.due == FIRST_LOOK]
            self._entries -= len(legs) - len(waiting)
            self._stale -= len(legs) - len(waiting)
            seconds = self._legs
            for leg in waiting:
                due = leg.due = (leg.occurred_at + after_us) // SECOND_US + 1
                entered = seconds.get(due)
                if entered is None:
                    self._enter(leg, due)
                else:
                    entered.append(leg)

    def forget(self, leg: Leg) -> None:
        """Drop the plan for `leg`, if there is one."""
        if leg.due:
            leg.due = 0
            self.forgotten(1)

    def forgotten(self, count: int) -> None:
        """Note that so many planned legs have had their `due` set to 0."""
        self._stale += count
        if self._stale > _STALE_MIN and 2 * self._stale > self._entries:
            self._sweep()

    def _sweep(self) -> None:
        kept = {
            second: [leg for leg in legs if leg.due == second]
            for second, legs in self._legs.items()
        }
        self._legs = {second: legs for second, legs in kept.items() if legs}
        self._seconds = sorted(self._legs)
        unsorted, self._unsorted = self._unsorted, []
        self._entries, self._stale = sum(map(len, self._legs.values())), 0
        for _, _, after_us, legs, _ in unsorted:
            waiting = [leg for leg in legs if leg.due == FIRST_LOOK]
            if waiting:
                self.plan_first(waiting, min(map(_occurred_at, waiting)), after_us)

    def take(self, watermark_us: int) -> Iterator[list[Leg]]:
        """Take out what is due at `watermark_us`, second by second.

        Legs planned while this runs are given too, when they are due.
        """
        now = watermark_us // SECOND_US
        self._sort_until(now)
        while self._seconds and self._seconds[0] <= now:
            second = heappop(self._seconds)
            entries = self._legs.pop(second)
            self._entries -= len(entries)
            legs = sorted({leg for leg in entries if leg.due == second}, key=by_time)
            self._stale -= len(entries) - len(legs)
            for leg in legs:
                leg.due = 0
            yield legs

    def first_us(self) -> int | None:
        """An event time before which no leg is due, None when none waits.

        That of the next one, or a little earlier: for legs planned together it is the first of all
        their seconds, whether the leg of that second still waits or not.
        """
        sorted_second = self._first_sorted()
        while self._unsorted:
            second, serial, after_us, legs, place = self._unsorted[0]
            if sorted_second is not None and sorted_second <= second:
                break
            still = next((at for at in range(place, len(legs)) if legs[at].due == FIRST_LOOK), None)
            if still is not None:
                self._unsorted[0] = second, serial, after_us, legs, still
                return second * SECOND_US
            heappop(self._unsorted)
            self._entries -= len(legs)
            self._stale -= len(legs)
        return None if sorted_second is None else sorted_second * SECOND_US

    def _first_sorted(self) -> int | None:
        while self._seconds:
            second = self._seconds[0]
            legs = self._legs[second]
            # Stale entries at the end go as they are met, so that asking often stays cheap.
            while legs and legs[-1].due != second:
                legs.pop()
                self._entries -= 1
                self._stale -= 1
            if legs:
                return second
            heappop(self._seconds)
            del self._legs[second]
        return None


def _second(instant_us: int) -> int:
    return instant_us // SECOND_US + 1


_occurred_at = attrgetter("occurred_at")
