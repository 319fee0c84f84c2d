"""Taking hold of a stream: the fence that makes this process its only writer."""

import time
from datetime import datetime
from typing import Any

from psycopg import Connection

from connectors.postgres.metrics import CLAIM_SECONDS
from connectors.postgres.queries import load_queries
from connectors.postgres.reading import read_stream
from connectors.postgres.records import Claim
from connectors.postgres.snapshots import from_column
from domain.snapshots import READABLE

_SQL = load_queries("streams")


def claim_stream(
    conn: Connection[Any], stream_id: str, tenant_id: str, reconciliation_id: str, create: bool
) -> Claim | None:
    """Take a stream over: whoever held it before can write no more.

    Args:
        conn: A connection of role settler_flow, no transaction open.
        stream_id: The stream, see `domain.identity.stream_id`.
        tenant_id: Its tenant, kept when it is made.
        reconciliation_id: Its reconciliation, kept when it is made.
        create: Make the stream, at version 0, when it does not exist.

    Returns:
        Version, fence, offsets and everything the state is folded from; None when the stream does
        not exist and is not to be made.
    """
    key = {
        "stream_id": stream_id,
        "tenant_id": tenant_id,
        "reconciliation_id": reconciliation_id,
    }
    started = time.perf_counter()
    with conn.transaction():
        if create:
            conn.execute(_SQL["create_stream"], key)
        held = conn.execute(_SQL["bump_fence"], key).fetchone()
        if held is None:
            return None
        version, fence, next_offset, definition_version = held
        snapshot = read_snapshot(conn, stream_id, version)
        snapshot_version, snapshot_format, state = snapshot or (0, 0, None)
        batches = read_stream(conn, stream_id, snapshot_version)
    CLAIM_SECONDS.observe(time.perf_counter() - started)
    return Claim(
        version,
        fence,
        next_offset,
        state,
        snapshot_version,
        snapshot_format,
        definition_version,
        batches,
    )


def read_snapshot(
    conn: Connection[Any], stream_id: str, version: int
) -> tuple[int, int, bytes] | None:
    """Read the newest snapshot of a stream up to a version, of a format this release knows.

    Returns:
        Its version and format, and what `domain.snapshots.snapshot` wrote; None if there is none.

    Raises:
        SnapshotDamaged: It is not what was written.
    """
    asked = {"stream_id": stream_id, "version": version, "formats": list(READABLE)}
    row = conn.execute(_SQL["newest_snapshot"], asked, binary=True).fetchone()
    return None if row is None else (*row[:2], from_column(stream_id, *row))


def database_time_us(conn: Connection[Any]) -> int:
    """Return the database's clock, microseconds since the epoch."""
    row = conn.execute(_SQL["database_time"]).fetchone()
    assert row is not None, "a query without FROM gives one row"
    return int(row[0])


def due_streams(conn: Connection[Any], until_us: int, limit: int) -> list[tuple[str, datetime]]:
    """List streams that asked to be woken by then, earliest first.

    Args:
        conn: A connection of role settler_flow.
        until_us: Microseconds since the epoch.
        limit: Streams at most.
    """
    return conn.execute(_SQL["due_streams"], {"until_us": until_us, "limit": limit}).fetchall()
