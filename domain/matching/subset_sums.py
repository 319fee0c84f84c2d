"""Sums of subsets as lists, for amounts of any width: the sparse half of subset search.

Equal amounts form one *class*; a subset is told by how many it takes of each (`Vector`), so ten
thousand twins cost no more than a few.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

#: (class, how many of it), the classes in no particular order.
Vector = tuple[tuple[int, int], ...]
# An index of a list is made in the time of about so many searches through it.
_SCANS_MAX = 6


class Classes(NamedTuple):
    """Amounts by value.

    Attributes:
        values: The distinct amounts, ascending.
        members: The places in the given amounts where each stands, ascending.
    """

    values: list[int]
    members: list[list[int]]

    def counts(self, most: int) -> list[int]:
        """How many of each class a subset of at most `most` members can take."""
        return [min(len(places), most) for places in self.members]


def classes_of(amounts: Sequence[int], places: Sequence[int]) -> Classes:
    """Gather the amounts at some places by value."""
    by_value: dict[int, list[int]] = {}
    for place in places:
        by_value.setdefault(amounts[place], []).append(place)
    values = sorted(by_value)
    return Classes(values, [by_value[value] for value in values])


def ways(counts: Sequence[int], most: int) -> list[int]:
    """How many vectors there are of each size 0…most."""
    alike: dict[int, int] = {}
    for count in counts:
        alike[count] = alike.get(count, 0) + 1
    total = [1, *[0] * most]
    for count, classes in alike.items():
        factor = [1 if size <= count else 0 for size in range(most + 1)]
        power = classes
        while power:
            if power & 1:
                total = _product(total, factor)
            power >>= 1
            if power:
                factor = _product(factor, factor)
    return total


def _product(left: list[int], right: list[int]) -> list[int]:
    size = len(left)
    return [sum(left[i] * right[j - i] for i in range(j + 1)) for j in range(size)]


class SumLists:
    """The sum of every vector of each size, in an order that tells the vector from its place.

    Vectors that use only the first classes come first, so those of any prefix are a slice.

    Attributes:
        sums: At size: the sums.
        ends: At size, number of classes: how many of `sums` use only the first so many classes.
    """

    def __init__(self, values: Sequence[int], counts: Sequence[int]) -> None:
        self._values = values
        self._counts = counts
        self.sums: list[list[int]] = [[0]]
        self.ends: list[list[int]] = [[1] * (len(values) + 1)]
        self._starts: list[list[int]] = [[]]
        self._groups: list[list[tuple[int, int]]] = [[]]

    def grow_to(self, size: int) -> None:
        """Make the lists up to a size."""
        while len(self.sums) <= size:
            self._add_size(len(self.sums))

    def _add_size(self, size: int) -> None:
        sums: list[int] = []
        ends, starts, groups = [0], [], []
        for index, (value, count) in enumerate(zip(self._values, self._counts, strict=True)):
            for taken in range(1, min(count, size) + 1):
                before = self.ends[size - taken][index]
                if before:
                    starts.append(len(sums))
                    groups.append((index, taken))
                    step = taken * value
                    sums += [step + one for one in self.sums[size - taken][:before]]
            ends.append(len(sums))
        self.sums.append(sums)
        self.ends.append(ends)
        self._starts.append(starts)
        self._groups.append(groups)

    def vector(self, size: int, place: int) -> Vector:
        """The vector whose sum stands at a place of `sums[size]`."""
        taken: list[tuple[int, int]] = []
        while size:
            group = bisect_right(self._starts[size], place) - 1
            place -= self._starts[size][group]
            one = self._groups[size][group]
            taken.append(one)
            size -= one[1]
        return tuple(taken)


class Places:
    """Where sums stand in a list: looked for one by one, and in an index once asked often.

    Args:
        width: A sum is looked for among so many values following each other.
    """

    def __init__(self, sums: list[int], width: int) -> None:
        self._sums, self._width = sums, width
        self._asked = 0
        self._exact: dict[int, list[int]] = {}
        self._order: list[int] = []
        self._sorted: list[int] = []

    def of(self, low: int, before: int) -> list[int]:
        """Places under `before` of the sums in low…low+width-1."""
        self._asked += 1
        high = low + self._width
        if self._asked <= _SCANS_MAX:
            return [place for place, one in enumerate(self._sums[:before]) if low <= one < high]
        if self._width == 1:
            if not self._exact:
                for place, one in enumerate(self._sums):
                    self._exact.setdefault(one, []).append(place)
            found = self._exact.get(low, [])
        else:
            if not self._order:
                self._order = sorted(range(len(self._sums)), key=self._sums.__getitem__)
                self._sorted = [self._sums[place] for place in self._order]
            begin = bisect_left(self._sorted, low)
            found = self._order[begin : bisect_left(self._sorted, high, begin)]
        return [place for place in found if place < before]


class _Extremes:
    """The least and the largest sum of so many members, over classes in ascending order."""

    def __init__(self, values: Sequence[int], counts: Sequence[int]) -> None:
        self._totals = [0]
        self._ends = [0]
        for value, count in zip(values, counts, strict=True):
            for _ in range(count):
                self._totals.append(self._totals[-1] + value)
            self._ends.append(len(self._totals) - 1)

    def below(self, classes: int, number: int) -> tuple[int, int] | None:
        """Of the first so many classes; None when they have fewer members than that."""
        end = self._ends[classes]
        totals = self._totals
        return None if end < number else (totals[number], totals[end] - totals[end - number])

    def above(self, classes: int, number: int) -> tuple[int, int]:
        """Of all but the first so many classes, which have no fewer members than that."""
        begin, totals = self._ends[classes], self._totals
        return totals[begin + number] - totals[begin], totals[-1] - totals[-1 - number]


class Meeting:
    """Subsets of one size after another, each made of a lower and an upper half.

    The lower half ends with the class of the subset's middle member, so each vector is met once.
    Halves are looked up, not tried against each other: size 8 costs what size 4 has subsets. As
    classes ascend, a half with much in it leaves the other little: what cannot meet is left out.

    Args:
        values: Ascending.
        low, high: What the sum may be, ends included.
    """

    def __init__(self, values: list[int], counts: list[int], low: int, high: int) -> None:
        self._values, self._counts = values, counts
        self._low, self._high, self._width = low, high, high - low + 1
        self._lower = SumLists(values, counts)
        self._upper = SumLists(values[::-1], counts[::-1])
        self._extremes = _Extremes(values, counts)
        self._places: dict[int, Places] = {}

    @staticmethod
    def cost(numbers: Sequence[int], size: int) -> int:
        """How many sums a size takes, given how many vectors there are of each size."""
        return numbers[size - size // 2] + numbers[size // 2]

    def of_size(self, size: int, limit: int) -> list[Vector] | None:
        """All vectors of a size whose sum fits; None when there are more than `limit`."""
        upper_most = size // 2
        middle = size - upper_most
        self._lower.grow_to(middle - 1)
        self._upper.grow_to(upper_most)
        seen: list[set[int]] = [set() for _ in range(upper_most + 1)]
        filled = [0] * (upper_most + 1)
        found: list[Vector] = []
        for index in range(len(self._values) - 1, -1, -1):
            for number in range(upper_most + 1):
                filled[number] = self._fill(seen[number], filled[number], index, number, size)
            for taken in range(1, min(self._counts[index], size) + 1):
                for below in range(max(0, middle - taken), min(middle, size - taken + 1)):
                    known = seen[size - taken - below]
                    if known:
                        self._meet(index, taken, below, size, known, found, limit)
                    if len(found) > limit:
                        return None
        return found

    def _fill(self, seen: set[int], begin: int, index: int, number: int, size: int) -> int:
        """Note the upper halves above a class that could meet a lower half up to it."""
        end = self._upper.ends[number][len(self._values) - 1 - index]
        lower = self._extremes.below(index + 1, size - number)
        if end > begin and lower is not None:
            low, high = self._low - lower[1], self._high - lower[0]
            seen.update(
                self._keys(
                    [one for one in self._upper.sums[number][begin:end] if low <= one <= high]
                )
            )
        return end

    def _keys(self, sums: list[int]) -> list[int]:
        width = self._width
        return sums if width == 1 else [one // width for one in sums]

    def _meet(
        self,
        index: int,
        taken: int,
        below: int,
        size: int,
        known: set[int],
        found: list[Vector],
        limit: int,
    ) -> None:
        """Find the vectors that take so many of one class, `below` under it, the rest above."""
        number, width = size - taken - below, self._width
        # Such a rest is known, so that many members are above.
        above = self._extremes.above(index + 1, number)
        rest = self._low - taken * self._values[index]
        sums = self._lower.sums[below][: self._lower.ends[below][index]]
        # What the upper half has to be at least lies between these.
        low, high = rest - above[1], rest + width - 1 - above[0]
        wanted = [rest - one for one in sums if low <= one <= high]
        keys = self._keys(wanted)
        # An interval as wide as a bucket lies in that bucket and the next.
        if known.isdisjoint(keys) and (width == 1 or known.isdisjoint([key + 1 for key in keys])):
            return
        places = self._places.get(number)
        if places is None:
            places = self._places[number] = Places(self._upper.sums[number], width)
        last = len(self._values) - 1
        before = self._upper.ends[number][last - index]
        for place, one in enumerate(sums):
            if not low <= one <= high:
                continue
            key = rest - one if width == 1 else (rest - one) // width
            if key not in known and (width == 1 or key + 1 not in known):
                continue
            for there in places.of(rest - one, before):
                upper = [(last - i, count) for i, count in self._upper.vector(number, there)]
                lower = self._lower.vector(below, place)
                found.append((*lower, (index, taken), *upper))
                if len(found) > limit:
                    return
