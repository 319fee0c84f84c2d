"""How fast flushes go into the store, as a ratio to a bare COPY of the same bytes.

Measured: `commit_flush` with its streams row, fence, positions, encoding, compression and NOTIFY,
against a loop that copies the same rows, already encoded, into a bare table with a primary key.
Both commit every flush. The two take turns, so that a noisy machine slows both.

    python -m tests.benchmarks.store_flush [postgresql://…]

Without a URL an embedded Postgres is started, fsync on.
"""

import multiprocessing
import random
import statistics
import sys
import time
from contextlib import ExitStack
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import psycopg

from connectors.postgres.connections import connect, connect_as_owner
from connectors.postgres.migrations import migrate
from connectors.postgres.records import StreamCommit
from connectors.postgres.streams import claim_stream
from connectors.postgres.writing import commit_flush, prepare_flush
from deploy.embedded import EmbeddedStack
from domain.events import RecordMatched, TransactionsAccepted

EVENTS = 5_000
TRANSACTION_BYTES = 120
ROUNDS = 30
COMMITS = 60
COPY_ROW_TYPES = ("int8", "text", "bytea")


def flush_events(start: int) -> list[RecordMatched | TransactionsAccepted]:
    """One journal entry and `EVENTS` - 1 matches."""
    accepted = TransactionsAccepted(
        [(0, "EUR", EVENTS, 99), (1, "EUR", EVENTS, 99)],
        {"settler.transactions.source/0": (start, start + EVENTS)},
        0,
        0,
    )
    return [
        accepted,
        *(
            RecordMatched(
                "order-reference",
                "one_to_one",
                1,
                (f"s-{i:09d}",),
                (f"t-{i:09d}",),
                "EUR",
                i,
                i,
                1_767_614_001_123 + i,
            )
            for i in range(start, start + EVENTS - 1)
        ),
    ]


def make_commit(name: str, fence: int, base: int, journal: list[bytes]) -> StreamCommit:
    """A flush of one stream: its events and the transactions of both sides."""
    return StreamCommit(
        f"bench/{name}",
        "bench",
        name,
        base,
        base + EVENTS,
        fence,
        {"settler.transactions.source/0": base + EVENTS},
        None,
        1,
        flush_events(base),
        journal,
        {"correlation_id": f"{name}-{base}"},
    )


def bare_copy(conn: psycopg.Connection, commit: StreamCommit) -> float:
    """Seconds to copy and commit the same rows, encoded beforehand."""
    rows = prepare_flush([commit], []).rows
    started = time.perf_counter()
    with (
        conn.transaction(),
        conn.cursor().copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(COPY_ROW_TYPES)
        for row in rows:
            copy.write_row((commit.base_version, row.events, row.journal))
    return time.perf_counter() - started


def alternate(flow: psycopg.Connection, bare: psycopg.Connection, journal: list[bytes]) -> None:
    """Print the medians of both and their ratio."""
    claim = claim_stream(flow, "bench/turns", "bench", "turns", create=True)
    assert claim is not None
    ours, theirs, encoding = [], [], []
    for turn in range(ROUNDS):
        commit = make_commit("turns", claim.fence, turn * EVENTS, journal)
        started = time.perf_counter()
        commit_flush(flow, [commit], [])
        ours.append(time.perf_counter() - started)
        theirs.append(bare_copy(bare, commit))
        started = time.perf_counter()
        prepare_flush([commit], [])
        encoding.append(time.perf_counter() - started)
    mine, copy, encode = (statistics.median(times) for times in (ours, theirs, encoding))
    size = flow.execute("SELECT avg(length(events) + length(journal)) FROM event_store").fetchone()
    print(f"flush of {EVENTS} events and {len(journal)} transactions, {size[0]:,.0f} bytes stored")
    print(
        f"commit_flush      {mine * 1e3:7.2f} ms  {EVENTS / mine:11,.0f} events/s"
        f"  {len(journal) / mine:11,.0f} transactions/s  {1 / mine:6.0f} rows/s"
    )
    print(f"of it encoding    {encode * 1e3:7.2f} ms")
    print(f"bare COPY         {copy * 1e3:7.2f} ms  {EVENTS / copy:11,.0f} events/s")
    print(f"ratio             {copy / mine:7.2f}     without encoding {copy / (mine - encode):.2f}")


def write_alone(url: str, name: str, barrier: Barrier, spent: SimpleQueue) -> None:
    """Store `COMMITS` flushes from a process of its own."""
    with connect(url, "flow") as conn:
        claim = claim_stream(conn, f"bench/{name}", "bench", name, create=True)
        assert claim is not None
        ready = [make_commit(name, claim.fence, i * EVENTS, []) for i in range(COMMITS)]
        barrier.wait()
        started = time.perf_counter()
        for commit in ready:
            commit_flush(conn, [commit], [])
        spent.put(time.perf_counter() - started)


def two_writers(url: str) -> None:
    """Print what writers without journals make together; the head's lock is all they share."""
    context = multiprocessing.get_context("spawn")
    for writers in (1, 2):
        barrier, spent = context.Barrier(writers), context.SimpleQueue()
        processes = [
            context.Process(target=write_alone, args=(url, f"w-{writers}-{i}", barrier, spent))
            for i in range(writers)
        ]
        for process in processes:
            process.start()
        seconds = max(spent.get() for _ in processes)
        for process in processes:
            process.join()
        rate = writers * COMMITS * EVENTS / seconds
        print(f"{writers} writer(s), no journal: {rate:11,.0f} events/s")


def main() -> None:
    """Run both measurements."""
    # As compressible as real records are: packed fields with ids and amounts that differ.
    chance = random.Random(1)
    journal = [
        f"x-{chance.getrandbits(40):012d} ORD-{i:09d} EUR ACME GmbH web ".encode().ljust(
            TRANSACTION_BYTES, b"-"
        )
        for i in range(2 * EVENTS)
    ]
    with ExitStack() as stack:
        if len(sys.argv) > 1:
            url = sys.argv[1]
        else:
            embedded = EmbeddedStack(broker=False, valkey=False)
            url = stack.enter_context(embedded).postgres.url()
        with connect_as_owner(url) as owner:
            migrate(owner)
            owner.execute("DROP TABLE IF EXISTS bare")
            owner.execute(
                "CREATE TABLE bare (id bigint PRIMARY KEY, events text STORAGE EXTERNAL,"
                " journal bytea STORAGE EXTERNAL)"
            )
            with connect(url, "flow") as flow:
                alternate(flow, owner, journal)
            two_writers(url)


if __name__ == "__main__":
    main()
