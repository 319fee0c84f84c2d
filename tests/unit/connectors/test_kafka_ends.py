"""Ends of partitions whose leader is gone or has moved: unknown rather than wrong."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors import kafka_ends
from connectors.kafka_ends import EndOffsets

PLACES = [("t", 0), ("t", 1)]


class Admin:
    """A client that knows a leader's epoch until it looks anew, as the real one does."""

    def __init__(self, _config):
        self.answers = {0: 5, 1: 7}
        self.fenced = False
        self.looked = []

    def list_offsets(self, asked, **_options):
        return {place: self._answer(place.partition) for place in asked}

    def list_topics(self, topic, **_options):
        self.looked.append(topic)
        self.fenced = False

    def _answer(self, partition):
        answer = Future()
        if self.fenced:
            answer.set_exception(KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)))
        else:
            answer.set_result(SimpleNamespace(offset=self.answers[partition]))
        return answer


@pytest.fixture
def ends(monkeypatch):
    monkeypatch.setattr(kafka_ends, "AdminClient", Admin)
    return EndOffsets({})


def test_ends_are_told(ends):
    assert ends.read(PLACES) == {("t", 0): 5, ("t", 1): 7}
    assert ends._admin.looked == []


def test_a_partition_that_nobody_answers_for_is_no_end(ends):
    """The client gives -1001 for it and no error; any committed offset is beyond that."""
    ends._admin.answers[1] = -1001
    with pytest.raises(KafkaException, match="t/1"):
        ends.read(PLACES)


def test_after_a_change_of_leader_it_looks_anew(ends):
    ends._admin.fenced = True
    with pytest.raises(KafkaException):
        ends.read(PLACES)
    assert ends._admin.looked == ["t"]
    assert ends.read(PLACES) == {("t", 0): 5, ("t", 1): 7}
