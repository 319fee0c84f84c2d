"""What is stored beside the windows: nobody waits who need not, and nobody reads too soon."""

import threading

import pytest

from connectors.postgres.checkpoints import SourceCheckpoint
from domain.freezing.frozen import NewBlock
from domain.reconciliation import Reconciliation
from flows.blocks import Blocks
from flows.snapshotting import SnapshotPace, WindowSnapshots
from flows.storing import Snapshot, Writer
from tests.unit.domain.test_snapshots import world_with_pairs

OFFSET = SourceCheckpoint("orders", 0, 5, "cluster", "topic")
BLOCK = NewBlock(7, b"", [b"page"])


class SlowStore:
    """Writes nothing before it may."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_write = threading.Event()
        self.done: list[object] = []

    def write(self, commits, _letters) -> None:
        self.done += commits

    def save_offsets(self, saved) -> None:
        self.done += saved

    def save_snapshot(self, stream_id, version, *_rest) -> None:
        self._wait()
        self.done.append((stream_id, version))

    def write_blocks(self, stream_id, blocks) -> None:
        self._wait()
        if stream_id == "refused":
            raise OSError("no room")
        self.done += [(stream_id, one.number) for one in blocks]

    def read_pages(self, _stream_id, _places) -> dict[tuple[int, int], bytes]:
        self.done.append("read")
        return {}

    def read_fingerprints(self, _stream_id, _numbers) -> dict[int, bytes]:
        self.done.append("read")
        return {}

    def _wait(self) -> None:
        self.began.set()
        assert self.may_write.wait(10)


def test_what_is_committed_does_not_wait_for_a_snapshot():
    store, slow = SlowStore(), SlowStore()
    writer = Writer(store, slow, 100, synchronous=False, failed=lambda _error: None)
    writer.put([Snapshot("acme/orders", 3, 4, b"", 1)])
    assert slow.began.wait(10)
    writer.save_offset(OFFSET)
    writer.drain()
    assert store.done == [OFFSET]
    assert slow.done == []
    closing = threading.Thread(target=writer.close)
    closing.start()
    slow.may_write.set()
    closing.join(10)
    assert not closing.is_alive()
    assert slow.done == [("acme/orders", 3)], "whoever closes waits for it"


def test_a_snapshot_that_cannot_be_saved_ends_the_writer():
    class Refusing(SlowStore):
        def save_snapshot(self, *_given) -> None:
            raise OSError("no room")

    failed = threading.Event()
    writer = Writer(
        SlowStore(), Refusing(), 100, synchronous=False, failed=lambda _error: failed.set()
    )
    writer.put([Snapshot("acme/orders", 3, 4, b"", 1)])
    assert failed.wait(10)
    with pytest.raises(RuntimeError, match="no room"):
        writer.put([])


@pytest.mark.parametrize("reading", ["read_pages", "read_fingerprints"])
def test_blocks_are_not_read_before_they_are_written(reading):
    own, slow = SlowStore(), SlowStore()
    blocks = Blocks(own, slow)
    blocks.write_blocks("acme/orders", [BLOCK])
    assert slow.began.wait(10)
    assert slow.done == own.done == []
    read = threading.Thread(target=getattr(blocks, reading), args=("acme/orders", []))
    read.start()
    assert own.done == []
    slow.may_write.set()
    read.join(10)
    assert (slow.done, own.done) == ([("acme/orders", 7)], ["read"])


def test_blocks_that_could_not_be_written_are_told_of():
    slow = SlowStore()
    slow.may_write.set()
    blocks = Blocks(SlowStore(), slow)
    blocks.write_blocks("refused", [BLOCK])
    with pytest.raises(OSError, match="no room"):
        blocks.write_blocks("acme/orders", [BLOCK])
    assert slow.done == []


def test_without_a_thread_blocks_are_written_at_once():
    store = SlowStore()
    store.may_write.set()
    blocks = Blocks(store)
    blocks.write_blocks("acme/orders", [BLOCK])
    blocks.wait_until_written()
    assert store.done == [("acme/orders", 7)]


class Clock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def due(snapshots: WindowSnapshots, state: Reconciliation, count: int) -> Snapshot | None:
    snapshots.pending += count
    return snapshots.take(state, 1)


def test_snapshots_of_a_worker_take_a_twentieth_of_its_time():
    clock, state = Clock(), world_with_pairs().state
    pace = SnapshotPace(clock)
    one, other = WindowSnapshots(pace), WindowSnapshots(pace)
    assert due(one, state, 199_999) is None
    taken = due(one, state, 1)
    assert taken is not None
    assert taken.version == state.version
    taken.saved.set()
    ended = clock.now
    while due(other, state, 200_000) is None:
        pass
    assert clock.now - ended >= 19, "the one before took a second"
    assert clock.now - ended < 23


def test_no_snapshot_is_taken_before_the_last_one_is_saved():
    state = world_with_pairs().state
    pace = SnapshotPace(lambda: 0.0)
    one, other = WindowSnapshots(pace), WindowSnapshots(pace)
    taken = due(one, state, 200_000)
    assert taken is not None
    assert due(other, state, 400_000) is None
    taken.saved.set()
    assert due(other, state, 0) is not None


def test_commits_do_not_wait_however_many_snapshots_do():
    store, slow = SlowStore(), SlowStore()
    writer = Writer(store, slow, 100, synchronous=False, failed=lambda _error: None)
    snapshots = [Snapshot("acme/orders", version, 4, b"", 1) for version in range(1, 5)]
    writer.put(list(snapshots))
    writer.save_offset(OFFSET)
    writer.drain()
    assert store.done == [OFFSET]
    assert not any(one.saved.is_set() for one in snapshots)
    slow.may_write.set()
    writer.close()
    assert slow.done == [("acme/orders", version) for version in range(1, 5)]
    assert all(one.saved.is_set() for one in snapshots)
