"""The command inbox: what people ask of a reconciliation, decided by the flow in its own time."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from connectors.postgres.queries import load_queries

_SQL = load_queries("inbox")


class Command(msgspec.Struct, frozen=True):
    """A command to one reconciliation. `submitted_at` is set by the database.

    `command_id` is a UUID chosen by who submits; the same id twice is one command.
    """

    command_id: str
    tenant_id: str
    reconciliation_id: str
    command_type: str
    payload: dict[str, Any]
    user_id: str | None
    correlation_id: str
    trace: dict[str, str] | None = None
    submitted_at: datetime | None = None


class CommandState(msgspec.Struct, frozen=True):
    """Where a command stands. `status` is pending, done or refused."""

    status: str
    outcome: dict[str, Any] | None
    decided_at: datetime | None


def submit(conn: Connection[Any], command: Command) -> bool:
    """Put a command into the inbox and wake the flow.

    Returns:
        False when a command of this id is there already; nothing was changed.
    """
    trace = None if command.trace is None else Jsonb(command.trace)
    asked = msgspec.structs.asdict(command) | {"payload": Jsonb(command.payload), "trace": trace}
    return conn.execute(_SQL["submit"], asked).rowcount == 1


def read_pending(conn: Connection[Any], limit: int, exclude: Iterable[str] = ()) -> list[Command]:
    """Read undecided commands, oldest first.

    Args:
        conn: A connection of role settler_flow.
        limit: Commands at most.
        exclude: Ids already on their way through the flow; they stay pending until committed.
    """
    asked = {"limit": limit, "exclude": list(exclude)}
    return [Command(*row) for row in conn.execute(_SQL["read_pending"], asked)]


def read_command_state(conn: Connection[Any], command_id: str) -> CommandState | None:
    """Say where a command stands; None for one that was never submitted."""
    row = conn.execute(_SQL["read_state"], {"command_id": command_id}).fetchone()
    return CommandState(*row) if row else None
