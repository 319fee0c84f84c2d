"""Where every accepted transaction of a stream stands, kept from its events alone.

This is bookkeeping, not matching: it shares no code with `domain.matching` and knows no rule, so
that a mistake there shows here. Each event may only do what the transactions it names allow, and
what one event leaves to be said by another has to be said within the same batch.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from domain.definition_parsing import parse_definition
from domain.errors import DefinitionInvalid
from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
    WatermarkAdvanced,
)
from domain.identity import match_id
from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from domain.verification.accounts import Accounts
from domain.verification.difference import Where
from domain.verification.entries import (
    OPEN,
    Case,
    Known,
    Member,
    Suggestion,
    members_of,
    named,
)
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    MatchTally,
    Tally,
    Totals,
)

_BY_MATCH = ("late_match", "manual_match")
# Event time is written down once a minute of it has passed.
_UNRECORDED_US = 60_000_000


class Ledger:
    """The books of one stream.

    Attributes:
        accounts: Where every transaction stands.
        redelivered, rejected: Records taken in to no effect, as the log counts them.
    """

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = (tenant_id, reconciliation_id)
        self.accounts = Accounts(
            Where(f"{tenant_id}/{reconciliation_id}"), self._forgotten_before_us
        )
        self.redelivered = 0
        self.rejected = 0
        self._definition: ReconciliationDefined | None = None
        self._watermark_us: int | None = None
        self._confirmed: dict[str, MatchTally] = {}
        self._suggestions: dict[str, Suggestion] = {}
        self._standing: dict[Member, set[str]] = {}
        self._cases: dict[Member, Case] = {}
        # What the batch in hand still has to say: which cases close by which match, which
        # suggestions end, which duplicates are shown as exceptions.
        self._closing: dict[Member, RecordMatched | MatchSuggested] = {}
        self._ending: set[str] = set()
        self._showing: set[Member] = set()

    # -- reading --

    def read(self, event: Event) -> None:
        """Book one event other than the journal's.

        Raises:
            Difference: The event cannot be true of the transactions it names.
        """
        book = self._books.get(type(event))
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
        if self._ending:
            self.accounts.differs(
                f"suggestion {min(self._ending)} lost a member and was not superseded"
            )
        if self._showing:
            self.accounts.differs(f"{named(*self._showing)} is a duplicate that no exception shows")

    def _forgotten_before_us(self) -> int | None:
        """Before which event time ids of closed transactions need no longer be known.

        They are for `window.remember`; since event time is not recorded at every step, the flow
        may have forgotten them a little earlier than the log tells.
        """
        if self._watermark_us is None or self._definition is None:
            return None
        try:
            window = parse_definition(self._definition.definition, *self._scope).window
        except DefinitionInvalid as exc:
            self.accounts.differs(f"the definition in force cannot be read: {exc}")
        return self._watermark_us + _UNRECORDED_US - window.remember_us

    def _take(self, event: RecordMatched | MatchSuggested, side: int, ids: list[str]) -> None:
        """Check one side of a match or suggestion against the transactions it names."""
        if not ids:
            self.accounts.differs(
                f"the match by {event.rule} has no {SIDE_NAMES[side]} transaction"
            )
        of_side = self.accounts.known[side]
        place = MATCHED if type(event) is RecordMatched else SUGGESTED
        told = _told(event, side, ids)
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
        for currency, tally in told.items():
            if found.get(currency) != tally:
                of_members = found.get(currency, Tally())
                self.accounts.differs(
                    f"the match by {event.rule} tells a {SIDE_NAMES[side]} sum of "
                    f"{tally.sum_minor} {currency} minor units of {tally.count}, its members' sum "
                    f"is {of_members.sum_minor} of {of_members.count}"
                )
            if place == MATCHED:
                self.accounts.count_matched(side, currency, tally)

    def _leave(self, event: Event, side: int, transaction_id: str, known: Known) -> None:
        """Note what has to follow when a transaction leaves the place it stands in."""
        member = (side, transaction_id)
        if known.place not in OPEN:
            self.accounts.differs(
                f"{named(member)} is {known.place} already, yet {type(event).__name__} takes it"
            )
        if known.place == EXCEPTION and isinstance(event, RecordMatched | MatchSuggested):
            self._closing[member] = event
        if known.place == SUGGESTED and not isinstance(event, MatchSuggested):
            self._ending |= self._standing.get(member, set())

    def _match_id(self, event: RecordMatched | MatchSuggested) -> str:
        return match_id(
            *self._scope, event.rule, event.source_ids, event.target_ids, event.newest_ms
        )

    # -- one method a type of event --

    def _matched_event(self, event: RecordMatched) -> None:
        self._take(event, SOURCE, event.source_ids)
        self._take(event, TARGET, event.target_ids)
        confirmed = self._confirmed.get(event.currency)
        if confirmed is None:
            confirmed = self._confirmed[event.currency] = MatchTally()
        confirmed.add(event.source_minor, event.target_minor)
        if self._suggestions:
            suggestion = self._suggestions.get(self._match_id(event))
            if suggestion is not None:
                suggestion.status = None

    def _suggested_event(self, event: MatchSuggested) -> None:
        identity = self._match_id(event)
        earlier = self._suggestions.get(identity)
        if earlier is not None and earlier.stands:
            self.accounts.differs(f"suggestion {identity} was made twice")
        self._take(event, SOURCE, event.source_ids)
        self._take(event, TARGET, event.target_ids)
        for member in members_of(event.source_ids, event.target_ids):
            self._standing.setdefault(member, set()).add(identity)
        self._suggestions[identity] = Suggestion(
            event.currency,
            event.source_ids,
            event.target_ids,
            event.source_minor,
            event.target_minor,
        )

    def _superseded_event(self, event: MatchSuperseded) -> None:
        suggestion = self._suggestions.get(event.match_id)
        if suggestion is None or not suggestion.stands:
            self.accounts.differs(f"{event.match_id} is superseded, but no such suggestion stands")
        told = (event.source_ids, event.target_ids)
        if told != (suggestion.source_ids, suggestion.target_ids):
            self.accounts.differs(f"suggestion {event.match_id} is superseded with other members")
        suggestion.stands = False
        if suggestion.status is not None:
            suggestion.status = "superseded"
        self._ending.discard(event.match_id)
        for member in members_of(*told):
            others = self._standing[member]
            others.discard(event.match_id)
            if not others:
                del self._standing[member]
                known = self.accounts.find(*member)
                if known.place == SUGGESTED:
                    known.place = PENDING

    def _check_amount(self, event: RecordUnmatched | DuplicateDetected) -> Known:
        known = self.accounts.find(event.side, event.transaction_id)
        if (known.amount_minor, known.currency) != (event.amount_minor, event.currency):
            self.accounts.differs(
                f"{type(event).__name__} tells {event.amount_minor} {event.currency} of "
                f"{named((event.side, event.transaction_id))}, accepted were "
                f"{known.amount_minor} {known.currency} minor units"
            )
        return known

    def _unmatched_event(self, event: RecordUnmatched) -> None:
        member = (event.side, event.transaction_id)
        known = self._check_amount(event)
        case = self._cases.get(member)
        if case is not None and case.is_open:
            self.accounts.differs(f"an exception opened twice for {named(member)}")
        self._check_category(member, known, event.category, PENDING)
        if event.category != DUPLICATE:
            known.place = EXCEPTION
        self._cases[member] = Case(event.category)

    def _reclassified_event(self, event: ExceptionReclassified) -> None:
        member = (event.side, event.transaction_id)
        known = self.accounts.find(*member)
        case = self._open_case(member)
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
        self.accounts.find(*member)
        case = self._open_case(member)
        if event.resolution in _BY_MATCH:
            by = self._closing.pop(member, None)
            if by is None or self._match_id(by) != event.match_id:
                self.accounts.differs(
                    f"the exception of {named(member)} is resolved by match {event.match_id}, "
                    "which did not take it"
                )
        case.is_open = False

    def _open_case(self, member: Member) -> Case:
        case = self._cases.get(member)
        if case is None or not case.is_open:
            self.accounts.differs(f"no exception is open for {named(member)}")
        return case

    def _duplicate_event(self, event: DuplicateDetected) -> None:
        member = (event.side, event.transaction_id)
        known = self._check_amount(event)
        self.accounts.find(event.side, event.first_transaction_id)
        self._leave(event, *member, known)
        known.place = DUPLICATE
        self._showing.add(member)

    def _watermark_event(self, event: WatermarkAdvanced) -> None:
        if self._watermark_us is not None and event.watermark_us <= self._watermark_us:
            self.accounts.differs(
                f"event time went from {self._watermark_us} to {event.watermark_us}, which is "
                "not forward"
            )
        self._watermark_us = event.watermark_us

    def _defined_event(self, event: ReconciliationDefined) -> None:
        expected = self._definition.definition_version + 1 if self._definition else 1
        if event.definition_version != expected:
            self.accounts.differs(
                f"definition version {event.definition_version} follows on {expected - 1}"
            )
        self._definition = event

    _books: ClassVar[Mapping[type[Any], Callable[..., None]]] = {
        RecordMatched: _matched_event,
        MatchSuggested: _suggested_event,
        MatchSuperseded: _superseded_event,
        RecordUnmatched: _unmatched_event,
        ExceptionReclassified: _reclassified_event,
        ExceptionResolved: _resolved_event,
        DuplicateDetected: _duplicate_event,
        WatermarkAdvanced: _watermark_event,
        ReconciliationDefined: _defined_event,
    }

    # -- totals --

    def totals(self, version: int) -> Totals:
        """Count everything.

        Raises:
            Difference: The sums do not tie out.
        """
        matches = {
            ("confirmed", currency): MatchTally(one.count, one.source_minor, one.target_minor)
            for currency, one in self._confirmed.items()
        }
        for one in self._suggestions.values():
            if one.status is not None:
                tally = matches.setdefault((one.status, one.currency), MatchTally())
                tally.add(one.source_minor, one.target_minor)
        cases_open = sum(case.is_open for case in self._cases.values())
        return Totals(
            version,
            self._definition.definition_version if self._definition else 0,
            self.redelivered,
            self.rejected,
            cases_open,
            len(self._cases) - cases_open,
            self.accounts.places(),
            matches,
        )


def _told(event: RecordMatched | MatchSuggested, side: int, ids: list[str]) -> dict[str, Tally]:
    """Give by currency what a match tells of its members on one side."""
    if event.compared is not None and event.compared.totals:
        # Several currencies: the event's own sums are those of what was compared.
        return {
            currency: Tally(count, sum_minor)
            for of_side, currency, count, sum_minor in event.compared.totals
            if of_side == side
        }
    sum_minor = event.target_minor if side == TARGET else event.source_minor
    return {event.currency: Tally(len(ids), sum_minor)}
