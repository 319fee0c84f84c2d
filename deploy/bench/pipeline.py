"""The pipeline benchmark: Kafka in, matches out, beside a plain flow and a bare loop.

All three read the same records from the same broker into the same Postgres, each into tables of its
own, one after the other. The clock of each starts when its first records have been taken in and
stops when its last row is committed: starting processes, which all of them must, is left out. Ours
has a second end: the last match readable in the read model `matches`.

Ours takes seconds and the plain flow half a minute, in which a shared host may become a third
faster or slower. So a run measures ours before, between and after its peers, and takes the mean
time. Each peer has one turn a run: the spread of the ratios is theirs more than ours.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean
from typing import Any

import psycopg

from connectors.synthetic.topics import topic_names
from deploy.bench.latency import Latency, measure_latency
from deploy.bench.measured import BenchFailed, Role, run_peer, until
from deploy.bench.records import Pairs, definitions, fill
from deploy.bench.stage import PARTITIONS, Stage, number

FILLED, OPEN = "bench", "bench-open"
PEERS = ("plain_flow", "loop")
DAY_MS = 86_400_000
RUN_SECONDS = 600.0
MIB = 1024 * 1024
#: Both processes are up this long before the steady load begins.
IDLE_SECONDS = 1.0
#: What the flow and the projector say at each commit.
EVENTS, READ_MODELS = "settler_events", "settler_read_models"
#: Without news this long, the processes under measurement are looked at all the same.
QUIET_SECONDS = 1.0

_READABLE = """
SELECT coalesce(sum(accepted_source + accepted_target), 0) FROM reconciliation_summary
"""
_LAST_POSITION = "SELECT max(last_position) FROM event_store WHERE journal IS NOT NULL"
_CONFIRMED = "SELECT count(*) FROM matches WHERE status = 'confirmed'"
TAKEN_IN = """
SELECT coalesce(sum(newest), 0)
FROM (SELECT max(place.value::bigint) AS newest
      FROM streams, jsonb_each_text(next_offset) AS place GROUP BY place.key) AS partitions
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Args:
        transactions: Records in the topics, two a pair.
        open_transactions: First legs for the measurement of memory; 0 leaves it out.
        latency_seconds: How long the steady load lasts; 0 leaves it out.
    """

    transactions: int = 600_000
    open_transactions: int = 1_000_000
    latency_seconds: float = 20.0

    @property
    def pairs(self) -> int:
        """Matches to be found."""
        return self.transactions // 2


@dataclass(frozen=True, slots=True)
class Ours:
    """What the product measured: clock times, CPU seconds by process, bytes."""

    started_at: float
    committed_at: float
    readable_at: float
    cpu_seconds: dict[str, float]
    flow_rss_bytes_max: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one run measured; rates in transactions a second, both legs counted.

    `committed`, `readable` and `cpu_seconds` of ours come from the mean of its three turns.
    """

    committed: float
    readable: float
    plain_flow: float
    loop: float
    cpu_seconds: dict[str, float]
    flow_rss_bytes_max: int
    latency: Latency | None


class PipelineBench:
    """Measures runs on one embedded stack with filled topics.

    Args:
        say: Told what is being done.
    """

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._stage = Stage()
        self._pairs = Pairs(int(time.time() * 1000) - DAY_MS)
        self._steady_loads = 0

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Start the stack and fill the topics."""
        self._say("starting broker and Postgres")
        with self._stage.set_up(definitions()):
            self._fill(FILLED, self._plan.pairs, (0, 1))
            yield

    def run(self) -> Run:
        """Measure the product and its peers in turn, on the same topics; then its latency.

        Raises:
            BenchFailed: Someone found too little, or nothing at all.
        """
        ours = [self._take_turn()]
        rates, cpu = dict[str, float](), dict[str, float]()
        for peer in PEERS:
            self._say(peer.replace("_", " "))
            with self._stage.database() as url:
                result = self._run_peer(peer, url)
            rates[peer] = self._rate(result["ended_at"] - result["started_at"])
            cpu[peer] = result["cpu_seconds"]
            ours.append(self._take_turn())
        rates["committed"] = self._rate(mean(one.committed_at - one.started_at for one in ours))
        rates["readable"] = self._rate(mean(one.readable_at - one.started_at for one in ours))
        cpu |= {name: mean(one.cpu_seconds[name] for one in ours) for name in ours[0].cpu_seconds}
        latency = None
        if self._plan.latency_seconds:
            latency = self._run_latency(rates["committed"] / 2)
        return Run(
            **rates,
            cpu_seconds=cpu,
            flow_rss_bytes_max=max(one.flow_rss_bytes_max for one in ours),
            latency=latency,
        )

    def _take_turn(self) -> Ours:
        self._say("settler: flow and projections")
        with self._stage.database() as url:
            return self._run_ours(url)

    def run_open(self) -> dict[str, float]:
        """Measure the flow's memory while every transaction waits for its other leg, in MiB."""
        count = self._plan.open_transactions
        self._fill(OPEN, count, (0,))
        self._say(f"memory with {count:,} open transactions")
        with self._stage.database() as url, self._stage.role("flow", url, OPEN) as flow:
            with psycopg.connect(url, autocommit=True) as connection:
                for _ in until(RUN_SECONDS, f"{count:,} open transactions", every=0.05):
                    flow.look()
                    if number(connection, TAKEN_IN) >= count:
                        break
            return {
                "open_transactions": float(count),
                "flow_with_open": flow.rss_bytes() / MIB,
                "flow_with_open_peak": flow.rss_bytes_max / MIB,
            }

    def _run_ours(self, url: str) -> Ours:
        stage = self._stage
        with (
            psycopg.connect(url, autocommit=True) as commits,
            stage.role("projections", url, FILLED) as projections,
        ):
            for channel in (EVENTS, READ_MODELS):
                commits.execute(f"LISTEN {channel}")
            projections.wait_for("projections.started")
            with stage.role("flow", url, FILLED) as flow:
                flow.wait_for("flow.started")
                roles = (flow, projections)
                before = stage.service_cpu_seconds()
                before |= {role.name: role.cpu_seconds() for role in roles}
                heads, readable_at = self._follow(commits, url, roles)
                after = stage.service_cpu_seconds()
                after |= {role.name: role.cpu_seconds() for role in roles}
                return Ours(
                    flow.wait_for("kafka.reading"),
                    self._check(url, heads),
                    readable_at,
                    {name: after[name] - before[name] for name in after},
                    flow.rss_bytes_max,
                )

    def _follow(
        self, commits: "psycopg.Connection[Any]", url: str, roles: tuple[Role, ...]
    ) -> tuple[list[tuple[float, int]], float]:
        """Wait until everything is readable; returns (time, head of the log) pairs and when.

        Every commit of the flow and of the projector tells of itself: the times are exact, and
        nobody has to ask for them while the clock runs.
        """
        heads: list[tuple[float, int]] = []
        with psycopg.connect(url, autocommit=True) as asking:
            for _ in until(RUN_SECONDS, "everything to be readable", every=0):
                for role in roles:
                    role.look()
                for notice in commits.notifies(timeout=QUIET_SECONDS, stop_after=1):
                    at = time.time()
                    if notice.channel == EVENTS:
                        heads.append((at, int(notice.payload)))
                    elif number(asking, _READABLE) >= self._plan.pairs * 2:
                        return heads, at
        raise AssertionError("until() raises when the time is over")

    def _check(self, url: str, heads: list[tuple[float, int]]) -> float:
        """Hold the result against what was sent; returns when the last event was committed."""
        with psycopg.connect(url, autocommit=True) as connection:
            matches = number(connection, _CONFIRMED)
            last = number(connection, _LAST_POSITION)
        if matches != self._plan.pairs:
            raise BenchFailed(f"the product found {matches:,} of {self._plan.pairs:,} matches")
        return next(at for at, head in heads if head >= last)

    def _run_peer(self, peer: str, url: str) -> dict[str, float]:
        task = {
            "servers": self._stage.servers,
            "database_url": url,
            "topics": topic_names(FILLED),
            "partitions": PARTITIONS,
            "pairs": self._plan.pairs,
        }
        return run_peer(peer, task, self._stage.children, self._stage.folder / f"{peer}.log")

    def _run_latency(self, transactions_per_second: float) -> Latency:
        """Measure on fresh topics, so that the steady load is all there is."""
        self._say(f"latency at {transactions_per_second:,.0f} transactions/s")
        self._steady_loads += 1
        prefix = f"bench-steady-{self._steady_loads}"
        stage = self._stage
        stage.create_topics(prefix)
        with (
            stage.database() as url,
            stage.role("projections", url, prefix) as projections,
            stage.role("flow", url, prefix) as flow,
        ):
            projections.wait_for("projections.started")
            flow.wait_for("flow.started")
            time.sleep(IDLE_SECONDS)
            return measure_latency(
                stage,
                url,
                prefix,
                self._pairs,
                transactions_per_second / 2,
                self._plan.latency_seconds,
                (flow, projections),
            )

    def _fill(self, prefix: str, pairs: int, sides: tuple[int, ...]) -> None:
        self._say(f"filling the topics with {pairs * len(sides):,} transactions")
        self._stage.create_topics(prefix)
        fill({"bootstrap.servers": self._stage.servers}, prefix, self._pairs, pairs, sides)

    def _rate(self, seconds: float) -> float:
        return self._plan.pairs * 2 / seconds
