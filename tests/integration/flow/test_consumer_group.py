"""The flow's offsets under a consumer group: shown for the usual lag tools, read by nobody here."""

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.verdict import differences
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    holds,
    wait_until_defined,
)


@pytest.fixture
def admin(broker) -> AdminClient:
    return broker.admin()


def shown(admin, group):
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    found = asked[group].result(10).topic_partitions
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def saved(conn):
    query = "SELECT topic, partition, next_offset FROM source_checkpoints"
    return {(topic, partition): offset for topic, partition, offset in conn.execute(query)}


@pytest.mark.parametrize("named", [None, "finance.settler"])
def test_a_group_shows_the_offsets_and_decides_nothing(
    named, admin, database, environment, settings, tmp_path
):
    group = named or f"{settings.topic_prefix}.flow"
    environment |= {"SETTLER_HOLD_SECONDS": "2"}
    environment |= {} if named is None else {"SETTLER_KAFKA_GROUP": named}
    flow = Role(environment, tmp_path / "flow.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    load = Load(2_000, 3, settings.kafka_config(), settings.topic_prefix)
    with database.connect(autocommit=True) as conn, projections.running():
        with flow.running():
            for definition in load.workload.definitions(idle_seconds=1):
                define(conn, definition)
            wait_until_defined(conn)
            load.send(1_000)
            eventually(30, "it is shown while it runs", lambda: sum(shown(admin, group).values()))
            assert flow.stop() == 0, flow.log()[-2000:]
        assert shown(admin, group) == saved(conn), "also the last of them"

        nonsense = [TopicPartition(topic, partition, 1) for topic, partition in saved(conn)]
        ahead = TopicPartition(nonsense[0].topic, nonsense[0].partition, 1_000_000)
        for places in (nonsense, [ahead]):
            answer = admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, places)]
            )
            answer[group].result(10)
        with flow.running():
            load.finish()
            eventually(60, "the truth", lambda: not differences(conn, load.facts))
            eventually(30, "it is right again", lambda: shown(admin, group) == saved(conn))
            assert flow.stop() == 0, flow.log()[-2000:]
        holds(environment)
