"""Snapshots of a stream's state, so that recovery folds a tail and not a history."""

from typing import Any

from psycopg import Connection

from connectors.postgres.metrics import SNAPSHOT_BYTES
from connectors.postgres.queries import load_queries

_SQL = load_queries("snapshots")


def save_snapshot(
    conn: Connection[Any],
    stream_id: str,
    version: int,
    snapshot_format: int,
    state: bytes,
    fence: int,
) -> bool:
    """Keep the state of a stream as of a committed version; the two newest are kept.

    Returns:
        False when it was not kept: the stream is not at that version yet, or another process has
        taken it over, or the version has a snapshot already.
    """
    with conn.transaction():
        saved = conn.execute(
            _SQL["save_snapshot"],
            {
                "stream_id": stream_id,
                "version": version,
                "format": snapshot_format,
                "state": state,
                "fence": fence,
            },
        )
        conn.execute(_SQL["drop_old_snapshots"], {"stream_id": stream_id})
    if saved.rowcount:
        SNAPSHOT_BYTES.observe(len(state))
    return saved.rowcount == 1
