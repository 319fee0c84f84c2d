"""Reading everything verification needs from one snapshot, so that a running flow changes nothing.

Batches come through a server-side cursor: memory is that of a few batches, however long the log.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from psycopg import Connection, IsolationLevel

from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.queries import load_queries
from domain.verification.letters import LetterPlace, TopicReset
from domain.verification.stream import StoredBatch

_SQL = load_queries("verification")
# A batch may hold tens of thousands of events and MiB of journal, a position is four columns.
_BATCHES_AT_ONCE = 4
_POSITIONS_AT_ONCE = 10_000


class StreamRow(NamedTuple):
    """A row of `streams`; version is -1 for batches whose stream has no row."""

    stream_id: str
    tenant_id: str
    reconciliation_id: str
    version: int
    next_offsets: dict[str, int]

    @property
    def is_reconciliation(self) -> bool:
        """Whether this is the stream of a reconciliation itself, not one beside it."""
        return self.stream_id == self.of

    @property
    def of(self) -> str:
        """The stream of the reconciliation that it belongs to."""
        return f"{self.tenant_id}/{self.reconciliation_id}"

    @property
    def is_casework(self) -> bool:
        """Whether it is the stream of an exception that people work."""
        return self.stream_id.startswith(f"{self.tenant_id}/exception/")


class BatchPlace(NamedTuple):
    """Where a batch stands in the log."""

    first_position: int
    last_position: int
    stream_id: str
    base_version: int


class StoredAnchor(NamedTuple):
    """The version up to which journals are gone, and the snapshot of it; None if it is not there.

    `state` is as the column has it, see `connectors.postgres.snapshots.from_column`.
    """

    version: int
    format: int | None
    state: bytes | None


@contextmanager
def snapshot(conn: Connection[Any]) -> Iterator[None]:
    """Open a transaction that sees one moment of the database and changes nothing.

    Args:
        conn: Of role settler_operator, in autocommit.
    """
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    try:
        with conn.transaction():
            yield
    finally:
        conn.isolation_level = conn.read_only = None


def list_streams(
    conn: Connection[Any], tenant_id: str | None, reconciliation_id: str | None
) -> list[StreamRow]:
    """List streams in order of their id; None means of every tenant or reconciliation."""
    asked = {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id}
    return [StreamRow(*row) for row in conn.execute(_SQL["list_streams"], asked)]


def read_stream(conn: Connection[Any], stream_id: str) -> Iterator[StoredBatch]:
    """Read a stream's batches in order of version, journals included."""
    with conn.cursor("stream", scrollable=False) as cursor:
        cursor.itersize = _BATCHES_AT_ONCE
        cursor.execute(_SQL["read_stream"], {"stream_id": stream_id}, binary=True)
        for row in cursor:
            yield StoredBatch(*row)


def read_casework(
    conn: Connection[Any], stream_ids: Sequence[str]
) -> Iterator[tuple[str, StoredBatch]]:
    """Read the batches of some exceptions' streams in order of position, each with its stream."""
    if not stream_ids:
        return
    with conn.cursor("casework", scrollable=False) as cursor:
        cursor.itersize = _POSITIONS_AT_ONCE
        cursor.execute(_SQL["read_casework"], {"stream_ids": list(stream_ids)}, binary=True)
        for stream_id, *row in cursor:
            yield stream_id, StoredBatch(*row)


def read_places(conn: Connection[Any]) -> Iterator[BatchPlace]:
    """Read where every batch of the log stands, in order of position."""
    with conn.cursor("places", scrollable=False) as cursor:
        cursor.itersize = _POSITIONS_AT_ONCE
        cursor.execute(_SQL["read_places"], binary=True)
        for row in cursor:
            yield BatchPlace(*row)


def read_anchor(conn: Connection[Any], stream_id: str) -> StoredAnchor | None:
    """Read what stands in for a stream's expired journals; None if none have expired."""
    row = conn.execute(_SQL["read_anchor"], {"stream_id": stream_id}, binary=True).fetchone()
    return None if row is None else StoredAnchor(*row)


def list_resets(conn: Connection[Any]) -> list[TopicReset]:
    """List when topics began anew, in order of position."""
    return [TopicReset(*row) for row in conn.execute(_SQL["list_resets"])]


def list_letters(
    conn: Connection[Any], tenant_id: str, reconciliation_id: str
) -> Iterator[LetterPlace]:
    """List where the dead letters of a reconciliation came from, in order of offset."""
    asked = {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id}
    return (LetterPlace(*row) for row in conn.execute(_SQL["list_letters"], asked))


def list_letter_offsets(
    conn: Connection[Any], topics: Iterable[str]
) -> dict[tuple[str, int], "array[int]"]:
    """Give partition → offsets of all its dead letters, ascending."""
    offsets: dict[tuple[str, int], array[int]] = {}
    for topic, partition, offset in conn.execute(
        _SQL["list_letter_offsets"], {"topics": list(topics)}
    ):
        offsets.setdefault((topic, partition), array("q")).append(offset)
    return offsets


def list_sources(conn: Connection[Any], topics: Iterable[str]) -> list[SourceCheckpoint]:
    """List how far the partitions of topics are committed."""
    asked = {"topics": list(topics)}
    return [SourceCheckpoint(*row) for row in conn.execute(_SQL["list_sources"], asked)]
