"""Taking transactions in: what is new, what is a redelivery, what contradicts what is known."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from xxhash import xxh3_64_intdigest

from domain.matching.book import Book
from domain.matching.legs import Leg
from domain.matching.pairing import Pairing
from domain.matching.settling import Settling
from domain.transaction_columns import TransactionColumns
from domain.transactions import SIDE_NAMES, Rejection, Transaction

_LONG_AGO = -(1 << 62)
_side_of = attrgetter("side")


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
        self._looks_at_once = any(rule.immediate for rule in book.rules)
        self.redelivered = 0
        self.newest: list[int | None] = [None, None]
        self.rejections: list[Rejection] = []

    def counts(self) -> list[tuple[int, str, int, int]]:
        """(side, currency, count, sum in minor units) of what was accepted, sorted."""
        return sorted(
            (side, currency, count, total)
            for (side, currency), (count, total) in self._counts.items()
        )

    def accept(self, transactions: Sequence[Transaction], raws: list[bytes]) -> list[bytes]:
        """Take in what is new, deciding at once what waits for nothing.

        Returns:
            The packed content of what was accepted, in order.
        """
        if isinstance(transactions, TransactionColumns):
            return self._accept(transactions, raws)
        journal: list[bytes] = []
        place = 0
        for _, side in groupby(transactions, _side_of):
            of_side = TransactionColumns.of(list(side))
            end = place + len(of_side)
            journal += self._accept(of_side, raws[place:end])
            place = end
        return journal

    def _accept(self, records: TransactionColumns, raws: list[bytes]) -> list[bytes]:
        pairing = Pairing.of(self._book, self._settling, self._forgotten_before, self._note)
        left_out: list[int] = []
        place = 0
        while place < len(records):
            if pairing is not None:
                place = pairing.take_in(records, place)
                if place == len(records):
                    break
            transaction = records[place]
            occurred_at = self._book.event_time(transaction)
            if self._is_new(transaction, occurred_at, raws[place] if raws else b""):
                self._take_in(transaction, occurred_at)
            else:
                left_out.append(place)
            place += 1
        self._settling.look_again()
        if not left_out:
            return records.packed
        journal = list(records.packed)
        for place in reversed(left_out):
            del journal[place]
        return journal

    def _is_new(self, transaction: Transaction, occurred_at: int, raw: bytes) -> bool:
        prior = self._book.known[transaction.side].get(transaction.transaction_id)
        if prior is not None:
            self._meet(prior, transaction, raw)
            return False
        if occurred_at < self._forgotten_before:
            self._refuse_old(transaction, raw)
            return False
        return True

    def _note(self, side: int, currency: str, count: int, total: int, newest: int) -> None:
        """Count what was accepted; `newest` is its newest event time."""
        counted = self._counts.setdefault((side, currency), [0, 0])
        counted[0] += count
        counted[1] += total
        known = self.newest[side]
        if known is None or newest > known:
            self.newest[side] = newest

    def _take_in(self, transaction: Transaction, occurred_at: int) -> None:
        side = transaction.side
        self._note(side, transaction.currency, 1, transaction.amount_minor, occurred_at)
        leg = self._book.leg_of(transaction)
        self._book.put_in(leg)
        if self._looks_at_once:
            self._settling.arrived(leg)

    def _meet(self, prior: Leg | int, transaction: Transaction, raw: bytes) -> None:
        """A transaction whose id is known: the same again, or something else under its name."""
        if isinstance(prior, Leg):
            same = prior.packed == transaction.packed
        else:
            same = prior == xxh3_64_intdigest(transaction.packed)
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
