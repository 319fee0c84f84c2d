"""What the two peers have in common: their arguments, their table, the record, the report."""

import json
import sys
import time
from dataclasses import dataclass

import msgspec
import psycopg

TABLE = """
DROP TABLE IF EXISTS peer_matches;
CREATE TABLE peer_matches (
    match_id uuid NOT NULL PRIMARY KEY,
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    rule text NOT NULL,
    status text NOT NULL,
    source_ids text[] NOT NULL,
    target_ids text[] NOT NULL,
    currency text NOT NULL,
    source_amount numeric NOT NULL,
    target_amount numeric NOT NULL,
    difference numeric NOT NULL,
    matched_at timestamptz NOT NULL
);
"""
COLUMNS = (
    "match_id, tenant_id, reconciliation_id, rule, status, source_ids, target_ids, currency, "
    "source_amount, target_amount, difference, matched_at"
)


class Record(msgspec.Struct, gc=False):
    """A transaction, decoded and not checked further."""

    tenant_id: str
    reconciliation_id: str
    transaction_id: str
    reference: str
    amount: str
    currency: str
    occurred_at: str


decode = msgspec.json.Decoder(Record).decode


@dataclass(frozen=True, slots=True)
class Task:
    """What to read and where to write; the last event's table is made anew.

    Args:
        pairs: Pairs in the topics; the peer ends when it has written as many matches.
    """

    servers: str
    database_url: str
    topics: tuple[str, str]
    partitions: int
    pairs: int


def read_task() -> Task:
    """Read the task from the one argument, and make the table."""
    given = json.loads(sys.argv[1])
    task = Task(**given | {"topics": tuple(given["topics"])})
    with psycopg.connect(task.database_url, autocommit=True) as connection:
        connection.execute(TABLE)
    return task


def report(started_at: float, ended_at: float, cpu_at_start: float, matches: int) -> None:
    """Print the result: clock times of the first record taken in and of the last commit."""
    result = {
        "started_at": started_at,
        "ended_at": ended_at,
        "cpu_seconds": time.process_time() - cpu_at_start,
        "matches": matches,
    }
    print(json.dumps(result))
