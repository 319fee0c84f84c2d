"""Committed events reach the topic in order, under the same ids however often one starts."""

import base64
import json

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.integration.flow.running import Load, Role, define, eventually, wait_until_defined


class Topic:
    """Everything a topic holds, read again from its start each time."""

    def __init__(self, servers: str, name: str) -> None:
        self._servers, self._name = servers, name

    def messages(self):
        config = {
            "bootstrap.servers": self._servers,
            "group.id": "unused",
            "enable.partition.eof": True,
        }
        consumer = Consumer(config)
        partitions = consumer.list_topics(self._name, 10).topics[self._name].partitions
        consumer.assign([TopicPartition(self._name, number, 0) for number in partitions])
        found, ended = [], set()
        while len(ended) < len(partitions):
            for message in consumer.consume(10_000, timeout=10):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append(message)
        consumer.close()
        return found


@pytest.fixture
def published(database, environment, settings, tmp_path, broker):
    """A flow's events, published by a publisher that was killed on its way."""
    flow = Role(environment, tmp_path / "flow.log", "flow")
    publisher = Role(environment, tmp_path / "publish.log", "publish")
    environment |= {"SETTLER_LEASE_SECONDS": "1"}
    load = Load(3_000, 5, settings.kafka_config(), settings.topic_prefix)
    events = Topic(broker.bootstrap_servers, f"{settings.topic_prefix}.events")
    with database.connect(autocommit=True) as conn, flow.running(), publisher.running():
        for definition in load.workload.definitions(idle_seconds=2):
            define(conn, definition)
        wait_until_defined(conn)
        load.send(1_500)
        eventually(20, "some events are published", lambda: len(events.messages()) > 100)
        publisher.kill()
        publisher.start()
        eventually(20, "it is back", lambda: publisher.log().count("publish.started") == 2)
        load.finish()
        eventually(
            40,
            "nothing moves any more, and all of it is published",
            lambda: (
                conn.execute("SELECT bool_and(wake_at IS NULL) FROM streams").fetchone()[0]
                and conn.execute(
                    "SELECT (SELECT position FROM log_head) = "
                    "(SELECT position FROM projection_checkpoints WHERE name = 'publish') "
                    "AND NOT EXISTS (SELECT FROM dead_letter_queue WHERE published_at IS NULL)"
                ).fetchone()[0]
            ),
        )
        assert publisher.stop() == 0, publisher.log()[-2000:]
        yield conn, events.messages()


def test_every_committed_event_is_published_in_order_with_its_id(published, settings, broker):
    conn, messages = published
    stored = conn.execute(
        "SELECT event_id::text, stream_id, stream_version, event_type FROM events"
    ).fetchall()
    told = {}
    newest = {}
    for message in messages:
        envelope = json.loads(message.value())
        assert message.key().decode() == envelope["stream_id"]
        assert dict(message.headers())["event_id"].decode() == envelope["event_id"]
        stream, version = envelope["stream_id"], envelope["stream_version"]
        if envelope["event_id"] not in told:
            assert version == newest.get(stream, 0) + 1, "told for the first time, in order"
            newest[stream] = version
        told[envelope["event_id"]] = (stream, version, envelope["event_type"])
    assert told == {identity: tuple(rest) for identity, *rest in stored}
    letters = Topic(broker.bootstrap_servers, f"{settings.topic_prefix}.dead-letter").messages()
    raws = {base64.b64decode(json.loads(one.value())["raw"]) for one in letters}
    rows = conn.execute("SELECT raw FROM dead_letter_queue").fetchall()
    assert raws == {bytes(raw) for (raw,) in rows}
    assert rows
