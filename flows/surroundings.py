"""What the windows of one worker share, and how one finds its state again."""

import gc
from collections.abc import Callable

from connectors.fingerprints import SortedIndex
from connectors.postgres.journal import decode_journal
from connectors.postgres.records import Claim
from connectors.postgres.store import Store
from domain.definition_parsing import parse_definition
from domain.event_batches import decode_events
from domain.events import Event, ReconciliationDefined, TransactionsAccepted
from domain.freezing.touching import by_batch
from domain.reconciliation import Reconciliation
from domain.snapshots import restore
from flows.blocks import Blocks
from flows.freezing import HotLimit, freeze_excess, load_index, thaw_for
from flows.snapshotting import SnapshotPace

#: Transactions a worker's windows hold in memory unless told: about 800 MiB of them.
HOT_TRANSACTIONS = 1_000_000

_UNKNOWN_SECONDS = 2.0
_UNKNOWN_MAX = 10_000


class Surroundings:
    """What windows share in one worker.

    Args:
        store: The worker's own store.
        caught_up: Whether the flow has caught up with its topics.
        clock_us: The clock, microseconds since the epoch.
        clock: Seconds, monotonic.
        behind_us: How long ago the moment is that the flow is known to have caught up with.
        hot_transactions: How many transactions the windows hold in memory together.
        block_store: For a thread that writes what is frozen, while the windows go on; without one
            they wait for it.
    """

    def __init__(
        self,
        store: Store,
        caught_up: Callable[[], bool],
        clock_us: Callable[[], int],
        clock: Callable[[], float],
        behind_us: Callable[[], int] = lambda: 0,
        hot_transactions: int = HOT_TRANSACTIONS,
        block_store: Store | None = None,
    ) -> None:
        self.store = store
        self.caught_up = caught_up
        self.clock_us = clock_us
        self._clock = clock
        self.behind_us = behind_us
        self.hot = HotLimit(hot_transactions)
        self.blocks = Blocks(store, block_store)
        self.snapshot_pace = SnapshotPace(clock)
        self._unknown: dict[str, float] = {}

    def is_unknown(self, stream: str) -> bool:
        """Whether the store said moments ago that no such reconciliation is defined."""
        asked_at = self._unknown.get(stream)
        return asked_at is not None and self._clock() - asked_at < _UNKNOWN_SECONDS

    def note_unknown(self, stream: str) -> None:
        """Remember for moments that no such reconciliation is defined."""
        if len(self._unknown) >= _UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[stream] = self._clock()

    def note_known(self, stream: str) -> None:
        """Forget that a reconciliation was not defined."""
        self._unknown.pop(stream, None)


def rebuild(claim: Claim, around: Surroundings) -> tuple[Reconciliation | None, int]:
    """Fold a claimed stream to its state; None for a stream without any event.

    What is more than may be held in memory is frozen on the way.

    Returns:
        The state, and how many transactions were folded after the snapshot.
    """
    # Millions of objects are made and none of them is garbage: looking for some costs a twentieth.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _rebuild(claim, around)
    finally:
        if collects:
            gc.enable()


def _rebuild(claim: Claim, around: Surroundings) -> tuple[Reconciliation | None, int]:
    folded = 0
    state: Reconciliation | None = None
    if claim.snapshot is not None:
        state = restore(claim.snapshot)
        state.frozen.index = SortedIndex()
        load_index(state, around.blocks)
    for batch in claim.batches:
        events = decode_events(batch.events, batch.format)
        journal = [] if batch.journal is None else decode_journal(batch.journal)
        if state is None:
            first = events[0]
            assert isinstance(first, ReconciliationDefined), "a stream starts with its definition"
            state = Reconciliation(parse_definition(first.definition))
            state.frozen.index = SortedIndex()
        elif state.version > batch.base_version:
            # The commits of a flush share a row, and the snapshot was taken between two of them.
            known = events[: state.version - batch.base_version]
            events = events[len(known) :]
            journal = journal[_accepted_by(known) :]
        if state.frozen.blocks:
            thaw_for(state, by_batch(state, events, journal), around.blocks)
        state.evolve_all(events, journal)
        freeze_excess(state, claim.fence, around.hot, around.blocks)
        folded += len(journal)
    assert state is None or state.version == claim.version, "the fold ends at the stream's version"
    return state, folded


def _accepted_by(events: list[Event]) -> int:
    """How many transactions of the journal these events speak of."""
    return sum(event.count for event in events if isinstance(event, TransactionsAccepted))
