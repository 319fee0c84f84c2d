"""Choosing what to freeze: what stands by itself, so that nothing else has to be asked about it.

A match is frozen when nobody has brought a value again that it used up; an open leg when it is
alone under every key it has, in a book whose rules all find by keys. What comes later finds either
by its own id or by its own key, or changes nothing about it. Everything else, which is rare, stays.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from domain.freezing.fingerprints import of_ids, of_keys
from domain.matching.book import Book
from domain.matching.closed import DAY_US, Closed, Pairs
from domain.matching.due import FIRST_LOOK, SECOND_US
from domain.matching.legs import EXCEPTION, OPEN, PENDING, Leg, Settled
from domain.matching.unique_pool import UniquePool

#: The due second that sorts what is never due behind everything.
NEVER: Final = 1 << 62
# Legs looked at together, at least.
_PORTION_MIN = 1_024

_rivals_of = attrgetter("rivals")

#: Days of event time, first and last, that nothing may be frozen of.
Held = Sequence[tuple[int, int]]


class Chosen(NamedTuple):
    """What was taken out of the book.

    Attributes:
        entries: As `FrozenMatch` or `FrozenLeg` are written, of pairs as `frozen` says.
        fingerprints: Of each entry.
        days: First and last day of event time.
        dues: Of legs: the second each is due in, 0 for never.
    """

    entries: list[Any]
    fingerprints: list[tuple[int, ...]]
    days: tuple[int, int]
    dues: list[int]

    def between(self, begin: int, end: int) -> "Chosen":
        """Some of them."""
        return Chosen(
            self.entries[begin:end],
            self.fingerprints[begin:end],
            self.days,
            self.dues[begin:end],
        )


def pinned_ids(book: Book) -> tuple[set[str], set[str]]:
    """Ids, by side, that something else in the book speaks of."""
    pinned = set(book.replaced[0]), set(book.replaced[1])
    for refusal in book.refusals:
        pinned[0].update(refusal.source_ids)
        pinned[1].update(refusal.target_ids)
    return pinned


def is_held(day: int, held: Held) -> bool:
    """Whether nothing of a day may be frozen."""
    return any(first <= day <= last for first, last in held)


# -- pairs by a unique first rule --


def take_pairs(book: Book, day: int, closed: Closed, count: int) -> Chosen:
    """Take out pairs that were closed together, those closed first of them first.

    Args:
        count: Pairs to look at, at most.
    """
    pool, known = book.pools[0], book.known
    assert isinstance(pool, UniquePool), "only a unique rule pairs off"
    pairs = _that_stand_alone(book, pool, closed, count)
    # What they return is let go of at once: a list of it would be as long as the pairs are.
    deque(map(pool.table.pop, pairs.keys), 0)
    for side in (0, 1):
        deque(map(known[side].pop, pairs.ids[side]), 0)
    settled = pairs.settled
    entries: list[Any] = list(
        zip(
            [one.rule for one in settled],
            [one.newest_ms for one in settled],
            [one.sources for one in settled],
            [one.targets for one in settled],
            pairs.keys,
            strict=True,
        )
    )
    rows = zip(
        of_ids(0, pairs.ids[0]), of_ids(1, pairs.ids[1]), of_keys(0, pairs.keys), strict=True
    )
    return Chosen(entries, list(rows), (day, day), [])


def _that_stand_alone(book: Book, pool: UniquePool, closed: Closed, count: int) -> Pairs:
    """Take out the first pairs, and put those that have to stay back, behind the others."""
    pinned = pinned_ids(book)
    pairs = closed.pairs.take(0, count)
    if not closed.undone.isdisjoint(pairs.settled):
        closed.list_singly(pairs.take_some(closed.undone))
    if (
        not any(map(_rivals_of, pairs.settled))
        and pinned[0].isdisjoint(pairs.ids[0])
        and pinned[1].isdisjoint(pairs.ids[1])
        and not pool.contests
    ):
        return pairs
    stay = {
        one
        for key, source_id, target_id, one in zip(
            pairs.keys, *pairs.ids, pairs.settled, strict=True
        )
        if one.rivals or source_id in pinned[0] or target_id in pinned[1] or pool.is_contested(key)
    }
    closed.pairs.put(pairs.take_some(stay))
    return pairs


# -- other matches --


class _Member(NamedTuple):
    side: int
    transaction_id: str
    day: int
    packed: bytes
    spent: list[tuple[int, Any]]


class Matches:
    """Takes closed matches out of a book, whatever their shape.

    Args:
        held: Days that nothing may be frozen of.
    """

    def __init__(self, book: Book, held: Held) -> None:
        self._book = book
        self._held = held
        self._pinned = pinned_ids(book)
        self._unique = [
            (rule, pool)
            for rule, pool in zip(book.rules, book.pools, strict=True)
            if isinstance(pool, UniquePool)
        ]
        self._ids: tuple[set[str], set[str]] = (set(), set())
        self._spent: set[tuple[int, int, Any]] = set()

    def take(self, count: int) -> Chosen:
        """Take out up to so many matches, of the oldest days first."""
        entries, rows, days = [], [], [0, 0]
        for settled, members in islice(self._found(), count):
            entries.append(
                (
                    settled.rule,
                    settled.newest_ms,
                    settled.compared,
                    [(one.packed, one.day, one.spent) for one in members],
                )
            )
            rows.append(self._fingerprints(members))
            of_members = [settled.day, *(one.day for one in members)]
            if not days[0]:
                days = [min(of_members), max(of_members)]
            days = [min(days[0], *of_members), max(days[1], *of_members)]
            self._take_out(members)
            self._book.closed.undo(settled)
        self._forget_listed()
        return Chosen(entries, rows, (days[0], days[1]), [])

    def _found(self) -> Iterator[tuple[Settled, list[_Member]]]:
        for day in sorted(self._book.closed.days):
            for source_id in list(self._book.closed.days[day].ids[0]):
                settled = self._book.known[0].get(source_id)
                if type(settled) is Settled and not settled.rivals:
                    members = self._members(settled)
                    if members is not None:
                        yield settled, members

    def _members(self, settled: Settled) -> list[_Member] | None:
        """The members of a match; None if it has to stay."""
        book = self._book
        if settled.day < book.kept_from:
            return None  # to be forgotten with the next day
        members = []
        for side in (0, 1):
            for packed in settled.packed(side):
                transaction = book.unpack(packed)
                named = transaction.transaction_id
                day = book.event_time(transaction) // DAY_US
                if (
                    book.known[side].get(named) is not settled
                    or named in self._pinned[side]
                    or is_held(day, self._held)
                ):
                    return None
                spent = []
                if self._unique:
                    keys = book.keys_of(transaction)
                    for rule, pool in self._unique:
                        key = keys[rule.slot]
                        if key is not None and pool.spent_by(side, key) == named:
                            spent.append((rule.index, key))
                members.append(_Member(side, named, day, packed, spent))
        return members if self._stands_alone(members) else None

    def _stands_alone(self, members: list[_Member]) -> bool:
        """Whether nobody else has a value that these used up."""
        own = {(one.side, one.transaction_id) for one in members}
        for member in members:
            for index, key in member.spent:
                pool = self._book.pools[index]
                assert isinstance(pool, UniquePool)
                if pool.contests and pool.is_contested(key):
                    return False
                for side in (0, 1):
                    holder = pool.on(side, key)
                    if holder is not None and (
                        not isinstance(holder, str) or (side, holder) not in own
                    ):
                        return False
        return True

    def _fingerprints(self, members: list[_Member]) -> tuple[int, ...]:
        found: list[int] = []
        for one in members:
            found += of_ids(one.side, (one.transaction_id,))
            for index, key in one.spent:
                found += of_keys(index, (key,))
        return tuple(found)

    def _take_out(self, members: list[_Member]) -> None:
        for one in members:
            del self._book.known[one.side][one.transaction_id]
            self._ids[one.side].add(one.transaction_id)
            for index, key in one.spent:
                pool = self._book.pools[index]
                assert isinstance(pool, UniquePool)
                pool.put(one.side, key, None)
                self._spent.add((index, one.side, key))

    def _forget_listed(self) -> None:
        """Take what was taken out off the lists of its days."""
        if not self._ids[0]:
            return
        for closed in self._book.closed.days.values():
            if closed.undone:
                closed.undone.intersection_update(closed.pairs.settled)
            for side, ids in enumerate(closed.ids):
                ids[:] = [one for one in ids if one not in self._ids[side]]
            for place, keys in enumerate(closed.spent):
                index, side = divmod(place, 2)
                keys[:] = [key for key in keys if (index, side, key) not in self._spent]


# -- open legs --


def take_legs(book: Book, held: Held, count: int) -> Chosen:
    """Take out up to so many open legs that are alone, those filed first of each side."""
    chosen: list[Leg] = []
    if all(rule.has_key for rule in book.rules):
        pinned = pinned_ids(book)
        for side in (0, 1):
            wanted = count - len(chosen) if side else (count + 1) // 2
            chosen += _lone_legs(book, held, side, pinned[side], wanted)
    first_look = book.looks[0]
    due_of = [
        (leg.occurred_at + first_look) // SECOND_US + 1 if leg.due == FIRST_LOOK else leg.due
        for leg in chosen
    ]
    order = sorted(range(len(chosen)), key=[due or NEVER for due in due_of].__getitem__)
    chosen, dues = [chosen[place] for place in order], [due_of[place] for place in order]
    noted = book.exceptions
    entries = [
        (leg.packed, due, noted[leg][0] if leg in noted else None, leg.met)
        for leg, due in zip(chosen, dues, strict=True)
    ]
    rows = _leg_fingerprints(book, chosen)
    days = [leg.occurred_at // DAY_US for leg in chosen]
    _forget(book, chosen)
    return Chosen(entries, rows, (min(days, default=0), max(days, default=0)), dues)


def _lone_legs(book: Book, held: Held, side: int, pinned: set[str], count: int) -> list[Leg]:
    legs = (leg for leg in book.known[side].values() if type(leg) is Leg)
    lone: list[Leg] = []
    # By the portion: what has been found already is not looked through again.
    while len(lone) < count:
        portion = list(islice(legs, max(count - len(lone), _PORTION_MIN)))
        if not portion:
            break
        some = [
            leg
            for leg in portion
            if leg.disposition == PENDING
            or (leg.disposition == EXCEPTION and not book.exceptions[leg][1])
        ]
        some = [leg for leg in some if leg.rule == OPEN and not leg.suggestions]
        if pinned:
            some = [leg for leg in some if leg.transaction_id not in pinned]
        if held:
            some = [leg for leg in some if not is_held(leg.occurred_at // DAY_US, held)]
        for pool in book.pools:
            some = pool.alone(some)
        lone += some[: count - len(lone)]
    return lone


def _forget(book: Book, legs: list[Leg]) -> None:
    """Let open legs be known no longer."""
    planned = 0
    for pool in book.pools:
        for leg in legs:
            pool.discard(leg)
    for leg in legs:
        del book.known[leg.side][leg.transaction_id]
        if leg.disposition == EXCEPTION:
            del book.exceptions[leg]
        if leg.due:
            leg.due = 0
            planned += 1
        leg.packed = b""  # plans that are stale go on to know the leg for a while
    book.due.forgotten(planned)


def _leg_fingerprints(book: Book, legs: list[Leg]) -> list[tuple[int, ...]]:
    found: list[list[int]] = [[] for _ in legs]
    for side in (0, 1):
        places = [place for place, leg in enumerate(legs) if leg.side == side]
        prints = of_ids(side, [legs[place].transaction_id for place in places])
        for place, one in zip(places, prints, strict=True):
            found[place].append(one)
    for rule in book.rules:
        slot = rule.slot
        places = [place for place, leg in enumerate(legs) if leg.keys[slot] is not None]
        prints = of_keys(rule.index, [legs[place].keys[slot] for place in places])
        for place, one in zip(places, prints, strict=True):
            found[place].append(one)
    return list(map(tuple, found))
