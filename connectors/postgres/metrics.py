"""What the store tells Prometheus about itself."""

from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from psycopg import Connection

from connectors.postgres.queries import load_queries

_SQL = load_queries("metrics")

FLUSH_SECONDS = Histogram(
    "settler_store_flush_seconds",
    "Time of one flush, from encoding to the commit's answer, waits and retries included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
FLUSH_EVENTS = Histogram(
    "settler_store_flush_events",
    "Events of one flush.",
    buckets=(1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000),
)
FLUSH_STREAMS = Histogram(
    "settler_store_flush_streams",
    "Streams of one flush.",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000),
)
EVENTS = Counter("settler_store_events_total", "Events committed.")
DEAD_LETTERS = Counter(
    "settler_store_dead_letters_total", "Dead letters committed, replays included.", ["code"]
)
FAILURES = Counter(
    "settler_store_failures_total", "Attempts to store a flush that failed and were repeated."
)
OUTCOMES = Counter(
    "settler_store_unanswered_commits_total",
    "Commits whose answer was lost, by what was found afterwards.",
    ["outcome"],
)
SNAPSHOT_BYTES = Histogram(
    "settler_store_snapshot_bytes",
    "Size of one snapshot kept, as it is stored: compressed.",
    buckets=tuple(4**power for power in range(5, 16)),
)
CLAIM_SECONDS = Histogram(
    "settler_store_claim_seconds",
    "Time to take a stream over: its fence, its snapshot and the events after it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STORE_BYTES = Gauge(
    "settler_store_bytes", "Size on disk, indexes and out-of-line values included.", ["table"]
)


def measure_sizes(conn: Connection[Any]) -> dict[str, int]:
    """Set `settler_store_bytes` of every table; returns table → bytes. Any role may ask."""
    sizes = dict(conn.execute(_SQL["read_sizes"]).fetchall())
    for table, size in sizes.items():
        STORE_BYTES.labels(table).set(size)
    return sizes
