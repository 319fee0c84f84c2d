"""Committed events and dead letters reach their topics, in order, under the same ids each time."""

import base64
import itertools
import json
import threading
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka_sending import ConfirmedTopic, Outgoing
from connectors.postgres.connections import connect
from connectors.postgres.errors import CheckpointMoved
from connectors.postgres.publishing import PublishingStore, connect_migrated
from connectors.postgres.writing import commit_flush
from deploy.embedded import EmbeddedStack
from domain.events import TransactionsAccepted
from tests.integration.flow.running import Role, eventually
from tests.integration.postgres.commits import claim, commit_of, letter

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOBODY = "127.0.0.1:9"


class Log:
    """Commits to the event store, as the flow does."""

    def __init__(self, conn, reader) -> None:
        self._conn = conn
        self._reader = reader
        self._versions = {}
        self._fences = {}

    def commit(self, count: int, reconciliation: str = "shop", letters=(), **more) -> None:
        """Store one batch of matches."""
        if reconciliation not in self._fences:
            self._fences[reconciliation] = claim(self._conn, reconciliation=reconciliation).fence
        base = self._versions.get(reconciliation, 0)
        commit = commit_of(
            base, count, self._fences[reconciliation], reconciliation=reconciliation, **more
        )
        commit_flush(self._conn, [commit], list(letters))
        self._versions[reconciliation] = base + count

    def stored(self) -> list[tuple[str, str, int, str]]:
        """Id, stream, version and type of every event, in commit order."""
        return self._reader.execute(
            "SELECT event_id::text, stream_id, stream_version, event_type FROM events "
            "ORDER BY global_position"
        ).fetchall()

    def one(self, query: str):
        return self._reader.execute(query).fetchone()[0]

    def is_published(self) -> bool:
        """Whether the publisher has noted everything as sent."""
        return self.one(
            "SELECT (SELECT position FROM log_head) = coalesce((SELECT position FROM "
            "projection_checkpoints WHERE name = 'publish'), 0) AND NOT EXISTS "
            "(SELECT FROM dead_letter_queue WHERE published_at IS NULL)"
        )


@pytest.fixture
def log(database):
    with connect(database.url, "flow") as conn, database.connect(autocommit=True) as reader:
        yield Log(conn, reader)


@pytest.fixture
def publisher(environment, tmp_path):
    environment["SETTLER_LEASE_SECONDS"] = "1"
    return Role(environment, tmp_path / "publish.log", "publish")


@pytest.fixture
def read_topic(broker, topic_prefix):
    """Read all that a topic holds by now, each partition in order."""

    def read(name: str):
        topic = f"{topic_prefix}.{name}"
        consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": "reader",
                "enable.partition.eof": True,
            }
        )
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found, ended = [], set()
        deadline = time.monotonic() + 20
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} has no end"
            for message in consumer.consume(10_000, timeout=1):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append(message)
        consumer.close()
        return found

    return read


def first_told(messages) -> dict[str, list[tuple[str, str, int, str]]]:
    """Stream → its events in the order they were told for the first time."""
    told = {}
    for message in messages:
        event = json.loads(message.value())
        row = tuple(event[n] for n in ("event_id", "stream_id", "stream_version", "event_type"))
        of_stream = told.setdefault(event["stream_id"], [])
        if row not in of_stream:
            of_stream.append(row)
    return told


def by_stream(rows) -> dict[str, list[tuple[str, str, int, str]]]:
    streams = {}
    for row in rows:
        streams.setdefault(row[1], []).append(row)
    return streams


def test_events_arrive_in_order_with_their_envelope(log, publisher, read_topic):
    accepted = TransactionsAccepted(
        [(0, "EUR", 2, 1250)], {"settler.transactions.source/0": (0, 2)}, 1, 0
    )
    log.commit(
        1,
        events=[accepted],
        journal=[b"packed-secret"],
        metadata={"correlation_id": "c-1", "traceparent": TRACEPARENT},
    )
    for reconciliation in ("shop", "payouts", "fees") * 3:
        log.commit(40, reconciliation)
    with publisher.running():
        eventually(20, "all is published", log.is_published)
        assert publisher.stop() == 0, publisher.log()[-2000:]
    messages = read_topic("events")
    assert first_told(messages) == by_stream(log.stored())
    assert len(messages) == 361, "without an interruption each event is told once"
    for message in messages:
        event = json.loads(message.value())
        headers = dict(message.headers())
        assert message.key().decode() == event["stream_id"]
        assert headers["event_id"].decode() == event["event_id"]
        assert headers["event_type"].decode() == event["event_type"]
        assert b"packed-secret" not in message.value()
    events = {event["event_id"]: event for event in (json.loads(m.value()) for m in messages)}
    stored = log.stored()
    journal = events[stored[0][0]]
    assert journal["data"]["counts"] == [
        {"side": "source", "currency": "EUR", "count": 2, "amount": "12.50"}
    ]
    assert journal["global_position"] == 1
    assert journal["aggregate_type"] == "reconciliation"
    assert journal["aggregate_id"] == "shop"
    assert journal["event_version"] == 1
    assert journal["metadata"]["tenant_id"] == "acme"
    assert journal["metadata"]["correlation_id"] == "c-1"
    (first,) = [m for m in messages if dict(m.headers())["event_id"].decode() == stored[0][0]]
    assert dict(first.headers())["traceparent"].decode() == TRACEPARENT
    match = events[stored[1][0]]
    assert match["event_type"] == "RecordMatched"
    assert match["data"]["source_ids"] == ["s-000000001"]
    assert match["data"]["difference"] == "0.00"


def test_a_publisher_killed_again_and_again_leaves_nothing_out(log, publisher, read_topic):
    numbers = itertools.cycle(("shop", "payouts", "fees"))
    with publisher.running():
        for _ in range(3):
            told = len(read_topic("events"))
            for _ in range(30):
                log.commit(100, next(numbers))
            eventually(20, "more is told", lambda told=told: len(read_topic("events")) > told)
            publisher.kill()
            log.commit(50, next(numbers))
            publisher.start()
        eventually(30, "all is published", log.is_published)
        assert publisher.stop() == 0, publisher.log()[-2000:]
    assert first_told(read_topic("events")) == by_stream(log.stored())


def test_dead_letters_arrive_once_with_their_bytes(log, publisher, read_topic):
    unowned = letter(8, raw=b"\xff\x00{", tenant_id=None, reconciliation_id=None)
    log.commit(1, letters=[letter(7, raw=b'{"amount": "x"}', code="invalid_amount"), unowned])
    with publisher.running():
        eventually(20, "all is published", log.is_published)
        log.commit(1, letters=[letter(9, raw=b"")])
        eventually(20, "the third too", log.is_published)
        assert publisher.stop() == 0, publisher.log()[-2000:]
    messages = read_topic("dead-letter")
    letters = {one["offset"]: one for one in (json.loads(m.value()) for m in messages)}
    assert len(messages) == 3
    assert sorted(letters) == [7, 8, 9]
    assert letters[7]["tenant_id"] == "acme"
    assert letters[7]["code"] == "invalid_amount"
    assert letters[7]["topic"] == "settler.transactions.source"
    assert letters[7]["partition"] == 0
    assert letters[7]["message"] == "The record is not JSON."
    assert base64.b64decode(letters[8]["raw"]) == b"\xff\x00{"
    assert letters[8]["raw_bytes"] == 3
    assert letters[8]["tenant_id"] is None
    keys = {json.loads(m.value())["offset"]: m.key() for m in messages}
    assert keys == {7: b"acme/shop", 8: None, 9: b"acme/shop"}


def test_a_second_publisher_stands_by_and_goes_on(
    log, publisher, environment, tmp_path, read_topic
):
    second = Role(environment, tmp_path / "second.log", "publish")
    log.commit(100)
    with publisher.running():
        eventually(20, "all is published", log.is_published)
        with second.running():
            eventually(20, "the second stands by", lambda: "lease.standby" in second.log())
            log.commit(100)
            eventually(20, "all is published", log.is_published)
            assert publisher.stop() == 0, publisher.log()[-2000:]
            log.commit(100)
            eventually(20, "the second goes on", log.is_published)
            assert second.stop() == 0, second.log()[-2000:]
    messages = read_topic("events")
    assert len(messages) == 300, "neither told what the other had"
    assert first_told(messages) == by_stream(log.stored())


def test_a_broker_that_goes_away_is_waited_for(log, environment, tmp_path):
    with EmbeddedStack(postgres=False, valkey=False, topic_prefix=None) as stack:
        environment["SETTLER_KAFKA_BOOTSTRAP_SERVERS"] = stack.broker.bootstrap_servers
        publisher = Role(environment, tmp_path / "publish.log", "publish")
        log.commit(10)
        with publisher.running():
            eventually(20, "all is published", log.is_published)
            stack.broker.kill()
            log.commit(10, letters=[letter(1)])
            eventually(20, "it says that it waits", lambda: "kafka.error" in publisher.log())
            assert not log.is_published()
            stack.broker.start()
            eventually(30, "all is published", log.is_published)
            assert publisher.stop() == 0, publisher.log()[-2000:]


def test_reading_is_bounded_in_events(log, database):
    log.commit(9)
    for _ in range(3):
        log.commit(3)
    store = PublishingStore(lambda: connect_migrated(database.url, "test"))
    assert [b.event_count for b in store.read_unsent(0, 5)] == [9], "a larger one comes alone"
    assert [b.event_count for b in store.read_unsent(9, 6)] == [3, 3]
    assert [b.event_count for b in store.read_unsent(9, 5_000)] == [3, 3, 3]
    assert store.read_unsent(32_000, 5_000) == []
    assert store.read_unsent(2**40, 5_000) == []
    assert store.read_lag() == 18
    store.close()


def test_the_checkpoint_moves_once(log, database):
    log.commit(9)
    store = PublishingStore(lambda: connect_migrated(database.url, "test"))
    store.advance(0, 4)
    store.advance(0, 4)  # its first answer was lost
    assert store.read_position() == 4
    with pytest.raises(CheckpointMoved):
        store.advance(0, 9)
    assert store.read_position() == 4
    store.close()


def test_what_the_broker_refuses_is_sent_again_from_the_first_on(settings, read_topic):
    attempts = []

    def messages():
        attempts.append(len(attempts))
        yield Outgoing(b"k", b"first", [])
        yield Outgoing(b"k", b"x" * (17 * 1024 * 1024 if len(attempts) == 1 else 1), [])
        yield Outgoing(b"k", b"last", [])

    topic = ConfirmedTopic(settings.kafka_config(), settings.topic("events"), threading.Event())
    assert topic.send(messages) == 3
    topic.close()
    assert len(attempts) == 2
    values = [message.value() for message in read_topic("events")]
    assert values[-3:] == [b"first", b"x", b"last"]
    assert set(values[:-3]) <= {b"first"}, "nothing behind the refused one came before it"


def test_without_a_broker_it_says_so_and_stops_when_told(log, environment, tmp_path):
    environment["SETTLER_KAFKA_BOOTSTRAP_SERVERS"] = NOBODY
    publisher = Role(environment, tmp_path / "publish.log", "publish")
    log.commit(10)
    with publisher.running():
        eventually(30, "it says what it waits for", lambda: "kafka.waiting" in publisher.log())
        assert publisher.stop() == 0, publisher.log()[-2000:]
    assert "publish.unfinished" in publisher.log()
    assert log.one("SELECT count(*) FROM projection_checkpoints") == 0


def test_without_a_database_it_says_so_and_stops_when_told(environment, tmp_path):
    environment["SETTLER_DATABASE_URL"] = f"postgresql://settler@{NOBODY}/settler"
    publisher = Role(environment, tmp_path / "publish.log", "publish")
    with publisher.running():
        eventually(20, "it says so", lambda: "database.unavailable" in publisher.log())
        assert publisher.stop() == 0, publisher.log()[-2000:]
