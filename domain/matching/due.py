"""When to look at a leg again, in whole seconds of event time."""

from collections.abc import Iterator
from heapq import heappop, heappush

from domain.matching.legs import Leg

SECOND_US = 1_000_000


class DueQueue:
    """Legs by the second they are due in.

    A leg is due once event time has reached the whole second after its instant: at most a second
    late and never early, and no leg is looked at twice because the second is half over.
    Planning and forgetting cost the same however many legs wait.
    """

    def __init__(self) -> None:
        self._legs: dict[int, set[Leg]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._legs.values()))

    def plan(self, leg: Leg, instant_us: int) -> None:
        """Look at `leg` once event time has passed `instant_us`; replaces an earlier plan."""
        if leg.due:
            self.forget(leg)
        second = instant_us // SECOND_US + 1
        leg.due = second
        legs = self._legs.get(second)
        if legs is None:
            self._legs[second] = {leg}
            heappush(self._seconds, second)
        else:
            legs.add(leg)

    def forget(self, leg: Leg) -> None:
        """Drop the plan for `leg`, if there is one."""
        legs = self._legs.get(leg.due)
        if legs is not None:
            legs.discard(leg)
        leg.due = 0

    def take(self, watermark_us: int) -> Iterator[Leg]:
        """Take out what is due at `watermark_us`, in order of seconds.

        Legs planned while this runs are given too, when they are due.
        """
        now = watermark_us // SECOND_US
        seconds = self._seconds
        while seconds and seconds[0] <= now:
            second = heappop(seconds)
            legs = sorted(
                self._legs.pop(second),
                key=lambda leg: (leg.occurred_at, leg.side, leg.transaction_id),
            )
            for leg in legs:
                leg.due = 0
            yield from legs

    def first_us(self) -> int | None:
        """The event time at which the next leg is due, None when none waits."""
        while self._seconds and not self._legs[self._seconds[0]]:
            del self._legs[self._seconds[0]]
            heappop(self._seconds)
        return self._seconds[0] * SECOND_US if self._seconds else None
