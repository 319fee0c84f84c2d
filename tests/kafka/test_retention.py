"""Messages deleted by age before the flow has read them: said in numbers, never stepped over."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from tests.integration.flow.running import eventually, gaps_of, verify
from tests.measuring import PATIENCE

pytestmark = pytest.mark.apache_kafka


def expire(play):
    """Have the retention delete everything there is, and then nothing any more."""
    play.configure(retention_ms="1")
    ends = play.ends(OffsetSpec.latest())
    eventually(60, "all expired", lambda: play.ends(OffsetSpec.earliest()) == ends)
    play.configure(retention_ms="-1")


def test_what_expired_unread_stops_the_flow_until_somebody_accepts_the_loss(play_of):
    play = play_of()
    play.begin()
    play.load.send(2_000)
    eventually(60, "all read", play.has_read_all)
    assert play.flow.stop() == 0
    saved = play.saved()
    play.load.send(2_000)
    play.load.arrive()
    expire(play)
    first = play.ends(OffsetSpec.earliest())
    lost = {place: (saved[place], first[place]) for place in saved if first[place] > saved[place]}
    assert lost

    play.flow.start()
    assert play.flow.process.wait(60 * PATIENCE) != 0
    log = play.flow.log()
    for (topic, partition), (stored, left) in lost.items():
        told = (
            f"{topic}, partition {partition}: {left - stored} offsets from {stored} to {left - 1}"
        )
        assert told in log, f"{topic}: {log[-3000:]}"
    assert play.saved() == saved, "nothing was stepped over"

    command = ("flow", "reset-offsets")
    eventually(20, "its lease has run out", lambda: play.settler(*command) == 0)
    play.flow.start()
    play.load.finish()
    eventually(60, "what is left is read", play.has_read_all)
    assert play.flow.stop() == 0, play.flow.log()[-2000:]
    assert gaps_of(play.conn) == []
    report = verify(play.environment)
    assert report["exit_code"] == 0, report["differences"][:3]
    assert report["kafka"]["state"] == "partly"


def test_what_expires_while_the_flow_is_slow_stops_it(play_of):
    """Deleted under a reader that stands still: `auto.offset.reset` would go on behind it."""
    play = play_of()
    play.begin()
    play.load.send(1_000)
    eventually(60, "all read", play.has_read_all)
    play.flow.freeze()
    # A fetch that was under way is answered with the first of these; sent at once, it would bring
    # them all, and nothing would be lost.
    rounds = 0
    while play.load.send(500):
        play.load.arrive()
        rounds += 1
    assert rounds > 2
    expire(play)
    play.flow.wake()
    assert play.flow.process.wait(60 * PATIENCE) != 0
    assert "kafka.stopped" in play.flow.log()
    ends = play.ends(OffsetSpec.latest())
    assert any(offset < ends[place] for place, offset in play.saved().items()), ends


def test_a_log_shorter_than_what_was_read_stops_the_flow(play_of):
    """As after a leader that came back without its newest messages."""
    play = play_of(transactions=1_000)
    play.begin()
    play.load.finish()
    eventually(60, "all read", play.has_read_all)
    assert play.flow.stop() == 0
    place = (play.topics[0], 0)
    end = play.ends(OffsetSpec.latest())[place]
    play.conn.execute(
        "UPDATE source_checkpoints SET next_offset = next_offset + 7 "
        "WHERE topic = %s AND partition = %s",
        place,
    )
    play.flow.start()
    assert play.flow.process.wait(60 * PATIENCE) != 0
    assert f"ends at offset {end}, before {end + 7}" in play.flow.log(), play.flow.log()[-3000:]


def test_deleting_what_was_read_is_no_loss(play_of):
    play = play_of(transactions=2_000)
    play.begin()
    play.load.send(1_500)
    eventually(60, "all read", play.has_read_all)
    assert play.flow.stop() == 0
    places = [TopicPartition(*place, offset) for place, offset in play.saved().items()]
    for done in play.admin.delete_records(places).values():
        done.result(10)
    play.flow.start()
    play.load.finish()
    play.ends_in_the_truth()
