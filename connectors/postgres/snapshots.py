"""Snapshots of a stream's state, so that recovery folds a tail and not a history."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from connectors.postgres.errors import SnapshotDamaged
from connectors.postgres.frames import from_frame, to_frame
from connectors.postgres.metrics import SNAPSHOT_BYTES
from connectors.postgres.queries import load_queries

_SQL = load_queries("snapshots")
_FREEZING = load_queries("freezing")
# From this format on a snapshot is kept as a frame: a third of the bytes for Postgres to write.
_FRAMED_FROM = 5


def to_column(snapshot_format: int, state: bytes) -> bytes:
    """Give a snapshot the form it is stored in."""
    return to_frame(state) if snapshot_format >= _FRAMED_FROM else state


def from_column(stream_id: str, version: int, snapshot_format: int, stored: bytes) -> bytes:
    """Give back what `to_column` was given.

    Raises:
        SnapshotDamaged: It is something else now.
    """
    if snapshot_format < _FRAMED_FROM:
        return stored
    try:
        return from_frame(stored)
    except (ValueError, OSError, MemoryError) as problem:
        raise SnapshotDamaged(stream_id, version, str(problem)) from problem


def save_snapshot(
    conn: Connection[Any],
    stream_id: str,
    version: int,
    snapshot_format: int,
    state: bytes,
    fence: int,
    blocks: Sequence[int] = (),
    newest_block: int = 0,
) -> bool:
    """Keep the state of a stream as of a committed version; the two newest are kept.

    Blocks of frozen state that none of the stream's snapshots names go with what is dropped.

    Args:
        conn: A connection of role settler_flow, no transaction open.
        stream_id: The stream.
        version: The version whose state it is.
        snapshot_format: See `domain.snapshots.FORMAT`.
        state: What `domain.snapshots.snapshot` wrote.
        fence: What this process holds the stream by.
        blocks: Numbers of the blocks the state has frozen.
        newest_block: Only blocks up to this number may be dropped; later ones are newer than the
            state.

    Returns:
        False when it was not kept: the stream is not at that version yet, or another process has
        taken it over, or the version has a snapshot already.
    """
    column = to_column(snapshot_format, state)
    with conn.transaction():
        saved = conn.execute(
            _SQL["save_snapshot"],
            {
                "stream_id": stream_id,
                "version": version,
                "format": snapshot_format,
                "state": column,
                "fence": fence,
                "blocks": list(blocks),
            },
        )
        conn.execute(_SQL["drop_old_snapshots"], {"stream_id": stream_id})
        if saved.rowcount:
            conn.execute(
                _FREEZING["drop_unnamed_blocks"],
                {"stream_id": stream_id, "newest_block": newest_block},
            )
    if saved.rowcount:
        SNAPSHOT_BYTES.observe(len(column))
    return saved.rowcount == 1
