"""Accounts of a stretch of the log whose journals have expired.

Without a journal nobody can say which transactions were accepted, only how many and their sum. So
here the events are believed as to who was accepted, each on its first mention; what they tell is
added up, and at the end of the stretch it must come to what the snapshot holds that stands in for
the journals. From there on every transaction is known again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionResolved,
    MatchReversed,
    MatchSuggested,
    RecordUnmatched,
    TransactionSuperseded,
)
from domain.transactions import SIDE_NAMES
from domain.verification.accounts import Accounts
from domain.verification.anchors import Anchor
from domain.verification.difference import Difference, Where
from domain.verification.entries import OPEN, Known, Member, named, no_tallies
from domain.verification.ledger import Ledger
from domain.verification.match_books import Made, told_by
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    SUPERSEDED,
    SideKey,
    Tally,
)

_RESTORE_ANCHOR = (
    "The snapshot that stands in for expired journals is not of this log: restore snapshots, "
    "journal_expiries and event_store together from one backup."
)


class PresumedAccounts(Accounts):
    """What the events alone tell of where transactions stand."""

    def __init__(self, where: Where) -> None:
        super().__init__(where, lambda: None)
        self._superseded: dict[SideKey, Tally] = {}
        self._duplicates: dict[SideKey, Tally] = {}

    def accept_told(self, counts: Iterable[tuple[int, str, int, int]]) -> None:
        """Take in what a `TransactionsAccepted` counts."""
        for side, currency, count, sum_minor in counts:
            self.accepted.setdefault((side, currency), Tally()).add(count, sum_minor)

    def find(self, side: int, transaction_id: str) -> Known:
        """Give a transaction that an event names, presumed to have been accepted."""
        return self.known[side].setdefault(transaction_id, Known(0, "", 0))

    def forget(self, side: int, transaction_id: str) -> None:
        """Know a transaction no longer that has gone where nothing else is said of it."""
        self.known[side].pop(transaction_id, None)

    def count_duplicate(self, side: int, currency: str, amount_minor: int, sign: int) -> None:
        """Count a duplicate in (`sign` 1) or out again (-1)."""
        tally = self._duplicates.setdefault((side, currency), Tally())
        tally.add(sign, sign * amount_minor)

    def supersede(self, event: TransactionSuperseded) -> None:
        """Count what gave way to its correction."""
        tally = self._superseded.setdefault((event.side, event.currency), Tally())
        tally.add(1, event.amount_minor)
        if not event.late:
            self.forget(event.side, event.transaction_id)

    def standing(self, side: int, currency: str, place: str) -> int:
        """Count the most that can stand in a place: of who is open only their number is told."""
        tallies = {MATCHED: self.matched, SUPERSEDED: self._superseded, DUPLICATE: self._duplicates}
        return tallies.get(place, self.accepted).get((side, currency), Tally()).count

    def end_batch(self) -> None:
        """Nothing is awaited of what cannot be seen to come."""

    def settle(self, anchor: Anchor, forgotten_before_us: Callable[[], int | None]) -> Accounts:
        """Go on with what the snapshot knows, once that comes to what the events told.

        Raises:
            Difference: It does not.
        """
        self._check_standing(anchor)
        accounts = Accounts(self.where, forgotten_before_us, begins_within=True)
        accounts.known = anchor.known
        accounts.matched = self.matched
        accounts.accepted = self.accepted
        held: dict[SideKey, dict[str, Tally]] = {}
        for side, of_side in enumerate(anchor.known):
            for known in of_side.values():
                places = held.setdefault((side, known.currency), no_tallies())
                places[known.place].add(1, known.amount_minor)
        for key in held.keys() | self.accepted.keys():
            accounts.forgotten[key] = self._gone(key, held.get(key) or no_tallies())
        return accounts

    def _gone(self, key: SideKey, held: dict[str, Tally]) -> dict[str, Tally]:
        """Give by place what the snapshot no longer knows of one side and currency."""
        gone = no_tallies()
        left = Tally()
        told = self.accepted.get(key, Tally())
        left.add(told.count, told.sum_minor)
        for place, tallies in (
            (MATCHED, self.matched),
            (SUPERSEDED, self._superseded),
            (DUPLICATE, self._duplicates),
        ):
            of_place = tallies.get(key, Tally())
            left.add(-of_place.count, -of_place.sum_minor)
            gone[place].add(of_place.count, of_place.sum_minor)
            gone[place].add(-held[place].count, -held[place].sum_minor)
            if gone[place].count < 0:
                self._differs(
                    f"it holds {held[place].count} {place} {SIDE_NAMES[key[0]]} transactions in "
                    f"{key[1]}, the events before it tell of {of_place.count}"
                )
        open_there = Tally()
        for place in OPEN:
            open_there.add(held[place].count, held[place].sum_minor)
        if open_there != left:
            self._differs(
                f"it holds {open_there.count} open {SIDE_NAMES[key[0]]} transactions in {key[1]} "
                f"with a sum of {open_there.sum_minor} minor units, the events before it leave "
                f"{left.count} with {left.sum_minor}"
            )
        return gone

    def _check_standing(self, anchor: Anchor) -> None:
        """Hold who is suggested or an exception by the events against the snapshot."""
        for place in (SUGGESTED, EXCEPTION):
            told, held = _standing(self.known, place), _standing(anchor.known, place)
            if told != held:
                member = min(told ^ held)
                who = "it alone says" if member in held else "the events before it alone say"
                self._differs(f"{who} that {named(member)} is {place}")

    def _differs(self, problem: str) -> NoReturn:
        raise Difference(
            "conservation",
            f"a snapshot stands in for expired journals, yet {problem}",
            self.where,
            _RESTORE_ANCHOR,
        )


class PresumingLedger(Ledger):
    """The books of a stretch without journals; `settle` gives those that go on behind it."""

    accounts: PresumedAccounts

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        super().__init__(tenant_id, reconciliation_id)
        self.accounts = PresumedAccounts(self.accounts.where)
        self.use_accounts()

    def settle(self, anchor: Anchor) -> Ledger:
        """Give the books to go on with, their accounts what the snapshot knows.

        Raises:
            Difference: The snapshot is not what the events come to.
        """
        ledger = Ledger(*self._scope)
        ledger.go_on_from(self)
        ledger.accounts = self.accounts.settle(anchor, ledger.forgotten_before_us)
        ledger.use_accounts()
        return ledger

    def _take(self, event: Made | MatchSuggested, side: int, ids: Sequence[str]) -> None:
        suggested = isinstance(event, MatchSuggested)
        for transaction_id in ids:
            known = self.accounts.find(side, transaction_id)
            if known.place != PENDING:
                self._leave(event, side, transaction_id, known)
            known.place = SUGGESTED
            if not suggested:
                self.accounts.forget(side, transaction_id)
        if not suggested:
            for currency, tally in told_by(event, side, ids).items():
                self.accounts.count_matched(side, currency, tally)

    def _leave(self, event: Event, side: int, transaction_id: str, known: Known) -> None:
        """See `Ledger._leave`; a duplicate is left only by what came anew under its id."""
        if known.place == DUPLICATE:
            known.place = PENDING
        else:
            super()._leave(event, side, transaction_id, known)

    def _give_back(self, event: MatchReversed, side: int, ids: Sequence[str]) -> None:
        for currency, tally in told_by(event, side, ids).items():
            self.accounts.count_matched(side, currency, Tally(-tally.count, -tally.sum_minor))

    def _check_amount(
        self, event: RecordUnmatched | DuplicateDetected | TransactionSuperseded, known: Known
    ) -> None:
        known.amount_minor, known.currency = event.amount_minor, event.currency

    def _check_category(
        self,
        member: Member,
        known: Known,  # noqa: ARG002 - what it was before is presumed
        category: str,
        before: str,  # noqa: ARG002
    ) -> None:
        if category == DUPLICATE:
            self._showing.discard(member)

    def _corrected_event(self, event: TransactionSuperseded) -> None:
        self.accounts.supersede(event)

    def _duplicate_event(self, event: DuplicateDetected) -> None:
        super()._duplicate_event(event)
        self.accounts.count_duplicate(event.side, event.currency, event.amount_minor, 1)

    def _resolved_event(self, event: ExceptionResolved) -> None:
        known = self.accounts.find(event.side, event.transaction_id)
        was_duplicate = known.place == DUPLICATE
        super()._resolved_event(event)
        if was_duplicate and known.place == PENDING:
            self.accounts.count_duplicate(event.side, known.currency, known.amount_minor, -1)

    books_by_type: ClassVar[Mapping[type[Any], Callable[..., None]]] = {
        **Ledger.books_by_type,
        TransactionSuperseded: _corrected_event,
        DuplicateDetected: _duplicate_event,
        ExceptionResolved: _resolved_event,
    }


def _standing(known: Iterable[dict[str, Known]], place: str) -> set[Member]:
    return {
        (side, identity)
        for side, of_side in enumerate(known)
        for identity, one in of_side.items()
        if one.place == place
    }
