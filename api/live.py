"""What live streams show of a tenant: read once for all who follow it, rendered once.

A tenant that someone follows has one reader here. It reads when the tenant's read models have
moved or somebody new arrives, and hardly ever otherwise; followers sleep until it has news.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from api.database import Database
from api.exceptions import ExceptionCase, to_exception
from api.feed import Feed
from api.summaries import Summary, to_summary

log = structlog.get_logger("settler.api.live")

NEWEST_EXCEPTIONS = 6

# No faster than the eye; a projection may commit twenty times a second.
GAP_SECONDS = 0.25
# While projections lag the lag itself is news.
BEHIND_SECONDS = 1.0
# For what nobody tells of: a read model that was rebuilt, a row that was put right by hand.
QUIET_SECONDS = 30.0
# Of all tenants together, so that news never takes the whole pool from requests.
READS_MAX = 3


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


@dataclass(frozen=True, slots=True)
class Shown:
    """One event of the state, ready to send.

    Attributes:
        state: News when it differs from what the client has.
        position: The event's id, where it has one.
    """

    reconciliation_id: str
    state: object
    event: bytes
    position: int = 0


@dataclass(frozen=True, slots=True)
class LiveState:
    """What a tenant's streams show, as of one look at the database."""

    #: In the order of their ids: a client that breaks off has everything up to its last id.
    summaries: Sequence[Shown]
    exceptions: Sequence[Shown]
    is_behind: bool


def _lag_seconds(row: dict[str, Any]) -> float:
    return round(max(0.0, row["behind_seconds"] or 0.0), 2)


def _show_summary(row: dict[str, Any]) -> Shown:
    lag = _lag_seconds(row)
    summary = LiveSummary(**to_summary(row), lag_seconds=lag)
    position = int(row["position"])
    event = format_event("summary", summary, position)
    return Shown(row["reconciliation_id"], (position, lag), event, position)


def _show_exceptions(reconciliation_id: str, rows: Sequence[dict[str, Any]]) -> Shown:
    newest = NewestExceptions(
        reconciliation_id=reconciliation_id,
        items=[ExceptionCase(**to_exception(row)) for row in rows],
    )
    event = format_event("exceptions", newest)
    return Shown(reconciliation_id, hashlib.blake2b(event, digest_size=16).digest(), event)


def make_state(
    summaries: Sequence[dict[str, Any]], exceptions: Sequence[dict[str, Any]]
) -> LiveState:
    """Render rows of `reconciliation_summary` and `exceptions`."""
    by_id: dict[str, list[dict[str, Any]]] = {row["reconciliation_id"]: [] for row in summaries}
    for row in exceptions:
        by_id.setdefault(row["reconciliation_id"], []).append(row)
    in_order = sorted(summaries, key=lambda row: int(row["position"]))
    return LiveState(
        summaries=[_show_summary(row) for row in in_order],
        exceptions=[_show_exceptions(name, rows) for name, rows in by_id.items()],
        is_behind=any(_lag_seconds(row) for row in summaries),
    )


class LiveView:
    """What one client has been sent, and what is therefore news to it.

    Args:
        position: The id of the last event it has; 0: none.
    """

    def __init__(self, position: int) -> None:
        self._since = position
        self._summaries: dict[str, object] = {}
        self._exceptions: dict[str, object] = {}

    def news(self, state: LiveState) -> list[bytes]:
        """Return the events that the client does not have, and take them as sent."""
        events = []
        for shown in state.summaries:
            known = self._summaries.get(shown.reconciliation_id)
            if known == shown.state or (known is None and shown.position <= self._since):
                continue
            self._summaries[shown.reconciliation_id] = shown.state
            events.append(shown.event)
        for shown in state.exceptions:
            if self._exceptions.get(shown.reconciliation_id) != shown.state:
                self._exceptions[shown.reconciliation_id] = shown.state
                events.append(shown.event)
        return events


class LiveTenant:
    """The one reader of a tenant, for as long as somebody follows it."""

    def __init__(
        self, tenant_id: str, database: Database, feed: Feed, reads: asyncio.Semaphore
    ) -> None:
        self._tenant_id = tenant_id
        self._database = database
        self._feed = feed
        self._reads = reads
        self._wanted = asyncio.Event()
        self._read = asyncio.Event()
        self._begun = self._done = 0
        self._has_arrivals = False
        self._task: asyncio.Task[None] | None = None
        self.followers = 0
        self.state = LiveState((), (), is_behind=False)
        #: Set, and replaced by another one, when `state` is a new one.
        self.changed = asyncio.Event()
        #: The database is away; followers had better come back later.
        self.has_failed = False

    def start(self) -> None:
        """Begin to read."""
        self._feed.watch(self._tenant_id, self._wanted)
        name = f"live-{self._tenant_id}"
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """Stop reading."""
        self._feed.unwatch(self._tenant_id)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def ask(self) -> int:
        """Ask for a look at the database that begins after this call; returns its number."""
        self._has_arrivals = True
        self._wanted.set()
        return self._begun + 1

    async def until(self, look: int) -> None:
        """Wait until `state` is of this look or a later one, or there will be none."""
        while self._done < look and not self.has_failed and not self._feed.stopping.is_set():
            await self._read.wait()

    async def _run(self) -> None:
        try:
            while not self._feed.stopping.is_set():
                started = time.monotonic()
                await self._look()
                is_behind = self.state.is_behind or self._feed.is_behind
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEHIND_SECONDS if is_behind else QUIET_SECONDS):
                        await self._wanted.wait()
                if not self._has_arrivals:
                    await self._feed.pause(GAP_SECONDS - (time.monotonic() - started))
        except (psycopg.OperationalError, PoolTimeout) as error:
            # Clients keep what they show and come back; by then the database may too.
            log.warning("live streams end, the database is away", error=type(error).__name__)
        finally:
            self.has_failed = True
            self._tell()

    async def _look(self) -> None:
        self._wanted.clear()
        self._has_arrivals = False
        self._begun += 1
        key = {"tenant_id": self._tenant_id}
        async with (
            self._reads,
            self._database.tenant(self._tenant_id, snapshot=True) as session,
        ):
            summaries = await session.rows("read_live_summaries", key)
            newest = await session.rows(
                "read_newest_exceptions", {**key, "limit": NEWEST_EXCEPTIONS}
            )
        before, self.state = self.state, make_state(summaries, newest)
        self._done = self._begun
        if self.state == before:
            self._read, read = asyncio.Event(), self._read
            read.set()
        else:
            self._tell()

    def _tell(self) -> None:
        self._read, read = asyncio.Event(), self._read
        self.changed, changed = asyncio.Event(), self.changed
        read.set()
        changed.set()


class Live:
    """The tenants that somebody follows."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed
        self._tenants: dict[str, LiveTenant] = {}
        self._reads = asyncio.Semaphore(READS_MAX)

    @asynccontextmanager
    async def follow(self, tenant_id: str) -> AsyncIterator[tuple[LiveTenant, int]]:
        """Follow a tenant; gives its reader, and the number of the look to begin with.

        The last one to go stops the reader.
        """
        tenant = self._tenants.get(tenant_id)
        if tenant is None or tenant.has_failed:
            tenant = LiveTenant(tenant_id, self._database, self._feed, self._reads)
            self._tenants[tenant_id] = tenant
            tenant.start()
        tenant.followers += 1
        try:
            yield tenant, tenant.ask()
        finally:
            tenant.followers -= 1
            if not tenant.followers and self._tenants.get(tenant_id) is tenant:
                del self._tenants[tenant_id]
                await tenant.stop()
