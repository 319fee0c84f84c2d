"""One run: start, load and break, heal, wait for the end, judge."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from connectors.postgres.reading import read_head
from connectors.synthetic.facts import Facts
from deploy.bench.chaos.injecting import Injector, plain
from deploy.bench.chaos.judging import (
    Verdict,
    events_behind,
    judge,
    landed,
    records_read,
)
from deploy.bench.chaos.load import ChaosLoad
from deploy.bench.chaos.plan import (
    FLOWS,
    WEIGHTS,
    WEIGHTS_WITH_KAFKA,
    Injection,
    flow_processes,
    make_plan,
)
from deploy.bench.chaos.processes import KeptProcess
from deploy.bench.chaos.system import ChaosSystem, Commands
from deploy.bench.chaos.system import commands as settler_commands
from deploy.kafka.distribution import distribution
from deploy.verdict import differences

SETTLE_SECONDS = 240.0
"""How long the healed system may take to come to the truth; what it is then is judged."""
_SHOWN_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_FENCED_EXIT = 3
_BROKEN_EXIT = 1
_KILLED = -9
# Told to end while it finds out that another has its lease, or before it could listen to that.
_IN_ORDER = (0, None, _FENCED_EXIT, -15)

Say = Callable[[str], None]


class RunSettings(msgspec.Struct, frozen=True):
    """What all runs of a series have in common.

    Attributes:
        broker: `embedded`, or `apache` for a real Apache Kafka.
    """

    seconds: float = 20.0
    records_per_second: int = 400
    broker: str = "embedded"


class RunResult(msgspec.Struct):
    """What one seed came to.

    Attributes:
        began_at: RFC 3339.
        records: Messages of the workload; `sent_again` more came from injections and `landed` is
            what the topics held in the end.
        injections: Kind → how often it took effect.
        ends: How processes ended while it ran: `killed`, `fenced` (by themselves, having lost the
            lease or a stream, or because their clock went back), `broken` (by an exception),
            `other`.
        recovery_seconds: From the last record and the last injection to the truth.
        seconds: Of the whole run, with starting and judging.
        stopped_in_order: Whether every role ended as it should, and in time, when told to; no part
            of the verdict.
    """

    seed: int
    settings: RunSettings
    flow_processes: int
    began_at: str
    records: int
    sent_again: int
    landed: int
    events: int
    injections: dict[str, int]
    ends: dict[str, int]
    recovery_seconds: float
    seconds: float
    stopped_in_order: bool
    verdict: Verdict
    plan: list[dict[str, Any]]

    @property
    def holds(self) -> bool:
        """Whether nothing was found wrong."""
        return self.verdict.holds


def run_seed(
    seed: int,
    settings: RunSettings,
    say: Say,
    *,
    plan: Sequence[Injection] | None = None,
    commands: Commands | None = None,
    logs: Path | None = None,
    settle_seconds: float = SETTLE_SECONDS,
) -> RunResult:
    """Run one seed on a system of its own.

    Args:
        say: Told what is being done.
        plan: What to inject; default what the seed says.
        commands: What runs each role; default `settler run`, in as many processes as the seed says.
        logs: Where the logs go if it does not hold; None: nowhere.
        settle_seconds: How long the system may take to come to the truth.

    Raises:
        ChaosFailed: The run could not be carried through.
        KafkaUnavailable: It is to be a real Kafka, and this machine cannot have one.
    """
    real = settings.broker == "apache"
    if plan is None:
        plan = make_plan(seed, settings.seconds, WEIGHTS_WITH_KAFKA if real else WEIGHTS)
    began, began_at = time.monotonic(), datetime.now(UTC)
    processes = flow_processes(seed)
    kafka = distribution() if real else None
    system = ChaosSystem(commands or settler_commands(processes), kafka)
    with system.running():
        load = ChaosLoad(seed, settings.records_per_second, settings.seconds, system.kafka_config)
        system.define(load.definitions())
        say(f"seed {seed}: {load.records:,} records, {len(plan)} injections")
        injections = _break_under_load(system, load, plan)
        roles = list(system.keeper.processes.values())
        ended = _end(system, load, settle_seconds)
        result = RunResult(
            seed=seed,
            settings=settings,
            flow_processes=processes,
            began_at=began_at.isoformat(timespec="seconds"),
            records=load.records,
            sent_again=load.sent_again,
            landed=ended.landed,
            events=ended.events,
            injections=dict(sorted(injections.items())),
            ends=ended.ends,
            recovery_seconds=round(ended.recovery_seconds, 1),
            seconds=round(time.monotonic() - began, 1),
            stopped_in_order=ended.stopped_in_order,
            verdict=ended.verdict,
            plan=plain(plan),
        )
        if logs is not None and not (result.holds and result.stopped_in_order):
            _keep_logs(roles, logs / f"seed-{seed}")
    return result


def _break_under_load(
    system: ChaosSystem, load: ChaosLoad, plan: Sequence[Injection]
) -> Counter[str]:
    """Send the load while the plan is carried out; returns what took effect, all of it healed."""
    injector = Injector(system, load)
    load.start(system.topic_prefix)
    try:
        injector.run(plan)
        system.heal()
        load.finish()
    finally:
        load.stop()
    return injector.done


class _End(NamedTuple):
    landed: int
    events: int
    ends: dict[str, int]
    recovery_seconds: float
    stopped_in_order: bool
    verdict: Verdict


def _end(system: ChaosSystem, load: ChaosLoad, settle_seconds: float) -> _End:
    """Let all waits run out, wait for the truth, end the roles in order, and judge."""
    healed = time.monotonic()
    topics = landed(system.kafka_config, system.topic_prefix)
    truth = load.expected(topics)
    _await_read(system, topics.total(), healed + settle_seconds)
    system.define(load.definitions(after=True))
    _settle(system, truth, healed + settle_seconds)
    recovered = time.monotonic() - healed
    ends = _ends(list(system.keeper.processes.values()))
    codes = system.keeper.retire(FLOWS)
    # What the flows wrote when they ended is to be shown and published too.
    _settle(system, truth, time.monotonic() + min(settle_seconds, _SHOWN_SECONDS))
    codes += system.keeper.stop()
    with system.operator() as conn:
        verdict = judge(conn, truth, system.kafka_config, system.topic_prefix)
        head = read_head(conn)
    in_order = all(code in _IN_ORDER for code in codes)
    return _End(topics.total(), head, ends, recovered, in_order, verdict)


def _await_read(system: ChaosSystem, records: int, deadline: float) -> None:
    """Wait until the flow has read everything, or the time is up.

    Values that were used up under former rules are new again under others: a second record of one
    that is read behind the change of definitions is no duplicate, and the truth says it is.
    """
    with system.operator() as conn:
        while records_read(conn) < records and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def _settle(system: ChaosSystem, truth: Facts, deadline: float) -> None:
    """Wait until everything is decided, shown and published, or the time is up."""
    with system.operator() as conn:
        while time.monotonic() < deadline:
            if not events_behind(conn) and not differences(conn, truth):
                return
            time.sleep(_LOOK_SECONDS)


def _ends(processes: Sequence[KeptProcess]) -> dict[str, int]:
    ends: Counter[str] = Counter()
    names = {_KILLED: "killed", _FENCED_EXIT: "fenced", _BROKEN_EXIT: "broken"}
    for one in processes:
        for code, count in one.ends.items():
            ends[names.get(code, "other")] += count
    return dict(sorted(ends.items()))


def _keep_logs(processes: Sequence[KeptProcess], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in processes:
        one.keep_log(folder)
