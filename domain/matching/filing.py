"""The short way of new records that no rule takes at once: they are filed together.

What is done in short here is what `Acceptance` does at length, one by one. A redelivery, a record
from before what is remembered, and anything else that needs a closer look goes the long way.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any

from domain.matching.book import Book
from domain.matching.due import FIRST_LOOK
from domain.matching.legs import OPEN, PENDING, Leg
from domain.matching.pairing import Note
from domain.transaction_columns import TransactionColumns
from domain.transactions import Transaction

# Records tried at once; see `domain.matching.pairing`.
_STRETCH_MIN, _STRETCH_MAX = 16, 4_096


class Filing:
    """Files records that are new.

    Args:
        forgotten_before: Older records go the long way.
        note: Told of what was taken in.
    """

    def __init__(self, book: Book, forgotten_before: int, note: Note) -> None:
        self._book = book
        self._forgotten_before = forgotten_before
        self._note = note
        self._stretch = _STRETCH_MAX
        self._records: Sequence[Transaction] = ()

    def take_in(self, records: TransactionColumns, begin: int) -> int:
        """Take records in, from place `begin` on, up to the first that goes the long way.

        Returns:
            That one's place; the number of records when none does.
        """
        if records is not self._records:
            self._records = records
            self._instants = self._book.event_times(records)
            self._keys: list[tuple[Any, ...]] = self._book.key_rows(records)
        while begin < len(records):
            end = min(begin + self._stretch, len(records))
            taken = self._new_ones(records, begin, end)
            if taken:
                self._file(records, begin, begin + taken)
            begin += taken
            if begin < end:
                self._stretch = max(_STRETCH_MIN, 2 * taken)
                break
            self._stretch = min(2 * self._stretch, _STRETCH_MAX)
        return begin

    def _new_ones(self, records: TransactionColumns, begin: int, end: int) -> int:
        """How many come before the first known, doubled or forgotten one."""
        known = self._book.known[records.side]
        ids, instants = records.transaction_ids[begin:end], self._instants[begin:end]
        distinct = set(ids)
        if (
            len(distinct) == len(ids)
            and known.keys().isdisjoint(distinct)
            and min(instants) >= self._forgotten_before
        ):
            return len(ids)
        met = set[str]()
        for place, (one_id, instant) in enumerate(zip(ids, instants, strict=True)):
            if one_id in known or one_id in met or instant < self._forgotten_before:
                return place
            met.add(one_id)
        raise AssertionError("one of them is known, doubled or forgotten")

    def _file(self, records: TransactionColumns, begin: int, end: int) -> None:
        book, side = self._book, records.side
        ids = records.transaction_ids[begin:end]
        amounts = records.amounts_minor[begin:end]
        currencies = records.currencies[begin:end]
        instants = self._instants[begin:end]
        legs = list(
            map(
                Leg,
                ids,
                repeat(side),
                amounts,
                currencies,
                instants,
                self._keys[begin:end],
                records.packed[begin:end],
                repeat(PENDING),
                repeat(OPEN),
                repeat(FIRST_LOOK),
            )
        )
        book.known[side].update(zip(ids, legs, strict=True))
        for pool in book.pools:
            pool.add_all(legs)
        oldest = min(instants)
        book.due.plan_first(legs, oldest, book.looks[0])
        if len(set(currencies)) == 1:
            newest, sums_of_days = max(instants), book.calendar.sums_of_days
            for of_day in sums_of_days(instants, amounts, oldest, newest):
                self._note(side, currencies[0], newest, *of_day)
            return
        days = book.calendar.days_of(instants)
        for currency, amount, instant, day in zip(currencies, amounts, instants, days, strict=True):
            self._note(side, currency, instant, day, 1, amount)
