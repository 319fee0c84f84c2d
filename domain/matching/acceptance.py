"""Taking transactions in: what is new, what is a redelivery, what contradicts what is known."""

from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from domain.events import RecordMatched
from domain.matching.book import Book
from domain.matching.compiled import CompiledRule, KeyOf
from domain.matching.legs import PENDING, Known, Leg, Settled
from domain.matching.pools import UniquePool
from domain.matching.settling import Settling
from domain.transactions import SIDE_NAMES, Rejection, Transaction

_LONG_AGO = -(1 << 62)


class _Quick(NamedTuple):
    """The first rule, when it is unique: then most records meet their counterpart or nobody.

    What is done in short here is what `Settling` would do at length, one to one.
    """

    rule: CompiledRule
    pool: UniquePool
    keys_of: tuple[KeyOf, KeyOf]


class Acceptance:
    """One chunk's way into the book.

    Attributes:
        redelivered: Transactions that were known with the same content.
        newest: Newest accepted event time per side, microseconds.

    Args:
        forgotten_before: Ids of older event times are no longer known, so a transaction from then
            cannot be told from a redelivery and is refused.
    """

    def __init__(self, book: Book, settling: Settling, forgotten_before: int | None) -> None:
        self._book = book
        self._settling = settling
        self._forgotten_before = _LONG_AGO if forgotten_before is None else forgotten_before
        self._counts: dict[tuple[int, str], list[int]] = {}
        self._quick = _quick(book)
        # A record that meets nobody by the first rule needs no look of its own then and there.
        self._looks_at_once = any(rule.immediate for rule in book.rules[1 if self._quick else 0 :])
        self.redelivered = 0
        self.newest: list[int | None] = [None, None]
        self.rejections: list[Rejection] = []

    def counts(self) -> list[tuple[int, str, int, int]]:
        """(side, currency, count, sum in minor units) of what was accepted, sorted."""
        return sorted(
            (side, currency, count, total)
            for (side, currency), (count, total) in self._counts.items()
        )

    def accept(self, transactions: list[Transaction], raws: list[bytes]) -> list[bytes]:
        """Take in what is new, deciding at once what waits for nothing.

        Returns:
            The packed content of what was accepted, in order.
        """
        book = self._book
        known = book.known
        journal: list[bytes] = []
        accepted = journal.append
        newest = [_LONG_AGO, _LONG_AGO]
        forgotten_before = self._forgotten_before
        quick = self._quick
        count: list[int] = [0, 0]
        counted_side, counted_currency = -1, ""
        for index, transaction in enumerate(transactions):
            side = transaction.side
            prior = known[side].get(transaction.transaction_id)
            if prior is not None:
                self._meet(prior, transaction, raws[index] if raws else b"")
                continue
            occurred_at = transaction.occurred_at
            if transaction.is_date:
                occurred_at = book.event_time(transaction)
            if occurred_at < forgotten_before:
                self._refuse_old(transaction, raws[index] if raws else b"")
                continue
            accepted(transaction.packed)
            if occurred_at > newest[side]:
                newest[side] = occurred_at
            if side != counted_side or transaction.currency != counted_currency:
                counted_side, counted_currency = side, transaction.currency
                count = self._counts.setdefault((side, counted_currency), [0, 0])
            count[0] += 1
            count[1] += transaction.amount_minor
            if quick is None or not self._take_in_quickly(quick, transaction, side, occurred_at):
                self._take_in(transaction, side, occurred_at)
        self.newest = [None if one == _LONG_AGO else one for one in newest]
        return journal

    def _leg(self, transaction: Transaction, side: int, occurred_at: int) -> Leg:
        return Leg(
            transaction.transaction_id,
            side,
            transaction.amount_minor,
            transaction.currency,
            occurred_at,
            self._book.keys_of(transaction),
            transaction.packed,
        )

    def _take_in(self, transaction: Transaction, side: int, occurred_at: int) -> None:
        leg = self._leg(transaction, side, occurred_at)
        self._book.put_in(leg)
        if self._looks_at_once or self._quick is not None:
            self._settling.arrived(leg)
            if self._book.again:
                self._settling.look_again()

    def _take_in_quickly(
        self, quick: _Quick, transaction: Transaction, side: int, occurred_at: int
    ) -> bool:
        """Pair a record off by the first rule, or file it where nobody waits for it.

        Returns:
            False, with nothing done, when the case is not as plain as that.
        """
        pool = quick.pool
        key = quick.keys_of[side](transaction)
        if key is None or key in pool.sides[side]:
            return False
        other = pool.sides[1 - side].get(key)
        if other is None:
            if self._looks_at_once:
                return False
            self._book.put_in(self._leg(transaction, side, occurred_at))
            return True
        if type(other) is not Leg or other.disposition != PENDING:
            return False
        if quick.rule.plain and not quick.rule.refused:
            if (
                other.amount_minor != transaction.amount_minor
                or other.currency != transaction.currency
            ):
                return False
        else:
            leg = self._leg(transaction, side, occurred_at)
            if not (quick.rule.admits(leg, other) if side == 0 else quick.rule.admits(other, leg)):
                return False
        self._pair_off(quick, transaction, side, occurred_at, key, other)
        return True

    def _pair_off(
        self,
        quick: _Quick,
        transaction: Transaction,
        side: int,
        occurred_at: int,
        key: Any,
        other: Leg,
    ) -> None:
        """Match a record that was never filed with the leg that waited for it."""
        transaction_id, other_id = transaction.transaction_id, other.transaction_id
        newest_ms = max(occurred_at, other.occurred_at) // 1000
        amount, other_amount = transaction.amount_minor, other.amount_minor
        self._settling.events.append(
            RecordMatched(
                quick.rule.name,
                "one_to_one",
                self._settling.definition_version,
                [transaction_id] if side == 0 else [other_id],
                [other_id] if side == 0 else [transaction_id],
                other.currency,
                amount if side == 0 else other_amount,
                other_amount if side == 0 else amount,
                newest_ms,
            )
        )
        book = self._book
        book.pair_off(other, transaction_id, transaction.packed, occurred_at, key, newest_ms)
        if len(book.rules) > 1:
            self._settling.stood_beside(other, 1)
            if book.again:
                self._settling.look_again()

    def _meet(self, prior: Known, transaction: Transaction, raw: bytes) -> None:
        """A transaction whose id is known: the same again, or something else under its name."""
        packed = transaction.packed
        if isinstance(prior, Leg):
            same = prior.packed == packed
        elif isinstance(prior, Settled):
            same = packed in prior.packed(transaction.side)
        elif isinstance(prior, bytes):
            same = prior == packed
        else:
            same = prior == xxh3_64_intdigest(packed)
        if same:
            self.redelivered += 1
            return
        side = SIDE_NAMES[transaction.side]
        self._reject(
            transaction,
            raw,
            "conflicting_duplicate",
            f"{side} transaction {transaction.transaction_id} is known with other content; the "
            "first stays. Send a correction under a new id.",
        )

    def _refuse_old(self, transaction: Transaction, raw: bytes) -> None:
        self._reject(
            transaction,
            raw,
            "too_old",
            f"transaction {transaction.transaction_id} occurred before the time ids are remembered "
            "for, so a redelivery could not be told apart. Raise window.remember to take it in.",
        )

    def _reject(self, transaction: Transaction, raw: bytes, code: str, message: str) -> None:
        self.rejections.append(
            Rejection(
                code,
                message,
                transaction.tenant_id,
                transaction.reconciliation_id,
                transaction.transaction_id,
                transaction.side,
                raw,
                transaction.offset,
            )
        )


def _quick(book: Book) -> _Quick | None:
    rule, pool = book.rules[0], book.pools[0]
    if not isinstance(pool, UniquePool) or rule.suggests:
        return None
    if book.exceptions and len(book.rules) > 1:
        return None
    return _Quick(rule, pool, rule.index_keys)
