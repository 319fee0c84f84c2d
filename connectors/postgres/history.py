"""The recorded history of one reconciliation, read as of one moment."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from psycopg import Connection

from connectors.postgres import verification
from connectors.postgres.journal import decode_journal
from domain.errors import SettlerError
from domain.event_batches import decode_events
from domain.events import Event


class HistoryUnknown(SettlerError):
    """There is no such reconciliation."""

    code = "history_unknown"


class RecordedBatch(NamedTuple):
    """Events in order, and the packed transactions that they accepted."""

    events: list[Event]
    journal: list[bytes]


class History(NamedTuple):
    """A stream's batches from the first on, and how many events they hold."""

    version: int
    batches: Iterator[RecordedBatch]


@contextmanager
def open_history(
    conn: Connection[Any], tenant_id: str, reconciliation_id: str
) -> Iterator[History]:
    """Read a stream in one read-only transaction that sees one moment of the database.

    Memory is that of a few batches. A running flow is neither waited for nor held up.

    Args:
        conn: Of a role that may read the tenant's events, in autocommit.

    Raises:
        HistoryUnknown: The reconciliation was never defined.
    """
    with verification.snapshot(conn):
        # What is made of one batch may take longer than idle transactions are usually given.
        conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        name = f"{tenant_id}/{reconciliation_id}"
        streams = verification.list_streams(conn, tenant_id, reconciliation_id)
        stream = next((one for one in streams if one.stream_id == name and one.version > 0), None)
        if stream is None:
            raise HistoryUnknown(
                f"there is no history of {name}; `settler definitions list` shows what there is"
            )
        with closing(_read(conn, name)) as batches:
            yield History(stream.version, batches)


def _read(conn: Connection[Any], stream_id: str) -> Generator[RecordedBatch]:
    for batch in verification.read_stream(conn, stream_id):
        journal = [] if batch.journal is None else decode_journal(batch.journal)
        yield RecordedBatch(decode_events(batch.events, batch.format), journal)
