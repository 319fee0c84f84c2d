"""Working an exception: what people do with it, beside what the matching decides.

Casework never changes what matching decided, nor what it will decide: an exception that a person
has closed is matched all the same when its counterpart comes. So a case has two hands on it, and
the one that matches has the last word.
"""

from typing import Annotated, TypeGuard

import msgspec

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.commands import REASON_LENGTH_MAX, CannotBeDone, Reason
from domain.events import Event, ExceptionResolved, RecordUnmatched

COMMENT_LENGTH_MAX = 4_000
ASSIGNEE_LENGTH_MAX = 128
#: Events of one case at most; at the limit it can still be closed.
EVENTS_MAX = 1_000

DISMISSED = "dismissed"
#: How a person closes an exception, beside dismissing it.
RESOLUTIONS = ("write_off", "timing_difference", "duplicate_confirmed", "false_positive")
#: What only a person brings about; any other resolution is the matching's.
BY_PERSON = frozenset((*RESOLUTIONS, DISMISSED))

GivenReason = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class Assign(msgspec.Struct, tag="assign_exception", frozen=True):
    """Say who works on it; None: nobody."""

    assignee: Annotated[str, msgspec.Meta(min_length=1, max_length=ASSIGNEE_LENGTH_MAX)] | None


class Comment(msgspec.Struct, tag="comment_exception", frozen=True):
    """Say something about it."""

    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=COMMENT_LENGTH_MAX)]


class Resolve(msgspec.Struct, tag="resolve_exception", frozen=True):
    """Close it as one of `RESOLUTIONS`."""

    resolution: str
    reason: GivenReason


class Dismiss(msgspec.Struct, tag="dismiss_exception", frozen=True):
    """Close it as nothing to do."""

    reason: Reason = None


class Reopen(msgspec.Struct, tag="reopen_exception", frozen=True):
    """Open again what a person has closed."""

    reason: Reason = None


CaseCommand = Assign | Comment | Resolve | Dismiss | Reopen
CaseworkEvent = ExceptionAssigned | ExceptionCommented | ExceptionResolved | ExceptionReopened


class Standing(msgspec.Struct, frozen=True):
    """How a case stands.

    `status` is open, in_progress, resolved or dismissed; one that is not closed is in progress
    while somebody is assigned.
    """

    status: str
    resolution: str | None
    assignee: str | None

    @property
    def is_open(self) -> bool:
        """Whether a person still sees it as something to do."""
        return self.status in ("open", "in_progress")


#: How a case stands before anything is known of it.
UNTOUCHED = Standing("open", None, None)


class Case(msgspec.Struct, frozen=True):
    """An exception as somebody is about to work on it; `version` counts its casework."""

    exception_id: str
    side: int
    transaction_id: str
    version: int
    standing: Standing


def open_status(assignee: str | None) -> str:
    """Name the status of a case that is not closed."""
    return "open" if assignee is None else "in_progress"


def is_casework(event: Event) -> TypeGuard[CaseworkEvent]:
    """Whether a person did this, and not the matching."""
    if isinstance(event, ExceptionResolved):
        return event.command_id is not None
    return isinstance(event, ExceptionAssigned | ExceptionCommented | ExceptionReopened)


def evolve(standing: Standing, event: RecordUnmatched | CaseworkEvent) -> Standing:
    """Apply what the matching did, or a person, whose word counts while the case is not matched.

    What changes nothing gives `standing` itself.
    """
    match event:
        case RecordUnmatched():
            return Standing(open_status(standing.assignee), None, standing.assignee)
        case ExceptionResolved(command_id=None):
            return Standing("resolved", event.resolution, standing.assignee)
        case ExceptionAssigned():
            status = open_status(event.assignee) if standing.is_open else standing.status
            return Standing(status, standing.resolution, event.assignee)
        case ExceptionResolved() if standing.is_open:
            status = "dismissed" if event.resolution == DISMISSED else "resolved"
            return Standing(status, event.resolution, standing.assignee)
        case ExceptionReopened() if standing.resolution in BY_PERSON:
            return Standing(open_status(standing.assignee), None, standing.assignee)
    return standing


def decide(case: Case, command: CaseCommand, command_id: str) -> CaseworkEvent:
    """Decide what somebody asks of a case.

    Raises:
        CannotBeDone: `exception_closed`, `exception_matched`, `exception_open` or `casework_full`.
    """
    if case.version >= EVENTS_MAX and not isinstance(command, Resolve | Dismiss):
        raise CannotBeDone(
            "casework_full",
            f"Exception {case.exception_id} has {case.version} entries; it can only be closed.",
        )
    where = (case.side, case.transaction_id)
    match command:
        case Assign():
            _check_open(case)
            return ExceptionAssigned(*where, command.assignee, command_id)
        case Comment():
            return ExceptionCommented(*where, command.comment, command_id)
        case Resolve():
            _check_open(case)
            resolution = command.resolution
            return ExceptionResolved(*where, resolution, None, command.reason, command_id)
        case Dismiss():
            _check_open(case)
            return ExceptionResolved(*where, DISMISSED, None, command.reason, command_id)
        case Reopen():
            _check_closed_by_person(case)
            return ExceptionReopened(*where, command.reason, command_id)


def _check_open(case: Case) -> None:
    if case.standing.is_open:
        return
    if case.standing.resolution in BY_PERSON:
        raise CannotBeDone(
            "exception_closed",
            f"Exception {case.exception_id} is {case.standing.status}; reopen it first.",
        )
    raise _matched(case)


def _check_closed_by_person(case: Case) -> None:
    if case.standing.is_open:
        raise CannotBeDone("exception_open", f"Exception {case.exception_id} is not closed.")
    if case.standing.resolution not in BY_PERSON:
        raise _matched(case)


def _matched(case: Case) -> CannotBeDone:
    return CannotBeDone(
        "exception_matched",
        f"The matching closed exception {case.exception_id} ({case.standing.resolution}); if that "
        "is wrong, reverse the match.",
    )
