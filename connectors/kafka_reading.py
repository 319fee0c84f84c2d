"""Reading a bounded part of topics again, from one offset to another, without a consumer group.

Guarantee: every message of a span that Kafka still has, once, in offset order within a partition.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from domain.errors import SettlerError

_MESSAGES_AT_ONCE = 5_000
_POLL_SECONDS = 0.5
_SILENCE_SECONDS = 30.0
_METADATA_SECONDS = 10.0
_QUEUED_KIB = 65_536

#: topic and partition
Partition = tuple[str, int]


class KafkaUnreadable(SettlerError):
    """Kafka does not give what it said it had."""

    code = "kafka.unreadable"


class MessagesLost(KafkaUnreadable):
    """A partition ends before the offset it was to be read to."""

    code = "kafka.messages_lost"

    def __init__(self, partition: "Partition", end: int, following: int) -> None:
        self.partition = partition
        super().__init__(
            f"{partition[0]}/{partition[1]} ends at offset {end}, though those below {following} "
            "were read and committed"
        )


def is_compacted(config: dict[str, str], topic: str) -> bool:
    """Whether a topic keeps only the last message of each key, so that it lacks some by design.

    A broker that does not say so, or not to us, counts as one that keeps them all.
    """
    admin = AdminClient({**config, "log_level": "0"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        asked = admin.describe_configs([resource], request_timeout=_METADATA_SECONDS)
        policy = asked[resource].result().get("cleanup.policy")
    except KafkaException:
        return False
    return policy is not None and "compact" in (policy.value or "")


class Span(NamedTuple):
    """What is to be read of a partition: first <= offset < following."""

    first: int
    following: int


class Message(NamedTuple):
    """A message with its place; a tombstone is the empty message."""

    partition: Partition
    offset: int
    value: bytes


class TopicReader:
    """Reads spans of topics.

    Args:
        config: librdkafka settings of a client.
    """

    def __init__(self, config: dict[str, str]) -> None:
        self._problem = "no message"
        self._admin = AdminClient({**config, "log_level": "0"})
        self._consumer = Consumer(
            {
                **config,
                "group.id": "settler-verify",  # required by the client; nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": _QUEUED_KIB,
                "error_cb": self._note,
                "log_level": 0,  # error_cb says the same
            }
        )

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def first_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Ask for the first offset Kafka still has of each partition.

        Raises:
            KafkaUnreadable: The brokers do not answer.
        """
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*place): earliest for place in partitions}
        if not asked:
            return {}
        first = {}
        answers = self._admin.list_offsets(asked, request_timeout=_METADATA_SECONDS)
        for place, answer in answers.items():
            try:
                offset = answer.result().offset
            except KafkaException as exc:
                problem = f"{place.topic}/{place.partition}: {exc.args[0].str()}"
                raise KafkaUnreadable(problem) from exc
            if offset < 0:  # nobody could be asked, which is no error to the client
                raise KafkaUnreadable(f"{place.topic}/{place.partition}: it has no leader")
            first[(place.topic, place.partition)] = offset
        return first

    def read(self, spans: dict[Partition, Span]) -> Iterator[Sequence[Message]]:
        """Read every message of the spans.

        Raises:
            MessagesLost: A partition ends too early.
            KafkaUnreadable: Messages were deleted since their offsets were asked for, or the
                brokers fell silent.
        """
        left = {
            place: span.following for place, span in spans.items() if span.first < span.following
        }
        self._consumer.assign([TopicPartition(*place, spans[place].first) for place in left])
        heard_at = time.monotonic()
        while left:
            messages = self._consumer.consume(_MESSAGES_AT_ONCE, _POLL_SECONDS)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                topic, partition = next(iter(left))
                raise KafkaUnreadable(
                    f"{topic}/{partition} is silent for {_SILENCE_SECONDS:.0f} s: {self._problem}"
                )
            gathered = self._gather(messages, left)
            if gathered:
                yield gathered

    def _gather(
        self, messages: Iterable[KafkaMessage], left: dict[Partition, int]
    ) -> list[Message]:
        """Pick the messages of what is left to read, and strike out what is read to its end."""
        gathered = []
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise KafkaUnreadable(f"{place[0]}/{place[1]}: {error.str()}")
            following = left.get(place)
            if following is None:
                continue
            offset = message.offset()
            assert offset is not None, "messages and ends of partitions have an offset"
            if error is None and offset < following:
                gathered.append(Message(place, offset, message.value() or b""))
            elif error is not None and offset < following:
                raise MessagesLost(place, offset, following)
            # The end of a partition is the offset behind its last message.
            if offset + (error is None) >= following:
                del left[place]
                self._consumer.pause([TopicPartition(*place)])
        return gathered

    def _note(self, error: KafkaError) -> None:
        self._problem = error.str()
