"""Leaders that move while records come: a broker of two ends, comes back, and leads again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ElectionType, TopicPartition

from deploy.embedded import TOPICS
from deploy.kafka.server import ApacheKafka
from tests.conftest import chosen_kafka
from tests.integration.flow.running import eventually

pytestmark = pytest.mark.apache_kafka


@pytest.fixture
def second(kafka, shared_stack, tmp_path) -> Iterator[ApacheKafka]:
    """A second broker of the shared one's cluster."""
    distribution = chosen_kafka()
    assert distribution is not None
    node = ApacheKafka(
        Path(tmp_path) / "broker-2",
        shared_stack.children,
        distribution,
        controller=kafka,
        node_id=2,
    )
    node.start()
    yield node
    node.stop()


def partitions_of(admin, topics):
    found = admin.list_topics(timeout=10).topics
    return [
        partition
        for topic in topics
        if topic in found
        for partition in found[topic].partitions.values()
    ]


def leaders(admin, topics):
    return {partition.leader for partition in partitions_of(admin, topics)}


def in_sync(admin, topics):
    return all(len(partition.isrs) == 2 for partition in partitions_of(admin, topics))


def test_leaders_that_move_lose_nothing(kafka, second, play_of, environment, settings):
    servers = f"{kafka.bootstrap_servers},{second.bootstrap_servers}"
    prefix = f"{settings.topic_prefix}-two"
    kafka.create_topics([f"{prefix}.{name}" for name in TOPICS], partitions=4, replicas=2)
    own = {"kafka_bootstrap_servers": servers, "topic_prefix": prefix}
    play = play_of(**own)
    eventually(30, "both lead", lambda: leaders(play.admin, play.topics) == {1, 2})
    play.begin()
    play.load.send(1_500)
    second.kill()
    play.load.send(1_000)
    eventually(60, "one leads all", lambda: leaders(play.admin, play.topics) == {1})
    play.load.send(1_000)
    second.start()
    eventually(60, "copies follow", lambda: in_sync(play.admin, play.topics))
    places = [TopicPartition(topic, p) for topic in play.topics for p in range(4)]
    play.admin.elect_leaders(ElectionType.PREFERRED, places).result(30)
    play.load.send(1_000)
    eventually(60, "both lead again", lambda: leaders(play.admin, play.topics) == {1, 2})
    play.load.finish()
    play.ends_in_the_truth()
