"""Producers that use transactions: what they took back is never accepted and holds nobody up."""

from functools import partial

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import OffsetSpec

from tests.integration.flow.running import eventually

pytestmark = pytest.mark.apache_kafka


class Transactional:
    """In the place of the load's producer: every second transaction is taken back.

    What is taken back are the same records with other ids, so each would be accepted.
    """

    def __init__(self, play, size):
        self._play = play
        self._size = size
        self._producer = Producer({**play.config, "transactional.id": play.topics[0]})
        self._producer.init_transactions(30)
        self._batch = []
        self.taken_back = 0

    def send(self, side, key, value):
        self._batch.append((side, key, value))
        if len(self._batch) == self._size:
            self._commit()

    def finish(self):
        self._commit()

    def _commit(self):
        self._put([(side, key, taken_back(value)) for side, key, value in self._batch])
        self._producer.abort_transaction(30)
        self.taken_back += len(self._batch)
        self._put(self._batch)
        self._producer.commit_transaction(30)
        self._batch = []

    def begin_one_to_take_back(self):
        """Leave one open, with a record in every partition."""
        self._producer.begin_transaction()
        for topic in self._play.topics:
            for partition in range(4):
                self._producer.produce(topic, b"{}", partition=partition)
        assert self._producer.flush(30) == 0

    def take_back(self):
        self._producer.abort_transaction(30)

    def _put(self, messages):
        self._producer.begin_transaction()
        for side, key, value in messages:
            self._producer.produce(self._play.topics[side], value, key)
        assert self._producer.flush(30) == 0


def taken_back(value):
    return value.replace(b'"transaction_id":"', b'"transaction_id":"taken-back-')


def opened(conn):
    return conn.execute("SELECT count(*) FROM exceptions").fetchone()[0]


def test_what_was_taken_back_is_never_accepted(play_of):
    play = play_of(transactions=2_000)
    play.begin()
    producer = play.load._producer = Transactional(play, 500)
    play.load.finish()
    assert producer.taken_back >= 2_000
    # Every partition ends in a gap: who waits for its last message is never caught up, and no wait
    # would end by the clock.
    play.ends_in_the_truth()
    accepted = play.conn.execute("SELECT count(*) FROM dead_letter_queue").fetchone()[0]
    assert accepted == len(play.load.facts.dead_letters)


def test_an_open_transaction_holds_event_time_until_it_ends(play_of):
    """What it will bring may be the counterpart of what waits."""
    play = play_of(transactions=1_000)
    play.begin()
    producer = play.load._producer = Transactional(play, 500)
    producer.begin_one_to_take_back()
    committed = Producer(dict(play.config))
    messages = [one for block in play.load._blocks for one in block]
    for side, key, value in messages:
        committed.produce(play.topics[side], value, key)
    assert committed.flush(30) == 0
    before = play.saved()
    assert all(before.get(place, 0) < end for place, end in play.ends(OffsetSpec.latest()).items())
    assert opened(play.conn) == 0, "nothing behind the open transaction is read"
    producer.take_back()
    eventually(30, "all read", partial(play.has_read_all))
    play.ends_in_the_truth()
