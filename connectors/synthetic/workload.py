"""A seeded workload: the messages of several reconciliations in arrival order, and their truth."""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from connectors.synthetic import broken
from connectors.synthetic.definitions import (
    DEFAULT_STREAMS,
    LATENESS_SECONDS,
    WAIT_SECONDS,
    StreamSpec,
    definition_document,
)
from connectors.synthetic.facts import Facts
from connectors.synthetic.records import DAY_US
from connectors.synthetic.scenarios import Message, Shape
from connectors.synthetic.shapes import SHAPES

# Messages of this much event time are shuffled among each other.  Together with the delay between
# legs (a third of the lateness) that keeps everything not meant to be late inside the lateness.
BLOCK_US = LATENESS_SECONDS * 1_000_000 // 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares (0 to 1) of all business events; a shape ignores those that mean nothing to it.

    Args:
        late: One leg arrives behind event time.
        redelivered: One leg comes twice.
        conflicting: An id comes again with other content.
        repeated: A second record takes a reference that occurs once.
        missing_in_target, missing_in_source: One side never arrives.
        amount_off, currency_off, date_off: Both arrive and miss each other in this alone.
        within_tolerance: The amounts differ by no more than allowed.
        ambiguous: Two and two could match in more than one way.
        decoy: Two targets could match one source.
        invalid: A record that cannot be used instead of a pair.
    """

    late: float = 0.01
    redelivered: float = 0.01
    conflicting: float = 0.002
    repeated: float = 0.003
    missing_in_target: float = 0.01
    missing_in_source: float = 0.01
    amount_off: float = 0.01
    currency_off: float = 0.002
    date_off: float = 0.004
    within_tolerance: float = 0.05
    ambiguous: float = 0.002
    decoy: float = 0.002
    invalid: float = 0.005

    def __post_init__(self) -> None:
        rates = {item.name: getattr(self, item.name) for item in fields(self)}
        wrong = [name for name, rate in rates.items() if not 0 <= rate <= 1]
        if wrong:
            raise ValueError(f"rate {wrong[0]} is {rates[wrong[0]]}; give a share from 0 to 1")
        if sum(rates.values()) > 1:
            raise ValueError(f"the rates add up to {sum(rates.values()):.3f}; keep them within 1")


#: Nothing goes wrong.
NO_ERRORS = Rates(**{item.name: 0.0 for item in fields(Rates)})


@dataclass(frozen=True, slots=True)
class Workload:
    """What to generate; the same values give the same bytes.

    Args:
        transactions: At least this many messages, and at most a handful more.
        ending_at_us: No event time lies after it but for value dates, up to three days.
        period_days: Event times begin this many days before the end.
        invalid_kinds: Names of `broken.KINDS`; each comes in its turn.
    """

    seed: int
    transactions: int
    ending_at_us: int
    streams: tuple[StreamSpec, ...] = DEFAULT_STREAMS
    rates: Rates = field(default_factory=Rates)
    period_days: int = 30
    invalid_kinds: tuple[str, ...] = tuple(broken.KINDS)

    def definitions(self, idle_seconds: int = 3) -> list[dict[str, object]]:
        """The definition document of every stream."""
        return [definition_document(spec, idle_seconds) for spec in self.streams]

    def decided_at_us(self) -> int:
        """Once event time has reached this instant, every wait of the workload has run out."""
        return self.ending_at_us + 5 * DAY_US + WAIT_SECONDS * 1_000_000

    def blocks(self, facts: Facts) -> Iterator[list[Message]]:
        """Yield messages `(side, key, value)` in arrival order, a shuffled block at a time.

        The truth grows in `facts` as blocks are taken and is whole after the last one.
        """
        return _Run(self, facts).blocks()

    def messages(self, facts: Facts) -> Iterator[Message]:
        """Yield the messages of `blocks` one by one."""
        for block in self.blocks(facts):
            yield from block


def ending_before(now_us: int) -> int:
    """The latest end of a workload whose every wait has run out by the clock's `now_us`."""
    return now_us - (WAIT_SECONDS + LATENESS_SECONDS) * 1_000_000 - 6 * DAY_US


class _Run:
    """One pass over a workload: the present block, what waits for a later one, the shapes."""

    def __init__(self, workload: Workload, facts: Facts) -> None:
        self._workload = workload
        self._chance = random.Random(workload.seed)  # noqa: S311 - seeded load, not a secret
        self._block: list[Message] = []
        self._waiting: list[tuple[int, int, Message]] = []
        self._order = 0
        self.now = self._block.append
        self._invalid_kinds = itertools.cycle(workload.invalid_kinds)
        self._lanes = [
            _Lane(self._shape(spec, facts), workload.rates, self._chance)
            for spec in workload.streams
        ]

    def _shape(self, spec: StreamSpec, facts: Facts) -> Shape:
        chance = random.Random(self._chance.getrandbits(64))  # noqa: S311 - as above
        return SHAPES[spec.shape](spec, chance, facts, self, self._invalid_kinds)

    def later(self, at_us: int, message: Message) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (at_us, self._order, message))

    def blocks(self) -> Iterator[list[Message]]:
        total = self._workload.transactions
        period_us = self._workload.period_days * DAY_US
        start_us = self._workload.ending_at_us - period_us
        sent = 0
        for begin_us in range(start_us, start_us + period_us, BLOCK_US):
            self._release(begin_us - BLOCK_US)
            end_us = min(begin_us + BLOCK_US, start_us + period_us)
            # What a block owes: the share of the period that is over, less what is out or waits.
            due = total * (end_us - start_us) // period_us - sent
            self._fill(due - len(self._waiting), begin_us, end_us - begin_us)
            sent += len(self._block)
            if self._block:
                yield self._take()
        if self._waiting:
            self._release(None)
            yield self._take()

    def _fill(self, owed: int, begin_us: int, span_us: int) -> None:
        # Legs are delayed by up to a third of the lateness, so events keep to the block's start.
        room_us = span_us // 3
        lanes = self._lanes
        place = 0
        while len(self._block) < owed:
            lanes[place % len(lanes)].event(begin_us + place * 7_919_000 % room_us)
            place += 1

    def _release(self, until_us: int | None) -> None:
        waiting = self._waiting
        while waiting and (until_us is None or waiting[0][0] <= until_us):
            self._block.append(heapq.heappop(waiting)[2])

    def _take(self) -> list[Message]:
        messages = self._block.copy()
        self._block.clear()
        self._chance.shuffle(messages)
        return messages


class _Lane:
    """One reconciliation's events in turn, each of a scenario drawn by its rate."""

    def __init__(self, shape: Shape, rates: Rates, chance: random.Random) -> None:
        self._shape = shape
        self._draw = chance.random
        self._number = 0
        self._bounds = []
        bound = 0.0
        for name, scenario in shape.scenarios.items():
            bound += getattr(rates, name)
            self._bounds.append((bound, scenario))
        self._special = bound

    def event(self, at_us: int) -> None:
        number = self._number
        self._number += 1
        drawn = self._draw()
        if drawn >= self._special:
            self._shape.plain(number, at_us)
            return
        for bound, scenario in self._bounds:
            if drawn < bound:
                scenario(number, at_us)
                return
