"""Where a transaction stands, folded from the events that speak of it, and its story."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
    TransactionSuperseded,
    match_id_of,
)
from domain.explaining.casework import CaseStory
from domain.explaining.matches import Told, ending
from domain.explaining.members import Place
from domain.explaining.shown import StoryLine
from domain.explaining.wording import listed, whom
from domain.transactions import SIDE_NAMES, Transaction


def concerns(event: Event, place: Place) -> bool:
    """Whether an event speaks of the transaction at a place, not only of it as a candidate."""
    side, transaction_id = place
    match event:
        case (
            RecordUnmatched()
            | ExceptionReclassified()
            | ExceptionResolved()
            | ExceptionAssigned()
            | ExceptionCommented()
            | ExceptionReopened()
            | DuplicateDetected()
            | TransactionSuperseded()
        ):
            return (event.side, event.transaction_id) == place
        case (
            RecordMatched()
            | MatchSuggested()
            | MatchConfirmed()
            | MatchSuperseded()
            | MatchRejected()
            | MatchReversed()
        ):
            return transaction_id in (event.source_ids, event.target_ids)[side]
    return False


@dataclass(slots=True)
class Standing:
    """Where one transaction stands; feed it its events in order.

    Attributes:
        place: Side and transaction id.
        disposition: As in CONTRACT section 4.10; `pending` from its acceptance on.
        match: What it is matched by.
        suggestions: What it stands in, by id.
        case: Its exception, with what people did.
    """

    place: Place
    tenant_id: str
    reconciliation_id: str
    disposition: str = "pending"
    match: tuple[str, Told] | None = None
    suggestions: dict[str, Told] = field(default_factory=dict)
    case: CaseStory = field(default_factory=CaseStory)
    duplicate: DuplicateDetected | None = None
    superseded_by: str | None = None

    def fold(self, told: Told) -> None:  # noqa: C901 - one short case a type
        """Take in an event that concerns it."""
        self.case.fold(told)
        match told.event:
            case RecordMatched() | MatchConfirmed() as event:
                identity = self._identity(event)
                self.suggestions.pop(identity, None)
                self.match = identity, told
                self.disposition = "matched"
            case MatchReversed():
                self.match = None
                self.disposition = "pending"
            case MatchSuggested() as event:
                self.suggestions[self._identity(event)] = told
                self.disposition = "suggested"
            case MatchSuperseded() | MatchRejected() as event:
                self.suggestions.pop(event.match_id, None)
                if self.disposition == "suggested" and not self.suggestions:
                    self.disposition = "pending"
            case RecordUnmatched() as event:
                self.disposition = "duplicate" if event.category == "duplicate" else "exception"
            case ExceptionReclassified() as event:
                if event.category == "duplicate":
                    self.disposition = "duplicate"
            case ExceptionResolved() as event:
                if event.resolution == "first_corrected":
                    self.disposition, self.duplicate = "pending", None
            case DuplicateDetected() as event:
                self.duplicate, self.disposition = event, "duplicate"
            case TransactionSuperseded() as event:
                self._supersede(event)

    def _supersede(self, event: TransactionSuperseded) -> None:
        by_itself = event.superseded_by == event.transaction_id
        if by_itself and event.late:
            return  # what came late is what had been corrected before; the correction stands
        self.superseded_by = event.superseded_by
        # Under its own id the correction is accepted next, and is pending.
        self.disposition = "pending" if by_itself else "superseded"
        self.duplicate = None

    def _identity(self, event: RecordMatched | MatchConfirmed | MatchSuggested) -> str:
        return match_id_of(self.tenant_id, self.reconciliation_id, event)


def ended_matches(standing: Standing, story: Sequence[Told]) -> list[str]:
    """Ids of the matches and suggestions that it was in and is in no more, oldest first.

    Args:
        standing: With every event of `story` folded.
        story: The events that concern it, oldest first.
    """
    named: dict[str, None] = {}
    for told in story:
        match told.event:
            case RecordMatched() | MatchConfirmed() | MatchSuggested() as event:
                named[match_id_of(standing.tenant_id, standing.reconciliation_id, event)] = None
            case MatchSuperseded() | MatchRejected() | MatchReversed() as event:
                named[event.match_id] = None
    now = {*standing.suggestions, *([] if standing.match is None else standing.match[:1])}
    return [one for one in named if one not in now]


def story_line(told: Told, place: Place) -> StoryLine:
    """One event of a story in a sentence; casework is told by the exception's own story."""
    return StoryLine(told.position, told.at, type(told.event).__name__, _sentence(told, place))


def accepted_line(position: int, at: str, transaction: Transaction) -> StoryLine:
    """The beginning of a story."""
    side, one = SIDE_NAMES[transaction.side], transaction.transaction_id
    said = f"{side} {one} was accepted."
    return StoryLine(position, at, "TransactionsAccepted", said)


def duplicate_sentence(event: DuplicateDetected) -> str:
    """Which record brought the value first."""
    return (
        f"Rule {event.rule} lets a value occur once per side: '{event.value}' was brought by "
        f"{event.first_transaction_id} before, so this is a duplicate."
    )


def superseded_sentence(event: TransactionSuperseded) -> str:
    """Which record corrects it, and whether that came first."""
    by = "a record of its own id" if event.superseded_by == event.transaction_id else (
        event.superseded_by
    )  # fmt: skip
    came = " before it came" if event.late else ""
    return f"It was corrected by {by}{came}, so it counts no more."


def _sentence(told: Told, place: Place) -> str:
    match told.event:
        case RecordMatched() as event:
            return f"Rule {event.rule} matched it with {_others(event, place)}."
        case MatchConfirmed() as event:
            reason = f": {event.reason}" if event.reason else ""
            others, by = _others(event, place), whom(event.command_id, told.user_id)
            return f"A person matched it with {others} {by}{reason}."
        case MatchSuggested() as event:
            others = _others(event, place)
            return f"Rule {event.rule} suggested it with {others}: {event.reason}."
        case MatchSuperseded() | MatchRejected() | MatchReversed():
            return ending(told).sentence
        case RecordUnmatched() as event:
            return f"It became an exception, {event.category}, {event.severity}: {event.reason}."
        case ExceptionReclassified() as event:
            return f"Its exception was classified anew, {event.category}: {event.reason}."
        case ExceptionResolved() as event:
            return f"Its exception was resolved: {event.resolution}."
        case DuplicateDetected() as event:
            return duplicate_sentence(event)
        case TransactionSuperseded() as event:
            return superseded_sentence(event)
    raise AssertionError(f"{type(told.event).__name__} is no part of a story")


def _others(event: RecordMatched | MatchSuggested | MatchConfirmed, place: Place) -> str:
    """The members but this one."""
    sides = event.source_ids, event.target_ids
    return listed(
        [
            f"{SIDE_NAMES[side]} {one}"
            for side, ids in enumerate(sides)
            for one in ids
            if (side, one) != place
        ]
    )
