"""Taking transactions in: what is new, what is a redelivery, what contradicts what is known."""

from xxhash import xxh3_64_intdigest

from domain.matching.book import Book
from domain.matching.legs import Leg
from domain.matching.pools import UniquePool
from domain.matching.settling import Settling
from domain.transactions import SIDE_NAMES, Rejection, Transaction


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
        self._forgotten_before = -(1 << 62) if forgotten_before is None else forgotten_before
        self._counts: dict[tuple[int, str], list[int]] = {}
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
        newest = [-(1 << 62), -(1 << 62)]
        counts = self._counts
        immediate = any(rule.immediate for rule in book.rules)
        for index, transaction in enumerate(transactions):
            side = transaction.side
            prior = known[side].get(transaction.transaction_id)
            if prior is not None:
                self._meet(prior, transaction, raws[index] if raws else b"")
                continue
            occurred_at = (
                book.event_time(transaction) if transaction.is_date else transaction.occurred_at
            )
            if occurred_at < self._forgotten_before:
                self._refuse_old(transaction, raws[index] if raws else b"")
                continue
            leg = Leg(
                transaction.transaction_id,
                side,
                transaction.amount_minor,
                transaction.currency,
                occurred_at,
                book.keys_of(transaction),
                transaction.packed,
            )
            journal.append(transaction.packed)
            if occurred_at > newest[side]:
                newest[side] = occurred_at
            count = counts.get((side, transaction.currency))
            if count is None:
                counts[(side, transaction.currency)] = [1, transaction.amount_minor]
            else:
                count[0] += 1
                count[1] += transaction.amount_minor
            book.put_in(leg)
            if immediate:
                self._settling.arrived(leg)
                if book.again:
                    self._settling.look_again()
        self.newest = [None if one == -(1 << 62) else one for one in newest]
        return journal

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
