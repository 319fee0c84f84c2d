"""The live stream: a tenant's summaries and newest exceptions, as server-sent events.

Format: WHATWG HTML, "Server-sent events". An event's id is the log position its figures count up
to; a client that comes back with `Last-Event-ID` gets what has moved since. Every event replaces
what was known before, so one that arrives twice changes nothing.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api.errors import ApiError
from api.exceptions import ExceptionCase, to_exception
from api.operations import Call, Operation
from api.services import Services
from api.summaries import Summary, to_summary

log = structlog.get_logger("settler.api.stream")

NEWEST_EXCEPTIONS = 6

# No faster than the eye; a projection may commit twenty times a second.
GAP_SECONDS = 0.25
WAIT_SECONDS = 1.0

# Proxies end connections that say nothing for half a minute or so.
KEEPALIVE_SECONDS = 15.0

# A revoked key ends its streams within this.
RECHECK_SECONDS = 15.0

# Each open stream asks twice a second at most for a query or two of a millisecond.
STREAMS_MAX = 100

STREAMS = Gauge("settler_api_streams_open", "Live streams that are open.")


class StreamHeaders(BaseModel):
    """Where to go on."""

    last_event_id: Annotated[
        str | None,
        Field(
            None,
            alias="Last-Event-ID",
            pattern=r"^\d{1,18}$",
            description="The id of the last event received; browsers send it by themselves.",
        ),
    ]


class StreamQuery(BaseModel):
    """A stream takes no parameters."""

    model_config = ConfigDict(extra="forbid")


class LiveSummary(Summary):
    """The event `summary`: one reconciliation's figures."""

    lag_seconds: float = Field(
        description="Age of the oldest committed batch that the figures do not hold yet; 0: none."
    )


class NewestExceptions(BaseModel):
    """The event `exceptions`: the newest open ones of one reconciliation, all that are shown."""

    reconciliation_id: str
    items: list[ExceptionCase]


def format_event(name: str, data: BaseModel, event_id: int | None = None) -> bytes:
    """Write one server-sent event; JSON in one line needs no further escaping."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {data.model_dump_json()}\n\n".encode()


class LiveView:
    """What one client has been sent, and what is therefore news to it."""

    def __init__(self, tenant_id: str, position: int) -> None:
        self._tenant_id = tenant_id
        self._positions: dict[str, tuple[int, float]] = {}
        self._since = position
        self._sent: dict[str, bytes] = {}

    async def news(self, services: Services) -> list[bytes]:
        """Read what has changed since the last call, as events ready to send."""
        async with services.database.tenant(self._tenant_id, snapshot=True) as session:
            key = {"tenant_id": self._tenant_id}
            summaries = await session.rows("read_live_summaries", key)
            newest = await session.rows(
                "read_newest_exceptions", {**key, "limit": NEWEST_EXCEPTIONS}
            )
        return [*self._summaries(summaries), *self._exceptions(summaries, newest)]

    def _summaries(self, rows: list[dict[str, Any]]) -> list[bytes]:
        events = []
        # In the order of their ids: a client that breaks off has everything up to its last id.
        for row in sorted(rows, key=lambda row: int(row["position"])):
            lag = round(max(0.0, row["behind_seconds"] or 0.0), 2)
            known = self._positions.get(row["reconciliation_id"])
            state = (row["position"], lag)
            if known == state or (known is None and row["position"] <= self._since):
                continue
            self._positions[row["reconciliation_id"]] = state
            summary = LiveSummary(**to_summary(row), lag_seconds=lag)
            events.append(format_event("summary", summary, row["position"]))
        return events

    def _exceptions(
        self, summaries: list[dict[str, Any]], rows: list[dict[str, Any]]
    ) -> list[bytes]:
        by_id: dict[str, list[dict[str, Any]]] = {
            summary["reconciliation_id"]: [] for summary in summaries
        }
        for row in rows:
            by_id.setdefault(row["reconciliation_id"], []).append(row)
        events = []
        for reconciliation_id, of_reconciliation in by_id.items():
            event = format_event(
                "exceptions",
                NewestExceptions(
                    reconciliation_id=reconciliation_id,
                    items=[ExceptionCase(**to_exception(row)) for row in of_reconciliation],
                ),
            )
            digest = hashlib.blake2b(event, digest_size=16).digest()
            if self._sent.get(reconciliation_id) != digest:
                self._sent[reconciliation_id] = digest
                events.append(event)
        return events


async def _still_allowed(request: Request, services: Services) -> bool:
    try:
        await services.authenticator.identify(request)
    except ApiError:
        return False
    return True


async def _events(request: Request, services: Services, view: LiveView) -> AsyncIterator[bytes]:
    # The first bytes go out at once: the client knows that it is connected, and how soon to retry.
    yield b"retry: 1000\n\n"
    spoken = checked = time.monotonic()
    while not services.feed.stopping.is_set():
        started = time.monotonic()
        try:
            events = await view.news(services)
            if started - checked > RECHECK_SECONDS:
                checked = started
                if not await _still_allowed(request, services):
                    return
        except (psycopg.OperationalError, PoolTimeout) as error:
            # The client keeps what it shows and comes back; by then the database may too.
            log.warning("live stream ends, the database is away", error=type(error).__name__)
            return
        if events:
            yield b"".join(events)
            spoken = time.monotonic()
        elif time.monotonic() - spoken > KEEPALIVE_SECONDS:
            yield b": still here\n\n"
            spoken = time.monotonic()
        await services.feed.wait(WAIT_SECONDS)
        await services.feed.pause(GAP_SECONDS - (time.monotonic() - started))


async def stream_live(call: Call) -> StreamingResponse:
    """Stream the tenant's summaries and newest exceptions as they change."""
    call.query(StreamQuery)
    headers = call.header_fields(StreamHeaders)
    services = call.services
    if services.streams_open >= STREAMS_MAX:
        raise ApiError("too_many_streams")
    call.request.scope["settler.stream"] = True
    view = LiveView(call.tenant_id, int(headers.last_event_id or 0))
    request = call.request

    async def body() -> AsyncIterator[bytes]:
        services.streams_open += 1
        STREAMS.inc()
        try:
            async for piece in _events(request, services, view):
                yield piece
        finally:
            services.streams_open -= 1
            STREAMS.dec()

    return StreamingResponse(
        body(),
        media_type="text/event-stream",
        # Nginx holds answers back unless told otherwise.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/stream",
        handler=stream_live,
        tag="live",
        summary="Follow summaries and the newest exceptions",
        description=(
            "Server-sent events. `summary` holds a reconciliation's figures and `lag_seconds`; "
            "`exceptions` holds `{reconciliation_id, items}`, its newest open exceptions, in the "
            "form of `/exceptions`. Every event replaces the one before it."
        ),
        query=StreamQuery,
        headers=StreamHeaders,
        answer=None,
        stream=True,
        errors=("too_many_streams",),
    ),
)
