"""The scaling benchmark: throughput against processes, and a restart against what is open.

Throughput: the same records, of as many reconciliations as `RECONCILIATIONS`, through a cluster of
each size. The clock starts when the first reconciliation has been opened and stops when the last
event is committed.

Restart: one reconciliation holds all open transactions. Its flow is killed and another started in
an empty folder, which is all that the loss of its machine would leave: a flow keeps nothing but in
Postgres. The clock starts with the process and stops when its first commit is told.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from deploy.bench.measured import BenchFailed, Role, until
from deploy.bench.pipeline import DAY_MS, EVENTS, QUIET_SECONDS, RUN_SECONDS, TAKEN_IN
from deploy.bench.records import STEP_MS, Pairs, definitions, fill
from deploy.bench.stage import Stage, number

RECONCILIATIONS = 12
#: Second legs that arrive while the flow is down: what its first commit is about.
ARRIVING = 1_000
HOLDER = "bench"

_FILLED = "bench-scaling"
_MATCHED = "SELECT count(*) FROM events WHERE event_type = 'RecordMatched'"
_VERSION = "SELECT sum(version) FROM streams"
_SNAPSHOT = """
SELECT version, octet_length(state) FROM snapshots ORDER BY version DESC LIMIT 1
"""
_AFTER_SNAPSHOT = """
SELECT coalesce(sum((batch.counts ->> 2)::bigint), 0)
FROM events, jsonb_array_elements(data -> 'counts') AS batch (counts)
WHERE event_type = 'TransactionsAccepted' AND stream_version > %s
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Args:
        transactions: Records for the throughput, two a pair; 0 leaves it out.
        processes: Sizes of the clusters.
        open_transactions: How many are open at a restart, one measurement each.
        restarts: How often each is measured.
    """

    transactions: int = 600_000
    processes: tuple[int, ...] = (1, 2, 3)
    open_transactions: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    restarts: int = 3


@dataclass(frozen=True, slots=True)
class Throughput:
    """What a cluster of one size committed: transactions a second, both legs counted."""

    processes: int
    per_second: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart: seconds from the start of the process.

    Attributes:
        snapshot_bytes: What of the state was read as a snapshot; 0 where there was none.
        folded: Accepted transactions that were folded after it.
        running, opened, committed: When the flow ran, had its state, told of its first commit.
        cpu_seconds, rss_bytes: What it had taken by then.
    """

    open_transactions: int
    snapshot_bytes: int
    folded: int
    running: float
    opened: float
    committed: float
    cpu_seconds: float
    rss_bytes: int


class ScalingBench:
    """Measures on one embedded stack.

    Args:
        say: Told what is being done.
    """

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._stage = Stage()
        self._first_ms = int(time.time() * 1000) - DAY_MS

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Start the stack."""
        self._say("starting broker and Postgres")
        with self._stage.set_up(definitions(RECONCILIATIONS)):
            yield

    def throughputs(self) -> Iterator[Throughput]:
        """Measure a cluster of each size on the same records.

        Raises:
            BenchFailed: One found too little, or nothing at all.
        """
        pairs = self._plan.transactions // 2
        if not pairs:
            return
        self._say(f"filling the topics with {pairs * 2:,} transactions")
        self._stage.create_topics(_FILLED)
        self._fill(_FILLED, Pairs(self._first_ms, RECONCILIATIONS), pairs, (0, 1))
        for processes in self._plan.processes:
            self._say(f"throughput of {processes} process(es)")
            with self._stage.database() as url:
                yield self._throughput(url, processes, pairs)

    def restarts(self) -> Iterator[Restart]:
        """Measure restarts with each number of open transactions.

        Raises:
            BenchFailed: One did not come to commit, or committed something else.
        """
        for count in self._plan.open_transactions:
            prefix = f"bench-open-{count}"
            # Within a day, so that none has waited too long by the clock.
            pairs = Pairs(self._first_ms, 1, min(STEP_MS, DAY_MS // count))
            self._say(f"filling a topic with {count:,} transactions")
            self._stage.create_topics(prefix)
            self._fill(prefix, pairs, count, (0,))
            with self._stage.database() as url:
                self._open(url, prefix, count)
                for again in range(self._plan.restarts):
                    self._say(f"restart {again + 1} with {count:,} open transactions")
                    yield self._restart(url, prefix, pairs, count, again)

    def _throughput(self, url: str, processes: int, pairs: int) -> Throughput:
        arguments = ("--processes", str(processes))
        with psycopg.connect(url, autocommit=True) as commits:
            commits.execute(f"LISTEN {EVENTS}")
            with self._stage.role("flow", url, _FILLED, arguments) as flow:
                ended_at = self._follow(commits, flow, url, pairs * 2)
                opened_at = flow.wait_for("window.opened")
                cpu_seconds = flow.cpu_seconds()
            matched = number(commits, _MATCHED)
        if matched != pairs:
            raise BenchFailed(f"{processes} process(es) found {matched:,} of {pairs:,} matches")
        return Throughput(processes, pairs * 2 / (ended_at - opened_at), cpu_seconds)

    def _follow(
        self, commits: "psycopg.Connection[Any]", flow: Role, url: str, messages: int
    ) -> float:
        """Wait until so many messages are committed; returns when the last commit told of it."""
        with psycopg.connect(url, autocommit=True) as asking:
            for _ in until(RUN_SECONDS, f"{messages:,} messages to be committed", every=0):
                flow.look()
                for _notice in commits.notifies(timeout=QUIET_SECONDS, stop_after=1):
                    at = time.time()
                    if number(asking, TAKEN_IN) >= messages:
                        return at
        raise AssertionError("until() raises when the time is over")

    def _open(self, url: str, prefix: str, count: int) -> None:
        """Have a flow take in what stays open, and kill it."""
        with (
            self._stage.role("flow", url, prefix, lease_holder=HOLDER) as flow,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            for _ in until(RUN_SECONDS, f"{count:,} open transactions", every=0.05):
                flow.look()
                if number(connection, TAKEN_IN) >= count:
                    break
            flow.kill()

    def _restart(self, url: str, prefix: str, pairs: Pairs, count: int, again: int) -> Restart:
        begin = again * ARRIVING
        self._fill(prefix, pairs, ARRIVING, (1,), begin)
        with (
            psycopg.connect(url, autocommit=True) as commits,
            TemporaryDirectory(prefix="settler-bench-") as folder,
        ):
            row = commits.execute(_SNAPSHOT).fetchone()
            version, snapshot_bytes = row or (0, 0)
            after = commits.execute(_AFTER_SNAPSHOT, [version]).fetchone()
            before = number(commits, _VERSION)
            commits.execute(f"LISTEN {EVENTS}")
            started_at = time.time()
            with self._stage.role(
                "flow", url, prefix, folder=Path(folder), lease_holder=HOLDER
            ) as flow:
                committed_at = self._first_commit(commits, flow)
                cpu_seconds = flow.cpu_seconds()
                if number(commits, _VERSION) == before:
                    raise BenchFailed("a commit was told and no stream has moved")
                done = Restart(
                    count,
                    snapshot_bytes,
                    int(after[0]) if after else 0,
                    flow.wait_for("flow.started") - started_at,
                    flow.wait_for("window.opened") - started_at,
                    committed_at - started_at,
                    cpu_seconds,
                    flow.rss_bytes(),
                )
                self._wait_for_matches(commits, flow, begin + ARRIVING)
                flow.kill()
        return done

    def _first_commit(self, commits: "psycopg.Connection[Any]", flow: Role) -> float:
        for _ in until(RUN_SECONDS, "the first commit after a restart", every=0):
            flow.look()
            for _notice in commits.notifies(timeout=QUIET_SECONDS, stop_after=1):
                return time.time()
        raise AssertionError("until() raises when the time is over")

    def _wait_for_matches(
        self, connection: "psycopg.Connection[Any]", flow: Role, matches: int
    ) -> None:
        for _ in until(RUN_SECONDS, f"{matches:,} matches", every=0.05):
            flow.look()
            if number(connection, _MATCHED) >= matches:
                return

    def _fill(
        self, prefix: str, pairs: Pairs, count: int, sides: tuple[int, ...], first: int = 0
    ) -> None:
        config = {"bootstrap.servers": self._stage.servers}
        fill(config, prefix, pairs, count, sides, first)
