"""News of the read models: how far the summaries are, and a wake-up when they move on.

One connection a process listens; the notification says only that something moved, the position is
read from the projection's checkpoint, so nothing depends on what the payload holds.
"""

import asyncio
import contextlib

import psycopg
import structlog
from prometheus_client import Counter

from api.database import QUERIES, Database

log = structlog.get_logger("settler.api.feed")

CHANNEL = "settler_read_models"

# Without notifications (a pooler between us and Postgres drops them) news is this late at most.
POLL_SECONDS = 1.0

# Under load projections commit many times a second; a person reads no more than some updates.
GAP_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0

RECONNECTS = Counter(
    "settler_api_feed_reconnects_total", "Times the listening connection was lost or refused."
)


class Feed:
    """Listens for movement of the read models while the application runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._position: int | None = None
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()

    @property
    def position(self) -> int | None:
        """Position the summaries were last seen at; None while that is not known."""
        return self._position

    def start(self) -> None:
        """Begin to listen, in the background and for as long as it takes."""
        self._task = asyncio.create_task(self._run(), name="read-model-feed")

    async def stop(self) -> None:
        """End the streams and the listening."""
        self.stop_streams()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def stop_streams(self) -> None:
        """Tell every open stream to end; safe from a signal handler of the loop."""
        self.stopping.set()
        self._wake()

    async def wait(self, timeout_seconds: float) -> None:
        """Sleep until a read model moves, the time is over, or streams are to stop."""
        if self.stopping.is_set():
            return
        moved = self._moved
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(moved.wait(), timeout_seconds)

    async def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, shorter only when streams are to stop."""
        with contextlib.suppress(TimeoutError):
            if seconds > 0:
                await asyncio.wait_for(self.stopping.wait(), seconds)

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _run(self) -> None:
        backoff = 0.1
        while True:
            try:
                async with await self._database.listening_connection() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    backoff = 0.1
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                self._position = None
                RECONNECTS.inc()
                log.warning(
                    "lost the feed of read models, connecting again",
                    error=f"{type(error).__name__}: {error}".strip(),
                    backoff_seconds=backoff,
                )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)

    async def _follow(self, connection: psycopg.AsyncConnection[dict[str, object]]) -> None:
        while True:
            cursor = await connection.execute(QUERIES["read_feed_position"])
            row = await cursor.fetchone()
            self._position = int(str(row["position"])) if row else None
            self._wake()
            async for _note in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                await asyncio.sleep(GAP_SECONDS)
