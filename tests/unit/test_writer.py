"""The thread that writes what was decided: in order, and never on after it has failed."""

import queue
import threading

import pytest

from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.records import DeadLetter, StreamCommit
from flows import storing
from flows.storing import Snapshot, StoreSink, Writer, WriterStopped


class Store:
    """Notes what it is given, each once it may go on; fails at what it is told to."""

    def __init__(self) -> None:
        self.written = []
        self.fails = False
        self.writes = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, commits, _letters):
        self.writes.set()
        self.may_write.wait(10)
        if self.fails:
            raise ConnectionAbortedError("the line is cut")
        self.written += [one.stream_id for one in commits]

    def save_offsets(self, checkpoints):
        self.written += [f"offset {one.next_offset}" for one in checkpoints]

    def save_snapshot(self, stream_id, version, *_):
        self.written.append(f"snapshot {stream_id} {version}")


def commit(stream_id, **fields):
    return StreamCommit(stream_id, "acme", stream_id, 0, 1, 1, {}, None, 1, **fields)


def offset(number):
    return SourceCheckpoint("in.source", 0, number, "cluster", "topic")


@pytest.fixture
def store():
    made = Store()
    yield made
    made.may_write.set()


@pytest.fixture
def impatient(monkeypatch):
    """Look at once whether the writer has ended in between."""
    monkeypatch.setattr(storing, "_DONE_TIMEOUT_SECONDS", 0.01)


def test_what_was_queued_is_committed_in_order_and_offsets_and_snapshots_after_it(store):
    writer = Writer(store, store, 100, synchronous=False, failed=pytest.fail)
    store.may_write.clear()
    writer.put([commit("a")])
    writer.put([Snapshot("b", 7, 2, b"", 1, [], 0), commit("b")])
    writer.save_offset(offset(5))
    writer.put([commit("c")])
    store.may_write.set()
    writer.close()
    after_all = store.written.index("offset 5")
    assert [one for one in store.written if len(one) == 1] == ["a", "b", "c"]
    assert store.written.index("b") < after_all
    assert store.written.index("b") < store.written.index("snapshot b 7")


def test_a_synchronous_writer_has_written_when_it_returns(store):
    writer = Writer(store, store, 100, synchronous=True, failed=pytest.fail)
    part = StoreSink(lambda: writer).build("store", 0, 1)
    part.write_batch([("a", commit("a")), ("b", commit("b"))])
    assert store.written == ["a", "b"]
    part.close()


class Flushes(Store):
    """Notes what is written together, and goes on when it may."""

    def write(self, commits, _letters):
        self.written.append([one.stream_id for one in commits])
        self.writes.set()
        self.may_write.wait(10)


def test_what_comes_soon_after_a_flush_is_written_together_unless_somebody_waits():
    store = Flushes()
    writer = Writer(store, store, 100, synchronous=False, failed=pytest.fail, flush_seconds=3600)
    writer.put([commit("a")])
    assert store.writes.wait(10), "the first waits for nothing"
    store.writes.clear()
    writer.put([commit("b")])
    assert not store.writes.wait(0.1), "the second waits for the time of a flush to be over"
    writer.put([commit("c")])
    writer.drain()
    assert store.written == [["a"], ["b", "c"]]
    writer.close()


def test_who_waits_is_not_forgotten_for_what_comes_behind():
    store = Flushes()
    store.may_write.clear()
    writer = Writer(store, store, 100, synchronous=False, failed=pytest.fail, flush_seconds=3600)
    writer.put([commit("a")])
    assert store.writes.wait(10)
    writer.put([commit("b")])
    waits = threading.Thread(target=writer.drain)
    waits.start()
    while writer._queue.qsize() < 2:
        waits.join(0.001)
    writer.put([commit("c")])
    store.may_write.set()
    waits.join(10)
    assert not waits.is_alive()
    writer.close()


def test_a_full_flush_waits_for_nothing():
    store = Flushes()
    writer = Writer(store, store, 2, synchronous=False, failed=pytest.fail, flush_seconds=3600)
    writer.put([commit("a")])
    assert store.writes.wait(10)
    store.writes.clear()
    writer.put([commit("b")])
    writer.put([commit("c")])
    assert store.writes.wait(10)
    assert store.written == [["a"], ["b", "c"]]
    writer.close()


@pytest.mark.usefixtures("impatient")
def test_who_waits_for_a_writer_that_fails_is_told(store):
    told = queue.Queue()
    writer = Writer(store, store, 100, synchronous=False, failed=told.put)
    store.fails = True
    store.may_write.clear()
    writer.put([commit("a")])
    threading.Timer(0.05, store.may_write.set).start()
    with pytest.raises(WriterStopped, match="the line is cut"):
        writer.drain()
    assert isinstance(told.get(timeout=10), ConnectionAbortedError)
    with pytest.raises(WriterStopped):
        writer.put([commit("b")])
    assert store.written == []


@pytest.mark.usefixtures("impatient")
def test_a_full_queue_is_waited_for(store, monkeypatch):
    monkeypatch.setattr(storing, "_QUEUE_BATCHES_MAX", 1)
    writer = Writer(store, store, 1, synchronous=False, failed=pytest.fail)
    store.may_write.clear()
    threading.Timer(0.05, store.may_write.set).start()
    names = [f"{number}" for number in range(6)]
    for name in names:
        writer.put([commit(name)])
    writer.drain()
    assert store.written == names


def letter(raw):
    return DeadLetter("in.source", 0, 1, None, None, None, 0, raw, "not_json", "")


CONTENT = {
    "transactions": (lambda: commit("a", journal=[b"x" * 600]), 3),
    "letters of a stream": (lambda: commit("a", rejections=[letter(b"x" * 600)]), 3),
    "letters of none": (lambda: letter(b"x" * 600), 3),
    "nothing": (lambda: commit("a"), 8),
    "a snapshot": (lambda: Snapshot("a", 1, 5, b"x" * 9_000, 1), 8),
}


@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.usefixtures("impatient")
def test_the_queue_is_bounded_by_its_length_and_by_what_it_holds(store, monkeypatch, content):
    monkeypatch.setattr(storing, "_QUEUE_BATCHES_MAX", 8)
    monkeypatch.setattr(storing, "_QUEUE_BYTES_MAX", 2_000)
    make, fit = CONTENT[content]
    writer = Writer(store, store, 1, synchronous=False, failed=pytest.fail)
    store.may_write.clear()
    writer.put([commit("in hand")])
    assert store.writes.wait(10)
    put = []

    def give():
        for number in range(20):
            writer.put([make()])
            put.append(number)

    giving = threading.Thread(target=give)
    giving.start()
    giving.join(0.2)
    assert giving.is_alive()
    assert len(put) == fit, "three of 750 to 900 bytes exceed it"
    assert writer._queue.qsize() == 8, "it says that it is full"
    store.may_write.set()
    giving.join(10)
    writer.close()
    assert len(put) == 20
    assert writer._queue.qsize() == 0
