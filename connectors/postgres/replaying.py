"""A reconciliation as it stood: reading what its state at a moment is folded from.

Everything is read within one transaction that sees one moment of the database, so that journals
expiring meanwhile change nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg import Connection

from connectors.postgres.freezing import thaw_everything
from connectors.postgres.journal import decode_journal
from connectors.postgres.queries import load_queries
from connectors.postgres.streams import read_snapshot
from domain.errors import SettlerError
from domain.event_batches import decode_events
from domain.folding import JournalMissing
from domain.reconciliation import Reconciliation
from domain.replay import AsOf, PastNotKept, fold_batch
from domain.snapshots import restore

_SQL = load_queries("replaying")
_BATCHES_AT_ONCE = 4


class NothingThen(SettlerError):
    """A stream has no event at or before a moment."""

    code = "replay.stream_invalid"


class StillToCome(SettlerError):
    """A moment lies behind the end of the log, and what happens until then is open."""

    code = "replay.as_of_invalid"


class Place(NamedTuple):
    """The end of the last batch of a stream at a moment, and when it was stored."""

    stream_id: str
    version: int
    position: int
    stored_at: datetime


class Expiry(NamedTuple):
    """Up to where a stream's journals are gone."""

    version: int
    position: int


def find_place(conn: Connection[Any], stream_id: str, as_of: AsOf, head: int) -> Place:
    """Find the batch of a stream in force at a moment: the last that begins at or before it.

    Args:
        conn: Of any role that sees the stream.
        head: The position the log ends at.

    Raises:
        NothingThen: There is none.
        StillToCome: The moment is in the future.
    """
    check_past(as_of, head, _now(conn))
    asked = {"stream_id": stream_id, "position": as_of.position, "instant": as_of.instant}
    row = conn.execute(_SQL["read_place"], asked).fetchone()
    if row is None:
        raise NothingThen(
            f"{stream_id} has nothing at or before {as_of}; `settler events` shows where it begins"
        )
    return Place(stream_id, *row)


def check_past(as_of: AsOf, head: int, now: datetime) -> None:
    """Refuse a moment whose outcome is open.

    Raises:
        StillToCome: It lies behind the end of the log.
    """
    if as_of.position is not None and as_of.position > head:
        raise StillToCome(f"{as_of} lies ahead: the log ends at position {head}")
    if as_of.instant is not None and as_of.instant > now:
        raise StillToCome(f"{as_of} lies ahead: it is {now.isoformat(timespec='seconds')}")


def read_expiry(conn: Connection[Any], stream_id: str) -> Expiry | None:
    """Say up to where a stream's journals are gone; None if they are all there."""
    row = conn.execute(_SQL["read_expiry"], {"stream_id": stream_id}).fetchone()
    return None if row is None else Expiry(*row)


def rebuild_at(conn: Connection[Any], place: Place, *, snapshots: bool = True) -> Reconciliation:
    """Fold a stream's state as of a place from the nearest snapshot before it.

    Args:
        conn: Of role settler_operator, within a transaction that sees one moment.
        snapshots: False folds from the stream's start, where that is still possible.

    Raises:
        PastNotKept: The journals it would take have expired.
        SnapshotDamaged: A snapshot is not what was written.
    """
    expiry = read_expiry(conn, place.stream_id)
    if expiry is not None and place.version < expiry.version:
        raise PastNotKept(
            f"{place.stream_id} at position {place.position} is no longer kept: journals up to "
            f"position {expiry.position} have expired. The oldest state kept is that of position "
            f"{expiry.position}; events before it can still be read with `settler events`"
        )
    state: Reconciliation | None = None
    if snapshots:
        found = read_snapshot(conn, place.stream_id, place.version)
        if found is not None:
            state = restore(found[2])
            thaw_everything(conn, state)
    after = 0 if state is None else state.version
    try:
        with conn.cursor("replay", scrollable=False) as cursor:
            cursor.itersize = _BATCHES_AT_ONCE
            asked = {"stream_id": place.stream_id, "after": after, "until": place.version}
            cursor.execute(_SQL["read_batches"], asked, binary=True)
            for base_version, batch_format, events, journal in cursor:
                state = fold_batch(
                    state,
                    base_version,
                    decode_events(events, batch_format),
                    [] if journal is None else decode_journal(journal),
                )
    except JournalMissing as problem:
        raise PastNotKept(str(problem)) from problem
    assert state is not None, "a place has at least one batch at or before it"
    assert state.version == place.version, "the fold ends at the place asked for"
    return state


def read_events(conn: Connection[Any], place: Place, as_of: AsOf) -> Iterator[tuple[Any, ...]]:
    """Read what happened to a reconciliation, in order, as `projections.log.decode_batch` takes it.

    Args:
        conn: Of role settler_operator, within a transaction that sees one moment.
        place: Where its stream stood at the moment.
        as_of: The moment, up to which people worked its exceptions.
    """
    asked = {
        "stream_id": place.stream_id,
        "until": place.version,
        "position": as_of.position,
        "instant": as_of.instant,
    }
    with (
        conn.cursor("events", scrollable=False) as own,
        conn.cursor("casework", scrollable=False) as casework,
    ):
        own.itersize = _BATCHES_AT_ONCE
        own.execute(_SQL["read_events"], asked, binary=True)
        casework.execute(_SQL["read_casework"], asked, binary=True)
        yield from merge(own, casework, key=itemgetter(0))


def _now(conn: Connection[Any]) -> datetime:
    row = conn.execute(_SQL["read_now"]).fetchone()
    assert row is not None, "the clock has a time"
    now: datetime = row[0]
    return now
