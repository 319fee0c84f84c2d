"""When a window's state is snapshotted, and what of it goes down with the commits."""

import threading
from collections.abc import Callable

import structlog
from prometheus_client import Histogram

from domain.reconciliation import Reconciliation
from domain.snapshots import FORMAT, snapshot
from flows.storing import Snapshot

log = structlog.get_logger(__name__)

# A snapshot is taken after as many transactions as the one before held: each is written a few times
# at most, and a restart folds about as many as it restores, or twice as many at most.
_AFTER_MIN = 200_000
_AFTER_SIZES = 1
# One that would hold its worker up twice is put off, until so many times as many have come.
_PUT_OFF_TO = 2
# A snapshot costs time in proportion to what memory holds, and nothing is decided meanwhile. So a
# worker takes no other before this many times as long has passed: at most a twentieth of its time.
# Of several that come due together, each finds made up for what the one before has held up.
_REST = 19
# Postgres takes values of 1 GiB; what is larger is folded from the snapshot before.
_BYTES_MAX = 768 << 20

SECONDS = Histogram(
    "settler_flow_snapshot_seconds",
    "Time in which a worker wrote a snapshot and decided nothing",
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)


class SnapshotPace:
    """Takes a worker's snapshots, one after the other with rests between.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rests_until = clock()
        self._saved: threading.Event | None = None

    def rests(self) -> bool:
        """Whether the last one was taken too short a time ago, or is not saved yet."""
        if self._saved is not None and not self._saved.is_set():
            return True
        return self._clock() < self._rests_until

    def take(self, state: Reconciliation, fence: int) -> Snapshot | None:
        """Write a state down, and rest; None where the store would refuse it."""
        began = self._clock()
        data = snapshot(state)
        now = self._clock()
        self._rests_until = now + _REST * (now - began)
        SECONDS.observe(now - began)
        if len(data) > _BYTES_MAX:
            log.warning("window.snapshot_too_large", stream_id=state.stream_id, bytes=len(data))
            return None
        frozen = state.frozen
        taken = Snapshot(
            state.stream_id,
            state.version,
            FORMAT,
            data,
            fence,
            frozen.numbers,
            frozen.number(fence),
        )
        self._saved = taken.saved
        return taken


class WindowSnapshots:
    """The snapshots of one window.

    Attributes:
        pending: Transactions taken in since the last one.
    """

    def __init__(self, pace: SnapshotPace) -> None:
        self._pace = pace
        self._held = 0
        self.pending = 0

    def found(self, state: Reconciliation, folded: int) -> None:
        """Go on behind the snapshot a state was restored from and what was folded since."""
        self.pending = folded
        self._held = max(0, state.known_count - folded)

    def take(
        self, state: Reconciliation, fence: int, *, writing_blocks: bool = False
    ) -> Snapshot | None:
        """Take one if it is time for it.

        Args:
            writing_blocks: What the worker has just frozen is still being written: it has been held
                up by freezing it, and would have to wait for that before it gave a snapshot away.
        """
        after = max(_AFTER_MIN, _AFTER_SIZES * self._held)
        if self.pending < (_PUT_OFF_TO * after if writing_blocks else after) or self._pace.rests():
            return None
        self.pending, self._held = 0, state.known_count
        return self._pace.take(state, fence)
