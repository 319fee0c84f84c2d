"""The index of what is frozen, in sorted arrays: 8 bytes a fingerprint, thousands asked at once."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.freezing.fingerprints import BLOCK_BITS, ENTRY_MASK, SLOTS

_Run: TypeAlias = NDArray[np.uint64]

# A run is merged with the one before it once that is not this many times as long: few runs are to
# be asked, and each fingerprint is moved a few times only.
_LONGER = 3
_ENTRY = np.uint64(ENTRY_MASK)
_SLOT_SHIFT = np.uint64(BLOCK_BITS)


class SortedIndex:
    """See `domain.freezing.fingerprints.Index`."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._holds: NDArray[np.bool_] = np.zeros(SLOTS, np.bool_)
        self._stale = 0

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, slot: int, fingerprints: bytes) -> None:
        """See `Index.add`."""
        self._holds[slot] = True
        run: _Run = np.frombuffer(fingerprints, np.dtype("<u8")) | np.uint64(slot << BLOCK_BITS)
        run.sort()
        while self._runs and len(self._runs[-1]) < _LONGER * len(run):
            run = np.concatenate((self._living(self._runs.pop()), run))
            run.sort(kind="stable")  # two sorted halves are merged
        self._runs.append(run)

    def drop(self, slot: int) -> None:
        """See `Index.drop`."""
        self._holds[slot] = False
        self._stale += 1
        # Slots are used in turn: before one is used again, what it held is swept out.
        if self._stale >= SLOTS // 8:
            self._sweep()

    def _sweep(self) -> None:
        self._stale = 0
        runs = [self._living(run) for run in self._runs]
        self._runs = [run for run in runs if len(run)]

    def _living(self, run: _Run) -> _Run:
        kept = self._holds[((run & _ENTRY) >> _SLOT_SHIFT).astype(np.int64)]
        return run if kept.all() else run[kept]

    def find(self, fingerprints: Sequence[int]) -> list[int]:
        """See `Index.find`."""
        asked: _Run = np.array(fingerprints, np.uint64) & ~_ENTRY
        # In order, so that neighbours in the search are neighbours in memory.
        asked.sort()
        last = asked | _ENTRY
        found: list[int] = []
        for run in self._runs:
            begin = np.searchsorted(run, asked)
            reach = np.minimum(begin, len(run) - 1)
            (hits,) = np.nonzero((run[reach] >= asked) & (run[reach] <= last))
            if len(hits):
                end: Any = np.searchsorted(run, last[hits], side="right")
                for first, stop in zip(begin[hits].tolist(), end.tolist(), strict=True):
                    found += (run[first:stop] & _ENTRY).tolist()
        return found
