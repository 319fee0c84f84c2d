"""What publishing reads of the store and notes in it."""

from typing import Any

from psycopg import Connection

from connectors.postgres.checkpoints import (
    advance_projection_checkpoint,
    read_projection_checkpoint,
)
from connectors.postgres.connections import connect
from connectors.postgres.dead_letters import StoredDeadLetter, mark_published, read_unpublished
from connectors.postgres.errors import CheckpointMoved
from connectors.postgres.migrations import check_migrated
from connectors.postgres.queries import load_queries
from connectors.postgres.reading import read_batches, read_head
from connectors.postgres.records import Batch
from connectors.postgres.store import PostgresStore

_SQL = load_queries("publishing")
CHECKPOINT = "publish"


class PublishingStore(PostgresStore):
    """The publisher's view of the store. Not for several threads at once.

    Every method waits out an interruption; `WaitInterrupted` says that we were told to stop.
    """

    def read_position(self) -> int:
        """Return the last position that is published; 0 before the first."""
        return self._run(
            "read the checkpoint of publishing",
            lambda conn: read_projection_checkpoint(conn, CHECKPOINT),
        )

    def advance(self, expected: int, position: int) -> None:
        """Note that everything up to `position` is published.

        Raises:
            CheckpointMoved: Another process publishes too.
        """
        self._run(
            "move the checkpoint of publishing", lambda conn: _advance(conn, expected, position)
        )

    def read_unsent(self, after_position: int, events_max: int) -> list[Batch]:
        """Read the next batches, without journals: so many events, or one batch if it is larger."""
        return self._run("read the log", lambda conn: _read(conn, after_position, events_max))

    def read_lag(self) -> int:
        """Return how many committed events are not published."""
        return self._run(
            "read the lag of publishing",
            lambda conn: max(0, read_head(conn) - read_projection_checkpoint(conn, CHECKPOINT)),
        )

    def read_unsent_letters(self, limit: int) -> list[StoredDeadLetter]:
        """Read dead letters that are not published, oldest first."""
        return self._run("read dead letters", lambda conn: read_unpublished(conn, limit))

    def mark_letters(self, letters: list[StoredDeadLetter]) -> None:
        """Note that dead letters are published."""
        self._run("mark dead letters", lambda conn: mark_published(conn, letters))


def connect_migrated(url: str, application_name: str) -> Connection[Any]:
    """Connect once as the role of publishing to a database that is at this release.

    Raises:
        NotReady: It is not yet; waiting may help.
    """
    conn = connect(url, "projections", application_name)
    try:
        check_migrated(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _advance(conn: Connection[Any], expected: int, position: int) -> None:
    try:
        advance_projection_checkpoint(conn, CHECKPOINT, expected, position)
    except CheckpointMoved:
        # The answer to an earlier attempt of ours may have been lost on the way.
        if read_projection_checkpoint(conn, CHECKPOINT) != position:
            raise


def _read(conn: Connection[Any], after_position: int, events_max: int) -> list[Batch]:
    asked = {"after_position": after_position, "events_max": events_max}
    row = conn.execute(_SQL["count_batches"], asked).fetchone()
    assert row is not None, "a count has one row"
    return read_batches(conn, after_position, max(1, row[0]), with_journal=False)
