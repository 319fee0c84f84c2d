"""How fast a window stays, and how small, while most of its open transactions lie in Postgres.

One window of the flow in this process, with the flow's own writer, over an embedded Postgres and
without a broker: records are decoded, matched and committed. Event time stands still, so that
nothing expires; what is measured is looking up what is frozen.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import psutil  # type: ignore[import-untyped]

from connectors.kafka import Records
from connectors.postgres.connections import connect, connect_as_owner
from connectors.postgres.inbox import Command
from connectors.postgres.migrations import migrate
from connectors.postgres.store import PostgresStore
from deploy.bench.measured import BenchFailed
from deploy.bench.records import TENANTS, Pairs, definitions
from deploy.embedded import EmbeddedStack
from deploy.large_blocks import give_back_large_blocks
from flows.arrivals import key_by_tenant_reconciliation
from flows.storing import Writer
from flows.surroundings import Surroundings
from flows.windows import MatchWindow

_TOPICS = ("bench.source", "bench.target")
_CHUNK = 4_000
_FLUSH_ROWS = 50_000
_MIB = 1 << 20


def _now_us() -> int:
    return time.time_ns() // 1000


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        open_transactions: Filled in before.
        hot_transactions: What the window may hold in memory.
        sample: Transactions of each measurement.
    """

    open_transactions: int
    hot_transactions: int
    sample: int


class _Spent(NamedTuple):
    """Time of the clock, and of this process's threads on a core."""

    seconds: float
    cpu_seconds: float

    @classmethod
    def so_far(cls) -> Self:
        return cls(time.perf_counter(), time.process_time())

    def less(self, other: Self) -> Self:
        return self._replace(
            seconds=self.seconds - other.seconds,
            cpu_seconds=self.cpu_seconds - other.cpu_seconds,
        )

    def and_also(self, other: Self) -> Self:
        return self._replace(
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
        )


class ColdBench:
    """One window, fed and timed.

    Args:
        progress: Told in a few words what is being measured.
    """

    def __init__(self, plan: Plan, progress: Callable[[str], None]) -> None:
        self._plan = plan
        self._progress = progress
        self._pairs = Pairs(int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000))
        self._offsets = [0, 0]
        self._peak = 0
        self._rates: dict[str, float] = {}
        self._cpu_us: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Measure all; starts a Postgres of its own and ends it."""
        give_back_large_blocks()  # as the process of a flow does
        stack = EmbeddedStack(valkey=False, topic_prefix=None, partitions=1)
        with stack:
            url = stack.postgres.url("postgres")
            with connect_as_owner(url) as conn:
                migrate(conn)
            self._url = url
            self._take_over()
            payload = {"definition": definitions()[0]}
            define = Command(str(uuid.uuid4()), "t-0", "orders", "define", payload, None, "bench")
            self._put(self._window.on_batch([define])[0])
            self._measure()
            restart_seconds = self._restart()
        empty, cpu_us = self._rates["empty"], self._cpu_us["empty"]
        return {
            "open_transactions": self._plan.open_transactions,
            "hot_transactions": self._plan.hot_transactions,
            "rates": {name: round(rate) for name, rate in self._rates.items()},
            "ratios": {
                f"{name}_vs_empty": round(rate / empty, 3)
                for name, rate in self._rates.items()
                if name != "empty"
            }
            | {
                f"{name}_cpu_vs_empty": round(cpu_us / of, 3)
                for name, of in self._cpu_us.items()
                if name != "empty"
            },
            "cpu_us": {name: round(of, 1) for name, of in self._cpu_us.items()},
            "memory_mib": {name: round(mib, 1) for name, mib in self._memory.items()},
            "restart_seconds": round(restart_seconds, 2),
        }

    def _measure(self) -> None:
        plan = self._plan
        before = self._rss()
        fresh = plan.open_transactions + plan.sample
        self._pairs_of("empty", range(fresh, fresh + plan.sample // 2))
        self._peak = 0
        self._time("filling", ((0, part) for part in _parts(range(plan.open_transactions))))
        filled = self._rss()
        fresh += plan.sample
        self._pairs_of("fresh_pairs", range(fresh, fresh + plan.sample // 2))
        half = plan.open_transactions // 2
        later = range(min(plan.sample, half))
        self._time("counterparts_in_order", ((1, part) for part in _parts(later)))
        left = range(half, plan.open_transactions)
        anywhere = random.Random(1).sample(left, min(plan.sample, len(left)))
        self._time("counterparts_anywhere", ((1, part) for part in _parts(anywhere)))
        self._memory = {
            "before": before / _MIB,
            "filled": filled / _MIB,
            "peak": max(self._peak, self._rss()) / _MIB,
        }

    def _take_over(self) -> None:
        def store() -> PostgresStore:
            return PostgresStore(lambda: connect(self._url, "flow"))

        self._store = store()
        self._writer = Writer(store(), store(), _FLUSH_ROWS, synchronous=False, failed=_fail)
        around = Surroundings(
            self._store,
            lambda: False,
            _now_us,
            time.monotonic,
            hot_transactions=self._plan.hot_transactions,
        )
        self._window = MatchWindow(around)

    def _restart(self) -> float:
        """Seconds from nothing in memory to the first commit."""
        self._progress("a restart")
        self._writer.drain()
        started = time.perf_counter()
        self._take_over()
        last = self._plan.open_transactions + 4 * self._plan.sample
        self._feed(0, [last])
        self._writer.drain()
        return time.perf_counter() - started

    def _pairs_of(self, name: str, numbers: range) -> None:
        self._time(name, ((side, part) for part in _parts(numbers) for side in (0, 1)))

    def _time(self, name: str, parts: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Feed parts of a side and note how many a second were committed."""
        self._progress(name.replace("_", " "))
        count, making = 0, _Spent(0.0, 0.0)
        started = _Spent.so_far()
        for side, numbers in parts:
            making = making.and_also(self._feed(side, numbers))
            count += len(numbers)
            self._peak = max(self._peak, self._rss())
        self._writer.drain()
        spent = _Spent.so_far().less(started).less(making)
        self._rates[name] = count / spent.seconds
        self._cpu_us[name] = spent.cpu_seconds / count * 1e6

    def _feed(self, side: int, numbers: Sequence[int]) -> _Spent:
        """Put records through the window; returns what it took to make them."""
        began = _Spent.so_far()
        messages = [self._pairs.message(side, number * TENANTS) for number in numbers]
        first = self._offsets[side]
        self._offsets[side] += len(messages)
        offsets = list(range(first, first + len(messages)))
        records = Records(_TOPICS[side], 0, side, messages, offsets, {})
        making = _Spent.so_far().less(began)
        for _, arrivals in key_by_tenant_reconciliation(records, _now_us()):
            self._put(self._window.on_batch([arrivals])[0])
        return making

    def _put(self, out: Iterable[Any]) -> None:
        self._writer.put(list(out))

    @staticmethod
    def _rss() -> int:
        return int(psutil.Process().memory_info().rss)


def _parts(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    for begin in range(0, len(numbers), _CHUNK):
        yield numbers[begin : begin + _CHUNK]


def _fail(error: BaseException) -> None:
    raise BenchFailed(f"the writer ended: {error}")


def lines(figures: dict[str, Any]) -> list[str]:
    """The figures for reading."""
    shown = [
        f"{figures['open_transactions']:,} open, {figures['hot_transactions']:,} of them in memory"
    ]
    for name, rate in figures["rates"].items():
        ratio = figures["ratios"].get(f"{name}_vs_empty")
        cpu = f"   {figures['cpu_us'][name]:5.1f} µs of CPU each"
        against = "" if ratio is None else f"   {ratio:.2f} of an empty start"
        if ratio is not None:
            against += f", {figures['ratios'][f'{name}_cpu_vs_empty']:.2f} by CPU"
        shown.append(f"{name.replace('_', ' '):24} {rate:>9,} transactions/s{cpu}{against}")
    memory = figures["memory_mib"]
    shown.append(f"{'memory, filled and peak':24} {memory['filled']:,} MiB, {memory['peak']:,} MiB")
    shown.append(f"{'restart':24} {figures['restart_seconds']} s to the first commit")
    return shown
