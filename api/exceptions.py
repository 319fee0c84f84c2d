"""Exceptions: what failed to match, why, and what became of it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.amounts import Amount, CurrencyFilter, amount_text
from api.database import Session
from api.errors import not_found
from api.events import StoredEvent, to_stored_events
from api.instants import Instant
from api.matches import Match, to_match
from api.operations import Answer, Call, Operation
from api.pagination import Order, Page, PageQuery, cut_page, decode_cursor
from api.parameters import (
    ORDER_DESCRIPTION,
    POSITION_END,
    ReconciliationFilter,
    RuleFilter,
    Side,
    filters,
    parse_id,
)
from domain.identity import casework_stream_id, stream_id

Category = Literal[
    "missing_in_target", "missing_in_source", "amount_mismatch", "currency_mismatch",
    "date_mismatch", "duplicate", "ambiguous",
]  # fmt: skip
Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["open", "in_progress", "resolved", "dismissed"]

# What matching did with an exception is a handful of events; one that flapped for weeks has some
# dozens. What people did is bounded by `domain.casework.EVENTS_MAX`.
STORY_BATCHES_MAX = 100


class Candidate(BaseModel):
    """A near miss: the transaction that came closest, and the first condition it failed."""

    transaction_id: str
    side: Side
    amount: Amount
    currency: str
    rule: str | None
    failed: str = Field(description="The first condition that did not hold.")
    detail: str


class ExceptionCase(BaseModel):
    """One transaction that failed to match."""

    exception_id: uuid.UUID
    reconciliation_id: str
    position: int = Field(description="Position in the log of the event that opened it.")
    updated_position: int
    side: Side
    transaction_id: str
    category: str = Field(examples=["amount_mismatch"])
    severity: Severity
    status: Status
    resolution: str | None
    amount: Amount
    currency: str
    occurred_at: datetime
    rule: str | None = Field(description="The rule that came nearest.")
    reason: str
    candidates: list[Candidate]
    match_id: uuid.UUID | None = Field(description="The match that resolved it.")
    assignee: str | None
    resolution_reason: str | None = Field(description="What the person said who closed it.")
    comments: int = Field(description="How many comments its story has.")
    version: int = Field(description="Counts what people did with it; `If-Match` takes it.")
    definition_version: int
    opened_at: datetime
    updated_at: datetime
    due_at: datetime = Field(
        description="When it is to be closed: so many hours after it opened, by its severity, as "
        "`/tenant` says."
    )
    overdue: bool = Field(description="Whether it is still open then.")


class ExceptionDetail(ExceptionCase):
    """One exception with its story."""

    story: list[StoredEvent] = Field(
        description="What matching and people did with it, oldest first."
    )
    match: Match | None = Field(description="The match that resolved it.")


class Exceptions(Page[ExceptionCase]):
    """A page of exceptions."""


#: What lists of exceptions are narrowed by, as the query and the statements name it.
FILTERS = (
    "reconciliation_id", "status", "category", "severity", "side", "currency", "rule", "assignee",
    "assigned", "commented", "from_time", "to_time", "overdue",
)  # fmt: skip


class ExceptionFilters(BaseModel):
    """Which exceptions."""

    model_config = ConfigDict(extra="forbid")

    reconciliation_id: ReconciliationFilter = None
    status: Status | None = None
    category: Category | None = None
    severity: Severity | None = None
    side: Side | None = None
    currency: CurrencyFilter = None
    rule: RuleFilter = None
    assignee: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Who works on it.")
    ] = None
    assigned: Annotated[bool | None, Field(description="Whether anybody works on it.")] = None
    commented: Annotated[bool | None, Field(description="Whether it has comments.")] = None
    from_time: Annotated[Instant | None, Field(description="When it opened at the earliest.")] = (
        None
    )
    to_time: Annotated[Instant | None, Field(description="It opened before this.")] = None
    overdue: Annotated[bool | None, Field(description="Whether it is open though it was due.")] = (
        None
    )


class ExceptionsQuery(PageQuery, ExceptionFilters):
    """Filters of exceptions."""

    order: Annotated[Order, Field(description=ORDER_DESCRIPTION)] = "newest"


def to_exception(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of `exceptions` its outward form; the row itself, as a page has many of them."""
    row["amount"] = amount_text(row.pop("amount_minor"), row["currency"])
    for candidate in row["candidates"]:
        minor = candidate.pop("amount_minor")
        candidate["amount"] = amount_text(minor, candidate["currency"])
    return row


async def list_exceptions(call: Call) -> Answer:
    """List the tenant's exceptions."""
    query = call.query(ExceptionsQuery)
    start = POSITION_END if query.order == "newest" else -1
    position = decode_cursor(query.cursor, [int])[0] if query.cursor else start
    rows = await call.services.database.read(
        call.tenant_id,
        f"list_exceptions_{query.order}",
        {
            **filters(query, *FILTERS),
            "tenant_id": call.tenant_id,
            "position": position,
            "limit": query.limit + 1,
        },
    )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["position"]])
    # The rows hold what the model asks for; going through it would take longer than reading them.
    items = [to_exception(row) for row in page]
    return Answer(msgspec.json.encode({"items": items, "next_cursor": next_cursor}))


async def _read_story(
    session: Session, tenant_id: str, row: dict[str, Any], match: dict[str, Any] | None
) -> list[StoredEvent]:
    transaction_id = row["transaction_id"]

    def concerns(event: Any) -> bool:
        if getattr(event, "transaction_id", None) == transaction_id:
            return bool(("source", "target")[event.side] == row["side"])
        # A match of the same batch may hold an equal id on the other side, so side decides here.
        members = getattr(event, f"{row['side']}_ids", ())
        return transaction_id in members

    batches = await session.rows(
        "read_story_batches",
        {
            "tenant_id": tenant_id,
            "stream_id": stream_id(tenant_id, row["reconciliation_id"]),
            "from_position": row["first_position"],
            "to_position": max(row["updated_position"], match["position"] if match else 0),
            "quoted_id": msgspec.json.encode(transaction_id).decode(),
            "limit": STORY_BATCHES_MAX,
        },
    )
    casework = await session.rows(
        "read_casework",
        {
            "tenant_id": tenant_id,
            "stream_id": casework_stream_id(tenant_id, str(row["exception_id"])),
        },
    )
    events = [event for batch in batches for event in to_stored_events(batch, concerns)]
    events += [event for batch in casework for event in to_stored_events(batch)]
    return sorted(events, key=lambda event: event.global_position)


async def read_exception(call: Call) -> ExceptionDetail:
    """Show one exception, its candidates, its resolution and its story."""
    exception_id = parse_id(call.path("exception_id"), "exception")
    tenant_id = call.tenant_id
    async with call.services.database.tenant(tenant_id, snapshot=True) as session:
        row = await session.row(
            "read_exception", {"tenant_id": tenant_id, "exception_id": exception_id}
        )
        if row is None:
            raise not_found("exception", str(exception_id))
        match = None
        if row["match_id"] is not None:
            match = await session.row(
                "read_match", {"tenant_id": tenant_id, "match_id": row["match_id"]}
            )
        story = await _read_story(session, tenant_id, row, match)
    return ExceptionDetail(
        **to_exception(row), story=story, match=Match(**to_match(match)) if match else None
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/exceptions",
        handler=list_exceptions,
        tag="exceptions",
        summary="List exceptions",
        description=f"Sorted by position. {ORDER_DESCRIPTION}",
        query=ExceptionsQuery,
        answer=Exceptions,
        kept_for="tenant",
    ),
    Operation(
        method="GET",
        path="/exceptions/{exception_id}",
        handler=read_exception,
        tag="exceptions",
        summary="Show an exception and its story",
        answer=ExceptionDetail,
        errors=("not_found",),
    ),
)
