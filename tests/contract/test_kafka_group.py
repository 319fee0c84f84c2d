"""The flow's offsets as a consumer group's: sent now and then, never in the way of anything."""

import threading

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions
from structlog.testing import capture_logs

from connectors.kafka_group import TELL_AGAIN_SECONDS, TELL_EVERY_SECONDS, GroupOffsets
from tests.integration.flow.running import eventually

QUICK = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}
NOBODY = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}


@pytest.fixture
def sent(monkeypatch):
    """What is sent, by whatever group, as it is sent."""
    asked = []
    send = GroupOffsets._send
    monkeypatch.setattr(
        GroupOffsets, "_send", lambda group, offsets: asked.append(offsets) or send(group, offsets)
    )
    return asked


@pytest.fixture
def config(broker):
    return {"bootstrap.servers": broker.bootstrap_servers}


@pytest.fixture
def admin(broker):
    return broker.admin()


@pytest.fixture
def place(topic_prefix):
    return f"{topic_prefix}.transactions.source"


def shown(admin, group):
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    found = asked[group].result(10).topic_partitions
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def test_offsets_are_those_of_a_group(admin, config, place, topic_prefix):
    group = GroupOffsets(config, f"{topic_prefix}.flow")
    offsets = {(place, 0): 7, (place, 3): 12}
    group.tell(offsets)
    eventually(10, "they are shown", lambda: shown(admin, group.group) == offsets)
    group.tell_last(offsets | {(place, 0): 9}, 10)
    assert shown(admin, group.group) == {(place, 0): 9, (place, 3): 12}


def test_they_are_sent_once_a_second_and_the_same_ones_once_a_minute(
    admin, config, place, topic_prefix, sent
):
    now = 0.0
    group = GroupOffsets(config, f"{topic_prefix}.flow", lambda: now)

    def told(offset):
        before = len(sent)
        group.tell({(place, 0): offset})
        return len(sent) - before

    def is_answered():
        group._consumer.poll(0)
        return not group._waiting

    group.tell({})
    assert sent == [], "nothing is committed yet"
    assert told(1) == 1
    eventually(10, "the answer is there", is_answered)
    assert told(2) == 0
    now += TELL_EVERY_SECONDS
    assert told(2) == 1
    eventually(10, "the answer is there", is_answered)
    assert shown(admin, group.group) == {(place, 0): 2}
    now += TELL_AGAIN_SECONDS - 0.1
    assert told(2) == 0
    now += 0.1
    assert told(2) == 1


def test_a_broker_that_is_away_is_waited_for_by_nobody_and_said_once(sent):
    now = 0.0
    group = GroupOffsets(NOBODY, "any", lambda: now)
    with capture_logs() as lines:
        for offset in range(3):
            group.tell({("t", 0): offset})
            now += TELL_EVERY_SECONDS
        assert len(sent) == 1, "one at a time"
        group.tell_last({("t", 0): 9}, 0.1)
        group.tell_last({("t", 0): 9}, 0.1)
    told = [line for line in lines if line["event"] == "kafka.group_not_told"]
    assert [(line["group"], line["problem"]) for line in told] == [("any", "no answer in time")]


def test_nobody_waits_for_a_broker_that_is_away_at_the_end_either():
    """librdkafka waits for an answer as long as a member's session may last: 45 s by default."""
    group = GroupOffsets(NOBODY, "any")
    group.tell({("t", 0): 1})
    closing = threading.Thread(target=group._consumer.close)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()


def test_what_the_broker_refuses_is_sent_again(admin, config, topic_prefix):
    """A group with members of its own, such as somebody's consumer of that name."""
    name = f"{topic_prefix}.flow"
    topic = f"{topic_prefix}.transactions.source"
    member = Consumer({**config, "group.id": name} | QUICK)
    member.subscribe([topic])
    eventually(30, "it has joined", lambda: (member.poll(0.1), member.assignment())[1])
    group = GroupOffsets(config, name)
    with capture_logs() as lines:
        group.tell_last({(topic, 0): 5}, 10)
    assert [line["event"] for line in lines] == ["kafka.group_not_told"]
    member.close()
    eventually(
        30,
        "the group is empty again",
        lambda: group.tell_last({(topic, 0): 5}, 10) or shown(admin, name) == {(topic, 0): 5},
    )
