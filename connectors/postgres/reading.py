"""Reading the log: in commit order for projections and publishing, by stream for recovery.

Positions are gapless and in commit order, so "after position p" misses nothing and a checkpoint is
one integer.
"""

from typing import Any, NamedTuple

from psycopg import Connection

from connectors.postgres.queries import load_queries
from connectors.postgres.records import Batch

_SQL = load_queries("reading")
_EVERYTHING = 2**62


class Gap(NamedTuple):
    """A place where the log does not follow on. `kind`: version, position, stream or head."""

    kind: str
    stream_id: str | None
    expected: int
    found: int


def read_batches(
    conn: Connection[Any], after_position: int, limit: int, *, with_journal: bool = True
) -> list[Batch]:
    """Read batches in commit order.

    Args:
        conn: A connection of any role; settler_api reads its tenant's batches only.
        after_position: Last position already seen, the end of a batch; 0 for the beginning.
        limit: Batches at most. One may hold thousands of events, so keep it in the tens.
        with_journal: False leaves `journal` None and its bytes where they are.
    """
    asked = {"after_position": after_position, "limit": limit, "with_journal": with_journal}
    rows = conn.execute(_SQL["read_batches"], asked, binary=True)
    return [Batch(*row) for row in rows]


def read_stream(
    conn: Connection[Any],
    stream_id: str,
    after_version: int = 0,
    limit: int = _EVERYTHING,
    *,
    with_journal: bool = True,
) -> list[Batch]:
    """Read a stream's batches that have events after a version, in order.

    The first batch may begin before it: its events up to `after_version` are to be skipped.
    """
    asked = {
        "stream_id": stream_id,
        "after_version": after_version,
        "limit": limit,
        "with_journal": with_journal,
    }
    return [Batch(*row) for row in conn.execute(_SQL["read_stream"], asked, binary=True)]


def read_head(conn: Connection[Any]) -> int:
    """Return the position of the newest event; 0 in an empty log."""
    row = conn.execute(_SQL["read_head"]).fetchone()
    assert row is not None, "log_head has its one row from the first migration on"
    return int(row[0])


def find_gaps(conn: Connection[Any], limit: int = 100) -> list[Gap]:
    """Find every break in stream versions, positions, stream rows and the head: none, ever.

    Reads the whole log's keys; for verification, not for serving.
    """
    return [Gap(*row) for row in conn.execute(_SQL["find_gaps"], {"limit": limit})]
