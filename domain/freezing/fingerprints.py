"""Fingerprints: what is kept in memory of a frozen entry, to know when an input may touch it.

A fingerprint hashes an id of a side, or a value a rule looks transactions up by, on whatever side.
Two things may share one: an entry is then thawed for nothing, which changes nothing.
"""

from array import array
from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from typing import Protocol

import msgspec
from xxhash import xxh3_64_intdigest

#: An entry's place in an index: the slot of its block, then its number within the block.
ENTRY_BITS = 28
BLOCK_BITS = 14
SLOTS = 1 << (ENTRY_BITS - BLOCK_BITS)
#: Entries of one block, at most.
BLOCK_ENTRIES = 1 << BLOCK_BITS
ENTRY_MASK = (1 << ENTRY_BITS) - 1
# Not `~ENTRY_MASK`: that is negative, and takes the interpreter half as long again.
_UPPER_MASK = (1 << 64) - (1 << ENTRY_BITS)

# Seeds 0 and 1 are the sides' ids.
_FIRST_RULE_SEED = 2


def of_ids(side: int, ids: Iterable[str]) -> list[int]:
    """Fingerprints of transaction ids of one side, 64 bits each."""
    return list(map(xxh3_64_intdigest, map(str.encode, ids), repeat(side)))


def of_keys(rule: int, keys: Iterable[Hashable]) -> list[int]:
    """Fingerprints of what the rule of that number looks transactions up by; None has none.

    A key is a text or a tuple of texts (`domain.matching.keys`).
    """
    texts = [
        key.encode() if type(key) is str else msgspec.msgpack.encode(key)
        for key in keys
        if key is not None
    ]
    return list(map(xxh3_64_intdigest, texts, repeat(_FIRST_RULE_SEED + rule)))


def packed(rows: Iterable[Iterable[int]]) -> bytes:
    """Write the fingerprints of a block's entries down, in the order of the entries.

    Each is 8 bytes, little-endian: its upper bits, then the entry's number within the block.
    """
    upper = _UPPER_MASK
    values = array("Q", [one & upper | number for number, row in enumerate(rows) for one in row])
    return values.tobytes()


class Index(Protocol):
    """Finds the frozen entries that share a fingerprint with what comes in."""

    def add(self, slot: int, fingerprints: bytes) -> None:
        """Take in a block's fingerprints, as `packed` wrote them, under its slot."""

    def drop(self, slot: int) -> None:
        """Forget the block of a slot; `find` may go on to name entries of it for a while."""

    def find(self, fingerprints: Sequence[int]) -> list[int]:
        """Places of entries with one of these fingerprints, and few others; in any order."""


class PlainIndex:
    """An index for small worlds: quick to write, large to keep."""

    def __init__(self) -> None:
        self._entries: dict[int, set[int]] = {}

    def add(self, slot: int, fingerprints: bytes) -> None:
        """See `Index.add`."""
        for one in memoryview(fingerprints).cast("Q"):
            place = slot << BLOCK_BITS | one & ENTRY_MASK
            self._entries.setdefault(one >> ENTRY_BITS, set()).add(place)

    def drop(self, slot: int) -> None:
        """See `Index.drop`."""
        for places in self._entries.values():
            places.difference_update([one for one in places if one >> BLOCK_BITS == slot])

    def find(self, fingerprints: Sequence[int]) -> list[int]:
        """See `Index.find`."""
        found: set[int] = set()
        for one in fingerprints:
            found |= self._entries.get(one >> ENTRY_BITS, set())
        return list(found)
