"""What the windows of one worker share, and how one finds its state again."""

import gc
from collections.abc import Callable

from connectors.postgres.journal import decode_journal
from connectors.postgres.records import Claim
from connectors.postgres.store import Store
from domain.definition_parsing import parse_definition
from domain.events import Event, ReconciliationDefined, TransactionsAccepted, decode_events
from domain.reconciliation import Reconciliation
from domain.snapshots import restore

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
    """

    def __init__(
        self,
        store: Store,
        caught_up: Callable[[], bool],
        clock_us: Callable[[], int],
        clock: Callable[[], float],
        behind_us: Callable[[], int] = lambda: 0,
    ) -> None:
        self.store = store
        self.caught_up = caught_up
        self.clock_us = clock_us
        self._clock = clock
        self.behind_us = behind_us
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


def rebuild(claim: Claim) -> tuple[Reconciliation | None, int]:
    """Fold a claimed stream to its state; None for a stream without any event.

    Returns:
        The state, and how many transactions were folded after the snapshot.
    """
    # Millions of objects are made and none of them is garbage: looking for some costs a twentieth.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _rebuild(claim)
    finally:
        if collects:
            gc.enable()


def _rebuild(claim: Claim) -> tuple[Reconciliation | None, int]:
    folded = 0
    state: Reconciliation | None = None
    if claim.snapshot is not None:
        state = restore(claim.snapshot)
    for batch in claim.batches:
        events = decode_events(batch.events, batch.format)
        journal = [] if batch.journal is None else decode_journal(batch.journal)
        if state is None:
            first = events[0]
            assert isinstance(first, ReconciliationDefined), "a stream starts with its definition"
            state = Reconciliation(parse_definition(first.definition))
        elif state.version > batch.base_version:
            # The commits of a flush share a row, and the snapshot was taken between two of them.
            known = events[: state.version - batch.base_version]
            events = events[len(known) :]
            journal = journal[_accepted_by(known) :]
        state.evolve_all(events, journal)
        folded += len(journal)
    assert state is None or state.version == claim.version, "the fold ends at the stream's version"
    return state, folded


def _accepted_by(events: list[Event]) -> int:
    """How many transactions of the journal these events speak of."""
    return sum(event.count for event in events if isinstance(event, TransactionsAccepted))
