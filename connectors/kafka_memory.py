"""Kafka's twin in memory, for simulations: same promises, its own rhythm, away on demand.

Several simulated processes share one broker object, as they would share a cluster.
"""

import threading
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bytewax.inputs import StatefulSourcePartition
from confluent_kafka import KafkaError, KafkaException
from typing_extensions import override

from connectors.kafka import BATCH_MESSAGES_MAX, Headers, Records, TopicIdentity
from connectors.kafka_sending import Outgoing, SendInterrupted
from connectors.telemetry import traceparent_of

_IDLE_POLL = timedelta(milliseconds=5)
_DELAY_SECONDS = 0.01


class Stored(NamedTuple):
    """A message in the broker; a tombstone's value is None."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Log:
    """One partition: its messages, the first offset it still has, the one it gives out next."""

    def __init__(self) -> None:
        self.messages: list[Stored] = []
        self.first = 0
        self.end = 0

    def read(self, start: int, count: int) -> list[Stored]:
        at = bisect_left(self.messages, start, key=lambda one: one.offset)
        return self.messages[at : at + count]


class MemoryBroker:
    """The topics that `kafka` reads and `kafka_sending` sends to, in memory.

    Args:
        topics: Name → number of partitions.
        batch: How many messages the next read gives at most, 1 or more; a simulation's chance.
        message_bytes_max: A larger message is refused.

    Attributes:
        away: Set while nobody reaches the broker: readers find nothing, senders wait.
    """

    def __init__(
        self,
        topics: Mapping[str, int],
        batch: Callable[[], int] = lambda: BATCH_MESSAGES_MAX,
        message_bytes_max: int = 16 * 1024 * 1024,
    ) -> None:
        self.away = False
        self.message_bytes_max = message_bytes_max
        self._batch = batch
        self._topics = {name: [_Log() for _ in range(number)] for name, number in topics.items()}

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        headers: Headers | None = None,
        key: bytes | None = None,
    ) -> int:
        """Put a message at a partition's end; return its offset."""
        log = self._topics[topic][partition]
        log.messages.append(Stored(log.end, key, value, headers or []))
        log.end += 1
        return log.end - 1

    def skip(self, topic: str, partition: int, offsets: int = 1) -> None:
        """Leave a gap at a partition's end, as transactions and compaction do."""
        self._topics[topic][partition].end += offsets

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete what is below an offset, as retention does."""
        log = self._topics[topic][partition]
        log.messages = log.read(offset, len(log.messages))
        log.first = offset

    def messages(self, topic: str, partition: int) -> list[Stored]:
        """All messages a partition has, in offset order."""
        return list(self._topics[topic][partition].messages)

    def read(self, topic: str, partition: int, start: int | None) -> list[Stored]:
        """Give a reader's next messages; None reads from the first one.

        Raises:
            KafkaException: There is no such offset, or no longer, as the client tells it.
        """
        log = self._topics[topic][partition]
        if self.away:
            return []
        if start is not None and not log.first <= start <= log.end:
            raise KafkaException(
                KafkaError(
                    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - the client names its own codes so
                    f"{topic}/{partition} has offsets {log.first} to {log.end}, not {start}",
                )
            )
        return log.read(log.first if start is None else start, self.batch())

    def end(self, topic: str, partition: int) -> int:
        """The offset the next message gets; behind a gap, if there is one."""
        return self._topics[topic][partition].end

    def batch(self) -> int:
        """How many messages the next read gives at most."""
        return min(self._batch(), BATCH_MESSAGES_MAX)

    def describe_topic(self, topic: str, wait: Callable[[float], object]) -> TopicIdentity:
        """See `kafka.describe_topic`."""
        while self.away or topic not in self._topics:
            if wait(_DELAY_SECONDS):
                raise InterruptedError(f"told to stop while waiting for topic {topic}")
        return TopicIdentity("memory", f"id of {topic}", list(range(len(self._topics[topic]))))


class MemoryPart(StatefulSourcePartition[Records, int]):
    """See `kafka.TopicPart`; `broker` stands in for the client's settings."""

    def __init__(
        self,
        broker: MemoryBroker,
        topic: str,
        partition: int,
        side: int,
        start: int | None,
        passed: Callable[[str, int, int], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._topic, self._partition, self._side = topic, partition, side
        self._next_offset = start
        self._passed = passed
        self._stopping = stopping
        self._to_tell: int | None = None
        self._told = start
        self._ended = False
        self._next_awake: datetime | None = None

    @override
    def next_batch(self) -> list[Records]:
        self._tell(self._to_tell)
        if self._stopping():
            self._ended = True
            raise StopIteration
        read = self._broker.read(self._topic, self._partition, self._next_offset)
        self._next_awake = None if read else datetime.now(UTC) + _IDLE_POLL
        if not read:
            if not self._broker.away:
                # What is left to the end is a gap.
                end = self._broker.end(self._topic, self._partition)
                self._next_offset = end or self._next_offset
            return []
        self._next_offset = read[-1].offset + 1
        traces = {one.offset: traceparent_of(one.headers) for one in read}
        return [
            Records(
                self._topic,
                self._partition,
                self._side,
                [one.value or b"" for one in read],
                [one.offset for one in read],
                {offset: trace for offset, trace in traces.items() if trace is not None},
            )
        ]

    def _tell(self, next_offset: int | None) -> None:
        if next_offset is not None and next_offset != self._told:
            self._told = next_offset
            self._passed(self._topic, self._partition, next_offset)

    @override
    def next_awake(self) -> datetime | None:
        return self._next_awake

    @override
    def snapshot(self) -> int:
        self._to_tell = self._next_offset
        return -1 if self._next_offset is None else self._next_offset

    @property
    def position(self) -> tuple[str, int, int | None]:
        """Topic, partition and the next offset to read."""
        return self._topic, self._partition, self._next_offset

    def tell_end(self) -> None:
        """See `kafka.TopicPart.tell_end`."""
        if self._ended:
            self._tell(self._next_offset)

    @override
    def close(self) -> None:
        """There is nothing to close."""


class MemoryTopic:
    """See `kafka_sending.ConfirmedTopic`; a key's partition is its own choice, not Java's."""

    def __init__(self, broker: MemoryBroker, topic: str, stop: threading.Event) -> None:
        self.topic = topic
        self._broker = broker
        self._stop = stop
        self._unkeyed = 0

    def send(self, messages: Callable[[], Iterable[Outgoing]]) -> int:
        """See `kafka_sending.ConfirmedTopic.send`; each message arrives as it is sent."""
        while True:
            sent = self._attempt(messages())
            if sent is not None:
                return sent
            if self._stop.wait(_DELAY_SECONDS):
                raise SendInterrupted(f"told to stop while {self.topic} refuses messages")

    def close(self) -> None:
        """There is nothing to forget: what arrived is confirmed."""

    def _attempt(self, messages: Iterable[Outgoing]) -> int | None:
        """Send them all and count them; None when one was refused."""
        sent = 0
        partitions = self._partitions()
        for message in messages:
            partitions = self._partitions()
            if len(message.value) > self._broker.message_bytes_max:
                return None
            if message.key is None:
                self._unkeyed += 1
            place = self._unkeyed if message.key is None else zlib.crc32(message.key)
            self._broker.append(
                self.topic, place % partitions, message.value, [*message.headers], message.key
            )
            sent += 1
        return sent

    def _partitions(self) -> int:
        """How many there are; waits while nobody reaches the broker."""
        try:
            return len(self._broker.describe_topic(self.topic, self._stop.wait).partitions)
        except InterruptedError as exc:
            raise SendInterrupted(str(exc)) from exc
