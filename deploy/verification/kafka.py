"""What Kafka can still be asked about, and asking it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from connectors.kafka import describe_topic
from connectors.kafka_reading import (
    KafkaUnreadable,
    MessagesLost,
    Partition,
    Span,
    TopicReader,
    is_compacted,
)
from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.verification import StreamRow
from domain.verification.difference import Difference, Where
from domain.verification.recount import Recount

JOURNAL_ALONE = "verified from the journal alone"
LOST = (
    "Kafka has lost messages, or the topic was made anew under its name. The journal still has "
    "what they brought: verify it with --no-kafka, then let the flow read the topic from its start "
    "with settler flow reset-offsets."
)


class KafkaFound(msgspec.Struct):
    """What Kafka was asked, and what it had.

    Attributes:
        notes: What Kafka has no longer, or never had: no reason for doubt.
        problem: Why Kafka could not be asked what it should have; None if it could.
        partitions: topic/partition → the offsets read, first and following.
        messages: Committed messages of the reconciliations verified.
        outcomes: accepted, redelivered, dead_letter → how many of them.
    """

    notes: list[str]
    problem: str | None = None
    partitions: dict[str, tuple[int, int]] = {}
    messages: int = 0
    outcomes: dict[str, int] = {}

    @property
    def state(self) -> str:
        """Whether everything, a part, or nothing was compared with Kafka, or it is unreadable."""
        if self.problem is not None:
            return "unreadable"
        if not self.partitions:
            return "not_compared"
        return "partly" if self.notes else "agrees"


class KafkaSide:
    """Both topics of transactions, as far as their offsets are those of the log.

    Args:
        config: librdkafka settings; None asks Kafka nothing.
        topics: Of the source and of the target side.

    Attributes:
        spans: What is to be read, by partition; filled in by `plan`.
        committed: Up to which offset everything of a partition is committed.
    """

    def __init__(self, config: dict[str, str] | None, topics: Sequence[str]) -> None:
        self._config = config
        self._topics = list(topics)
        self._known: dict[str, list[int]] = {}
        self.found = KafkaFound(
            [] if config is not None else [f"Kafka is left out; all is {JOURNAL_ALONE}"]
        )
        self.spans: dict[Partition, Span] = {}
        self.committed: dict[Partition, int] = {}

    def identify(self, sources: Sequence[SourceCheckpoint]) -> None:
        """Find the topics that still are what the stored offsets count."""
        if self._config is None:
            return
        for topic in self._topics:
            rows = [one for one in sources if one.topic == topic]
            if not rows:
                self._note(f"{topic}: no offset is saved yet")
                continue
            try:
                identity = describe_topic(
                    {**self._config, "log_level": "0"}, topic, lambda _seconds: True
                )
            except InterruptedError:
                self.give_up(f"{topic}: Kafka does not answer, or has no such topic")
                return
            if any((one.cluster_id, one.topic_id) != identity[:2] for one in rows):
                self._note(f"{topic} is not the topic that was read, but another of its name")
                continue
            if is_compacted(self._config, topic):
                self._note(f"{topic} is compacted: of each key it keeps the last message")
                continue
            self._known[topic] = identity.partitions

    def plan(
        self, reader: TopicReader, sources: Sequence[SourceCheckpoint], streams: Sequence[StreamRow]
    ) -> None:
        """Settle what is to be read: from the first message there is to the last committed."""
        if self.found.problem is not None:
            return
        committed = {(one.topic, one.partition): one.next_offset for one in sources}
        ends = dict(committed)
        for stream in streams:
            for place, offset in stream.next_offsets.items():
                topic, _, number = place.rpartition("/")
                partition = (topic, int(number))
                ends[partition] = max(ends.get(partition, 0), offset)
        wanted = [(t, p) for t, numbers in self._known.items() for p in numbers if (t, p) in ends]
        try:
            first_offsets = reader.first_offsets(wanted)
        except KafkaUnreadable as exc:
            self.give_up(f"Kafka does not answer ({exc})")
            return
        for partition, first in first_offsets.items():
            if first > 0:
                place = f"{partition[0]}/{partition[1]}"
                self._note(f"{place}: Kafka no longer has the offsets below {first}")
            self.spans[partition] = Span(first, ends[partition])
            self.committed[partition] = committed.get(partition, 0)

    @property
    def first_offsets(self) -> Mapping[str, int]:
        """The first offset of every partition that is to be read, by "topic/partition"."""
        return {f"{topic}/{number}": span.first for (topic, number), span in self.spans.items()}

    @property
    def messages(self) -> int:
        """How many messages are to be read, at most."""
        return sum(max(0, span.following - span.first) for span in self.spans.values())

    def read(
        self, reader: TopicReader, recount: Recount, on_messages: Callable[[int], Any]
    ) -> None:
        """Account for every message.

        Raises:
            Difference: One is committed and nothing says what became of it.
            KafkaUnreadable: Kafka stopped giving what it had.
        """
        sides = {topic: side for side, topic in enumerate(self._topics)}
        try:
            for messages in reader.read(self.spans):
                for partition, offset, value in messages:
                    recount.read(partition, sides[partition[0]], offset, value)
                on_messages(len(messages))
        except MessagesLost as exc:
            raise Difference("kafka", str(exc), Where(), LOST) from exc
        self.found.messages = recount.messages
        self.found.outcomes = recount.outcomes
        self.found.partitions = {
            f"{topic}/{number}": (span.first, span.following)
            for (topic, number), span in self.spans.items()
        }

    def give_up(self, problem: str) -> None:
        """Note why Kafka cannot be asked any further; nothing it said counts."""
        self.found.problem = problem
        self.spans = {}

    def _note(self, problem: str) -> None:
        self.found.notes.append(f"{problem}; that part is {JOURNAL_ALONE}")
