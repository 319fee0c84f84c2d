"""The writer the flow trusts: it returns when a flush is stored, however often the line breaks."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from psycopg import Connection, InterfaceError

from connectors.postgres import metrics
from connectors.postgres.connections import TRANSIENT, keep_trying
from connectors.postgres.errors import Fenced
from connectors.postgres.reading import read_head
from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.writing import (
    Flush,
    prepare_flush,
    read_newest_format,
    steps_outcome,
    store_flush,
)

log = structlog.get_logger(__name__)

_CLOSE_FAILURES: tuple[type[Exception], ...] = (InterfaceError, *TRANSIENT)


class StoreWriter:
    """Stores flushes exactly once over a connection that may be lost at any moment.

    Not for several threads at once.

    Args:
        open_connection: Makes one attempt at a connection of role settler_flow.
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
        self._format: int | None = None

    def write(self, commits: Sequence[StreamCommit], dead_letters: Iterable[DeadLetter]) -> int:
        """Store a flush; while the database is away, wait for it and say so in the log.

        A commit whose answer was lost is looked up before anything is written again.

        Returns:
            The log's position after the flush; after a lost answer, the position found.

        Raises:
            Fenced: Another process has taken over a stream; nothing of the flush was stored.
            WaitInterrupted: Told to stop while waiting; whether it was stored is open.
        """
        started = time.perf_counter()
        flush: Flush | None = None
        tried = False

        def attempt() -> int:
            nonlocal flush, tried
            try:
                conn = self._connection()
                if flush is None:
                    flush = prepare_flush(commits, dead_letters, self._newest_format(conn))
                stored = self._found(conn, flush) if tried else None
                if stored is not None:
                    return stored
                tried = True
                return store_flush(conn, flush)
            except TRANSIENT:
                metrics.FAILURES.inc()
                self.close()
                raise

        position = keep_trying(attempt, "store a flush", self._wait)
        assert flush is not None, "a flush is prepared before it is stored"
        self._report(flush, time.perf_counter() - started)
        return position

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        conn, self._conn = self._conn, None
        if conn is None:
            return
        try:
            conn.close()
        except _CLOSE_FAILURES as exc:
            log.debug("store.close_failed", error=str(exc))

    def _connection(self) -> Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = self._open_connection()
        return self._conn

    def _newest_format(self, conn: Connection[Any]) -> int:
        if self._format is None:
            self._format = read_newest_format(conn)
        return self._format

    def _found(self, conn: Connection[Any], flush: Flush) -> int | None:
        outcome = steps_outcome(conn, flush.steps)
        metrics.OUTCOMES.labels(outcome).inc()
        log.info("store.outcome_found", outcome=outcome, streams=len(flush.steps))
        if outcome == "fenced":
            raise Fenced([step.stream_id for step in flush.steps])
        return read_head(conn) if outcome == "committed" else None

    def _report(self, flush: Flush, seconds: float) -> None:
        metrics.FLUSH_SECONDS.observe(seconds)
        metrics.FLUSH_EVENTS.observe(flush.event_count)
        metrics.FLUSH_STREAMS.observe(len(flush.steps))
        metrics.EVENTS.inc(flush.event_count)
        for letter in flush.dead_letters:
            metrics.DEAD_LETTERS.labels(letter.code).inc()
