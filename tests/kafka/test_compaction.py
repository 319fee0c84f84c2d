"""Topics whose older messages of a key are compacted away: gaps, which are no loss."""

from itertools import pairwise

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import OffsetSpec

from connectors.kafka import TopicPart
from tests.integration.flow.running import eventually, verify

pytestmark = pytest.mark.apache_kafka

COMPACTED = {
    "cleanup_policy": "compact",
    "segment_ms": "500",
    "min_cleanable_dirty_ratio": "0.001",
    "min_compaction_lag_ms": "0",
    "max_compaction_lag_ms": "500",
}


def offsets_left(play, place):
    """What a reader of one partition finds, from its beginning to its end."""
    end = play.ends(OffsetSpec.latest())[place]
    part = TopicPart(play.config, *place, 0, None, lambda *_: None, lambda: False)
    found = []

    def to_the_end():
        found.extend(offset for batch in part.next_batch() for offset in batch.offsets)
        return part.position[2] == end

    eventually(30, "read to its end", to_the_end)
    part.close()
    return found


def test_compacted_topics_are_read_over_their_gaps(play_of):
    play = play_of(transactions=2_000)
    play.configure(**COMPACTED)
    play.begin()
    play.load.finish()
    eventually(60, "all read", play.has_read_all)
    place = (play.topics[0], 0)

    def has_gaps():
        # The newest segment is never compacted: something has to come after what is to be.
        tell_again(play)
        left = offsets_left(play, place)
        return any(after > before + 1 for before, after in pairwise(left))

    eventually(60, "something is compacted away", has_gaps)
    play.flow.kill()
    play.conn.execute("UPDATE source_checkpoints SET next_offset = 1")
    play.flow.start()
    eventually(60, "all read again, from within a gap", play.has_read_all)
    assert play.flow.stop() == 0, play.flow.log()[-2000:]
    report = verify(play.environment)
    assert report["exit_code"] == 0, report["differences"][:3]
    assert report["kafka"]["state"] == "not_compared"
    assert f"{play.topics[0]} is compacted" in "; ".join(report["kafka"]["notes"])


def tell_again(play):
    """Send the same two records of one key again and again; redeliveries change nothing."""
    producer = Producer(dict(play.config))
    for topic in play.topics:
        for partition in range(4):
            for _ in range(3):
                producer.produce(topic, b"{}", b"again", partition=partition)
    assert producer.flush(30) == 0
