"""What is broken when: drawn from a seed alone, so that a seed gives the same injections again."""

import math
import random
from collections.abc import Mapping

import msgspec

FLOWS = ("flow-a", "flow-b")
ROLES = (*FLOWS, "projections", "publish")
KAFKA_LINK = "kafka"
CLOCK = "/clock"
"""What the name of a process's clock ends with."""
LINKS = (*(f"{role}/postgres" for role in ROLES), KAFKA_LINK)

# The load's event time runs on while a broker cannot be reached, so what comes afterwards is late
# by as much: the definitions' lateness allows for this long (see `load.lateness_hours`).
OUTAGE_SECONDS_MAX = 1.5
_QUIET_START_SECONDS = 1.0
_GAP_SECONDS = (0.2, 1.4)
_CLOCK_OFF_SECONDS = (1.0, 60 * 86_400.0)
_CLOCK_WRONG_SECONDS = (0.5, 6.0)
# How long a breakdown waits for its flow to decide something: a standby never does.
_BREAKDOWN_WAITS_SECONDS = 2.0
# How long a broker that was ended is left alone; on a busy machine it may take longer to come back.
_BROKER_STARTS_SECONDS = 5.0

#: How often each kind is drawn, in relation to the others.
WEIGHTS: Mapping[str, int] = {
    "kill": 6,
    "freeze": 3,
    "zombie": 3,
    "cut": 4,
    "stall": 3,
    "slow": 3,
    "postgres_restart": 1,
    "postgres_crash": 2,
    "broker_freeze": 1,
    "disk_full": 2,
    "duplicates": 3,
    "reorder": 2,
    "rewind": 2,
    "clock": 3,
    "breakdown": 3,
}
#: The same where the broker keeps its data.
WEIGHTS_WITH_KAFKA: Mapping[str, int] = {**WEIGHTS, "broker_kill": 2, "broker_restart": 1}
#: What each kind is, for people.
MEANINGS: Mapping[str, str] = {
    "kill": "SIGKILL of a flow (of a cluster also of one process), the projector or the publisher; "
    "it starts again",
    "freeze": "SIGSTOP of one of them, SIGCONT up to 1.5 s later",
    "zombie": "SIGSTOP of the flow that holds the lease until the standby has taken a "
    "stream over, then SIGCONT",
    "cut": "a connection to Postgres or Kafka dropped and refused for up to 1.5 s",
    "stall": "the same connection kept open with nothing coming through",
    "slow": "every piece of data on it held back for 5 to 100 ms, each way",
    "postgres_restart": "Postgres shut down in fast mode and started",
    "postgres_crash": "Postgres stopped in immediate mode, which is a crash, and started",
    "broker_freeze": "SIGSTOP of the broker, SIGCONT up to 1.5 s later",
    "broker_kill": "SIGKILL of the broker, which starts again on its data",
    "broker_restart": "SIGTERM of the broker, which starts again on its data",
    "disk_full": "every insert into the log, or into a read model, answered with SQLSTATE 53100",
    "duplicates": "records that were sent before sent again",
    "reorder": "records of two stretches of event time sent mixed, in order within a key",
    "rewind": "the flows killed and the saved offsets of the topics set back",
    "clock": "the clock of a flow, the projector or the publisher set forward or back by a second "
    "to sixty days, and right up to 6 s later; a process that starts meanwhile starts with it",
    "breakdown": "a flow (of a cluster one process) ends by an exception of its own in the middle "
    "of an epoch, which closes its sources; it starts again",
}


class Injection(msgspec.Struct, frozen=True):
    """One thing done to the running system.

    Attributes:
        at_seconds: When it begins, from the load's first message.
        kind: One of `WEIGHTS`.
        target: A process, its clock, a link, a service, a table, or `flows` and `load`.
        seconds: How long it lasts at most; 0 for what is done at once.
        amount: Seconds of delay for `slow`, records for `duplicates`, a share for `rewind`,
            seconds ahead for `clock`; for `kill` it picks one process of a cluster, 1 stands for
            all.
    """

    at_seconds: float
    kind: str
    target: str
    seconds: float = 0.0
    amount: float = 0.0


def flow_processes(seed: int) -> int:
    """How many processes each flow has: every fourth seed runs clusters of two."""
    return 2 if seed % 4 == 0 else 1


def make_plan(
    seed: int, seconds: float, weights: Mapping[str, int] = WEIGHTS
) -> tuple[Injection, ...]:
    """Draw the injections of one run, in order; no two hold one target at the same moment.

    Args:
        seconds: How long the load lasts; every injection is over by then.
        weights: Kind → how often it is drawn, in relation to the others.
    """
    chance = random.Random(seed)
    kinds, shares = list(weights), list(weights.values())
    busy_until: dict[str, float] = {}
    plan: list[Injection] = []
    at = _QUIET_START_SECONDS
    while True:
        at += chance.uniform(*_GAP_SECONDS)
        kind = chance.choices(kinds, shares)[0]
        injection = _draw(chance, kind, round(at, 3))
        if kind == "clock" and at < seconds:
            lasts = min(injection.seconds, round(seconds - injection.at_seconds, 3))
            injection = msgspec.structs.replace(injection, seconds=lasts)
        held = _held(injection)
        until = at + max(injection.seconds, 0.5)
        if until > seconds:
            return tuple(plan)
        if any(busy_until.get(one, 0.0) > at for one in held):
            continue
        busy_until.update((one, until) for one in held)
        plan.append(injection)


def _draw(chance: random.Random, kind: str, at: float) -> Injection:
    if kind in ("clock", "breakdown"):
        return _draw_within(chance, kind, at)
    lasts = round(chance.uniform(0.2, OUTAGE_SECONDS_MAX), 3)
    if kind == "kill":
        return Injection(at, kind, chance.choice(ROLES), amount=chance.choice((0.0, 0.4, 0.8, 1.0)))
    if kind == "freeze":
        return Injection(at, kind, chance.choice(ROLES), lasts)
    if kind in ("cut", "stall"):
        return Injection(at, kind, chance.choice(LINKS), lasts)
    if kind == "slow":
        delay = round(chance.uniform(0.005, 0.1), 3)
        return Injection(at, kind, chance.choice(LINKS), lasts, delay)
    if kind == "broker_freeze":
        return Injection(at, kind, "broker", lasts)
    if kind in ("broker_kill", "broker_restart"):
        return Injection(at, kind, "broker", _BROKER_STARTS_SECONDS)
    if kind == "disk_full":
        return Injection(at, kind, chance.choice(("event_store", "matches")), lasts)
    if kind == "duplicates":
        return Injection(at, kind, "load", amount=chance.randint(1, 200))
    if kind == "zombie":
        return Injection(at, kind, "flows", 4.0)
    if kind == "rewind":
        return Injection(at, kind, "flows", amount=round(chance.random(), 3))
    at_once = {"postgres_restart": "postgres", "postgres_crash": "postgres", "reorder": "load"}
    return Injection(at, kind, at_once[kind])


def _draw_within(chance: random.Random, kind: str, at: float) -> Injection:
    """What is done within a process."""
    if kind == "breakdown":
        return Injection(at, kind, chance.choice(FLOWS), _BREAKDOWN_WAITS_SECONDS)
    off = round(math.exp(chance.uniform(*map(math.log, _CLOCK_OFF_SECONDS))), 3)
    wrong = round(chance.uniform(*_CLOCK_WRONG_SECONDS), 3)
    target = f"{chance.choice(ROLES)}{CLOCK}"
    return Injection(at, kind, target, wrong, off * chance.choice((-1, 1)))


def _held(injection: Injection) -> tuple[str, ...]:
    """What nothing else may touch meanwhile."""
    kind, target = injection.kind, injection.target
    if target == "flows":
        # A successor can only take over where it reaches its database.
        return (*FLOWS, *(f"{flow}/postgres" for flow in FLOWS), "postgres")
    if kind == "disk_full":
        return ("postgres",)
    if target == "broker":
        return ("broker", KAFKA_LINK)
    return (target,) if target != "load" else ()
