"""What the running parts made of a workload, read from Postgres to be held against its truth."""

from importlib import resources
from typing import TYPE_CHECKING, Any

from connectors.postgres.queries import parse_queries
from connectors.synthetic.facts import (
    DeadLetterFact,
    Difference,
    ExceptionFact,
    Facts,
    MatchFact,
    compare,
    digest,
)
from domain.transactions import SIDE_NAMES

if TYPE_CHECKING:
    from psycopg import Connection

_QUERIES = parse_queries(resources.files("deploy").joinpath("verdict.sql").read_text("utf-8"))


def read_stored_facts(conn: "Connection[Any]") -> Facts:
    """Read the end state of every reconciliation in the database.

    Matches and exceptions come from the read models, dead letters from their table, counts and
    sums from the log.

    Args:
        conn: Of a role that sees every tenant, such as the operator's.
    """
    facts = Facts(
        [
            MatchFact(stream, rule, status, tuple(source_ids), tuple(target_ids))
            for stream, rule, status, source_ids, target_ids in conn.execute(_QUERIES["matches"])
        ],
        [ExceptionFact(*row) for row in conn.execute(_QUERIES["exceptions"])],
        [
            DeadLetterFact(stream, SIDE_NAMES[side], code, transaction_id, digest(bytes(raw)))
            for stream, side, code, transaction_id, raw in conn.execute(_QUERIES["dead_letters"])
        ],
    )
    for stream, redelivered, counts in conn.execute(_QUERIES["accepted"]):
        facts.redelivered[stream] += redelivered
        for side, currency, count, sum_minor in counts:
            tally = facts.accepted.setdefault((stream, side, currency), [0, 0])
            tally[0] += count
            tally[1] += sum_minor
    return facts


def differences(conn: "Connection[Any]", truth: Facts) -> list[Difference]:
    """What of the truth is missing in the database, and what is there too much."""
    return compare(truth, read_stored_facts(conn))
