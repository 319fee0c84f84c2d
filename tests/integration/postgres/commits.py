"""Commits ready to be stored."""

from psycopg import Connection

from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.streams import claim_stream
from domain.events import RecordMatched


def matched(number: int) -> RecordMatched:
    return RecordMatched(
        "order-reference",
        "one_to_one",
        1,
        (f"s-{number:09d}",),
        (f"t-{number:09d}",),
        "EUR",
        number,
        number,
        1_767_614_001_123 + number,
    )


def commit_of(
    base: int, count: int, fence: int, tenant: str = "acme", reconciliation: str = "shop", **more
) -> StreamCommit:
    """A commit of `count` matches after version `base`."""
    fields = {
        "stream_id": f"{tenant}/{reconciliation}",
        "tenant_id": tenant,
        "reconciliation_id": reconciliation,
        "base_version": base,
        "new_version": base + count,
        "fence": fence,
        "next_offset": {"settler.transactions.source/0": base + count},
        "wake_at_us": None,
        "definition_version": 1,
        "events": [matched(base + i) for i in range(count)],
        "metadata": {"correlation_id": f"c-{base}"},
    }
    return StreamCommit(**fields | more)


def claim(conn: Connection, tenant: str = "acme", reconciliation: str = "shop"):
    """Claim a stream, made if need be."""
    held = claim_stream(conn, f"{tenant}/{reconciliation}", tenant, reconciliation, create=True)
    assert held is not None
    return held


def letter(offset: int, **more) -> DeadLetter:
    fields = {
        "topic": "settler.transactions.source",
        "partition": 0,
        "offset": offset,
        "tenant_id": "acme",
        "reconciliation_id": "shop",
        "transaction_id": "s-1",
        "side": 0,
        "raw": b"{",
        "code": "invalid_json",
        "message": "The record is not JSON.",
    }
    return DeadLetter(**fields | more)
