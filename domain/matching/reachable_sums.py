"""Sums that subsets can reach, as bits of whole numbers: the dense half of subset search.

Bit s of layer j says that some j of the members seen so far sum to s. A machine word holds 64 sums,
so all subsets of a size are tried at once; what it costs grows with how wide the amounts range.
"""

from collections.abc import Iterator, Sequence
from math import gcd

from domain.matching.subset_sums import Vector

#: Bits of all layers together: 32 MiB.
BITS_MAX = 1 << 28
# Shifting and joining that many bits takes about as long as making one sum of a list.
_BITS_PER_NODE = 8192
_NODES_PER_STEP = 3


class Scale:
    """Amounts made small: less the least of them, and divided by what divides all.

    Args:
        low, high: What the sum of a subset may be, ends included.
        most: The largest size of a subset.
    """

    def __init__(
        self, values: Sequence[int], counts: Sequence[int], low: int, high: int, most: int
    ) -> None:
        self.base = min(values)
        self.unit = gcd(*(value - self.base for value in values)) or 1
        self.steps = [(value - self.base) // self.unit for value in values]
        self._low, self._high = low, high
        largest = 0
        room = most
        for step, count in sorted(zip(self.steps, counts, strict=True), reverse=True):
            taken = min(room, count)
            largest += taken * step
            room -= taken
        #: The largest scaled sum worth keeping.
        self.top = min(largest, max(self.window(1)[1], self.window(most)[1]))

    def window(self, size: int) -> tuple[int, int]:
        """What the scaled sum of a subset of that size may be, ends included."""
        offset = size * self.base
        return -((offset - self._low) // self.unit), (self._high - offset) // self.unit

    def bits(self, most: int) -> int:
        """Bits that all layers take."""
        return len(self.steps) * most * max(self.top + 1, 1)

    def cost(self, counts: Sequence[int], most: int) -> int:
        """What reaching costs, in sums of a list that take as long."""
        steps = sum(min(count, most) for count in counts) * most
        return steps * (_NODES_PER_STEP + max(self.top, 0) // _BITS_PER_NODE)


class ReachableSums:
    """The layers after each class, for walking back from a sum to the subsets that make it."""

    def __init__(self, scale: Scale, counts: Sequence[int], most: int) -> None:
        self._scale, self._counts = scale, counts
        self._most = most
        top = scale.top
        mask = (1 << (top + 1)) - 1 if top >= 0 else 0
        layers = [1 & mask, *[0] * most]
        self._columns = [layers]
        for step, count in zip(scale.steps, counts, strict=True):
            grown = list(layers)
            for taken in range(1, min(count, most) + 1):
                shift = taken * step
                for size in range(taken, most + 1):
                    before = layers[size - taken]
                    if before:
                        shifted = before << shift
                        if shifted.bit_length() > top + 1:
                            shifted &= mask
                        grown[size] |= shifted
            layers = grown
            self._columns.append(layers)
        self._bytes: dict[tuple[int, int], bytes] = {}

    def _ends(self, size: int) -> int:
        """The sums of that size that fit, as bits."""
        low, high = self._scale.window(size)
        low = max(low, 0)
        if high < low:
            return 0
        return ((self._columns[-1][size] >> low) & ((1 << (high - low + 1)) - 1)) << low

    def smallest(self, least: int) -> int | None:
        """The smallest size from `least` on of which a subset fits."""
        return next((size for size in range(least, self._most + 1) if self._ends(size)), None)

    def used(self, size: int) -> list[int]:
        """The classes that stand in any fitting subset of a size."""
        used: list[int] = []
        live = {size: self._ends(size)}
        for index in range(len(self._counts) - 1, -1, -1):
            step, count, before = (
                self._scale.steps[index],
                self._counts[index],
                self._columns[index],
            )
            next_live: dict[int, int] = {}
            uses = False
            for left, sums in live.items():
                for taken in range(min(count, left) + 1):
                    part = (sums >> (taken * step)) & before[left - taken]
                    if part:
                        next_live[left - taken] = next_live.get(left - taken, 0) | part
                        uses = uses or taken > 0
            if uses:
                used.append(index)
            live = next_live
        return used

    def last_first(self, size: int) -> Vector:
        """The fitting subset of a size that takes the last class if any does, then the next."""
        sums = self._ends(size)
        vector: list[tuple[int, int]] = []
        left = size
        for index in range(len(self._counts) - 1, -1, -1):
            step, count, before = (
                self._scale.steps[index],
                self._counts[index],
                self._columns[index],
            )
            for taken in range(min(count, left), -1, -1):
                part = (sums >> (taken * step)) & before[left - taken]
                if part:
                    if taken:
                        vector.append((index, taken))
                    sums, left = part, left - taken
                    break
        return tuple(vector)

    def vectors(self, size: int) -> Iterator[Vector]:
        """Every fitting subset of a size."""
        sums = self._ends(size)
        while sums:
            lowest = sums & -sums
            sums ^= lowest
            yield from self._back(len(self._counts) - 1, size, lowest.bit_length() - 1, ())

    def _back(self, index: int, left: int, total: int, taken_so_far: Vector) -> Iterator[Vector]:
        while left:
            step, count = self._scale.steps[index], self._counts[index]
            for taken in range(1, min(count, left) + 1):
                rest = total - taken * step
                if rest >= 0 and self._reaches(index, left - taken, rest):
                    yield from self._back(
                        index - 1, left - taken, rest, (*taken_so_far, (index, taken))
                    )
            if not self._reaches(index, left, total):
                return
            index -= 1
        if total == 0:
            yield taken_so_far

    def _reaches(self, column: int, size: int, total: int) -> bool:
        layer = self._bytes.get((column, size))
        if layer is None:
            bits = self._columns[column][size]
            layer = bits.to_bytes(bits.bit_length() // 8 + 1, "little")
            self._bytes[column, size] = layer
        place = total >> 3
        return place < len(layer) and bool(layer[place] >> (total & 7) & 1)
