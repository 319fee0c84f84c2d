"""The log, as a tenant may read it."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from api.operations import Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from domain.identity import casework_stream_id, stream_id
from domain.naming import name_events


class StoredEvent(BaseModel):
    """One event with its envelope."""

    event_id: uuid.UUID
    stream_id: str
    stream_version: int
    global_position: int
    aggregate_id: str
    aggregate_type: str
    event_type: str
    event_version: int
    data: dict[str, Any] = Field(description="The event's fields; amounts are decimal strings.")
    metadata: dict[str, Any] = Field(
        description="`tenant_id`, `correlation_id`, `causation_id`, trace context, `timestamp`."
    )
    created_at: datetime


class Events(Page[StoredEvent]):
    """A page of events."""


class EventsQuery(PageQuery):
    """Which part of the log."""

    aggregate_id: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9_-]{1,64}$", description="The id of an aggregate."),
    ] = None
    aggregate_type: Annotated[
        Literal["reconciliation", "exception"],
        Field(description="What `aggregate_id` is the id of; of an exception, what people did."),
    ] = "reconciliation"
    correlation_id: Annotated[
        str | None,
        Field(min_length=1, max_length=128, description="What belongs together, e.g. a command."),
    ] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "EventsQuery":
        if (self.aggregate_id is None) == (self.correlation_id is None):
            raise ValueError("name either aggregate_id or correlation_id")
        return self


def to_stored_events(
    row: dict[str, Any], wanted: Callable[[Any], bool] = lambda _event: True
) -> list[StoredEvent]:
    """Unfold one batch of the log into those of its events that are wanted."""
    return [StoredEvent(**event) for event in name_events(row, wanted)]


def _stream_of(tenant_id: str, query: EventsQuery) -> str | None:
    if query.aggregate_id is None:
        return None
    name = casework_stream_id if query.aggregate_type == "exception" else stream_id
    return name(tenant_id, query.aggregate_id)


async def list_events(call: Call) -> Events:
    """List the events of an aggregate or of a correlation, oldest first."""
    query = call.query(EventsQuery)
    position = decode_cursor(query.cursor, [int])[0] if query.cursor else 0
    async with call.services.database.tenant(call.tenant_id) as session:
        batches = await session.rows(
            "list_batches",
            {
                "tenant_id": call.tenant_id,
                "stream_id": _stream_of(call.tenant_id, query),
                "correlation_id": query.correlation_id,
                "position": position,
                "limit": query.limit + 1,
            },
        )
    found: list[dict[str, Any]] = []
    for batch in batches:
        skip = max(0, position + 1 - batch["first_position"])
        room = query.limit + 1 - len(found)
        found += name_events(batch, start=skip, stop=skip + room)
    page, next_cursor = cut_page(found, query.limit, lambda event: [event["global_position"]])
    items = [StoredEvent(**event) for event in page]
    return Events(items=items, next_cursor=next_cursor)


OPERATIONS = (
    Operation(
        method="GET",
        path="/events",
        handler=list_events,
        tag="events",
        summary="List the events of an aggregate or of a correlation",
        description="Oldest first, by position in the log. Exactly one of the two is needed.",
        query=EventsQuery,
        answer=Events,
    ),
)
