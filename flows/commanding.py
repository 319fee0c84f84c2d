"""Commands of the inbox: what the state makes of one, and the words its sender reads."""

from typing import Any

from connectors.postgres.inbox import Command
from connectors.postgres.records import CommandOutcome
from domain.commands import CannotBeDone, parse_command
from domain.decision import Decision
from domain.events import Event, MatchConfirmed, MatchRejected, MatchReversed, match_id_of
from domain.freezing.frozen import Touched
from domain.freezing.touching import by_command
from domain.reconciliation import Reconciliation
from domain.run_events import ReconciliationCancelled, ReconciliationRetried, ReconciliationStarted


def decide_command(state: Reconciliation, command: Command) -> tuple[Decision, CommandOutcome]:
    """Decide a command to a reconciliation; a refusal is an event of its stream, too."""
    try:
        asked = parse_command(command.command_type, command.payload)
        decision = state.decide(asked, command.command_id)
    except CannotBeDone as refusal:
        return refuse(state, command, refusal)
    outcome = _place(state) | _named(state, decision.events)
    return decision, CommandOutcome(command.command_id, "done", outcome)


def touched_by(state: Reconciliation, command: Command) -> Touched:
    """What of a state's frozen part a command may touch; nothing if it means nothing."""
    try:
        return by_command(state, parse_command(command.command_type, command.payload))
    except CannotBeDone:
        return Touched()


def refuse(
    state: Reconciliation, command: Command, refusal: CannotBeDone
) -> tuple[Decision, CommandOutcome]:
    """Put a refusal on record."""
    decision = state.refuse(command.command_id, command.command_type, refusal)
    return decision, refused(command, refusal, _place(state))


def refused(
    command: Command, refusal: CannotBeDone, more: dict[str, Any] | None = None
) -> CommandOutcome:
    """Word a refusal for the inbox; alone where there is no stream to put it on record."""
    outcome = {"error": refusal.code, "message": str(refusal), **(more or {})}
    return CommandOutcome(command.command_id, "refused", outcome)


def unknown_reconciliation(command: Command) -> CannotBeDone:
    """The refusal of a command to what is not defined."""
    return CannotBeDone(
        "unknown_reconciliation",
        f"Tenant {command.tenant_id} has no reconciliation {command.reconciliation_id}; define it "
        "first.",
    )


def metadata_of(command: Command) -> dict[str, str]:
    """What stands beside the events a command leads to."""
    metadata = {
        "correlation_id": command.correlation_id,
        "causation_id": command.command_id,
        **(command.trace or {}),
    }
    if command.user_id is not None:
        metadata["user_id"] = command.user_id
    return metadata


def _place(state: Reconciliation) -> dict[str, Any]:
    return {"stream_id": state.stream_id, "stream_version": state.version}


def _named(state: Reconciliation, events: list[Event]) -> dict[str, Any]:
    """The match or run a command made or ended: its own event comes first."""
    match events[0] if events else None:
        case MatchConfirmed() as event:
            return {"match_id": match_id_of(state.tenant_id, state.reconciliation_id, event)}
        case MatchRejected() | MatchReversed() as event:
            return {"match_id": event.match_id}
        case ReconciliationStarted() | ReconciliationRetried() | ReconciliationCancelled() as event:
            return {"run_id": event.run_id}
    return {}
