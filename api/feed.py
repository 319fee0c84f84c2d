"""News of the read models: what has moved, for whom, and how far the summaries are.

One connection a process listens. A projection's notification names the reconciliation that moved;
the checkpoint, read again every second, says whether one was missed. What nobody can name counts
as a movement of everything.
"""

import asyncio
import contextlib
import time

import msgspec
import psycopg
import structlog
from prometheus_client import Counter
from psycopg import Notify

from api.database import QUERIES, Database

log = structlog.get_logger("settler.api.feed")

CHANNEL = "settler_read_models"

# Without notifications (a pooler between us and Postgres drops them) news is this late at most.
POLL_SECONDS = 1.0
BACKOFF_SECONDS_MAX = 5.0
# Some hundred bytes each; beyond, everything counts as moved once.
_TAGS_MAX = 100_000

RECONNECTS = Counter(
    "settler_api_feed_reconnects_total", "Times the listening connection was lost or refused."
)


class Moved(msgspec.Struct):
    """What a projection notifies of: one reconciliation's read models stand at `position`."""

    tenant_id: str
    reconciliation_id: str
    position: int


_decode = msgspec.json.Decoder(Moved).decode


class Movements:
    """How far each tenant's and each reconciliation's read models are known to have come.

    A version is a text that changes when something moves. Two processes that name the same version
    of the same thing have been told of the same position.
    """

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str | None], str] = {}
        self._baseline: str | None = None
        self._told = -1

    def version(self, tenant_id: str, reconciliation_id: str | None = None) -> str | None:
        """Return the version of a tenant, or of one reconciliation; None while not known."""
        if self._baseline is None:
            return None
        return self._versions.get((tenant_id, reconciliation_id), self._baseline)

    def moved(self, moved: Moved) -> None:
        """Take in what a projection has told."""
        if self._baseline is None:
            return
        self._told = max(self._told, moved.position)
        self.seen(moved)

    def seen(self, moved: Moved) -> None:
        """Take in what somebody has read himself: of others it says nothing."""
        if self._baseline is None:
            return
        if len(self._versions) >= _TAGS_MAX:
            self.everything_moved()
        for of in (moved.reconciliation_id, None):
            known = self._versions.get((moved.tenant_id, of))
            # Who has seen a position himself hears of earlier ones afterwards.
            if known is None or int(known) < moved.position:
                self._versions[moved.tenant_id, of] = str(moved.position)

    def reached(self, position: int) -> bool:
        """Take in where the checkpoint stands; True: something moved that nobody had told."""
        if self._baseline is not None and position <= self._told:
            # Nothing new, or a notification was faster. A checkpoint that truly went back is a
            # rebuild's, and what is kept ends by itself within seconds.
            return False
        self._versions.clear()
        self._baseline, self._told = str(position), position
        return True

    def everything_moved(self) -> None:
        """Take in that something moved which has no name: no two processes share this version."""
        self._versions.clear()
        self._baseline = f"{self._told}.{time.time_ns()}"

    def lost(self) -> None:
        """Nothing is known until the checkpoint has been read again."""
        self._versions.clear()
        self._baseline = None


class Feed:
    """Listens for movement of the read models while the application runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._movements = Movements()
        self._watching: dict[str, asyncio.Event] = {}
        self._head = 0
        self._task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        #: Whether the summaries lack what was committed a poll before.
        self.is_behind = False

    def version(self, tenant_id: str, reconciliation_id: str | None = None) -> str | None:
        """Return how far a tenant's read models are known to be; None while that is not known."""
        return self._movements.version(tenant_id, reconciliation_id)

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
        self._wake_all()

    def watch(self, tenant_id: str, moved: asyncio.Event) -> None:
        """Set the event whenever the tenant's read models move, and when streams are to stop."""
        self._watching[tenant_id] = moved

    def unwatch(self, tenant_id: str) -> None:
        """End what `watch` began."""
        self._watching.pop(tenant_id, None)

    async def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, shorter only when streams are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self.stopping.wait()

    def _wake_all(self) -> None:
        for moved in self._watching.values():
            moved.set()

    def _heard(self, note: Notify) -> None:
        try:
            moved = _decode(note.payload)
        except msgspec.MsgspecError:
            self._movements.everything_moved()
            self._wake_all()
            return
        self._movements.moved(moved)
        self._wake(moved)

    def seen(self, moved: Moved) -> None:
        """Take in what a handler has seen in the database: nobody is given answers from before."""
        self._movements.seen(moved)
        self._wake(moved)

    def _wake(self, moved: Moved) -> None:
        watching = self._watching.get(moved.tenant_id)
        if watching is not None:
            watching.set()

    async def _run(self) -> None:
        backoff = 0.1
        while True:
            try:
                async with await self._database.listening_connection() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    backoff = 0.1
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                self._movements.lost()
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
            if row is None:
                self._movements.lost()
            else:
                position, was_behind = int(str(row["position"])), self.is_behind
                self.is_behind, self._head = position < self._head, int(str(row["head"]))
                if self._movements.reached(position) or self.is_behind or was_behind:
                    self._wake_all()
            # Those that came meanwhile are given out too.
            async for note in connection.notifies(timeout=POLL_SECONDS):
                self._heard(note)
