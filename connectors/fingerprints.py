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
# Bits a fingerprint of the filter before the runs, when it is new and when it is full: of what is
# in no run one in eight, at most, is searched for all the same.
_BITS_NEW, _BITS_FULL = 16, 8
_BITS_MIN = 1 << 16
_SEVEN, _THREE = np.uint64(7), np.uint64(3)


class _Filter:
    """A bit for each way a fingerprint may begin: most of what is asked for is in no run.

    Args:
        runs: What it begins with, each in order.
        more: How many fingerprints more it is to have room for.
    """

    def __init__(self, runs: Sequence[_Run] = (), more: int = 0) -> None:
        wanted = max(_BITS_MIN, (sum(map(len, runs)) + more) * _BITS_NEW)
        length = (wanted - 1).bit_length()
        self._bytes = np.zeros(1 << length - 3, np.uint8)
        self._shift = np.uint64(64 - length)
        self._room = (1 << length) // _BITS_FULL
        for run in runs:
            self.note(run)

    def has_room(self, more: int) -> bool:
        """Whether so many can be noted before it holds back too few."""
        return more <= self._room

    def note(self, run: _Run) -> None:
        """Set the bits of a run, which is in order; they stay, whatever becomes of it."""
        if not len(run):
            return
        self._room -= len(run)
        places = run >> self._shift
        in_bytes = (places >> _THREE).astype(np.int64)
        (begins,) = np.nonzero(np.diff(in_bytes, prepend=-1))
        bits = np.left_shift(np.uint8(1), (places & _SEVEN).astype(np.uint8))
        self._bytes[in_bytes[begins]] |= np.bitwise_or.reduceat(bits, begins)

    def may_hold(self, asked: _Run) -> _Run:
        """Those of the fingerprints that a run may hold."""
        places = asked >> self._shift
        found = self._bytes[(places >> _THREE).astype(np.int64)]
        kept: _Run = asked[(found >> (places & _SEVEN).astype(np.uint8)) & 1 != 0]
        return kept


class SortedIndex:
    """See `domain.freezing.fingerprints.Index`."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._filter = _Filter()
        self._holds: NDArray[np.bool_] = np.zeros(SLOTS, np.bool_)
        self._stale = 0

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, slot: int, fingerprints: bytes) -> None:
        """See `Index.add`."""
        self._holds[slot] = True
        run: _Run = np.frombuffer(fingerprints, np.dtype("<u8")) | np.uint64(slot << BLOCK_BITS)
        run.sort()
        if not self._filter.has_room(len(run)):
            self._sweep()
            self._filter = _Filter(self._runs, len(run))
        self._filter.note(run)
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
        asked = self._filter.may_hold(asked)
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
