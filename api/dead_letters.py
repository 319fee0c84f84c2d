"""Records that could not be used, as far as they can be told to be this tenant's."""

import base64
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.errors import ApiError, not_found
from api.operations import Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import ReconciliationFilter, Side, filters, parse_id
from domain.transactions import SIDE_NAMES

_NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
_HIGHEST_ID = uuid.UUID(int=2**128 - 1)


class DeadLetter(BaseModel):
    """A record that could not be used, and why."""

    dead_letter_id: uuid.UUID
    topic: str
    partition: int
    offset: int
    reconciliation_id: str | None
    transaction_id: str | None
    side: Side
    code: str = Field(examples=["amount_precision"])
    message: str = Field(description="What is wrong, in words a person can act on.")
    received_at: datetime
    redriven_at: datetime | None = Field(description="When it was fed in again.")


class DeadLetterDetail(DeadLetter):
    """A dead letter with the record itself."""

    raw: str = Field(description="The record as it came, in the form `raw_encoding` names.")
    raw_encoding: Literal["utf-8", "base64"] = Field(
        description="`base64` where the bytes are not UTF-8."
    )


class DeadLetters(Page[DeadLetter]):
    """A page of dead letters."""


class DeadLettersQuery(PageQuery):
    """Filters of dead letters."""

    reconciliation_id: ReconciliationFilter = None
    code: Annotated[str | None, Field(pattern=r"^[a-z_]{1,64}$", description="Error code.")] = None
    side: Side | None = None
    redriven: Annotated[bool | None, Field(description="Whether it was fed in again already.")] = (
        None
    )


def _to_dead_letter(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "side": SIDE_NAMES[row["side"]]}


def _cursor_start(cursor: str | None) -> dict[str, Any]:
    if cursor is None:
        return {"received_at": _NEWEST, "dead_letter_id": _HIGHEST_ID}
    received_at, dead_letter_id = decode_cursor(cursor, [str, str])
    try:
        start = datetime.fromisoformat(received_at)
        last_id = uuid.UUID(dead_letter_id)
    except ValueError as error:
        raise ApiError("invalid_cursor") from error
    if start.tzinfo is None:
        raise ApiError("invalid_cursor")
    return {"received_at": start, "dead_letter_id": last_id}


async def list_dead_letters(call: Call) -> DeadLetters:
    """List the tenant's dead letters, newest first."""
    query = call.query(DeadLettersQuery)
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_dead_letters",
            {
                **filters(query, "reconciliation_id", "code", "redriven"),
                **_cursor_start(query.cursor),
                "side": None if query.side is None else SIDE_NAMES.index(query.side),
                "tenant_id": call.tenant_id,
                "limit": query.limit + 1,
            },
        )
    page, next_cursor = cut_page(
        rows,
        query.limit,
        lambda row: [row["received_at"].isoformat(), str(row["dead_letter_id"])],
    )
    return DeadLetters(
        items=[DeadLetter(**_to_dead_letter(row)) for row in page], next_cursor=next_cursor
    )


async def read_dead_letter(call: Call) -> DeadLetterDetail:
    """Show one dead letter with the record itself."""
    dead_letter_id = parse_id(call.path("dead_letter_id"), "dead letter")
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row(
            "read_dead_letter", {"tenant_id": call.tenant_id, "dead_letter_id": dead_letter_id}
        )
    if row is None:
        raise not_found("dead letter", str(dead_letter_id))
    shown = _to_dead_letter(row)
    raw = bytes(shown.pop("raw"))
    try:
        return DeadLetterDetail(**shown, raw=raw.decode(), raw_encoding="utf-8")
    except UnicodeDecodeError:
        encoded = base64.b64encode(raw).decode()
        return DeadLetterDetail(**shown, raw=encoded, raw_encoding="base64")


OPERATIONS = (
    Operation(
        method="GET",
        path="/dead-letters",
        handler=list_dead_letters,
        tag="dead letters",
        summary="List records that could not be used",
        description="Newest first, by time of receipt.",
        query=DeadLettersQuery,
        answer=DeadLetters,
    ),
    Operation(
        method="GET",
        path="/dead-letters/{dead_letter_id}",
        handler=read_dead_letter,
        tag="dead letters",
        summary="Show a record that could not be used",
        answer=DeadLetterDetail,
        errors=("not_found",),
    ),
)
