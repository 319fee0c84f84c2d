"""State bigger than memory: blocks go to the store, and come back before an input needs them.

Everything here happens between two steps of a window. Memory may let go of a block before it is
stored: only a snapshot that names it makes others depend on it, and that waits until it is.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog
from prometheus_client import Counter, Gauge

from connectors.postgres.errors import BlocksMissing
from domain.freezing.freezing import PAIRED_MAX, freeze, thaw
from domain.freezing.frozen import Entries, Touched, pages_of
from domain.freezing.touching import beside
from domain.reconciliation import Reconciliation
from flows.blocks import Blocks

Input = TypeVar("Input")

log = structlog.get_logger(__name__)

# Pages read by one query: they are held in memory until their entries are put back.
_PAGES_AT_ONCE = 4_096
# Freezing costs little more for many than for few, and a block for every few would be many blocks.
_SHARE = 8
_AT_ONCE_MIN, _AT_ONCE_MAX = 2, 65_536
# One of a matched pair takes five eighths of the memory that an open transaction does: three less.
_PAIRED_LESS, _PAIRED_OF = 3, 8

FROZEN = Gauge(
    "settler_flow_frozen_entries",
    "Matches and open transactions that are in the store and not in memory",
    ["tenant_id", "reconciliation_id"],
)
BLOCKS = Gauge(
    "settler_flow_frozen_blocks",
    "Blocks they lie in",
    ["tenant_id", "reconciliation_id"],
)
THAWED = Counter("settler_flow_thawed_entries_total", "Entries that were put back in memory")
PAGES = Counter("settler_flow_thawing_pages_total", "Pages read to put entries back in memory")


def held(state: Reconciliation) -> int:
    """How many transactions a window holds in memory, in what open ones take there."""
    pairs = sum(len(closed.pairs.keys) for closed in state.book.closed.days.values())
    return sum(map(len, state.book.known)) - 2 * pairs * _PAIRED_LESS // _PAIRED_OF


class HotLimit:
    """How many transactions the windows of a worker hold in memory together.

    Args:
        limit: Transactions at most, before those that cannot be frozen.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sizes: dict[str, int] = {}
        self._total = 0
        # Windows that could not freeze what they should, and what size they are left alone below.
        self._stuck: dict[str, int] = {}

    def excess(self, stream_id: str, size: int) -> int:
        """How many transactions a window is to freeze, now that it holds so many; 0 for none.

        More than it holds too much, if it does: freezing costs little more for many than for few.

        A window that holds less than its equal share freezes nothing: others hold too much.
        """
        self._total += size - self._sizes.get(stream_id, 0)
        self._sizes[stream_id] = size
        if self._total <= self.limit or size * len(self._sizes) <= self.limit:
            return 0
        if size < self._stuck.get(stream_id, 0):
            return 0
        at_once = min(max(self.limit // _SHARE, _AT_ONCE_MIN), _AT_ONCE_MAX)
        return min(max(self._total - self.limit, at_once), size)

    def froze(self, stream_id: str, asked: int, size: int) -> None:
        """Note what size a window has after it was to freeze so many.

        One that cannot freeze half of that, nor what is too much, is asked again once it has grown
        by an eighth: to look through all it holds at every chunk would cost more than it holds. Of
        pairs no more than `PAIRED_MAX` go at once, so half of those is enough to go on.
        """
        freed = self._sizes[stream_id] - size
        self._total -= freed
        self._sizes[stream_id] = size
        # Half of them, were they all of pairs.
        enough = min(asked, PAIRED_MAX) * (_PAIRED_OF - _PAIRED_LESS) // (2 * _PAIRED_OF)
        if freed < enough and self._total > self.limit:
            self._stuck[stream_id] = size + max(self.limit, size) // _SHARE
        else:
            self._stuck.pop(stream_id, None)


def load_index(state: Reconciliation, store: Blocks) -> None:
    """Read the fingerprints of what a restored state has frozen.

    Raises:
        BlocksMissing: The store lacks a block that the state's snapshot names.
    """
    blocks = list(state.frozen.blocks.values())
    for begin in range(0, len(blocks), _PAGES_AT_ONCE // 64):
        part = blocks[begin : begin + _PAGES_AT_ONCE // 64]
        numbers = [block.number for block in part]
        found = store.read_fingerprints(state.stream_id, numbers)
        if len(found) < len(numbers):
            raise BlocksMissing(state.stream_id)
        for block in part:
            state.frozen.index.add(block.slot, found[block.number])


def thaw_before(
    state: Reconciliation,
    touches: Callable[[Reconciliation, Input], Touched],
    given: Input,
    store: Blocks,
) -> None:
    """Put back in memory what an input may touch; nothing has to be asked where nothing is frozen.

    Raises:
        BlocksMissing: See `thaw_for`.
    """
    if state.frozen.blocks:
        thaw_for(state, touches(state, given), store)


def thaw_for(state: Reconciliation, touched: Touched, store: Blocks) -> None:
    """Put back in memory what an input may touch.

    Raises:
        BlocksMissing: The store lacks a block of this state: another process has taken over.
    """
    _thaw(state, state.frozen.found(touched), store)
    if touched.named:
        _thaw(state, state.frozen.found(beside(state, touched.named)), store)


def _thaw(state: Reconciliation, entries: Entries, store: Blocks) -> None:
    some: Entries = {}
    pages = 0
    for slot, numbers in entries.items():
        some[slot] = numbers
        pages += len(numbers)
        if pages >= _PAGES_AT_ONCE:
            _put_back(state, some, store)
            some, pages = {}, 0
    if some:
        _put_back(state, some, store)


def _put_back(state: Reconciliation, entries: Entries, store: Blocks) -> None:
    places = pages_of(state.frozen, entries)
    pages = store.read_pages(state.stream_id, places)
    if len(pages) < len(places):
        raise BlocksMissing(state.stream_id)
    thaw(state, entries, pages)
    PAGES.inc(len(places))
    THAWED.inc(sum(map(len, entries.values())))


def freeze_excess(state: Reconciliation, fence: int, limit: HotLimit, store: Blocks) -> None:
    """Put in the store what a window holds too much of."""
    count = limit.excess(state.stream_id, held(state))
    if not count or not state.frozen.has_room:
        return
    _thaw(state, state.frozen.sparse(), store)
    blocks = freeze(state, fence, count)
    if blocks:
        store.write_blocks(state.stream_id, blocks)
    limit.froze(state.stream_id, count, held(state))
    labels = (state.tenant_id, state.reconciliation_id)
    FROZEN.labels(*labels).set(state.frozen.entries)
    BLOCKS.labels(*labels).set(len(state.frozen.blocks))
