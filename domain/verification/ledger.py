"""Where every accepted transaction of a stream stands, kept from its events alone.

This is bookkeeping, not matching: it shares no code with `domain.matching` and knows no rule, so
that a mistake there shows here. Each event may only do what the transactions it names allow, and
what one event leaves to be said by another has to be said within the same batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from domain.errors import DefinitionInvalid
from domain.events import (
    CommandRefused,
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    RecordUnmatched,
    TransactionSuperseded,
    WatermarkAdvanced,
)
from domain.period_events import PeriodClosed
from domain.run_events import RunEvent
from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from domain.verification.accounts import Accounts
from domain.verification.case_books import CaseBooks
from domain.verification.difference import Where
from domain.verification.entries import OPEN, Known, Member, named
from domain.verification.match_books import Made, MatchBooks, told_by
from domain.verification.memory import Memory
from domain.verification.run_books import RUN_EVENTS, RunBooks
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    SUPERSEDED,
    Tally,
    Totals,
)

_BY_MATCH = ("late_match", "manual_match")
# Resolutions that put a transaction back among what is pending, and where it stood if it was no
# duplicate.
_BACK_FROM = {"superseded": EXCEPTION, "first_corrected": DUPLICATE}


class Ledger:
    """The books of one stream.

    Attributes:
        accounts: Where every transaction stands.
        cases: The exceptions, as they stand for those who work them.
        redelivered, rejected: Records taken in to no effect, as the log counts them.
    """

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = (tenant_id, reconciliation_id)
        self.accounts = Accounts(
            Where(f"{tenant_id}/{reconciliation_id}"), self.forgotten_before_us
        )
        self.redelivered = 0
        self.rejected = 0
        self._definition_version = 0
        self._memory = Memory(tenant_id, reconciliation_id)
        self._matches = MatchBooks(tenant_id, reconciliation_id, self.accounts)
        self._paused = False
        self.closed_day: str | None = None
        self.cases = CaseBooks(self.accounts)
        self._runs = RunBooks(self.accounts)
        # What the batch in hand still has to say: which cases close by which match, which
        # duplicates are shown as exceptions.
        self._closing: dict[Member, Made | MatchSuggested] = {}
        self._showing: set[Member] = set()

    # -- reading --

    def read(self, event: Event) -> None:
        """Book one event other than the journal's.

        Raises:
            Difference: The event cannot be true of the transactions it names.
        """
        book = self.books_by_type.get(type(event))
        if book is None:
            self.accounts.differs(
                f"{type(event).__name__} is an event that verification does not know"
            )
        book(self, event)

    def end_batch(self) -> None:
        """Check that the batch has said everything its events call for."""
        if self._closing:
            self.accounts.differs(
                f"{named(*self._closing)} left its exception, which was not resolved"
            )
        if self._matches.ending:
            self.accounts.differs(
                f"suggestion {min(self._matches.ending)} lost a member and was not superseded"
            )
        if self._showing:
            self.accounts.differs(f"{named(*self._showing)} is a duplicate that no exception shows")
        self._runs.end_batch()
        self.accounts.end_batch()

    def forgotten_before_us(self) -> int | None:
        """See `Memory.forgotten_before_us`."""
        try:
            return self._memory.forgotten_before_us()
        except DefinitionInvalid as exc:
            self.accounts.differs(f"the definition in force cannot be read: {exc}")

    def go_on_from(self, other: "Ledger") -> None:
        """Take over the books of the stretch of the log before, all but its accounts."""
        vars(self).update(
            {name: value for name, value in vars(other).items() if name != "accounts"}
        )

    def use_accounts(self) -> None:
        """Let the books of matches, exceptions and runs go on with the accounts as they are now."""
        self._matches.use(self.accounts)
        self.cases.use(self.accounts)
        self._runs.use(self.accounts)

    def _take(self, event: Made | MatchSuggested, side: int, ids: Sequence[str]) -> None:
        """Check one side of a match or suggestion against the transactions it names."""
        if not ids:
            self.accounts.differs(
                f"the match by {event.rule} has no {SIDE_NAMES[side]} transaction"
            )
        of_side = self.accounts.known[side]
        place = SUGGESTED if type(event) is MatchSuggested else MATCHED
        told = told_by(event, side, ids)
        found: dict[str, Tally] = {}
        for transaction_id in ids:
            known = of_side.get(transaction_id)
            if known is None:
                self.accounts.differs(f"{named((side, transaction_id))} was never accepted")
            if known.place != PENDING:
                self._leave(event, side, transaction_id, known)
            known.place = place
            tally = found.get(known.currency)
            if tally is None:
                if known.currency not in told:
                    self.accounts.differs(
                        f"{named((side, transaction_id))} is in {known.currency}, the match by "
                        f"{event.rule} in {' and '.join(told)}"
                    )
                tally = found[known.currency] = Tally()
            tally.count += 1
            tally.sum_minor += known.amount_minor
        self._check_sums(event, side, told, found)
        if place == MATCHED:
            for currency, tally in told.items():
                self.accounts.count_matched(side, currency, tally)

    def _check_sums(
        self,
        event: Made | MatchSuggested | MatchReversed,
        side: int,
        told: dict[str, Tally],
        found: dict[str, Tally],
    ) -> None:
        for currency in told.keys() | found.keys():
            tally, of_members = told.get(currency, Tally()), found.get(currency, Tally())
            if of_members != tally:
                self.accounts.differs(
                    f"the match by {event.rule} tells a {SIDE_NAMES[side]} sum of "
                    f"{tally.sum_minor} {currency} minor units of {tally.count}, its members' sum "
                    f"is {of_members.sum_minor} of {of_members.count}"
                )

    def _give_back(self, event: MatchReversed, side: int, ids: Sequence[str]) -> None:
        """Put the members of one side of an undone match back."""
        told = told_by(event, side, ids)
        found: dict[str, Tally] = {}
        for transaction_id in ids:
            known = self.accounts.find(side, transaction_id)
            if known.place != MATCHED:
                self.accounts.differs(
                    f"{named((side, transaction_id))} is {known.place}, yet a match of it is "
                    "reversed"
                )
            known.place = PENDING
            found.setdefault(known.currency, Tally()).add(1, known.amount_minor)
        self._check_sums(event, side, told, found)
        for currency, tally in told.items():
            self.accounts.count_matched(side, currency, Tally(-tally.count, -tally.sum_minor))

    def _leave(self, event: Event, side: int, transaction_id: str, known: Known) -> None:
        """Note what has to follow when a transaction leaves the place it stands in."""
        member = (side, transaction_id)
        if known.place not in OPEN:
            self.accounts.differs(
                f"{named(member)} is {known.place} already, yet {type(event).__name__} takes it"
            )
        if known.place == EXCEPTION and isinstance(
            event, RecordMatched | MatchConfirmed | MatchSuggested
        ):
            self._closing[member] = event
        if known.place == SUGGESTED and not isinstance(event, MatchSuggested):
            self._matches.lose(member)

    # -- one method a type of event --

    def _matched_event(self, event: Made) -> None:
        self._take(event, SOURCE, event.source_ids)
        self._take(event, TARGET, event.target_ids)
        self._matches.make(event)

    def _suggested_event(self, event: MatchSuggested) -> None:
        self._matches.check_new(event)
        self._take(event, SOURCE, event.source_ids)
        self._take(event, TARGET, event.target_ids)
        self._matches.suggest(event)

    def _ended_event(self, event: MatchSuperseded | MatchRejected) -> None:
        self._matches.end(event)

    def _reversed_event(self, event: MatchReversed) -> None:
        self._give_back(event, SOURCE, event.source_ids)
        self._give_back(event, TARGET, event.target_ids)
        self._matches.undo(event)

    def _corrected_event(self, event: TransactionSuperseded) -> None:
        member = (event.side, event.transaction_id)
        by = (event.side, event.superseded_by)
        if event.late:
            if self.accounts.take_late(member, by, event.amount_minor, event.currency):
                return
        else:
            self.accounts.awaited[by] = member
        known = self.accounts.find(*member)
        self._check_amount(event, known)
        if known.place != PENDING:
            self.accounts.differs(f"{named(member)} is {known.place}, yet gives way to {named(by)}")
        known.place = SUPERSEDED

    def _paused_event(self, event: ReconciliationPaused | ReconciliationResumed) -> None:
        pausing = isinstance(event, ReconciliationPaused)
        if pausing == self._paused:
            self.accounts.differs(f"it is {'paused' if pausing else 'resumed'} twice")
        self._paused = pausing

    def _run_event(self, event: RunEvent) -> None:
        self._runs.read(event, self._memory.watermark_us)

    def _refused_event(self, event: CommandRefused) -> None:
        """Nothing was changed."""

    def _check_amount(
        self, event: RecordUnmatched | DuplicateDetected | TransactionSuperseded, known: Known
    ) -> None:
        if (known.amount_minor, known.currency) != (event.amount_minor, event.currency):
            self.accounts.differs(
                f"{type(event).__name__} tells {event.amount_minor} {event.currency} of "
                f"{named((event.side, event.transaction_id))}, accepted were "
                f"{known.amount_minor} {known.currency} minor units"
            )

    def _unmatched_event(self, event: RecordUnmatched) -> None:
        member = (event.side, event.transaction_id)
        known = self.accounts.find(*member)
        self._check_amount(event, known)
        shown = member in self._showing
        self._check_category(member, known, event.category, PENDING)
        if event.category != DUPLICATE:
            known.place = EXCEPTION
        self.cases.open(member, event.category, anew=shown or event.category != DUPLICATE)

    def _reclassified_event(self, event: ExceptionReclassified) -> None:
        member = (event.side, event.transaction_id)
        known = self.accounts.find(*member)
        case = self.cases.find_open(member)
        self._check_category(member, known, event.category, EXCEPTION)
        case.category = event.category

    def _check_category(self, member: Member, known: Known, category: str, before: str) -> None:
        """Check that an exception fits where its transaction stands."""
        wanted = DUPLICATE if category == DUPLICATE else before
        if known.place != wanted:
            self.accounts.differs(
                f"an exception of category {category} speaks of {named(member)}, which is "
                f"{known.place}"
            )
        if category == DUPLICATE:
            self._showing.discard(member)

    def _resolved_event(self, event: ExceptionResolved) -> None:
        member = (event.side, event.transaction_id)
        known = self.accounts.find(*member)
        case = self.cases.find_open(member)
        if event.resolution in _BY_MATCH:
            by = self._closing.pop(member, None)
            if by is None or self._matches.match_id(by) != event.match_id:
                self.accounts.differs(
                    f"the exception of {named(member)} is resolved by match {event.match_id}, "
                    "which did not take it"
                )
        elif event.resolution in _BACK_FROM:
            if known.place != _BACK_FROM[event.resolution] and known.place != DUPLICATE:
                self.accounts.differs(
                    f"the exception of {named(member)}, which is {known.place}, is resolved as "
                    f"{event.resolution}"
                )
            known.place = PENDING
        case.is_open = False

    def _duplicate_event(self, event: DuplicateDetected) -> None:
        member = (event.side, event.transaction_id)
        known = self.accounts.find(*member)
        self._check_amount(event, known)
        self.accounts.find(event.side, event.first_transaction_id)
        self._leave(event, *member, known)
        known.place = DUPLICATE
        self._showing.add(member)

    def _watermark_event(self, event: WatermarkAdvanced) -> None:
        before_us = self._memory.watermark_us
        if before_us is not None and event.watermark_us <= before_us:
            self.accounts.differs(
                f"event time went from {before_us} to {event.watermark_us}, which is not forward"
            )
        self._memory.watermark_us = event.watermark_us

    def _closed_event(self, event: PeriodClosed) -> None:
        if self.closed_day is not None and event.day <= self.closed_day:
            self.accounts.differs(f"day {event.day} is closed after {self.closed_day} was")
        self.closed_day = event.day

    def _defined_event(self, event: ReconciliationDefined) -> None:
        expected = self._definition_version + 1
        if event.definition_version != expected:
            self.accounts.differs(
                f"definition version {event.definition_version} follows on {expected - 1}"
            )
        self._memory.define(event.definition, self.forgotten_before_us())
        self._definition_version = event.definition_version
        self._runs.redefine()

    books_by_type: ClassVar[Mapping[type[Any], Callable[..., None]]] = {
        RecordMatched: _matched_event,
        MatchSuggested: _suggested_event,
        MatchSuperseded: _ended_event,
        MatchConfirmed: _matched_event,
        MatchRejected: _ended_event,
        MatchReversed: _reversed_event,
        TransactionSuperseded: _corrected_event,
        ReconciliationPaused: _paused_event,
        ReconciliationResumed: _paused_event,
        CommandRefused: _refused_event,
        **dict.fromkeys(RUN_EVENTS, _run_event),
        RecordUnmatched: _unmatched_event,
        ExceptionReclassified: _reclassified_event,
        ExceptionResolved: _resolved_event,
        DuplicateDetected: _duplicate_event,
        WatermarkAdvanced: _watermark_event,
        PeriodClosed: _closed_event,
        ReconciliationDefined: _defined_event,
    }

    # -- totals --

    def totals(self, version: int) -> Totals:
        """Count everything.

        Raises:
            Difference: The sums do not tie out.
        """
        cases_open, cases_closed, in_progress, comments = self.cases.counts()
        return Totals(
            version,
            self._definition_version,
            self.redelivered,
            self.rejected,
            cases_open,
            cases_closed,
            self.accounts.places(),
            self._matches.totals(),
            in_progress,
            comments,
        )
