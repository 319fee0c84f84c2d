"""When a window's state is snapshotted, and what of it goes down with the commits."""

from collections.abc import Callable

import structlog
from prometheus_client import Histogram

from domain.reconciliation import Reconciliation
from domain.snapshots import FORMAT, snapshot
from flows.storing import Snapshot

log = structlog.get_logger(__name__)

# A snapshot is taken after as many transactions as the one before held: each is written a few times
# at most, and a restart folds no more than it restores.
_AFTER_MIN = 200_000
_AFTER_SIZES = 1
# A snapshot costs time in proportion to what memory holds, and nothing is decided meanwhile. So a
# worker takes no other before this many times as long has passed: at most a tenth of its time.
_REST = 9
# Postgres takes values of 1 GiB; what is larger is folded from the snapshot before.
_BYTES_MAX = 768 << 20

SECONDS = Histogram(
    "settler_flow_snapshot_seconds",
    "Time in which a worker wrote a snapshot and decided nothing",
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)


class SnapshotPace:
    """Keeps a worker's snapshots apart.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rests_until = clock()

    def rests(self) -> bool:
        """Whether the last snapshot was taken too short a time ago."""
        return self._clock() < self._rests_until

    def take(self, state: Reconciliation) -> bytes:
        """Write a state down, and rest."""
        began = self._clock()
        data = snapshot(state)
        now = self._clock()
        self._rests_until = now + _REST * (now - began)
        SECONDS.observe(now - began)
        return data


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

    def take(self, state: Reconciliation, fence: int) -> Snapshot | None:
        """Take one if it is time for it."""
        if self.pending < max(_AFTER_MIN, _AFTER_SIZES * self._held) or self._pace.rests():
            return None
        self.pending, self._held = 0, state.known_count
        data = self._pace.take(state)
        if len(data) > _BYTES_MAX:
            log.warning("window.snapshot_too_large", stream_id=state.stream_id, bytes=len(data))
            return None
        frozen = state.frozen
        return Snapshot(
            state.stream_id,
            state.version,
            FORMAT,
            data,
            fence,
            frozen.numbers,
            frozen.number(fence),
        )
