"""Groups with several members on both sides, all of one size at a time, bounded in work.

As in `domain.matching.subset_search` work is counted in nodes, about one sum made each, and what
comes out is a function of the amounts alone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from domain.matching.subset_sums import SumLists, Vector, classes_of, ways

#: Which target sums, ends included, agree with a source sum; None when none does.
RangeOf = Callable[[int], tuple[int, int] | None]


class Part(NamedTuple):
    """A group of which some members can be exchanged for others of the same amount.

    Attributes:
        sources, targets: For each amount it takes: the places where that stands, and how many of
            them are taken.
    """

    sources: tuple[tuple[list[int], int], ...]
    targets: tuple[tuple[list[int], int], ...]


class TwoSidedSearch:
    """All groups of some sources and targets that fit together pair by pair.

    Args:
        sources, targets: Amounts, any sign.
        range_of: Which sums agree.
        most: The largest number of members on either side; there is at least one.
        taken: A source that every group has besides, if any; not among `sources`.

    Attributes:
        nodes: Work done so far.
    """

    def __init__(
        self,
        sources: Sequence[int],
        targets: Sequence[int],
        range_of: RangeOf,
        most: int,
        taken: int | None = None,
    ) -> None:
        self._range_of = range_of
        self._taken, self._taken_count = (0, 0) if taken is None else (taken, 1)
        self._most = (min(most - self._taken_count, len(sources)), min(most, len(targets)))
        self._classes = (
            classes_of(sources, range(len(sources))),
            classes_of(targets, range(len(targets))),
        )
        counts = [one.counts(most) for one, most in zip(self._classes, self._most, strict=True)]
        self._numbers = [ways(one, most) for one, most in zip(counts, self._most, strict=True)]
        self._lists = tuple(
            SumLists(one.values, many) for one, many in zip(self._classes, counts, strict=True)
        )
        self._ordered: dict[int, list[int]] = {}
        self.nodes = len(sources) + len(targets)

    @property
    def largest(self) -> int:
        """How many members a group can have."""
        return sum(self._most) + self._taken_count

    def of_size(self, size: int, nodes_max: int, limit: int) -> list[Part] | None:
        """All groups of so many members.

        Returns:
            None when that takes more than `nodes_max` nodes in all, or there are more than `limit`.
        """
        parts: list[Part] = []
        left = size - self._taken_count
        least = 1 - self._taken_count
        for number in range(max(least, left - self._most[1]), min(self._most[0], left - 1) + 1):
            other = left - number
            self.nodes += self._numbers[0][number] + self._numbers[1][other]
            if self.nodes > nodes_max:
                return None
            for part in self._groups(number, other):
                parts.append(part)
                if len(parts) > limit:
                    return None
        return parts

    def _groups(self, number: int, other: int) -> Iterator[Part]:
        sources, targets = self._lists
        sources.grow_to(number)
        targets.grow_to(other)
        ordered = self._ordered.get(other)
        if ordered is None:
            ordered = self._ordered[other] = sorted(set(targets.sums[other]))
        fitting: dict[int, tuple[int, int]] = {}
        for total in set(sources.sums[number]):
            ends = self._range_of(total + self._taken)
            if ends is not None:
                begin = bisect_left(ordered, ends[0])
                if begin < len(ordered) and ordered[begin] <= ends[1]:
                    fitting[total] = ends
        if not fitting:
            return
        places = sorted(range(len(targets.sums[other])), key=targets.sums[other].__getitem__)
        in_order = [targets.sums[other][place] for place in places]
        for place, total in enumerate(sources.sums[number]):
            ends = fitting.get(total, (1, 0))
            vector = None
            for index in range(bisect_left(in_order, ends[0]), bisect_right(in_order, ends[1])):
                vector = vector or self._members(0, sources.vector(number, place))
                yield Part(vector, self._members(1, targets.vector(other, places[index])))

    def _members(self, side: int, vector: Vector) -> tuple[tuple[list[int], int], ...]:
        members = self._classes[side].members
        return tuple((members[index], count) for index, count in vector)
