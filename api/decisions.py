"""What people decide: confirm, reject and reverse matches, match by hand, pause and resume.

Each is a command to the flow, which decides it in its own time: the answer names the command, and
its outcome is an event or a refusal (see `api.commands`).
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from api.commands import Command, WaitQuery, WriteHeaders, submit
from api.errors import not_found
from api.operations import Answer, Call, Handler, Operation
from api.parameters import parse_id
from domain.commands import MEMBERS_MAX, REASON_LENGTH_MAX

# Postgres keeps no NUL, neither in text nor in JSON.
WITHOUT_NUL = r"^[^\x00]*$"
Reason = Annotated[
    str | None,
    Field(
        max_length=REASON_LENGTH_MAX,
        pattern=WITHOUT_NUL,
        description="Kept with the decision; say why.",
    ),
]
TransactionId = Annotated[str, Field(min_length=1, max_length=128, pattern=WITHOUT_NUL)]
Members = Annotated[list[TransactionId], Field(min_length=1, max_length=MEMBERS_MAX)]


class Decide(BaseModel):
    """A decision that needs nothing but its subject."""

    model_config = {"extra": "forbid"}

    reason: Reason = None


class Confirm(Decide):
    """Which of a suggestion's members are the match."""

    source_ids: Annotated[
        list[TransactionId],
        Field(max_length=MEMBERS_MAX, description="Empty: all, if that is one possible match."),
    ] = []
    target_ids: Annotated[list[TransactionId], Field(max_length=MEMBERS_MAX)] = []


class MatchMembers(Decide):
    """The members of a match by hand; all of them open, in one currency."""

    reconciliation_id: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    source_ids: Members
    target_ids: Members
    reason: Annotated[
        str | None,
        Field(
            max_length=REASON_LENGTH_MAX,
            pattern=WITHOUT_NUL,
            description="Needed where the sums differ.",
        ),
    ] = None


Body = TypeVar("Body", bound=BaseModel)


async def read_body(call: Call, model: type[Body]) -> Body:
    """Give the body; none at all where nothing in it is needed."""
    is_needed = any(field.is_required() for field in model.model_fields.values())
    if is_needed or await call.request.body() or "content-type" in call.request.headers:
        return await call.body(model)
    return model()


async def _read_match(call: Call) -> dict[str, Any]:
    match_id = parse_id(call.path("match_id"), "match")
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_match", {"tenant_id": call.tenant_id, "match_id": match_id})
    if row is None:
        raise not_found("match", str(match_id))
    return row


def reconciliation_of(call: Call) -> str:
    """Give the reconciliation that the path names.

    Raises:
        ApiError: `not_found`; a text that cannot be an id names nothing.
    """
    reconciliation_id = call.path("reconciliation_id")
    if "\x00" in reconciliation_id:
        raise not_found("reconciliation", "…")
    return reconciliation_id


async def check_reconciliation(call: Call, reconciliation_id: str) -> None:
    """Hold that the tenant has a reconciliation.

    Raises:
        ApiError: `not_found`.
    """
    async with call.services.database.tenant(call.tenant_id) as session:
        key = {"tenant_id": call.tenant_id, "reconciliation_id": reconciliation_id}
        if await session.row("read_stream", key) is None:
            raise not_found("reconciliation", reconciliation_id)


async def confirm_match(call: Call) -> Answer:
    """Hand the confirmation of a suggestion to the flow."""
    row, body = await _read_match(call), await read_body(call, Confirm)
    payload = {"match_id": str(row["match_id"]), **body.model_dump()}
    return await submit(call, "confirm_match", row["reconciliation_id"], payload)


async def reject_match(call: Call) -> Answer:
    """Hand the rejection of a suggestion to the flow."""
    row, body = await _read_match(call), await read_body(call, Decide)
    payload = {"match_id": str(row["match_id"]), **body.model_dump()}
    return await submit(call, "reject_match", row["reconciliation_id"], payload)


async def reverse_match(call: Call) -> Answer:
    """Hand the reversal of a confirmed match to the flow."""
    row, body = await _read_match(call), await read_body(call, Decide)
    payload = {
        "match_id": str(row["match_id"]),
        "source_ids": row["source_ids"],
        "target_ids": row["target_ids"],
        **body.model_dump(),
    }
    return await submit(call, "reverse_match", row["reconciliation_id"], payload)


async def match_by_hand(call: Call) -> Answer:
    """Hand a match by hand to the flow."""
    body = await call.body(MatchMembers)
    await check_reconciliation(call, body.reconciliation_id)
    payload = body.model_dump(exclude={"reconciliation_id"})
    return await submit(call, "match_by_hand", body.reconciliation_id, payload)


async def pause_reconciliation(call: Call) -> Answer:
    """Hand a pause to the flow."""
    return await _pause_or_resume(call, "pause")


async def resume_reconciliation(call: Call) -> Answer:
    """Hand a resumption to the flow."""
    return await _pause_or_resume(call, "resume")


async def _pause_or_resume(call: Call, command_type: str) -> Answer:
    reconciliation_id = reconciliation_of(call)
    body = await read_body(call, Decide)
    await check_reconciliation(call, reconciliation_id)
    return await submit(call, command_type, reconciliation_id, body.model_dump())


def command_operation(
    path: str, handler: Handler, tag: str, summary: str, description: str, body: type[BaseModel]
) -> Operation:
    """Describe an operation that hands a command to the flow."""
    return Operation(
        method="POST",
        path=path,
        handler=handler,
        tag=tag,
        summary=summary,
        description=description,
        query=WaitQuery,
        headers=WriteHeaders,
        body=body,
        answer=Command,
        status=202,
        errors=("not_found", "idempotency_conflict", "invalid_parameter", "cross_site_request"),
    )


OPERATIONS: tuple[Operation, ...] = (
    command_operation(
        "/matches", match_by_hand, "matches", "Match by hand",
        "Makes a match of open transactions, whatever the rules say of them. Where the sums "
        "differ it needs a reason.", MatchMembers,
    ),
    command_operation(
        "/matches/{match_id}/confirm", confirm_match, "matches", "Confirm a suggestion",
        "Of a set of several possible matches, `source_ids` and `target_ids` say which is the one.",
        Confirm,
    ),
    command_operation(
        "/matches/{match_id}/reject", reject_match, "matches", "Reject a suggestion",
        "The rule does not suggest the same members again.", Decide,
    ),
    command_operation(
        "/matches/{match_id}/reverse", reverse_match, "matches", "Reverse a confirmed match",
        "Frees both sides; the rules do not make the same match again. It can be reversed for as "
        "long as its transactions are remembered (`window.remember`).", Decide,
    ),
    command_operation(
        "/reconciliations/{reconciliation_id}/pause", pause_reconciliation, "reconciliations",
        "Pause a reconciliation", "Records are accepted and pending, nothing is decided.", Decide,
    ),
    command_operation(
        "/reconciliations/{reconciliation_id}/resume", resume_reconciliation, "reconciliations",
        "Resume a reconciliation", "Decides what has come meanwhile.", Decide,
    ),
)  # fmt: skip
