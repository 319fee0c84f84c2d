"""Commands: handed in here, decided by the flow, their outcome readable by their id."""

import asyncio
import time
import uuid
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from api.errors import ApiError, not_found
from api.idempotency import FORM
from api.operations import PREFIX, Answer, Call, Operation
from api.parameters import parse_id
from api.readable import wait_until_readable
from connectors.telemetry import trace_metadata

# Command ids that come from Idempotency-Keys live in a namespace of their own.
_NAMESPACE = uuid.UUID("b4b2fe21-6d7c-5f3e-9d6c-0c1d5b8c6a57")
_LOOK_AGAIN_SECONDS = 0.1


class WriteHeaders(BaseModel):
    """Headers that every write takes."""

    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        pattern=FORM,
        description="Sending the same request again with the same key changes nothing.",
    )
    correlation_id: str | None = Field(
        None,
        alias="X-Correlation-Id",
        pattern=r"^[A-Za-z0-9_.:-]{1,128}$",
        description="Stands in the metadata of every event this leads to; default: the command.",
    )


class WaitQuery(BaseModel):
    """How long a write may wait for its outcome."""

    model_config = {"extra": "forbid"}

    wait: float = Field(
        0,
        ge=0,
        le=30,
        description=(
            "Seconds to wait until the outcome can be read everywhere; if they run out before it "
            "is decided, the command is `pending`."
        ),
    )


class Command(BaseModel):
    """A command and what became of it."""

    command_id: uuid.UUID
    reconciliation_id: str
    command_type: str = Field(examples=["define"])
    status: Literal["pending", "done", "refused"] = Field(
        description="`pending` until the flow has decided."
    )
    outcome: dict[str, Any] | None = Field(description="What it led to, or why it was refused.")
    correlation_id: str
    submitted_at: datetime
    decided_at: datetime | None


def command_id_of(call: Call, idempotency_key: str | None) -> uuid.UUID:
    """Choose a command's id; the same key of a tenant gives the same one again."""
    if idempotency_key is None:
        return uuid.uuid4()
    return uuid.uuid5(_NAMESPACE, f"{call.tenant_id}/{idempotency_key}")


def to_command(row: dict[str, Any]) -> Command:
    """Give a row of the inbox its outward form."""
    return Command(**{name: row[name] for name in Command.model_fields})


async def submit(
    call: Call, command_type: str, reconciliation_id: str, payload: dict[str, Any]
) -> Answer:
    """Put a command into the inbox; the same Idempotency-Key and content give the same command.

    Raises:
        ApiError: `idempotency_conflict`, when the key was used with other content.
    """
    headers = call.header_fields(WriteHeaders)
    command_id = command_id_of(call, headers.idempotency_key)
    key = {"tenant_id": call.tenant_id, "command_id": command_id}
    call.note(reconciliation_id, command_id=str(command_id), command_type=command_type)
    async with call.services.database.tenant(call.tenant_id) as session:
        await session.row(
            "submit_command",
            {
                **key,
                "reconciliation_id": reconciliation_id,
                "command_type": command_type,
                "payload": Jsonb(payload),
                "user_id": call.identity.actor,
                "correlation_id": headers.correlation_id or str(command_id),
                "trace": Jsonb(trace_metadata()),
            },
        )
        row = await session.row("read_command", key)
    assert row is not None
    asked = (reconciliation_id, command_type, payload)
    if (row["reconciliation_id"], row["command_type"], row["payload"]) != asked:
        raise ApiError("idempotency_conflict")
    row = await _wait_for_outcome(call, key, row)
    return Answer(
        to_command(row), status=202, headers={"Location": f"{PREFIX}/commands/{command_id}"}
    )


async def _wait_for_outcome(call: Call, key: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Look again until the flow has decided and all show it, or the caller's patience ends.

    Looking again holds no connection between two looks, which listening would.
    """
    deadline = time.monotonic() + call.query(WaitQuery).wait
    while row["status"] == "pending" and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        async with call.services.database.tenant(call.tenant_id) as session:
            row = await session.row("read_command", key) or row
    if row["status"] != "pending":
        await wait_until_readable(call, row["reconciliation_id"], deadline)
    return row


async def read_command(call: Call) -> Command:
    """Show a command and what became of it."""
    command_id = parse_id(call.path("command_id"), "command")
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row(
            "read_command", {"tenant_id": call.tenant_id, "command_id": command_id}
        )
    if row is None:
        raise not_found("command", str(command_id))
    return to_command(row)


OPERATIONS = (
    Operation(
        method="GET",
        path="/commands/{command_id}",
        handler=read_command,
        tag="commands",
        summary="Show a command and what became of it",
        answer=Command,
        errors=("not_found",),
    ),
)
