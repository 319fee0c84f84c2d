"""Sends pairs at a steady rate, the second legs a moment after the first.

Prints `NUMBER TIME` for one pair in so many: the clock time at which the broker had confirmed both
of its legs. As a process of its own, so that measuring does not slow it; what it sends it has made
before, where memory has room for it, since it shares the machine with what is measured.

    python -m deploy.bench.steady_load '{"servers": …}'
"""

import json
import sys
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, Message, Producer

from connectors.synthetic.topics import topic_names
from deploy.bench.records import FLUSH_SECONDS, PRODUCER, STEP_MS, NotSent, Pairs, key

TICK_SECONDS = 0.005
# The machine is shared with what is measured, so this load is as light on it, and on the broker, as
# producers can be who send this much. Latency counts from the confirmation, not from the sending.
_LIGHT = {"linger.ms": 100, "compression.type": "lz4"}
#: The second leg is sent this many ticks after the first.
BEHIND_TICKS = 20
#: Messages of a side that are made before the first is sent: some 300 MiB of each.
MADE_BEFORE = 1_000_000


class Acknowledged:
    """Waits for both confirmations of the sampled pairs, and prints the later one."""

    def __init__(self) -> None:
        self._once: set[int] = set()

    def of(self, number: int) -> Callable[[KafkaError | None, Message], None]:
        """Return what the producer calls for a leg of a pair."""

        def delivered(error: KafkaError | None, _message: Message) -> None:
            at = time.time()
            if error is not None:
                raise NotSent(f"the broker refused a record: {error}")
            if number in self._once:
                print(number, at, flush=True)
            else:
                self._once.add(number)

        return delivered


def main() -> None:
    """Send until the time is over."""
    given = json.loads(sys.argv[1])
    pairs = Pairs(given["first_ms"], step_ms=given.get("step_ms", STEP_MS))
    topics = topic_names(given["prefix"])
    producer = Producer(PRODUCER | _LIGHT | {"bootstrap.servers": given["servers"]})
    acknowledged = Acknowledged()
    every = given["sample_every"]
    per_second = given["pairs_per_second"]
    total = int(per_second * given["seconds"])
    made = [[pairs.message(side, one) for one in range(min(total, MADE_BEFORE))] for side in (0, 1)]
    sent = [0, 0]
    producer.list_topics(timeout=10)
    begin = time.monotonic()
    tick = 0
    while sent[1] < total:
        elapsed = tick * TICK_SECONDS
        for side, behind in ((0, 0.0), (1, BEHIND_TICKS * TICK_SECONDS)):
            due = min(total, int(max(0.0, elapsed - behind) * per_second))
            for number in range(sent[side], due):
                ready = number < MADE_BEFORE
                message = made[side][number] if ready else pairs.message(side, number)
                if number % every:
                    producer.produce(topics[side], message, key(number))
                else:
                    producer.produce(
                        topics[side], message, key(number), on_delivery=acknowledged.of(number)
                    )
            sent[side] = due
        tick += 1
        # Confirmations are taken while waiting, at once when they come.
        producer.poll(max(0.0, begin + tick * TICK_SECONDS - time.monotonic()))
        while (wait := begin + tick * TICK_SECONDS - time.monotonic()) > 0:
            producer.poll(wait)
    if producer.flush(FLUSH_SECONDS):
        raise NotSent("the broker did not confirm every record")


if __name__ == "__main__":
    main()
