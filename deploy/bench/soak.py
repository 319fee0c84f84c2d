"""The soak: a steady load for a long time, and the memory of flow and projector meanwhile.

Ids are remembered for days, so a state that neither grows nor shrinks would take days to come.
Here event time runs ahead of the clock: the time that ids are remembered for passes every
`turnover_seconds`, and from then on as much is forgotten as comes in.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg

from deploy.bench.measured import BenchFailed, last_line, sending, until
from deploy.bench.pipeline import DAY_MS, TAKEN_IN
from deploy.bench.records import definitions
from deploy.bench.stage import Stage, number
from deploy.kafka.distribution import distribution

#: What `window.remember` comes to by default.
REMEMBERED_MS = 7 * DAY_MS
LATE_SECONDS = 60.0
_PREFIX = "soak"
_CONFIRMED = "SELECT count(*) FROM matches WHERE status = 'confirmed'"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, and how much.

    Args:
        minutes: Of load.
        rate: Transactions a second, both legs counted.
        turnover_seconds: In how long the state has turned over once.
        sample_seconds: Between two looks at the memory.
        broker: `embedded`, or `apache` for a real Apache Kafka.
    """

    minutes: float = 30.0
    rate: int = 10_000
    turnover_seconds: float = 120.0
    sample_seconds: float = 2.0
    broker: Literal["embedded", "apache"] = "embedded"

    @property
    def seconds(self) -> float:
        """How long the load lasts."""
        return self.minutes * 60

    @property
    def step_ms(self) -> int:
        """Event time from each pair to the next."""
        return max(1, round(REMEMBERED_MS / (self.turnover_seconds * self.rate / 2)))


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at a moment, seconds from the beginning of the load, bytes."""

    at_seconds: float
    flow_bytes: int
    projections_bytes: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What was measured.

    Attributes:
        transactions: How many came, all of them committed and readable.
        behind_seconds: From the last record sent to the last match readable.
    """

    transactions: int
    samples: list[Sample]
    behind_seconds: float
    cpu_seconds: dict[str, float]


class SoakBench:
    """Runs the soak on an embedded stack.

    Args:
        say: Told what is being done.
    """

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._stage = Stage(distribution() if plan.broker == "apache" else None)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Start the stack."""
        self._say("starting broker and Postgres")
        with self._stage.set_up(definitions()):
            yield

    def run(self) -> Soak:
        """Send, and look at the memory all the while.

        Raises:
            BenchFailed: A process ended, or not every pair came to a match in time.
        """
        plan, stage = self._plan, self._stage
        stage.create_topics(_PREFIX)
        pairs = int(plan.rate / 2 * plan.seconds)
        task = {
            "servers": stage.servers,
            "prefix": _PREFIX,
            # All of it has happened by the end: nothing may come from the future.
            "first_ms": int(time.time() * 1000) - DAY_MS - pairs * plan.step_ms,
            "step_ms": plan.step_ms,
            "pairs_per_second": plan.rate / 2,
            "seconds": plan.seconds,
            "sample_every": pairs + 1,
        }
        samples: list[Sample] = []
        with (
            stage.database() as url,
            psycopg.connect(url, autocommit=True) as connection,
            stage.role("projections", url, _PREFIX) as projections,
            stage.role("flow", url, _PREFIX) as flow,
        ):
            projections.wait_for("projections.started")
            flow.wait_for("flow.started")
            self._say(f"{plan.rate:,} transactions/s for {plan.minutes:g} minutes")
            begin = time.monotonic()
            with sending("steady_load", task, stage.children, stage.folder / "soak.log") as load:
                for _ in until(plan.seconds + LATE_SECONDS, "the load", every=plan.sample_seconds):
                    flow.look()
                    projections.look()
                    at = time.monotonic() - begin
                    samples.append(Sample(at, flow.rss_bytes(), projections.rss_bytes()))
                    if load.poll() is not None:
                        break
                if load.returncode:
                    raise BenchFailed(
                        f"the load generator ended with {load.returncode}: "
                        f"{last_line(stage.folder / 'soak.log')}"
                    )
            ended = time.monotonic()
            for _ in until(LATE_SECONDS, f"{pairs:,} matches to be readable", every=0.1):
                flow.look()
                taken_in = number(connection, TAKEN_IN)
                if taken_in >= 2 * pairs and number(connection, _CONFIRMED) >= pairs:
                    break
            return Soak(
                2 * pairs,
                samples,
                time.monotonic() - ended,
                {role.name: role.cpu_seconds() for role in (flow, projections)},
            )
