"""The read model `tenant_usage_view`: what a tenant used, per UTC day of storing."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from psycopg import Connection

from domain.events import MatchConfirmed, RecordUnmatched, TransactionsAccepted
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("tenant_usage")


class Usage(msgspec.Struct):
    """What one tenant used on one day; sizes in bytes as stored."""

    transactions: int = 0
    matches: int = 0
    exceptions: int = 0
    rejected: int = 0
    redelivered: int = 0
    events: int = 0
    journal_bytes: int = 0


def fold(batches: Sequence[LogBatch]) -> dict[tuple[str, date], Usage]:
    """Add up usage by tenant and day."""
    usages: dict[tuple[str, date], Usage] = {}
    for batch in batches:
        usage = usages.setdefault((batch.tenant_id, batch.created_at.date()), Usage())
        usage.events += batch.event_count
        usage.journal_bytes += batch.journal_bytes
        usage.matches += batch.match_count
        for _, event in batch.others:
            if isinstance(event, TransactionsAccepted):
                usage.transactions += event.count
                usage.rejected += event.rejected
                usage.redelivered += event.redelivered
            elif isinstance(event, MatchConfirmed):
                usage.matches += 1
            elif isinstance(event, RecordUnmatched):
                usage.exceptions += 1
    return usages


def write(
    conn: Connection[Any],
    usages: Mapping[tuple[str, date], Usage],
    _answers: Mapping[str, Any],
) -> None:
    """Add a fold to the rows."""
    rows = [
        {"tenant_id": tenant_id, "usage_date": day, **msgspec.structs.asdict(usage)}
        for (tenant_id, day), usage in usages.items()
    ]
    with conn.cursor() as cursor:
        cursor.executemany(_SQL["add_usage"], rows)


TENANT_USAGE = ReadModel("tenant_usage_view", ("tenant_usage_view",), (), fold, write)
