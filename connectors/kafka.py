"""Kafka as a source of batches: one Bytewax partition per topic partition.

Guarantee: at least once, in offset order. A partition starts where the store says everything before
is committed; who reads it again drops what its stream has.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

import msgspec
import structlog
from bytewax.inputs import StatefulSourcePartition
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from typing_extensions import override

from connectors.kafka_losses import describe_loss
from connectors.telemetry import traceparent_of

log = structlog.get_logger(__name__)

#: What a Kafka message carries besides its value.
Headers = list[tuple[str, bytes | None]]

#: Messages a partition gives out at once: enough to spread the cost of a step over, few enough
#: that both topics advance together and a step stays in the low milliseconds.
BATCH_MESSAGES_MAX = 4_000
#: The same of a partition that keeps up: records wait for those read with them, and a hiccup makes
#: many. A quarter of it costs 4 % of the rate, and takes a fifth off the slowest hundredth.
LIVE_MESSAGES_MAX = 1_000
#: The most in bytes, about, or a slow store would have large messages pile up behind it.
BATCH_BYTES_MAX = 2 * 1024 * 1024
_IDLE_POLL = timedelta(milliseconds=5)
_METADATA_TIMEOUT_SECONDS = 10.0
# Of a partition, read ahead while others are decided: three batches, so that a flow that is behind
# holds little more than one that is not. Full, it is asked for again after the time below.
_QUEUED_KIB = 4_096
_QUEUE_FULL_MS = 50
# How long a broker may hold back an answer while a partition has nothing new. Kafka answers as soon
# as there is something, so this is only how often an idle partition asks; the embedded broker
# answers at its end. Half as long cost both sides 2 % of a busy machine.
_FETCH_WAIT_MS = 100
# What a broker that restarts, moves a leader or is unreachable answers; librdkafka goes on by
# itself. Anything else stops the flow.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the client names its own codes so
        KafkaError._TRANSPORT,  # noqa: SLF001 - the client names its own codes so
        KafkaError._RESOLVE,  # noqa: SLF001 - the client names its own codes so
        KafkaError._TIMED_OUT,  # noqa: SLF001 - the client names its own codes so
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the client names its own codes so
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
    }
)


class Records(msgspec.Struct, gc=False):
    """Messages of one partition that were read together, in offset order.

    Attributes:
        side: 0 for the source topic, 1 for the target topic.
        values: The messages; a tombstone is the empty message.
        offsets: Their offsets; gaps are possible (compaction, transactions).
        traces: W3C trace contexts of the messages that have one, by offset.
    """

    topic: str
    partition: int
    side: int
    values: list[bytes]
    offsets: list[int]
    traces: dict[int, str]


class TopicIdentity(NamedTuple):
    """Which incarnation of a topic its offsets count, and its partitions."""

    cluster_id: str
    topic_id: str
    partitions: list[int]


def describe_topic(
    config: dict[str, str], topic: str, wait: Callable[[float], object]
) -> TopicIdentity:
    """Ask the cluster about a topic; wait for both to be there, and say so in the log.

    Args:
        config: librdkafka settings of a client.
        wait: Waits that many seconds and returns something true to give up.

    Raises:
        InterruptedError: Told to stop while waiting.
    """
    admin = AdminClient(dict(config))
    delay = 0.1
    while True:
        problem: str
        try:
            cluster_id = (
                admin.describe_cluster(request_timeout=_METADATA_TIMEOUT_SECONDS)
                .result()
                .cluster_id
            )
            found = admin.list_topics(topic, timeout=_METADATA_TIMEOUT_SECONDS).topics[topic]
            if found.error is None and found.partitions:
                return TopicIdentity(cluster_id, _topic_id(admin, topic), sorted(found.partitions))
            problem = str(found.error or "the topic has no partitions")
        except KafkaException as exc:
            problem = str(exc.args[0])
        log.warning("kafka.waiting", topic=topic, problem=problem, again_in_seconds=delay)
        if wait(delay):
            raise InterruptedError(f"told to stop while waiting for topic {topic}")
        delay = min(delay * 2, 5.0)


def _topic_id(admin: AdminClient, topic: str) -> str:
    """The topic's id where the broker has them, else empty; ids came with Kafka 2.8."""
    from confluent_kafka import TopicCollection

    try:
        described = admin.describe_topics(
            TopicCollection([topic]), request_timeout=_METADATA_TIMEOUT_SECONDS
        )[topic].result()
    except KafkaException:
        return ""
    return str(described.topic_id or "")


class TopicPart(StatefulSourcePartition[Records, int]):
    """One partition of a topic.

    Args:
        start: The first offset to read; None reads from the partition's beginning.
        passed: Called with (topic, partition, next offset) once everything below it has gone
            through the whole dataflow, on all workers.
        stopping: Says that no more is to be read.
        first: Where the partition begins, if that is known: asked by itself, a client takes half a
            second for it, and each another.
        keeps_up: Says that the flow has caught up with its topics.
    """

    def __init__(
        self,
        config: dict[str, str],
        topic: str,
        partition: int,
        side: int,
        start: int | None,
        passed: Callable[[str, int, int], None],
        stopping: Callable[[], bool],
        first: int | None = None,
        keeps_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._topic, self._partition, self._side = topic, partition, side
        self._passed = passed
        self._stopping = stopping
        self._keeps_up = keeps_up
        self._next_offset = start
        self._snapped: int | None = None
        self._told = start
        self._ended = False
        self._reads = False
        self._at_once = BATCH_MESSAGES_MAX
        self._next_awake: datetime | None = None
        self._consumer = Consumer(
            {
                **config,
                "group.id": f"settler-{topic}",  # required by the client; nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Also from the beginning on: messages deleted before they were read are a loss.
                "auto.offset.reset": "error",
                # The end of a partition may be a gap, such as a transaction's end.
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": _QUEUED_KIB,
                "fetch.queue.backoff.ms": _QUEUE_FULL_MS,
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
                "error_cb": self._report,
            }
        )
        known = first if start is None else start
        self._begin = known or 0
        self._consumer.assign(
            [TopicPartition(topic, partition, OFFSET_BEGINNING if known is None else known)]
        )

    def _report(self, error: KafkaError) -> None:
        log.warning("kafka.error", topic=self._topic, partition=self._partition, problem=str(error))

    def _tell(self, offset: int | None) -> None:
        """Say that everything below an offset has gone through, once."""
        if offset is not None and offset != self._told:
            self._told = offset
            self._passed(self._topic, self._partition, offset)

    @override
    def next_batch(self) -> list[Records]:
        # The epoch that the snapshot ended has gone through on all workers by now.
        self._tell(self._snapped)
        if self._stopping():
            self._ended = True
            raise StopIteration
        at_once = min(self._at_once, LIVE_MESSAGES_MAX) if self._keeps_up() else self._at_once
        messages = self._consumer.consume(at_once, 0)
        if not messages:
            self._next_awake = datetime.now(UTC) + _IDLE_POLL
            return []
        self._next_awake = None
        records = self._take(messages)
        return [records] if records.values else []

    def _take(self, messages: list[Message]) -> Records:
        # Each of these is one loop in C; a loop of ours would cost three times as much.
        errors = list(map(Message.error, messages))
        end: int | None = None
        # Asked for truth and not compared: an error compared with None raises.
        if any(errors):
            end = self._judge_all(messages, errors)
            messages = [one for one, error in zip(messages, errors, strict=True) if error is None]
        values = [value or b"" for value in map(Message.value, messages)]
        # Of a message without an error both are there; the stubs allow for events with one.
        offsets = cast(list[int], list(map(Message.offset, messages)))
        if offsets:
            if not self._reads:
                self._reads = True
                log.info(
                    "kafka.reading",
                    topic=self._topic,
                    partition=self._partition,
                    offset=offsets[0],
                )
            self._next_offset = offsets[-1] + 1
            # Two of them tell about how large the next ones are; adding all up would cost time.
            length = max(len(values[0]), len(values[-1]), 1)
            self._at_once = max(1, min(BATCH_MESSAGES_MAX, BATCH_BYTES_MAX // length))
        if end is not None and end > (self._next_offset or 0):
            # Nothing but a gap lies before the end, and no message may ever tell so.
            self._next_offset = end
        return Records(
            self._topic, self._partition, self._side, values, offsets, _traces(messages, offsets)
        )

    def _judge_all(self, messages: list[Message], errors: list[KafkaError | None]) -> int | None:
        """Judge what is no message; returns the partition's end where it was reached."""
        end = None
        for message, error in zip(messages, errors, strict=True):
            if error is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name for it
                end = message.offset()
            else:
                self._judge(error)
        return end

    def _judge(self, error: KafkaError) -> None:
        """Go on after what passes; stop at what would lose records."""
        if error.code() in _PASSING or (error.retriable() and not error.fatal()):
            self._report(error)
            return
        log.error(
            "kafka.stopped",
            topic=self._topic,
            partition=self._partition,
            offset=self._next_offset,
            problem=str(error),
            gone=self._gone(),
            hint="offsets that no longer exist mean lost messages: restore the topic, or accept "
            "the loss with `settler flow reset-offsets`",
        )
        raise KafkaException(error)

    def _gone(self) -> str | None:
        """Ask what of the partition is gone that was to be read next; None if that is unknown."""
        place = TopicPartition(self._topic, self._partition)
        try:
            first, end = self._consumer.get_watermark_offsets(place, _METADATA_TIMEOUT_SECONDS)
        except KafkaException:
            return None
        following = self._begin if self._next_offset is None else self._next_offset
        return describe_loss(self._topic, self._partition, following, first, end)

    @override
    def next_awake(self) -> datetime | None:
        return self._next_awake

    @override
    def snapshot(self) -> int:
        self._snapped = self._next_offset
        return -1 if self._next_offset is None else self._next_offset

    @property
    def position(self) -> tuple[str, int, int | None]:
        """Topic, partition and the next offset to read."""
        return self._topic, self._partition, self._next_offset

    def tell_end(self) -> None:
        """Say of the last records, too, that they have gone through.

        For when the dataflow has ended in order. A part that was not told to stop keeps silent.
        """
        if self._ended:
            self._tell(self._next_offset)

    @override
    def close(self) -> None:
        # Nothing is told here: a dataflow that breaks down closes its parts, too, and what they
        # have read may be on its way to a process that is gone.
        self._consumer.close()


def _traces(messages: list[Message], offsets: list[int]) -> dict[int, str]:
    headers = list(map(Message.headers, messages))
    if headers.count(None) == len(headers):
        return {}
    found = (traceparent_of(cast("Headers", one)) if one else None for one in headers)
    return {offset: one for offset, one in zip(offsets, found, strict=True) if one is not None}
