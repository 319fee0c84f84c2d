"""Letting old journals go, once a snapshot stands in for them. Events are never deleted.

The snapshot and the note up to where journals are gone are committed first, journals go after: a
crash between the two leaves journals nobody needs, which the next run takes away.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from connectors.postgres.queries import load_queries
from connectors.postgres.replaying import Place, read_expiry, rebuild_at
from connectors.postgres.snapshots import to_column
from connectors.postgres.verification import snapshot as one_moment
from domain.errors import SettlerError
from domain.identity import stream_id
from domain.replay import show_state
from domain.snapshots import FORMAT, restore, snapshot

_SQL = load_queries("replaying")
# Journals of one transaction: each is a new version of its row, and locks are held that long.
_JOURNALS_AT_ONCE = 100


class SnapshotUnfaithful(SettlerError):
    """A snapshot does not read back as the state it was made of; nothing was let go."""

    code = "retention.snapshot_unfaithful"


class Expired(NamedTuple):
    """What is gone of one stream, or would go.

    Attributes:
        version, position: Up to where; 0 where nothing is old enough.
        journals: How many went now.
        journal_bytes: What they took.
    """

    stream_id: str
    version: int
    position: int
    journals: int
    journal_bytes: int


def list_reconciliations(conn: Connection[Any], tenant_id: str | None) -> list[tuple[str, str]]:
    """List tenants and reconciliations in order; None means of every tenant."""
    rows = conn.execute(_SQL["list_reconciliations"], {"tenant_id": tenant_id})
    return [(tenant, reconciliation) for _, tenant, reconciliation in rows]


def expire_journals(
    conn: Connection[Any],
    tenant_id: str,
    reconciliation_id: str,
    before: datetime,
    *,
    dry_run: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Expired:
    """Let the journals of batches stored before an instant go, of one reconciliation.

    The state as of the last of them is folded, written as a snapshot and read back first. Memory is
    that of the reconciliation's state, twice.

    Args:
        conn: Of role settler_operator, in autocommit.
        before: Journals stored at or before it go.
        dry_run: Only say what would go.
        on_step: Told before each step that changes the database.

    Raises:
        SnapshotUnfaithful: The snapshot reads back otherwise; nothing was changed.
        PastNotKept: What the snapshot would be folded from is gone; nothing was changed.
    """
    stream = stream_id(tenant_id, reconciliation_id)
    with one_moment(conn):
        row = conn.execute(
            _SQL["read_place"], {"stream_id": stream, "position": None, "instant": before}
        ).fetchone()
        expiry = read_expiry(conn, stream)
        if row is None or (expiry is not None and row[0] < expiry.version):
            # Nothing more is old enough; what an interrupted run left over goes all the same.
            version, position = (0, 0) if expiry is None else expiry
        else:
            version, position = row[:2]
        count, size = _count(conn, stream, version)
        expired = Expired(stream, version, position, count, size)
        if dry_run or not count:
            return expired
        is_new = expiry is None or version > expiry.version
        place = Place(stream, version, position, before)
        state = _faithful_snapshot(conn, place) if is_new else b""
    if is_new:
        on_step("anchor")
        _commit_anchor(conn, (tenant_id, reconciliation_id), expired, state)
    after = -1
    while after < version:
        on_step("journals")
        asked = {
            "stream_id": stream,
            "after": after,
            "version": version,
            "limit": _JOURNALS_AT_ONCE,
        }
        gone = [base for (base,) in conn.execute(_SQL["expire_journals"], asked)]
        after = max(gone, default=version)
    return expired


def _count(conn: Connection[Any], stream: str, until: int) -> tuple[int, int]:
    asked = {"stream_id": stream, "until": until}
    row = conn.execute(_SQL["count_journals"], asked).fetchone()
    assert row is not None, "a count gives a row"
    return int(row[0]), int(row[1])


def _faithful_snapshot(conn: Connection[Any], place: Place) -> bytes:
    """Fold the state of a place and write it, certain that it reads back as it is."""
    state = rebuild_at(conn, place)
    written = snapshot(state)
    if show_state(restore(written)) != show_state(state):
        raise SnapshotUnfaithful(
            f"{place.stream_id}: the snapshot of version {place.version} does not read back as the "
            "state it was made of. Nothing was let go; keep the database and report this"
        )
    return written


def _commit_anchor(
    conn: Connection[Any], scope: tuple[str, str], expired: Expired, state: bytes
) -> None:
    """Commit the snapshot that stands in for journals, and the note that they are gone."""
    with conn.transaction():
        # A flow that has begun to read the stream from further back ends reading first.
        conn.execute(_SQL["lock_stream"], {"stream_id": expired.stream_id})
        conn.execute(
            _SQL["drop_up_to_anchor"],
            {"stream_id": expired.stream_id, "version": expired.version},
        )
        conn.execute(
            _SQL["save_anchor"],
            {
                "stream_id": expired.stream_id,
                "version": expired.version,
                "format": FORMAT,
                "state": to_column(FORMAT, state),
            },
        )
        conn.execute(
            _SQL["save_expiry"],
            {
                "stream_id": expired.stream_id,
                "tenant_id": scope[0],
                "reconciliation_id": scope[1],
                "version": expired.version,
                "position": expired.position,
            },
        )
