"""What is kept of closed transactions, by day of event time, so that it can be forgotten by day."""

from typing import Any, NamedTuple

from domain.matching.legs import Leg
from domain.matching.pools import Pool, UniquePool

DAY_US = 86_400_000_000


class Closed(NamedTuple):
    """What has to be forgotten of a day's closed transactions when ids of its age are.

    `pairs` has the values of matches by a unique first rule whose members are both of that day;
    the rule's pool knows whose they were.
    """

    ids: tuple[list[str], list[str]]
    spent: list[list[Any]]  # at 2 x rule + side: values used up
    rivals: dict[Leg, None]
    pairs: list[Any]

    def spread(self, pool: Pool) -> None:
        """Turn pairs, made in the first rule's pool, into ids and spent values."""
        if not self.pairs:
            return
        assert isinstance(pool, UniquePool), "only a unique rule pairs off"
        for side in (0, 1):
            holders = map(pool.sides[side].get, self.pairs)
            self.ids[side].extend([one for one in holders if isinstance(one, str)])
            self.spent[side].extend(self.pairs)
        self.pairs.clear()


class ClosedDays:
    """The days something closed was of, newest use first at hand."""

    def __init__(self) -> None:
        self.days: dict[int, Closed] = {}
        self._rules = 0
        #: The day last asked for, and its bounds: most of what closes together is of one day.
        self.last = self.new(0)
        self.last_bounds_us = 0, 0

    def new(self, rules: int) -> Closed:
        """A day of so many rules without anything closed."""
        return Closed(([], []), [[] for _ in range(2 * rules)], {}, [])

    def use(self, rules: int) -> None:
        """Go on under other rules: rivals and spent values belonged to the ones before."""
        self._rules = rules
        for closed in self.days.values():
            closed.spent[:] = self.new(rules).spent
            closed.rivals.clear()

    def spread(self, pool: Pool) -> None:
        """Turn every day's pairs into ids and spent values."""
        for closed in self.days.values():
            closed.spread(pool)

    def on(self, occurred_at: int) -> Closed:
        """What is kept of the day of an event time."""
        begin, end = self.last_bounds_us
        if begin <= occurred_at < end:
            return self.last
        day = occurred_at // DAY_US
        closed = self.of_day(day)
        self.last_bounds_us = day * DAY_US, (day + 1) * DAY_US
        self.last = closed
        return closed

    def of_day(self, day: int) -> Closed:
        """What is kept of a day, counted from the epoch."""
        closed = self.days.get(day)
        if closed is None:
            closed = self.days[day] = self.new(self._rules)
        return closed

    def close_pairs(
        self, side: int, ids: list[str], instants: list[int], keys: list[Any], others: list[Leg]
    ) -> None:
        """Note pairs by the unique first rule on the days of their members, see `Book.pair_off`."""
        other_instants = [other.occurred_at for other in others]
        closed = self.on(instants[0])
        begin, end = self.last_bounds_us
        if begin <= min(*instants, *other_instants) <= max(*instants, *other_instants) < end:
            closed.pairs.extend(keys)
            return
        for one_id, instant, other, key in zip(ids, instants, others, keys, strict=True):
            closed, other_closed = self.on(instant), self.on(other.occurred_at)
            if closed is other_closed:
                closed.pairs.append(key)
                continue
            closed.ids[side].append(one_id)
            closed.spent[side].append(key)
            other_closed.ids[1 - side].append(other.transaction_id)
            other_closed.spent[1 - side].append(key)

    def drop_rival(self, rival: Leg) -> bool:
        """Count a rival no more; say whether it still counted."""
        closed = self.days.get(rival.occurred_at // DAY_US)
        if closed is None or rival not in closed.rivals:
            return False
        del closed.rivals[rival]
        return True

    def rivals(self) -> list[Leg]:
        """Every leg that earlier rules still count though a later one has matched it."""
        return [rival for closed in self.days.values() for rival in closed.rivals]

    def take_before(self, day: int) -> list[Closed]:
        """Take out the days before one."""
        self.last_bounds_us = 0, 0
        return [self.days.pop(old) for old in [old for old in self.days if old < day]]
