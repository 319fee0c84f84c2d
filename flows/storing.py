"""The sink: what was decided goes to the store, many streams in one transaction.

A thread of its own writes, so that deciding goes on while Postgres commits. The queue between them
is short: a slow or absent Postgres makes the flow slow, never large. Snapshots, which are large and
which nobody waits for, are saved from another thread: no commit waits for one.
"""

import queue
import threading
from collections.abc import Callable
from time import monotonic

import msgspec
import structlog
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from prometheus_client import Gauge
from typing_extensions import override

from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.store import Store

log = structlog.get_logger(__name__)

_QUEUE_BATCHES_MAX = 24
# Their memory, at most; the last of them may exceed it. Batches of a flow that is behind are large.
_QUEUE_BYTES_MAX = 64 << 20
# What a transaction or an event takes, beside its content.
_EACH_BYTES = 150
_DONE_TIMEOUT_SECONDS = 1.0

QUEUED = Gauge(
    "settler_flow_write_queue_batches",
    "Batches decided and not yet committed; 24 where they take all the memory they may",
)


class Snapshot(msgspec.Struct, gc=False):
    """A snapshot to be stored after the commits decided before it.

    `blocks` has the numbers of those its state has frozen, `newest_block` that of the newest made.
    `saved` is set once it is saved; its worker takes no other before.
    """

    stream_id: str
    version: int
    format: int
    state: bytes
    fence: int
    blocks: list[int] = []
    newest_block: int = 0
    saved: threading.Event = msgspec.field(default_factory=threading.Event)

    def save_to(self, store: Store) -> None:
        """Save it in a store that has its version, and say that it is saved."""
        store.save_snapshot(
            self.stream_id,
            self.version,
            self.format,
            self.state,
            self.fence,
            self.blocks,
            self.newest_block,
        )
        self.saved.set()


#: What a window sends down: commits, letters that belong to no stream, snapshots.
Outgoing = StreamCommit | DeadLetter | Snapshot


class _Barrier(msgspec.Struct, gc=False):
    """Set once everything queued before it is committed."""

    reached: threading.Event


#: What the writer is given: what was decided together, or what waits for all before it.
_Item = list[Outgoing] | SourceCheckpoint | _Barrier


class _Queue(queue.Queue[_Item]):
    """Full with so many items, or with fewer that take as much memory as all may."""

    def __init__(self) -> None:
        super().__init__(_QUEUE_BATCHES_MAX)
        self._bytes = 0

    @override
    def _qsize(self) -> int:
        return self.maxsize if self._bytes >= _QUEUE_BYTES_MAX else len(self.queue)

    @override
    def _put(self, item: _Item) -> None:
        size = _bytes(item)
        self.queue.append((size, item))
        self._bytes += size

    @override
    def _get(self) -> _Item:
        size: int
        item: _Item
        size, item = self.queue.popleft()
        self._bytes -= size
        return item


class WriterStopped(RuntimeError):
    """The writer has given up; the process must end and be started again."""


class Writer:
    """Writes what is queued, in order, from one thread; a snapshot after what it speaks of.

    Args:
        store: The writer's own store.
        snapshot_store: Another, for snapshots.
        flush_rows: Events and letters of one transaction, at most (one batch may exceed it).
        flush_seconds: From the beginning of a flush to that of the next, at least, unless it is
            full or somebody waits for it: each costs Postgres and the projector something, however
            few rows it has. What comes after a pause waits for nothing.
        synchronous: `put` returns only once what it was given is committed. Needed where another
            process may save offsets on the strength of it.
        failed: Called from the writer's thread with what ended it.
    """

    def __init__(
        self,
        store: Store,
        snapshot_store: Store,
        flush_rows: int,
        *,
        synchronous: bool,
        failed: Callable[[BaseException], None],
        flush_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self._flush_rows = flush_rows
        self._flush_seconds = flush_seconds
        self._flush_after = monotonic()
        self._synchronous = synchronous
        self._failed = failed
        self._error: BaseException | None = None
        self._queue = _Queue()
        self._saver = _SnapshotSaver(snapshot_store, self._fail)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, items: list[Outgoing]) -> None:
        """Queue what was decided together; waits while the queue is full.

        Raises:
            WriterStopped: The writer has failed before.
        """
        self._enqueue(items)
        if self._synchronous:
            self.drain()

    def save_offset(self, checkpoint: SourceCheckpoint) -> None:
        """Save a source's offset once everything queued so far is committed."""
        self._enqueue(checkpoint)

    def drain(self) -> None:
        """Wait until everything queued so far is committed."""
        barrier = _Barrier(threading.Event())
        self._enqueue(barrier)
        while not barrier.reached.wait(_DONE_TIMEOUT_SECONDS):
            self._check()
        self._check()

    def close(self) -> None:
        """Wait until everything queued so far is committed and no snapshot is being saved."""
        self.drain()
        while not self._saver.is_idle(_DONE_TIMEOUT_SECONDS):
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise WriterStopped(f"the store's writer has ended: {self._error}") from self._error

    def _enqueue(self, item: _Item) -> None:
        while True:
            self._check()
            try:
                self._queue.put(item, timeout=_DONE_TIMEOUT_SECONDS)
            except queue.Full:
                continue
            QUEUED.set(self._queue.qsize())
            return

    def _run(self) -> None:
        try:
            while True:
                self._write(self._gather())
        except BaseException as exc:  # noqa: BLE001 - told to whoever waits, then the process ends
            self._fail(exc)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        log.error("writer.ended", problem=str(error), kind=type(error).__name__)
        self._failed(error)

    def _gather(self) -> list[_Item]:
        """Wait for something to write, then take what else comes in time, up to a flush's size."""
        item = self._queue.get()
        gathered = [item]
        rows = _rows(item)
        waited_for = isinstance(item, _Barrier)
        while rows < self._flush_rows:
            seconds = 0.0 if waited_for else self._flush_after - monotonic()
            try:
                item = self._queue.get(block=seconds > 0, timeout=seconds)
            except queue.Empty:
                break
            gathered.append(item)
            rows += _rows(item)
            waited_for = waited_for or isinstance(item, _Barrier)
        self._flush_after = monotonic() + self._flush_seconds
        QUEUED.set(self._queue.qsize())
        return gathered

    def _write(self, gathered: list[_Item]) -> None:
        commits: list[StreamCommit] = []
        letters: list[DeadLetter] = []
        snapshots: list[Snapshot] = []
        offsets: list[SourceCheckpoint] = []
        barriers: list[_Barrier] = []
        for item in gathered:
            if isinstance(item, SourceCheckpoint):
                offsets.append(item)
            elif isinstance(item, _Barrier):
                barriers.append(item)
            else:
                for one in item:
                    if isinstance(one, StreamCommit):
                        commits.append(one)
                    elif isinstance(one, DeadLetter):
                        letters.append(one)
                    else:
                        snapshots.append(one)
        if commits or letters:
            self._store.write(commits, letters)
        # Offsets and snapshots speak of what was just committed, so they come after it.
        if offsets:
            self._store.save_offsets(offsets)
        for snapshot in snapshots:
            self._saver.save(snapshot)
        for barrier in barriers:
            barrier.reached.set()


class _SnapshotSaver:
    """Saves snapshots from a thread of its own, one at a time."""

    def __init__(self, store: Store, fail: Callable[[BaseException], None]) -> None:
        self._store = store
        self._fail = fail
        # No more than one of each worker is here at a time: `SnapshotPace` sees to that.
        self._queue: queue.Queue[Snapshot] = queue.Queue()
        threading.Thread(target=self._run, name="snapshots", daemon=True).start()

    def save(self, snapshot: Snapshot) -> None:
        """Save a snapshot whose version is committed."""
        self._queue.put(snapshot)

    def is_idle(self, timeout_seconds: float) -> bool:
        """Whether all are saved, now or within a time."""
        done = self._queue.all_tasks_done
        with done:
            return done.wait_for(lambda: not self._queue.unfinished_tasks, timeout_seconds)

    def _run(self) -> None:
        try:
            while True:
                self._queue.get().save_to(self._store)
                self._queue.task_done()
        except BaseException as exc:  # noqa: BLE001 - told to whoever waits, then the process ends
            self._fail(exc)


def _rows(item: _Item) -> int:
    if not isinstance(item, list):
        return 0
    return sum(
        one.event_count + len(one.rejections) if isinstance(one, StreamCommit) else 1
        for one in item
    )


def _bytes(item: _Item) -> int:
    """Tell about how much memory the transactions, events and letters of an item take.

    A snapshot counts for nothing: there is one of a worker, and it holds up none of its commits.
    """
    taken = 0
    for one in item if isinstance(item, list) else ():
        if isinstance(one, StreamCommit):
            rows = one.event_count + len(one.journal)
            taken += sum(map(len, one.journal)) + _EACH_BYTES * rows
            taken += sum(len(letter.raw) + _EACH_BYTES for letter in one.rejections)
        elif isinstance(one, DeadLetter):
            taken += len(one.raw) + _EACH_BYTES
    return taken


class _StorePart(StatelessSinkPartition[tuple[str, Outgoing]]):
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @override
    def write_batch(self, items: list[tuple[str, Outgoing]]) -> None:
        self._writer.put([one for _, one in items])

    @override
    def close(self) -> None:
        self._writer.close()


class StoreSink(DynamicSink[tuple[str, Outgoing]]):
    """Where decisions leave the flow. A worker's items come in the order they were decided."""

    def __init__(self, writer: Callable[[], Writer]) -> None:
        self._writer = writer

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _StorePart:
        return _StorePart(self._writer())
