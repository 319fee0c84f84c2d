"""How an exception stands and what people did with it, folded beside what the matching did."""

from dataclasses import dataclass, field

from domain.casework import DISMISSED, UNTOUCHED, CaseworkEvent, Standing, evolve, is_casework
from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.events import ExceptionResolved, RecordUnmatched
from domain.explaining.matches import Told
from domain.explaining.shown import DecisionShown
from domain.explaining.wording import whom


@dataclass(slots=True)
class CaseStory:
    """One exception; feed it what matching and people did with it, in the order of the log.

    Attributes:
        standing: How it stands, as the read model has it.
        closed: What closed it, if it is closed.
        work: What people did, oldest first.
    """

    standing: Standing = UNTOUCHED
    closed: ExceptionResolved | None = None
    work: list[DecisionShown] = field(default_factory=list)

    def fold(self, told: Told) -> None:
        """Take in an event; what neither opens nor closes it nor is casework is passed over."""
        event, before = told.event, self.standing
        if not isinstance(event, RecordUnmatched | CaseworkEvent):
            return
        self.standing = evolve(before, event)
        if self.standing.is_open:
            self.closed = None
        elif isinstance(event, ExceptionResolved) and self.standing is not before:
            self.closed = event
        if is_casework(event):
            is_vain = self.standing is before and not isinstance(event, ExceptionCommented)
            self.work.append(_show(told, event, before if is_vain else None))


def _show(told: Told, event: CaseworkEvent, in_vain: Standing | None) -> DecisionShown:
    """Tell what a person did; `in_vain` is how the case stood when that changed nothing."""
    reason: str | None = None
    match event:
        case ExceptionAssigned(assignee=None):
            said = "assigned the exception to nobody"
        case ExceptionAssigned():
            said = f"assigned the exception to {event.assignee}"
        case ExceptionCommented():
            said, reason = "commented on the exception", event.comment
        case ExceptionResolved():
            is_dismissed = event.resolution == DISMISSED
            said = f"{'dismissed' if is_dismissed else 'resolved'} the exception"
            said += "" if is_dismissed else f" as {event.resolution}"
            reason = event.reason
        case ExceptionReopened():
            said, reason = "reopened the exception", event.reason
    said = f"A person {said} {whom(event.command_id, told.user_id)}"
    if reason is not None:
        said += f": {' '.join(reason.split())}"
    said = said if said[-1] in ".!?" else f"{said}."
    if in_vain is not None:
        stood = in_vain.status + (f" ({in_vain.resolution})" if in_vain.resolution else "")
        said += f" That changed nothing, since it was {stood} by then."
    return DecisionShown(
        by="person",
        event_type=type(event).__name__,
        position=told.position,
        at=told.at,
        command_id=event.command_id,
        user_id=told.user_id,
        reason=reason,
        sentence=said,
    )
