"""Taking transactions in: what is new, what is a redelivery, what contradicts what is known."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.matching.book import Book
from domain.matching.filing import Filing
from domain.matching.legs import Superseded
from domain.matching.pairing import Pairing
from domain.matching.sameness import is_known, makes_way
from domain.matching.settling import Settling
from domain.matching.undoing import note_late, supersede
from domain.transaction_columns import TransactionColumns
from domain.transactions import SIDE_NAMES, Rejection, Transaction, supersedes

_LONG_AGO = -(1 << 62)


class _Refused(NamedTuple):
    code: str
    message: str


_KNOWN = _Refused("", "")


def _is_correction(records: TransactionColumns, place: int) -> bool:
    extra = records.extras[place]
    return extra is not None and extra[5] is not None


def _end_of_stretch(transactions: Sequence[Transaction], begin: int) -> int:
    """The place after `begin` of the first correction, or record of the other side."""
    if isinstance(transactions, TransactionColumns):
        if begin == 0 and not any(transactions.extras):
            return len(transactions)
        corrections = (
            place
            for place in range(begin + 1, len(transactions))
            if _is_correction(transactions, place)
        )
        return next(corrections, len(transactions))
    side = transactions[begin].side
    ends = (
        place
        for place in range(begin + 1, len(transactions))
        if transactions[place].side != side or supersedes(transactions[place]) is not None
    )
    return next(ends, len(transactions))


def _columns(transactions: Sequence[Transaction], begin: int, end: int) -> TransactionColumns:
    if not isinstance(transactions, TransactionColumns):
        return TransactionColumns.of(transactions[begin:end])
    if end - begin == len(transactions):
        return transactions
    return transactions[begin:end]


class Acceptance:
    """One chunk's way into the book, piece by piece: each correction begins a new one.

    What a correction undoes is told before the piece it begins, so that whoever folds the events
    takes in its records with the place made free for them.

    Attributes:
        journal: The packed content of what was accepted, in order.
        undone: How many of the settling's events came before this piece was accepted.
        redelivered: Transactions that were known with the same content.
        newest: Newest accepted event time per side, microseconds.

    Args:
        forgotten_before: Ids of older event times are no longer known, so a transaction from then
            cannot be told from a redelivery and is refused.
        decides: Whether rules may take what comes; else it is only filed.
    """

    def __init__(
        self, book: Book, settling: Settling, forgotten_before: int | None, *, decides: bool
    ) -> None:
        self._book = book
        self._settling = settling
        self._forgotten_before = _LONG_AGO if forgotten_before is None else forgotten_before
        # side, currency, business day → count, sum in minor units
        self._counts: dict[tuple[int, str, int], list[int]] = {}
        self._decides = decides
        self._looks_at_once = decides and any(rule.immediate for rule in book.rules)
        self.journal: list[bytes] = []
        self.undone = 0
        self.redelivered = 0
        self.newest: list[int | None] = [None, None]
        self.rejections: list[Rejection] = []

    def counts(self) -> list[tuple[int, str, int, int]]:
        """(side, currency, count, sum in minor units) of what was accepted, sorted."""
        counts: dict[tuple[int, str], tuple[int, int]] = {}
        for (side, currency, _), (count, total) in self._counts.items():
            others, rest = counts.get((side, currency), (0, 0))
            counts[side, currency] = (count + others, total + rest)
        return sorted((*key, *counted) for key, counted in counts.items())

    def days(self) -> list[tuple[int, str, int, int, int]]:
        """(side, currency, business day, count, sum) of what was accepted, sorted."""
        return sorted((*key, count, total) for key, (count, total) in self._counts.items())

    def accept(self, transactions: Sequence[Transaction], raws: list[bytes], begin: int) -> int:
        """Take in what is new from place `begin` on, deciding at once what waits for nothing.

        Whom that gives other surroundings is left to be looked at again.

        Returns:
            The place of the correction that begins the next piece, or the number of transactions.
        """
        short = self._short_way()
        place = begin
        while place < len(transactions):
            if place > begin and self._begins_a_piece(transactions[place]):
                break
            end = _end_of_stretch(transactions, place)
            stretch = _columns(transactions, place, end)
            self._accept(stretch, raws[place:end] if raws else raws, short)
            place = end
        return place

    def _short_way(self) -> Pairing | Filing | None:
        """What most records can go; None where a rule has to look at each as it comes."""
        before = self._forgotten_before
        if self._decides:
            pairing = Pairing.of(self._book, self._settling, before, self._note)
            if pairing is not None:
                return pairing
        return None if self._looks_at_once else Filing(self._book, before, self._note)

    def _begins_a_piece(self, transaction: Transaction) -> bool:
        if supersedes(transaction) is None:
            return False
        return self._refusal(transaction, self._book.event_time(transaction)) is None

    def _accept(
        self, records: TransactionColumns, raws: list[bytes], short: Pairing | Filing | None
    ) -> None:
        """Take in records of which only the first may be a correction."""
        left_out: list[int] = []
        place = 0
        while place < len(records):
            if short is not None and (place or not _is_correction(records, 0)):
                place = short.take_in(records, place)
                if place == len(records):
                    break
            transaction = records[place]
            occurred_at = self._book.event_time(transaction)
            refused = self._refusal(transaction, occurred_at)
            if refused is not None:
                left_out.append(place)
                self._leave_out(transaction, refused, raws[place] if raws else b"")
            elif supersedes(transaction) is None:
                self._take_in(transaction, occurred_at)
            else:
                supersede(self._settling, transaction)
                self.undone = len(self._settling.events)
                self._take_in(transaction, occurred_at)
                if self._looks_at_once:
                    self._settling.look_again()
            place += 1
        taken = records.packed
        if left_out:
            taken = list(taken)
            for place in reversed(left_out):
                del taken[place]
        self.journal = [*self.journal, *taken] if self.journal else taken

    def _note(
        self, side: int, currency: str, newest: int, day: int, count: int, total: int
    ) -> None:
        """Count what was accepted of one day."""
        counted = self._counts.setdefault((side, currency, day), [0, 0])
        counted[0] += count
        counted[1] += total
        known = self.newest[side]
        if known is None or newest > known:
            self.newest[side] = newest

    def _take_in(self, transaction: Transaction, occurred_at: int) -> None:
        side = transaction.side
        day = self._book.calendar.day_of(occurred_at)
        self._note(side, transaction.currency, occurred_at, day, 1, transaction.amount_minor)
        leg = self._book.take(transaction)
        if leg is None:
            known = self._book.known[side][transaction.transaction_id]
            by = known.by if isinstance(known, Superseded) else transaction.transaction_id
            note_late(self._settling, transaction, by)
        elif self._looks_at_once:
            self._settling.arrived(leg)

    def _refusal(self, transaction: Transaction, occurred_at: int) -> _Refused | None:
        """Why a transaction is not taken in; `_KNOWN` for a redelivery, None if it is taken."""
        side, named = transaction.side, transaction.transaction_id
        if named in self._book.known[side]:
            if is_known(self._book, transaction):
                return _KNOWN
            if not makes_way(self._book, transaction):
                return _Refused(
                    "conflicting_duplicate",
                    f"{SIDE_NAMES[side]} transaction {named} is known with other content; the "
                    "first stays. Send a correction under a new id, or under this one with "
                    "supersedes naming it.",
                )
        if occurred_at < self._forgotten_before:
            return _Refused(
                "too_old",
                f"transaction {named} occurred before the time ids are remembered "
                "for, so a redelivery could not be told apart. Raise window.remember to take it "
                "in.",
            )
        return None

    def _leave_out(self, transaction: Transaction, refused: _Refused, raw: bytes) -> None:
        if refused is _KNOWN:
            self.redelivered += 1
            return
        self.rejections.append(
            Rejection(
                refused.code,
                refused.message,
                transaction.tenant_id,
                transaction.reconciliation_id,
                transaction.transaction_id,
                transaction.side,
                raw,
                transaction.offset,
            )
        )
