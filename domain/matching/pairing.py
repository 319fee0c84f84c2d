"""The short way of most records where the first rule is unique.

Each meets its counterpart, or nobody yet. What is done in short here is what `Settling` does at
length, one to one. Whoever needs more than that, a redelivery, a duplicate, a difference, goes the
long way.
"""

from collections.abc import Callable
from typing import Self

from domain.events import RecordMatched
from domain.matching.book import Book
from domain.matching.compiled import KeyOf
from domain.matching.due import FIRST_LOOK
from domain.matching.legs import OPEN, PENDING, Leg
from domain.matching.pools import UniquePool
from domain.matching.settling import Settling
from domain.transactions import Transaction

#: Told (side, currency, count, sum in minor units, newest event time) of what was taken in.
Note = Callable[[int, str, int, int, int], None]

_LONG_AGO = -(1 << 62)


class Pairing:
    """Pairs records off by the first rule of a book, or files them where nobody waits for them.

    Args:
        forgotten_before: Older records go the long way.
    """

    def __init__(
        self, book: Book, settling: Settling, pool: UniquePool, forgotten_before: int
    ) -> None:
        self._book = book
        self._settling = settling
        self._pool = pool
        self._forgotten_before = forgotten_before
        self._rule = book.rules[0]
        self._keys_of: tuple[KeyOf, KeyOf] = self._rule.index_keys
        self._alone = len(book.rules) == 1
        # Where a later rule decides at once, a record that meets nobody has to be looked at.
        self._files = not any(rule.immediate for rule in book.rules[1:])

    @classmethod
    def of(cls, book: Book, settling: Settling, forgotten_before: int) -> Self | None:
        """The short way into a book; None where there is none."""
        pool = book.pools[0]
        if not isinstance(pool, UniquePool) or book.rules[0].suggests:
            return None
        if book.exceptions and len(book.rules) > 1:
            return None
        return cls(book, settling, pool, forgotten_before)

    def take_in(  # noqa: C901 - one loop over every record there is: a call each would cost a fifth
        self, transactions: list[Transaction], begin: int, note: Note
    ) -> int:
        """Take records in, from place `begin` on, up to the first that goes the long way.

        Returns:
            That one's place; the number of records when none does.
        """
        book, pool, alone, files = self._book, self._pool, self._alone, self._files
        plain = self._rule.plain and not self._rule.refused
        forgotten_before = self._forgotten_before
        one_key = alone and self._rule.key_readers is not None
        decided, pair_off = self._settling.events.append, book.pair_off
        name, version = self._rule.name, self._settling.definition_version
        filed: list[Leg] = []
        side, currency = -1, ""
        count = total = forgotten = 0
        newest = _LONG_AGO
        place = len(transactions)
        for index in range(begin, place):
            transaction = transactions[index]
            if transaction.side != side or transaction.currency != currency:
                if count:
                    note(side, currency, count, total, newest)
                count = total = 0
                newest = _LONG_AGO
                side, currency = transaction.side, transaction.currency
                known, key_of = book.known[side], self._keys_of[side]
                waiting, others = pool.sides[side], pool.sides[1 - side]
            transaction_id = transaction.transaction_id
            occurred_at = transaction.occurred_at
            if transaction.is_date:
                occurred_at = book.event_time(transaction)
            key = key_of(transaction)
            if (
                key is None
                or transaction_id in known
                or key in waiting
                or occurred_at < forgotten_before
                or (transaction.extra is not None and transaction.extra[5] is not None)
            ):
                place = index
                break
            amount_minor = transaction.amount_minor
            other = others.get(key)
            if other is None:
                if not files:
                    place = index
                    break
                leg = Leg(
                    transaction_id,
                    side,
                    amount_minor,
                    currency,
                    occurred_at,
                    (key,) if one_key else book.keys_of(transaction),
                    transaction.packed,
                    PENDING,
                    OPEN,
                    FIRST_LOOK,
                )
                filed.append(leg)
                known[transaction_id] = leg
                if alone:
                    waiting[key] = leg
                else:
                    for one in book.pools:
                        one.add(leg)
            else:
                if (
                    type(other) is not Leg
                    or other.disposition != PENDING
                    or (
                        other.amount_minor != amount_minor or other.currency != currency
                        if plain
                        else not self._admits(transaction, side, other)
                    )
                ):
                    place = index
                    break
                other_id, other_minor, other_at = (
                    other.transaction_id,
                    other.amount_minor,
                    other.occurred_at,
                )
                newest_ms = max(other_at, occurred_at) // 1000
                decided(
                    RecordMatched(
                        name,
                        "one_to_one",
                        version,
                        [other_id],
                        [transaction_id],
                        currency,
                        other_minor,
                        amount_minor,
                        newest_ms,
                    )
                    if side
                    else RecordMatched(
                        name,
                        "one_to_one",
                        version,
                        [transaction_id],
                        [other_id],
                        currency,
                        amount_minor,
                        other_minor,
                        newest_ms,
                    )
                )
                if other.due:
                    other.due = 0
                    forgotten += 1
                pair_off(other, transaction_id, transaction.packed, occurred_at, key, newest_ms)
                if not alone:
                    book.stood_beside(other, 1)
                    if book.again:
                        self._settling.look_again()
            count += 1
            total += amount_minor
            if occurred_at > newest:
                newest = occurred_at
        if count:
            note(side, currency, count, total, newest)
        book.due.forgotten(forgotten)
        book.due.plan_first(filed, book.looks[0])
        return place

    def _admits(self, transaction: Transaction, side: int, other: Leg) -> bool:
        """Whether the first rule takes the two, who have its value in common, for a pair."""
        leg = self._book.leg_of(transaction)
        return self._rule.admits(leg, other) if side == 0 else self._rule.admits(other, leg)
