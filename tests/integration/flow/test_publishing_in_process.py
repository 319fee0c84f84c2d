"""A publisher's dataflow run here, where what its parts do one by one can be looked at."""

import threading

import pytest
from bytewax.testing import run_main

from connectors.kafka_sending import SendInterrupted
from connectors.postgres.errors import CheckpointMoved
from flows import publish
from flows.publish import EPOCH, CommittedPart, EventsPart, LettersPart, Publisher, build_flow
from tests.integration.flow.running import eventually
from tests.integration.flow.test_publish import (
    by_stream,
    first_told,
    log,  # noqa: F401 - a fixture
    read_topic,  # noqa: F401 - a fixture
)
from tests.integration.postgres.commits import letter


@pytest.fixture
def publisher(settings):
    made = Publisher(settings)
    yield made
    made.stop.set()


def test_all_that_is_committed_is_sent_and_the_lease_let_go(
    publisher,
    log,  # noqa: F811
    read_topic,  # noqa: F811
    monkeypatch,
):
    # Of the lag a thread tells that nobody waits for.
    monkeypatch.setattr(publisher, "_watch_lag", lambda: None)
    log.commit(40, letters=[letter(offset=1), letter(offset=2)])
    log.commit(7, "payouts")

    def stop_once_sent() -> None:
        try:
            eventually(20, "all is published", log.is_published)
        finally:
            publisher.stop.set()

    watching = threading.Thread(target=stop_once_sent)
    watching.start()
    run_main(build_flow(publisher), epoch_interval=EPOCH)
    watching.join()
    publisher.release_lease()
    assert log.is_published()
    assert first_told(read_topic("events")) == by_stream(log.stored())
    assert len(read_topic("dead-letter")) == 2
    assert publisher.letters_on_the_way == set()
    assert not publisher.abandoned.is_set()
    assert log.one("SELECT count(*) FROM leases WHERE name = 'publish' AND expires_at > now()") == 0


class Refusing:
    """A topic whose broker does not answer before the end."""

    sent = 0

    def send(self, _messages) -> int:
        self.sent += 1
        raise SendInterrupted("the broker did not answer")

    def close(self) -> None:
        pass


@pytest.fixture
def unsent(publisher):
    """All that is committed and not sent yet, by the part that sends it."""

    def read(kind):
        store = publisher.new_store()
        try:
            return store.read_unsent(0, 100) if kind is EventsPart else store.read_unsent_letters(9)
        finally:
            store.close()

    return read


@pytest.mark.parametrize("kind", [EventsPart, LettersPart])
def test_behind_what_could_not_be_sent_nothing_is(publisher, log, unsent, kind):  # noqa: F811
    log.commit(3, letters=[letter(offset=1)])
    items = unsent(kind)
    part = kind(publisher)
    part._topic.close()
    part._topic = topic = Refusing()
    part.write_batch(items)
    assert publisher.abandoned.is_set()
    part.write_batch(items)
    part.close()
    assert topic.sent == 1
    assert unsent(kind) == items


def test_who_finds_the_checkpoint_moved_ends(publisher, log, unsent, monkeypatch):  # noqa: F811
    log.commit(3)
    log.commit(2)
    first, second = unsent(EventsPart)
    died = []
    monkeypatch.setattr(publisher, "die", died.append)
    part = EventsPart(publisher)
    part.write_batch([first])
    assert died == []
    part.write_batch([first, second])
    part.close()
    assert [type(one) for one in died] == [CheckpointMoved]


def test_who_ends_by_a_failure_lets_another_go_on(publisher, log, monkeypatch):  # noqa: F811
    def failing(*_args, **_kwargs) -> None:
        assert publisher.hold_lease()
        raise OSError("no room")

    for name in ("configure_logging", "configure_tracing", "start_metrics_server"):
        monkeypatch.setattr(publish, name, lambda *_args: None)
    monkeypatch.setattr(publisher, "_watch_lag", lambda: None)
    monkeypatch.setattr(publisher, "stop_on_signals", lambda: None)
    monkeypatch.setattr(publish, "Publisher", lambda _settings: publisher)
    monkeypatch.setattr(publish, "cluster_main", failing)
    with pytest.raises(OSError, match="no room"):
        publish.main(publisher.settings)
    assert log.one("SELECT count(*) FROM leases WHERE name = 'publish' AND expires_at > now()") == 0


def test_who_is_stopped_before_the_lease_reads_nothing(publisher):
    publisher.stop.set()
    part = CommittedPart(publisher)
    with pytest.raises(StopIteration):
        part.next_batch()
    part.close()
