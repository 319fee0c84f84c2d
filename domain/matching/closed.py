"""What is kept of closed transactions, by day of event time, so that it can be forgotten by day.

The members of a match are all of the day of its newest one: a match of which only a part were known
could not be reversed, and an id it had lost could come anew.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from domain.matching.legs import Leg, Settled

DAY_US = 86_400_000_000


class Members(NamedTuple):
    """Members of matches on one side, by the column."""

    ids: list[str]
    instants: list[int]
    packed: list[bytes]


class Pairs(NamedTuple):
    """Matches of one transaction a side by a unique first rule, by the column.

    Attributes:
        keys: The value that both of a pair used up.
        ids: Of the members, by side.
        settled: What both ids are known as.
    """

    keys: list[Any]
    ids: tuple[list[str], list[str]]
    settled: list[Settled]

    def take(self, begin: int, end: int) -> "Pairs":
        """Take some out, by their places."""
        taken = Pairs(
            self.keys[begin:end],
            (self.ids[0][begin:end], self.ids[1][begin:end]),
            self.settled[begin:end],
        )
        for column in (self.keys, *self.ids, self.settled):
            del column[begin:end]
        return taken

    def put(self, others: "Pairs") -> None:
        """Append others."""
        self.keys.extend(others.keys)
        self.ids[0].extend(others.ids[0])
        self.ids[1].extend(others.ids[1])
        self.settled.extend(others.settled)

    def among(self, some: Sequence[Collection[str]]) -> set[Settled]:
        """Those with a member whose id is among some of its side."""
        return {
            one
            for side in (0, 1)
            if some[side]
            for one_id, one in zip(self.ids[side], self.settled, strict=True)
            if one_id in some[side]
        }

    def take_some(self, some: set[Settled]) -> "Pairs":
        """Take out the pairs that are among some matches."""
        rows = list(zip(self.keys, *self.ids, self.settled, strict=True))
        for column in (self.keys, *self.ids, self.settled):
            column.clear()
        taken = Pairs([], ([], []), [])
        for key, source_id, target_id, settled in rows:
            goes_to = taken if settled in some else self
            goes_to.keys.append(key)
            goes_to.ids[0].append(source_id)
            goes_to.ids[1].append(target_id)
            goes_to.settled.append(settled)
        return taken


class Closed(NamedTuple):
    """What has to be forgotten of a day's closed transactions when ids of its age are.

    `pairs` has matches both of whose members are of that day, but some are none now and stand in
    `undone`, among others. Other matches stand by their ids, and an id may stand there that is in a
    pair too, or that has been closed anew since and is of another day now: see `Book.day_of`.
    """

    ids: tuple[list[str], list[str]]
    spent: list[list[Any]]  # at 2 x rule + side: values used up
    rivals: dict[Leg, None]
    pairs: Pairs
    undone: set[Settled]

    def list_singly(self, pairs: Pairs) -> None:
        """Note pairs as ids and spent values."""
        for side in (0, 1):
            self.ids[side].extend(pairs.ids[side])
            self.spent[side].extend(pairs.keys)

    def spread(self) -> None:
        """Turn all pairs into ids and spent values."""
        self.list_singly(self.pairs.take(0, len(self.pairs.keys)))
        self.undone.clear()

    def spread_undone(self) -> None:
        """Turn what is no pair any more into ids and spent values."""
        self.spread_some(self.undone)
        self.undone.clear()

    def spread_some(self, some: set[Settled]) -> None:
        """Turn those pairs into ids and spent values that are among some matches."""
        if some and not some.isdisjoint(self.pairs.settled):
            self.list_singly(self.pairs.take_some(some))


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
        return Closed(([], []), [[] for _ in range(2 * rules)], {}, Pairs([], ([], []), []), set())

    def use(self, rules: int) -> None:
        """Go on under other rules: rivals and spent values belonged to the ones before."""
        self._rules = rules
        for closed in self.days.values():
            closed.spent[:] = self.new(rules).spent
            closed.rivals.clear()

    def spread(self) -> None:
        """Turn every day's pairs into ids and spent values."""
        for closed in self.days.values():
            closed.spread()

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

    def of_match(self, newest_ms: int) -> Closed:
        """Where the members of a match are kept, and the values they used up."""
        return self.on(newest_ms * 1000)

    def of_day(self, day: int) -> Closed:
        """What is kept of a day, counted from the epoch."""
        closed = self.days.get(day)
        if closed is None:
            closed = self.days[day] = self.new(self._rules)
        return closed

    def close_pairs(
        self,
        keys: list[Any],
        sources: Members,
        targets: Members,
        settled: list[Settled],
        newest_ms: list[int],
    ) -> None:
        """Note pairs by the unique first rule on the days of their members, see `Book.pair_off`."""
        closed = self.of_match(max(newest_ms))
        begin, _ = self.last_bounds_us
        if begin <= min(sources.instants) and begin <= min(targets.instants):
            closed.pairs.put(Pairs(keys, (sources.ids, targets.ids), settled))
            return
        rows = zip(
            sources.ids, sources.instants, targets.ids, targets.instants, keys, settled, strict=True
        )
        for source_id, source_instant, target_id, target_instant, key, match in rows:
            newer = self.on(max(source_instant, target_instant))
            if source_instant // DAY_US == target_instant // DAY_US:
                newer.pairs.put(Pairs([key], ([source_id], [target_id]), [match]))
                continue
            for side, one in ((0, source_id), (1, target_id)):
                newer.ids[side].append(one)
                newer.spent[side].append(key)

    def undo(self, settled: Settled) -> None:
        """Note that a match may be among the pairs of its day, and is none any more."""
        self.of_match(settled.newest_ms).undone.add(settled)

    def drop_rival(self, rival: Leg) -> bool:
        """Count a rival no more; say whether it still counted."""
        closed = self.days.get(rival.occurred_at // DAY_US)
        if closed is None or rival not in closed.rivals:
            return False
        del closed.rivals[rival]
        return True

    def rivals(self) -> list[Leg]:
        """Every leg that earlier rules still count though a later one has matched it, by day."""
        return [rival for day in sorted(self.days) for rival in self.days[day].rivals]

    def take_before(self, day: int) -> list[Closed]:
        """Take out the days before one."""
        self.last_bounds_us = 0, 0
        return [self.days.pop(old) for old in [old for old in self.days if old < day]]
