"""Records that could not be used, as far as they can be told to be this tenant's."""

import asyncio
import base64
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from api.errors import ApiError, not_found
from api.operations import Answer, Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import ReconciliationFilter, Side, filters, parse_id
from domain.transactions import SIDE_NAMES

_NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
_HIGHEST_ID = uuid.UUID(int=2**128 - 1)
_LOOK_AGAIN_SECONDS = 0.1

#: Dead letters of one request at most; the flow takes up a thousand at a time.
REDRIVE_MAX = 10_000


Redrive = Literal["none", "requested", "accepted", "refused", "done"]


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
    redrive: Redrive = Field(
        description="`none`: nobody asked for it to be taken up again. `requested`: it will be, "
        "once its reconciliation is defined. `accepted`: it went in. `refused`: it was turned away "
        "again; `code` and `message` are of that time. `done`: an earlier release took it up and "
        "did not note the outcome."
    )
    redrive_requested_at: datetime | None
    redriven_at: datetime | None = Field(description="When it was last taken up again.")


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
    transaction_id: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Its whole transaction id.")
    ] = None
    redriven: Annotated[bool | None, Field(description="Whether it was fed in again already.")] = (
        None
    )


class RedriveMany(BaseModel):
    """Which dead letters are to be taken up again: all that fit every field given."""

    model_config = {"extra": "forbid", "json_schema_extra": {"minProperties": 1}}

    dead_letter_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=1_000)] | None = None
    reconciliation_id: ReconciliationFilter = None
    code: Annotated[str | None, Field(pattern=r"^[a-z_]{1,64}$", description="Error code.")] = None
    side: Side | None = None

    @model_validator(mode="after")
    def _says_which(self) -> "RedriveMany":
        if not any(value is not None for value in self.__dict__.values()):
            raise ValueError("name dead_letter_ids, reconciliation_id, code or side")
        return self


class Redriven(BaseModel):
    """How many dead letters will be taken up again."""

    requested: int = Field(description="Those asked for now; not those asked for already.")
    more: bool = Field(description="There are more: ask again.")


class RedriveQuery(BaseModel):
    """How long a redrive may wait for its outcome."""

    model_config = {"extra": "forbid"}

    wait: float = Field(
        0, ge=0, le=30, description="Seconds to wait until it is taken up again; `redrive` tells."
    )


def to_dead_letter(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of `dead_letter_queue` its outward form."""
    shown = {**row, "side": SIDE_NAMES[row["side"]]}
    outcome = shown.pop("redrive_outcome")
    if row["redriven_at"] is not None:
        shown["redrive"] = outcome or "done"
    else:
        shown["redrive"] = "none" if row["redrive_requested_at"] is None else "requested"
    return shown


def cursor_start(cursor: str | None) -> dict[str, Any]:
    """Give where a page begins, as parameters of `list_dead_letters`."""
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
                **filters(query, "reconciliation_id", "code", "redriven", "transaction_id"),
                **cursor_start(query.cursor),
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
        items=[DeadLetter(**to_dead_letter(row)) for row in page], next_cursor=next_cursor
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
    shown = to_dead_letter(row)
    raw = bytes(shown.pop("raw"))
    try:
        return DeadLetterDetail(**shown, raw=raw.decode(), raw_encoding="utf-8")
    except UnicodeDecodeError:
        encoded = base64.b64encode(raw).decode()
        return DeadLetterDetail(**shown, raw=encoded, raw_encoding="base64")


async def redrive_dead_letter(call: Call) -> Answer:
    """Have one dead letter taken up again."""
    dead_letter_id = parse_id(call.path("dead_letter_id"), "dead letter")
    deadline = time.monotonic() + call.query(RedriveQuery).wait
    key = {"tenant_id": call.tenant_id, "dead_letter_id": dead_letter_id}
    async with call.services.database.tenant(call.tenant_id) as session:
        await session.rows("redrive_dead_letter", key)
        row = await session.row("read_dead_letter", key)
    if row is None:
        raise not_found("dead letter", str(dead_letter_id))
    while row["redriven_at"] is None and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
            row = await session.row("read_dead_letter", key) or row
    row.pop("raw")
    return Answer(DeadLetter(**to_dead_letter(row)), status=202)


async def redrive_dead_letters(call: Call) -> Answer:
    """Have dead letters taken up again."""
    body = await call.body(RedriveMany)
    call.note(**body.model_dump(mode="json", exclude_none=True))
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row(
            "redrive_dead_letters",
            {
                **filters(body, "dead_letter_ids", "reconciliation_id", "code"),
                "side": None if body.side is None else SIDE_NAMES.index(body.side),
                "tenant_id": call.tenant_id,
                "limit": REDRIVE_MAX,
            },
        )
    assert row is not None
    more = row["found"] > row["requested"]
    return Answer(Redriven(requested=row["requested"], more=more), status=202)


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
    Operation(
        method="POST",
        path="/dead-letters/redrive",
        handler=redrive_dead_letters,
        tag="dead letters",
        summary="Take up again records that could not be used",
        description=(
            "The oldest first, after what was wrong has been put right. They go the way of every "
            "record, so none is taken twice; those taken in by now are left alone. What is still "
            "wrong comes back with its reason."
        ),
        body=RedriveMany,
        answer=Redriven,
        status=202,
    ),
    Operation(
        method="POST",
        path="/dead-letters/{dead_letter_id}/redrive",
        handler=redrive_dead_letter,
        tag="dead letters",
        summary="Take up again a record that could not be used",
        description="Asked for twice, it is taken up once. `redrive` tells how it stands. One that "
        "was taken up within the last half minute is taken up again after that.",
        query=RedriveQuery,
        answer=DeadLetter,
        status=202,
        errors=("not_found",),
    ),
)
