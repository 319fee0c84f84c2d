"""The short way of most records where the first rule is unique.

Each meets its counterpart, or nobody yet. What is done in short here is what `Settling` does at
length, one to one. Whoever needs more than that, a redelivery, a duplicate, a difference, goes the
long way.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, islice, repeat
from itertools import count as count_from
from operator import not_, sub
from typing import Any, Self, TypeVar

import msgspec

from domain.matched_pairs import MatchedPairs
from domain.matching.book import Book
from domain.matching.closed import Members
from domain.matching.due import FIRST_LOOK
from domain.matching.legs import OPEN, PENDING, Leg, LegColumns, columns_of
from domain.matching.settling import Settling
from domain.matching.unique_pool import UniquePool
from domain.transaction_columns import TransactionColumns
from domain.transactions import SOURCE, Transaction

#: Told (side, currency, newest event time, day, count, sum in minor units) of what was taken in of
#: a currency and day; no event time of it is newer.
Note = Callable[[int, str, int, int, int, int], None]

# Records tried at once: many where all go the short way, few where every other does not, so that
# what was looked up for those behind it is never for nothing often.
_STRETCH_MIN, _STRETCH_MAX = 16, 4_096

_Value = TypeVar("_Value")


def _at(values: Sequence[_Value], places: Sequence[int]) -> list[_Value]:
    return [values[place] for place in places]


class _Rows(msgspec.Struct, gc=False):
    """What the short way needs of some records; `places` says which."""

    places: Sequence[int]
    ids: list[str]
    amounts: list[int]
    currencies: list[str]
    instants: list[int]
    keys: list[Any]
    packed: list[bytes]

    def between(self, begin: int, end: int) -> "_Rows":
        return _Rows(
            self.places[begin:end],
            self.ids[begin:end],
            self.amounts[begin:end],
            self.currencies[begin:end],
            self.instants[begin:end],
            self.keys[begin:end],
            self.packed[begin:end],
        )

    def those(self, chosen: list[bool]) -> "_Rows":
        return _Rows(
            list(compress(self.places, chosen)),
            list(compress(self.ids, chosen)),
            list(compress(self.amounts, chosen)),
            list(compress(self.currencies, chosen)),
            list(compress(self.instants, chosen)),
            list(compress(self.keys, chosen)),
            list(compress(self.packed, chosen)),
        )


class Pairing:
    """Pairs records off by the first rule of a book, or files them where nobody waits for them.

    Args:
        forgotten_before: Older records go the long way.
        note: Told of what was taken in.
    """

    def __init__(
        self, book: Book, settling: Settling, pool: UniquePool, forgotten_before: int, note: Note
    ) -> None:
        self._book = book
        self._settling = settling
        self._pool = pool
        self._forgotten_before = forgotten_before
        self._note = note
        self._rule = book.rules[0]
        self._alone = len(book.rules) == 1
        self._one_key = self._alone and self._rule.key_readers is not None
        # Where a later rule decides at once, a record that meets nobody has to be looked at.
        self._files = not any(rule.immediate for rule in book.rules[1:])
        self._may_be_named = bool(book.exceptions) and any(rule.has_key for rule in book.rules[1:])
        self._stretch = _STRETCH_MAX
        # No record of the stretch in hand is older; most stretches are of one day.
        self._oldest = 0
        self._records: Sequence[Transaction] = ()
        self._key_rows: Sequence[tuple[Any, ...]] = ()

    @classmethod
    def of(cls, book: Book, settling: Settling, forgotten_before: int, note: Note) -> Self | None:
        """The short way into a book; None where there is none."""
        pool = book.pools[0]
        if not isinstance(pool, UniquePool) or book.rules[0].suggests:
            return None
        comparison = book.rules[0].comparison
        if not comparison.as_it_is or comparison.target_sign != 1:
            return None  # the event would have to say what was compared
        return cls(book, settling, pool, forgotten_before, note)

    def take_in(self, records: TransactionColumns, begin: int) -> int:
        """Take records in, from place `begin` on, up to the first that goes the long way.

        Returns:
            That one's place; the number of records when none does.
        """
        if records is not self._records:
            self._records, self._side = records, records.side
            self._instants = self._book.event_times(records)
            self._keys: list[Any] = self._rule.index_column(records)
            self._key_rows = ()
        while begin < len(records):
            rows = self._rows(records, begin, min(begin + self._stretch, len(records)))
            taken = self._take(records, rows)
            begin += taken
            if taken < len(rows.ids):
                self._stretch = max(_STRETCH_MIN, 2 * taken)
                break
            self._stretch = min(2 * self._stretch, _STRETCH_MAX)
        return begin

    def _rows(self, records: TransactionColumns, begin: int, end: int) -> _Rows:
        rows = _Rows(
            range(len(records)),
            records.transaction_ids,
            records.amounts_minor,
            records.currencies,
            self._instants,
            self._keys,
            records.packed,
        )
        return rows if end - begin == len(records) else rows.between(begin, end)

    def _take(self, records: TransactionColumns, rows: _Rows) -> int:
        """Take in the rows before the first that goes the long way; return how many."""
        count = self._new_ones(rows)
        if not count:
            return 0
        if count < len(rows.ids):
            rows = rows.between(0, count)
        found: list[Any] = list(map(self._pool.table.get, rows.keys))
        have_met = [other is not None for other in found]
        met = have_met.count(True)
        if met < count and not self._files:
            return self._take(records, rows.between(0, have_met.index(False)))
        if met:
            pairs, others = rows, found
            if met < count:
                pairs, others = rows.those(have_met), list(compress(found, have_met))
            waiting = columns_of(others)
            agreed = self._unnamed(others, self._agreed(pairs, others, waiting))
            if agreed < met:
                first = next(islice(compress(count_from(0), have_met), agreed, None))
                return self._take(records, rows.between(0, first))
            assert waiting is not None, "who agrees is a leg"
            self._pair_off(pairs, others, waiting)
        if met < count:
            self._file(records, rows.those(list(map(not_, have_met))) if met else rows)
        self._note_rows(rows)
        return count

    def _new_ones(self, rows: _Rows) -> int:
        """How many come before the first known, doubled, keyless or forgotten one."""
        known = self._book.known[self._side]
        ids, keys, instants = rows.ids, rows.keys, rows.instants
        distinct = set(keys)
        self._oldest = min(instants) if instants else 0
        if (
            ids
            and len(distinct) == len(ids) == len(set(ids))
            and None not in distinct
            and known.keys().isdisjoint(ids)
            and self._oldest >= self._forgotten_before
        ):
            return len(ids)
        met_ids, met_keys = set[str](), {None}
        for place, (one_id, key, instant) in enumerate(zip(ids, keys, instants, strict=True)):
            if (
                one_id in known
                or one_id in met_ids
                or key in met_keys
                or instant < self._forgotten_before
            ):
                return place
            met_ids.add(one_id)
            met_keys.add(key)
        return len(ids)

    def _agreed(self, pairs: _Rows, others: list[Any], waiting: LegColumns | None) -> int:
        """How many come before the first that its counterpart does not simply agree with.

        Args:
            waiting: The fields of `others`, if they are nothing but legs.
        """
        if (
            waiting is not None
            and self._rule.plain
            and not self._rule.refused
            and self._all_equal(pairs, waiting)
        ):
            return len(others)
        for count, (place, other) in enumerate(zip(pairs.places, others, strict=True)):
            if type(other) is not Leg or other.side == self._side or other.disposition != PENDING:
                return count
            leg = self._book.leg_of(self._records[place])
            source, target = (leg, other) if self._side == SOURCE else (other, leg)
            if not self._rule.admits(source, target):
                return count
        return len(others)

    def _all_equal(self, pairs: _Rows, waiting: LegColumns) -> bool:
        """Whether all have a pending counterpart of the same money."""
        return (
            set(waiting.sides) == {1 - self._side}
            and not any(waiting.dispositions)
            and list(waiting.amounts_minor) == pairs.amounts
            and list(waiting.currencies) == pairs.currencies
        )

    def _unnamed(self, others: list[Any], count: int) -> int:
        """How many of the first `count` come before one that an open exception may name."""
        if self._may_be_named:
            may_name = self._settling.cases.may_name
            for place in range(count):
                if may_name(others[place]):
                    return place
        return count

    def _pair_off(self, pairs: _Rows, others: list[Leg], columns: LegColumns) -> None:
        new = Members(pairs.ids, pairs.instants, pairs.packed)
        waiting = Members(
            list(columns.transaction_ids), list(columns.occurred_at), list(columns.packed)
        )
        # A call of `max` for each would take half as long again as all of this.
        newest_ms = [
            (one if one > other else other) // 1000  # noqa: FURB136
            for one, other in zip(new.instants, waiting.instants, strict=True)
        ]
        sources, targets = (new, waiting) if self._side == SOURCE else (waiting, new)
        amounts: tuple[Sequence[int], Sequence[int]] = pairs.amounts, columns.amounts_minor
        source_amounts, target_amounts = amounts[self._side], amounts[1 - self._side]
        rows = zip(
            sources.ids,
            targets.ids,
            pairs.currencies,
            source_amounts,
            map(sub, target_amounts, source_amounts),
            newest_ms,
            strict=True,
        )
        matched = MatchedPairs(self._rule.name, self._settling.definition_version, list(rows))
        self._settling.events += matched.events() if len(others) == 1 else [matched]
        self._book.due.forgotten(
            self._book.pair_off(self._side, pairs.keys, new, waiting, others, newest_ms)
        )
        if not self._alone:
            for other in others:
                self._book.stood_beside(other, 1)

    def _file(self, records: TransactionColumns, rows: _Rows) -> None:
        book = self._book
        keys: Iterable[tuple[Any, ...]] = zip(rows.keys)
        if not self._one_key:
            # Of the whole batch at once: it costs less than a reading of each that is filed.
            self._key_rows = self._key_rows or book.key_rows(records)
            keys = _at(self._key_rows, rows.places)
        legs = list(
            map(
                Leg,
                rows.ids,
                repeat(self._side),
                rows.amounts,
                rows.currencies,
                rows.instants,
                keys,
                rows.packed,
                repeat(PENDING),
                repeat(OPEN),
                repeat(FIRST_LOOK),
            )
        )
        book.known[self._side].update(zip(rows.ids, legs, strict=True))
        self._pool.table.update(zip(rows.keys, legs, strict=True))
        for pool in book.pools[1:]:
            for leg in legs:
                pool.add(leg)
        book.due.plan_first(legs, min(rows.instants), book.looks[0])

    def _note_rows(self, rows: _Rows) -> None:
        for currency in set(rows.currencies):
            of = rows
            if rows.currencies.count(currency) < len(rows.ids):
                of = rows.those([one == currency for one in rows.currencies])
            newest, sums_of_days = max(of.instants), self._book.calendar.sums_of_days
            for of_day in sums_of_days(of.instants, of.amounts, self._oldest, newest):
                self._note(self._side, currency, newest, *of_day)
