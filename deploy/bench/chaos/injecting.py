"""Carrying a plan out: each injection begins and ends at its time, whatever else is going on."""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from connectors.postgres.connections import connect_as_owner
from connectors.postgres.queries import parse_queries
from deploy.bench.chaos.load import ChaosLoad
from deploy.bench.chaos.plan import CLOCK, FLOWS, Injection
from deploy.bench.chaos.processes import KeptProcess
from deploy.bench.chaos.system import ChaosSystem

_SQL = parse_queries(
    resources.files("deploy.bench.chaos").joinpath("injecting.sql").read_text("utf-8")
)
_ZOMBIE_POLL_SECONDS = 0.1
_BROKER_POLL_SECONDS = 0.1

#: What is to be done at a time, and what that in turn plans.
Step = Callable[[], None]


class Injector:
    """Carries out the injections of one plan, in the calling thread.

    Attributes:
        done: Injections that took effect, by kind; a zombie counts once its successor has claimed a
            stream.
    """

    def __init__(self, system: ChaosSystem, load: ChaosLoad) -> None:
        self._system = system
        self._load = load
        self._begin = 0.0
        self._order = itertools.count()
        self._steps: list[tuple[float, int, Step]] = []
        self.done: Counter[str] = Counter()

    def run(self, plan: Sequence[Injection]) -> None:
        """Do everything at its time from now on; returns when the last injection has ended."""
        self._begin = time.monotonic()
        for injection in plan:
            self._at(injection.at_seconds, self._step_of(injection))
        while self._steps:
            at, _, step = heapq.heappop(self._steps)
            time.sleep(max(0.0, self._begin + at - time.monotonic()))
            step()

    def _at(self, seconds: float, step: Step) -> None:
        heapq.heappush(self._steps, (seconds, next(self._order), step))

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _step_of(self, injection: Injection) -> Step:
        ways: dict[str, Callable[[Injection], None]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "zombie": self._zombie,
            "cut": self._line,
            "stall": self._line,
            "slow": self._line,
            "postgres_restart": self._postgres,
            "postgres_crash": self._postgres,
            "broker_freeze": self._broker,
            "broker_kill": self._broker_again,
            "broker_restart": self._broker_again,
            "disk_full": self._disk_full,
            "duplicates": self._load_differently,
            "reorder": self._load_differently,
            "rewind": self._rewind,
            "clock": self._clock,
            "breakdown": self._breakdown,
        }
        assert injection.kind in ways, f"unknown kind of injection {injection.kind}"
        return lambda: ways[injection.kind](injection)

    def _process(self, name: str) -> KeptProcess:
        return self._system.keeper.processes[name]

    def _kill(self, injection: Injection) -> None:
        with self._system.keeper.lock:
            one = self._process(injection.target)
            self.done[injection.kind] += one.pid is not None
            one.kill(injection.amount)

    def _freeze(self, injection: Injection) -> None:
        with self._system.keeper.lock:
            one = self._process(injection.target)
            self.done[injection.kind] += one.pid is not None
            one.freeze()
        self._at(_end_of(injection), lambda: self._wake(one))

    def _wake(self, one: KeptProcess) -> None:
        with self._system.keeper.lock:
            one.wake()

    def _zombie(self, injection: Injection) -> None:
        """Freeze the leader; what follows looks again and again for its successor's claim."""
        leader = self._system.leading_flow()
        if leader is None:
            return
        with self._system.keeper.lock:
            leader.freeze()
        fences = self._fences()
        until = _end_of(injection)
        self._at(self._now(), lambda: self._await_successor(leader, fences, until))

    def _await_successor(self, leader: KeptProcess, fences: int, until: float) -> None:
        successor = self._system.leading_flow()
        taken_over = successor is not None and successor is not leader
        if taken_over and self._fences() > fences:
            self.done["zombie"] += 1
        elif self._now() < until:
            again = self._now() + _ZOMBIE_POLL_SECONDS
            self._at(again, lambda: self._await_successor(leader, fences, until))
            return
        self._wake(leader)

    def _fences(self) -> int:
        """A number that grows with every stream that is taken over."""
        try:
            with self._system.operator() as connection:
                row = connection.execute(_SQL["sum_fences"]).fetchone()
        except psycopg.OperationalError:
            return 0
        return int(row[0]) if row is not None else 0

    def _line(self, injection: Injection) -> None:
        link = self._system.links[injection.target]
        if injection.kind == "cut":
            link.cut()
        elif injection.kind == "stall":
            link.stall()
        else:
            link.slow(injection.amount)
        self.done[injection.kind] += 1
        self._at(_end_of(injection), link.restore)

    def _postgres(self, injection: Injection) -> None:
        postgres = self._system.stack.postgres
        if injection.kind == "postgres_crash":
            postgres.kill()
        else:
            postgres.stop()
        postgres.start()
        self.done[injection.kind] += 1

    def _broker(self, injection: Injection) -> None:
        broker = self._system.stack.broker
        broker.pause()
        self.done[injection.kind] += 1
        self._at(_end_of(injection), broker.resume)

    def _broker_again(self, injection: Injection) -> None:
        """End the broker and start it; everything else goes on while it does."""
        broker = self._system.stack.broker
        self._load.pause_soon()
        if injection.kind == "broker_kill":
            broker.kill()
        else:
            broker.stop()
        broker.launch()
        self.done[injection.kind] += 1
        self._await_broker(self._now() + broker.ready_seconds)

    def _await_broker(self, until: float) -> None:
        broker = self._system.stack.broker
        if not broker.ready():
            if self._now() < until:
                self._at(self._now() + _BROKER_POLL_SECONDS, lambda: self._await_broker(until))
                return
            broker.wait_until_ready()  # it had its time already: this says why it does not come
        self._load.go_on()

    def _disk_full(self, injection: Injection) -> None:
        table = sql.Identifier(injection.target)
        self._as_owner(_SQL["refuse_inserts"], table)
        self.done[injection.kind] += 1
        self._at(_end_of(injection), lambda: self._as_owner(_SQL["accept_inserts"], table))

    def _load_differently(self, injection: Injection) -> None:
        if injection.kind == "duplicates":
            self._load.send_again(int(injection.amount))
        else:
            self._load.mix()
        self.done[injection.kind] += 1

    def _rewind(self, injection: Injection) -> None:
        with self._system.keeper.lock:
            for name in FLOWS:
                self._process(name).kill()
            with connect_as_owner(self._system.url) as connection:
                connection.execute(_SQL["rewind"], {"share": injection.amount})
        self.done[injection.kind] += 1

    def _clock(self, injection: Injection) -> None:
        told = self._process(injection.target.removesuffix(CLOCK)).disturbance
        told.set_clock(injection.amount)
        self.done[injection.kind] += 1
        self._at(_end_of(injection), lambda: told.set_clock(0.0))

    def _breakdown(self, injection: Injection) -> None:
        told = self._process(injection.target).disturbance
        told.break_down()

        def look() -> None:
            # Taken back where nobody has come by: a standby, or a flow that nothing came to.
            self.done[injection.kind] += not told.take_breakdown()

        self._at(_end_of(injection), look)

    def _as_owner(self, query: bytes, table: sql.Identifier) -> None:
        with connect_as_owner(self._system.url) as connection:
            connection.execute(sql.SQL(query.decode()).format(table=table))


def _end_of(injection: Injection) -> float:
    # As planned, not counted from now: on a machine that stands still for a while everything is
    # late, and still an injection ends before the next one of its target begins.
    return injection.at_seconds + injection.seconds


def plain(plan: Sequence[Injection]) -> list[dict[str, Any]]:
    """A plan as values for JSON."""
    return [
        {"at_seconds": one.at_seconds, "kind": one.kind, "target": one.target}
        | ({"seconds": one.seconds} if one.seconds else {})
        | ({"amount": one.amount} if one.amount else {})
        for one in plan
    ]
