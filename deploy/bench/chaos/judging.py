"""The verdict on a run: conservation by `settler verify`, the truth, and what was told outside."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from connectors.kafka_reading import KafkaUnreadable
from connectors.postgres.queries import parse_queries
from connectors.synthetic.facts import Facts
from connectors.synthetic.topics import topic_names
from deploy.verdict import differences
from deploy.verification.run import Verified, verify

if TYPE_CHECKING:
    from psycopg import Connection

_SQL = parse_queries(
    resources.files("deploy.bench.chaos").joinpath("judging.sql").read_text("utf-8")
)
_KAFKA_SECONDS = 10.0
_MESSAGES_AT_ONCE = 5_000
_POLL_SECONDS = 0.1
_SILENCE_SECONDS = 30.0
_SHOWN = 5


class Verdict(msgspec.Struct):
    """What was found wrong, in numbers and in words; all zero is what is to be shown.

    Attributes:
        lost: Facts of the truth that are not there: matches, exceptions, dead letters, counts.
        doubled: Facts that are there too often, and transactions in two confirmed matches.
        versions_missing: Holes in positions, in streams' versions, or in what was published.
        unexplained: Other things `settler verify` could not bring to agree.
        words: The first things wrong, for people.
    """

    lost: int = 0
    doubled: int = 0
    versions_missing: int = 0
    unexplained: int = 0
    words: list[str] = []

    @property
    def holds(self) -> bool:
        """Whether nothing at all was found wrong."""
        return not (self.lost or self.doubled or self.versions_missing or self.unexplained)


def judge(
    conn: "Connection[Any]", truth: Facts, kafka_config: dict[str, str], prefix: str
) -> Verdict:
    """Hold what the system has come to against the truth, and against itself.

    Args:
        conn: Of role settler_operator, in autocommit.
        truth: Of what is in the topics.
        kafka_config: librdkafka settings of a client.
        prefix: Of the topics.
    """
    verdict = Verdict()
    for difference in differences(conn, truth):
        if difference.what == "missing":
            verdict.lost += difference.count
        else:
            verdict.doubled += difference.count
        verdict.words.append(str(difference))
    for row in conn.execute(_SQL["in_two_matches"]):
        verdict.doubled += 1
        verdict.words.append("in two confirmed matches: {}/{} {} {}".format(*row))
    for row in conn.execute(_SQL["gaps"]):
        verdict.versions_missing += 1
        verdict.words.append("a gap before version {1} of {0}, position {2}".format(*row))
    _judge_verified(verify(conn, topic_names(prefix), kafka_config), verdict)
    _judge_published(conn, kafka_config, f"{prefix}.events", verdict)
    verdict.words = verdict.words[:_SHOWN]
    return verdict


def _judge_verified(verified: Verified, verdict: Verdict) -> None:
    verdict.unexplained += len(verified.differences)
    verdict.words += [f"settler verify: {one}" for one in verified.differences]
    kafka = verified.kafka
    if kafka.state != "agrees":
        verdict.unexplained += 1
        verdict.words.append(f"settler verify: Kafka {kafka.state}: {kafka.problem or kafka.notes}")
    behind = {name: events for name, events in verified.read_models_behind.items() if events}
    if behind:
        verdict.unexplained += 1
        verdict.words.append(f"read models are behind: {behind}")


class _Envelope(msgspec.Struct):
    stream_id: str
    stream_version: int
    event_id: str


_envelope = msgspec.json.Decoder(_Envelope)


def _judge_published(
    conn: "Connection[Any]", config: dict[str, str], topic: str, verdict: Verdict
) -> None:
    """Every committed event left at least once, in stream order, under one id each time."""
    reached: Counter[str] = Counter()
    ids: dict[tuple[str, int], str] = {}
    for value in read_topic(config, topic):
        told = _envelope.decode(value)
        place = (told.stream_id, told.stream_version)
        if ids.setdefault(place, told.event_id) != told.event_id:
            verdict.doubled += 1
            verdict.words.append(f"published under two ids: {place}")
        if told.stream_version > reached[told.stream_id] + 1:
            verdict.versions_missing += 1
            verdict.words.append(f"published out of order: {place}")
        reached[told.stream_id] = max(reached[told.stream_id], told.stream_version)
    for stream_id, version in conn.execute(_SQL["versions"]):
        if reached[stream_id] != version:
            verdict.versions_missing += abs(version - reached[stream_id])
            verdict.words.append(f"{stream_id}: {reached[stream_id]} of {version} published")


def events_behind(conn: "Connection[Any]") -> int:
    """How many committed events some read model does not show, or the publisher has not sent."""
    row = conn.execute(_SQL["behind"]).fetchone()
    return int(row[0]) if row is not None else 0


def records_read(conn: "Connection[Any]") -> int:
    """How many records of the topics the flow is committed behind; both count from offset 0."""
    row = conn.execute(_SQL["read"]).fetchone()
    return int(row[0]) if row is not None else 0


def landed(config: dict[str, str], prefix: str) -> Counter[tuple[int, bytes]]:
    """Count what the topics of transactions hold, by (side, value)."""
    return Counter(
        (side, value)
        for side, topic in enumerate(topic_names(prefix))
        for value in read_topic(config, topic)
    )


def read_topic(config: dict[str, str], topic: str) -> Iterator[bytes]:
    """Read the values of a topic nobody sends to, in offset order within a partition.

    To each partition's end as reading finds it: what the embedded broker says is the end when asked
    for it is the beginning of the last batch.

    Raises:
        KafkaUnreadable: The broker has fallen silent, or says why it cannot.
    """
    own = {"group.id": "settler-chaos", "enable.partition.eof": True, "log_level": 0}
    with closing(Consumer({**config, **own})) as consumer:
        left = set(consumer.list_topics(topic, timeout=_KAFKA_SECONDS).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
        heard_at = time.monotonic()
        while left:
            messages = consumer.consume(_MESSAGES_AT_ONCE, _POLL_SECONDS)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                raise KafkaUnreadable(f"{topic} is silent for {_SILENCE_SECONDS:.0f} s")
            for message in messages:
                error = message.error()
                if error is None:
                    yield message.value() or b""
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name for it
                    left.discard(message.partition())
                else:
                    raise KafkaUnreadable(f"{topic}: {error.str()}")
