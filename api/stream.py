"""The live stream: a tenant's summaries and newest exceptions, as server-sent events.

Format: WHATWG HTML, "Server-sent events". An event's id is the log position its figures count up
to; a client that comes back with `Last-Event-ID` gets what has moved since. Every event replaces
what was known before, so one that arrives twice changes nothing.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import ApiError
from api.live import LiveTenant, LiveView
from api.operations import Call, Operation
from api.services import Services

log = structlog.get_logger("settler.api.stream")

# Proxies end connections that say nothing for half a minute or so. A revoked key ends its streams
# within the same time.
KEEPALIVE_SECONDS = 15.0

# One that nothing happens on takes some forty kilobytes and a wake-up every `KEEPALIVE_SECONDS`.
STREAMS_MAX = 6_000

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


async def _still_allowed(request: Request, services: Services) -> bool:
    try:
        await services.authenticator.identify(request)
    except ApiError:
        return False
    except (psycopg.OperationalError, PoolTimeout) as error:
        log.warning("live stream ends, the database is away", error=type(error).__name__)
        return False
    return True


async def _events(
    request: Request, services: Services, tenant: LiveTenant, look: int, view: LiveView
) -> AsyncIterator[bytes]:
    # The first bytes go out at once: the client knows that it is connected, and how soon to retry.
    yield b"retry: 1000\n\n"
    await tenant.until(look)
    spoken = checked = time.monotonic()
    while True:
        changed = tenant.changed
        events = view.news(tenant.state)
        now = time.monotonic()
        if now - checked >= KEEPALIVE_SECONDS:
            checked = now
            if not await _still_allowed(request, services):
                return
        if events:
            spoken = now
            yield b"".join(events)
        elif now - spoken >= KEEPALIVE_SECONDS:
            spoken = now
            yield b": still here\n\n"
        if services.feed.stopping.is_set() or tenant.has_failed:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(spoken, checked) + KEEPALIVE_SECONDS - now):
                await changed.wait()


async def stream_live(call: Call) -> StreamingResponse:
    """Stream the tenant's summaries and newest exceptions as they change."""
    call.query(StreamQuery)
    headers = call.header_fields(StreamHeaders)
    services = call.services
    if services.streams_open.total() >= STREAMS_MAX:
        raise ApiError("too_many_streams")
    if services.streams_open[call.tenant_id] >= services.settings.tenant_streams:
        raise ApiError("tenant_streams_taken")
    call.request.scope["settler.stream"] = True
    view = LiveView(int(headers.last_event_id or 0))
    request, tenant_id = call.request, call.tenant_id

    async def body() -> AsyncIterator[bytes]:
        async with services.live.follow(tenant_id) as (tenant, look):
            async for piece in _events(request, services, tenant, look, view):
                yield piece

    return _LiveResponse(body(), services.streams_open, tenant_id)


class _LiveResponse(StreamingResponse):
    """A stream that is counted from the moment it is granted until it ends."""

    def __init__(
        self, body: AsyncIterator[bytes], streams_open: Counter[str], tenant_id: str
    ) -> None:
        self._streams_open, self._tenant_id = streams_open, tenant_id
        streams_open[tenant_id] += 1
        STREAMS.inc()
        # Nginx holds answers back unless told otherwise.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(body, media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream to its end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            STREAMS.dec()
            self._streams_open[self._tenant_id] -= 1
            if not self._streams_open[self._tenant_id]:
                del self._streams_open[self._tenant_id]


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
        example=(
            "retry: 1000\n\nid: 42\nevent: summary\n"
            'data: {"reconciliation_id":"shopify-stripe","position":42,"lag_seconds":0.0}\n\n'
            'event: exceptions\ndata: {"reconciliation_id":"shopify-stripe","items":[]}\n\n'
        ),
        errors=("too_many_streams", "tenant_streams_taken"),
    ),
)
