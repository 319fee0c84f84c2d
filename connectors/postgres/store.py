"""The store as the flow sees it: one object per process, over Postgres or over memory.

`PostgresStore` waits out every interruption; what it returns has happened. `MemoryStore`, in
`store_memory`, is its twin for simulations; both pass the same contract tests.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from psycopg import Connection

from connectors.postgres import (
    checkpoints,
    dead_letters,
    freezing,
    inbox,
    lease,
    reading,
    snapshots,
    streams,
)
from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.connections import TRANSIENT, keep_trying
from connectors.postgres.dead_letters import StoredDeadLetter
from connectors.postgres.inbox import Command, CommandState
from connectors.postgres.records import Batch, Claim, DeadLetter, StreamCommit
from connectors.postgres.store_writer import StoreWriter
from domain.freezing.frozen import NewBlock

T = TypeVar("T")


class Store(Protocol):
    """What a flow needs of its store. Each method is one transaction."""

    def claim(
        self, stream_id: str, tenant_id: str, reconciliation_id: str, *, create: bool
    ) -> Claim | None:
        """See `streams.claim_stream`."""

    def write(self, commits: Sequence[StreamCommit], letters: Iterable[DeadLetter]) -> int:
        """See `writing.commit_flush`; returns only once it is stored, raises `Fenced`."""

    def save_snapshot(
        self,
        stream_id: str,
        version: int,
        snapshot_format: int,
        state: bytes,
        fence: int,
        blocks: Sequence[int] = (),
        newest_block: int = 0,
    ) -> bool:
        """See `snapshots.save_snapshot`."""

    def write_blocks(self, stream_id: str, blocks: Sequence[NewBlock]) -> None:
        """See `freezing.write_blocks`."""

    def read_fingerprints(self, stream_id: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """See `freezing.read_fingerprints`."""

    def read_pages(
        self, stream_id: str, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """See `freezing.read_pages`."""

    def read_batches(self, after_position: int, limit: int) -> list[Batch]:
        """See `reading.read_batches`."""

    def load_offsets(self, topic: str, cluster_id: str, topic_id: str) -> dict[int, int]:
        """See `checkpoints.load_source_checkpoints`."""

    def save_offsets(self, saved: Iterable[SourceCheckpoint]) -> None:
        """See `checkpoints.save_source_checkpoints`."""

    def submit(self, command: Command) -> bool:
        """See `inbox.submit`."""

    def read_pending(self, limit: int, exclude: Iterable[str] = ()) -> list[Command]:
        """See `inbox.read_pending`."""

    def read_command_state(self, command_id: str) -> CommandState | None:
        """See `inbox.read_command_state`."""

    def read_redrivable(self, limit: int, exclude: Iterable[str] = ()) -> list[StoredDeadLetter]:
        """See `dead_letters.read_redrivable`."""

    def request_redrive(self, letter_ids: Sequence[str]) -> int:
        """See `dead_letters.request_redrive`."""

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.acquire`."""

    def renew_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.renew`."""

    def release_lease(self, name: str, holder: str) -> None:
        """See `lease.release`."""


class PostgresStore:
    """The store over one Postgres connection of role settler_flow. Not for several threads at once.

    Args:
        open_connection: Makes one attempt at a connection.
        wait: Waits that many seconds and returns something true to give up, as
            `threading.Event.wait` does.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection[Any]],
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._open_connection = open_connection
        self._wait = wait or threading.Event().wait
        self._conn: Connection[Any] | None = None
        self._writer = StoreWriter(self._connection, self._wait)

    def claim(
        self, stream_id: str, tenant_id: str, reconciliation_id: str, *, create: bool
    ) -> Claim | None:
        """See `streams.claim_stream`; repeated after an interruption it takes a newer fence."""
        return self._run(
            "claim a stream",
            lambda conn: streams.claim_stream(
                conn, stream_id, tenant_id, reconciliation_id, create
            ),
        )

    def write(self, commits: Sequence[StreamCommit], letters: Iterable[DeadLetter]) -> int:
        """See `store_writer.StoreWriter.write`."""
        return self._writer.write(commits, letters)

    def save_snapshot(
        self,
        stream_id: str,
        version: int,
        snapshot_format: int,
        state: bytes,
        fence: int,
        blocks: Sequence[int] = (),
        newest_block: int = 0,
    ) -> bool:
        """See `snapshots.save_snapshot`."""
        return self._run(
            "save a snapshot",
            lambda conn: snapshots.save_snapshot(
                conn, stream_id, version, snapshot_format, state, fence, blocks, newest_block
            ),
        )

    def write_blocks(self, stream_id: str, blocks: Sequence[NewBlock]) -> None:
        """See `freezing.write_blocks`."""
        self._run("freeze state", lambda conn: freezing.write_blocks(conn, stream_id, blocks))

    def read_fingerprints(self, stream_id: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """See `freezing.read_fingerprints`."""
        return self._run(
            "read fingerprints",
            lambda conn: freezing.read_fingerprints(conn, stream_id, numbers),
        )

    def read_pages(
        self, stream_id: str, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """See `freezing.read_pages`."""
        return self._run("thaw state", lambda conn: freezing.read_pages(conn, stream_id, places))

    def read_batches(self, after_position: int, limit: int) -> list[Batch]:
        """See `reading.read_batches`."""
        return self._run(
            "read the log", lambda conn: reading.read_batches(conn, after_position, limit)
        )

    def load_offsets(self, topic: str, cluster_id: str, topic_id: str) -> dict[int, int]:
        """See `checkpoints.load_source_checkpoints`."""
        return self._run(
            "load offsets",
            lambda conn: checkpoints.load_source_checkpoints(conn, topic, cluster_id, topic_id),
        )

    def save_offsets(self, saved: Iterable[SourceCheckpoint]) -> None:
        """See `checkpoints.save_source_checkpoints`."""
        every = list(saved)
        self._run("save offsets", lambda conn: checkpoints.save_source_checkpoints(conn, every))

    def submit(self, command: Command) -> bool:
        """See `inbox.submit`."""
        return self._run("submit a command", lambda conn: inbox.submit(conn, command))

    def read_pending(self, limit: int, exclude: Iterable[str] = ()) -> list[Command]:
        """See `inbox.read_pending`."""
        ids = list(exclude)
        return self._run("read the inbox", lambda conn: inbox.read_pending(conn, limit, ids))

    def read_command_state(self, command_id: str) -> CommandState | None:
        """See `inbox.read_command_state`."""
        return self._run("read a command", lambda conn: inbox.read_command_state(conn, command_id))

    def read_redrivable(self, limit: int, exclude: Iterable[str] = ()) -> list[StoredDeadLetter]:
        """See `dead_letters.read_redrivable`."""
        ids = list(exclude)
        return self._run(
            "read dead letters", lambda conn: dead_letters.read_redrivable(conn, limit, ids)
        )

    def request_redrive(self, letter_ids: Sequence[str]) -> int:
        """See `dead_letters.request_redrive`."""
        return self._run(
            "request a redrive", lambda conn: dead_letters.request_redrive(conn, letter_ids)
        )

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.acquire`."""
        return self._run(
            "acquire the lease", lambda conn: lease.acquire(conn, name, holder, seconds)
        )

    def renew_lease(self, name: str, holder: str, seconds: float) -> bool:
        """See `lease.renew`."""
        return self._run("renew the lease", lambda conn: lease.renew(conn, name, holder, seconds))

    def release_lease(self, name: str, holder: str) -> None:
        """See `lease.release`."""
        self._run("release the lease", lambda conn: lease.release(conn, name, holder))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._writer.close()
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _connection(self) -> Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = self._open_connection()
        return self._conn

    def _run(self, what: str, action: Callable[[Connection[Any]], T]) -> T:
        def attempt() -> T:
            try:
                return action(self._connection())
            except TRANSIENT:
                self.close()
                raise

        return keep_trying(attempt, what, self._wait)
