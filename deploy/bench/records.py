"""The records of the pipeline benchmark: pairs that match one to one by reference.

Pair i belongs to tenant i modulo their number and occurs `STEP_MS` after pair i - 1. A message
has about 253 bytes; both legs of a pair carry one key, as a producer that spreads by order does.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from connectors.synthetic.topics import topic_names
from domain.errors import SettlerError
from domain.identity import match_id

TENANTS = 4
RECONCILIATION = "orders"
RULE = "order-reference"
STEP_MS = 60
#: Records arrive out of order within blocks of this many.
SHUFFLED = 1_000
#: Small batches would cost the broker more than the flow, and both share the machine.
PRODUCER = {"linger.ms": 20, "queue.buffering.max.messages": 1_000_000, "acks": "all"}
FLUSH_SECONDS = 120

_MESSAGE = (
    '{"tenant_id":"t-%d","reconciliation_id":"orders","transaction_id":"%s-%09d",'
    '"reference":"ORD-%09d","amount":"%d.%02d","currency":"EUR","occurred_at":"%s%03dZ",'
    '"counterparty":"ACME Handelshaus GmbH","attributes":{"channel":"web"}}'
)

#: (side, key, message)
Send = Callable[[int, bytes, bytes], None]


class NotSent(SettlerError):
    """The broker did not take every record."""

    code = "bench.not_sent"


class Pairs:
    """Makes the legs of pair i.

    Args:
        first_ms: When pair 0 occurs, milliseconds since the epoch.
        tenants: Of how many tenants they are.
        step_ms: From each to the next.
    """

    def __init__(self, first_ms: int, tenants: int = TENANTS, step_ms: int = STEP_MS) -> None:
        self.first_ms = first_ms
        self.step_ms = step_ms
        self.tenants = tenants
        self._second = -1
        self._prefix = ""

    def occurred_ms(self, number: int) -> int:
        """When both legs of a pair occur, milliseconds since the epoch."""
        return self.first_ms + number * self.step_ms

    def message(self, side: int, number: int) -> bytes:
        """One leg, as Kafka carries it."""
        second, millisecond = divmod(self.occurred_ms(number), 1000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        letter = "t" if side else "s"
        text = _MESSAGE % (
            number % self.tenants, letter, number, number, number % 1000, number % 100,
            self._prefix, millisecond,
        )  # fmt: skip
        return text.encode()

    def match_id(self, number: int) -> str:
        """The id of the match that a pair becomes."""
        return match_id(
            f"t-{number % self.tenants}",
            RECONCILIATION,
            RULE,
            [f"s-{number:09d}"],
            [f"t-{number:09d}"],
            self.occurred_ms(number),
        )


def key(number: int) -> bytes:
    """The Kafka key of both legs of a pair."""
    return b"t-%d:orders:ORD-%09d" % (number % TENANTS, number)


def definitions(tenants: int = TENANTS) -> list[dict[str, object]]:
    """The definition of each tenant's reconciliation."""
    condition = {"field": "reference", "operator": "exact", "unique": True}
    rule = {"name": RULE, "match_type": "one_to_one", "conditions": [condition]}
    return [
        {
            "tenant_id": f"t-{tenant}",
            "reconciliation_id": RECONCILIATION,
            "name": "Orders against charges",
            "rules": [rule],
        }
        for tenant in range(tenants)
    ]


def shuffled(count: int, seed: int) -> Iterator[int]:
    """Yield 0 to count - 1, out of order within blocks."""
    chance = random.Random(seed)
    for begin in range(0, count, SHUFFLED):
        block = list(range(begin, min(begin + SHUFFLED, count)))
        chance.shuffle(block)
        yield from block


def fill(
    config: dict[str, Any],
    prefix: str,
    pairs: Pairs,
    count: int,
    sides: tuple[int, ...] = (0, 1),
    first: int = 0,
) -> None:
    """Send the legs of so many pairs from `first` on, every message confirmed.

    Raises:
        NotSent: The broker refused some, or did not confirm them in time.
    """
    producer = Producer(PRODUCER | config)
    topics = topic_names(prefix)
    failed: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(str(error))

    for side in sides:
        for number in shuffled(count, seed=side):
            message = pairs.message(side, first + number)
            while True:
                try:
                    producer.produce(
                        topics[side], message, key(first + number), on_delivery=delivered
                    )
                    break
                except BufferError:
                    producer.poll(0.05)
    waiting = producer.flush(FLUSH_SECONDS)
    if failed or waiting:
        raise NotSent(f"{len(failed)} records refused ({failed[:1]}), {waiting} not confirmed")
