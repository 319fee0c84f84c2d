"""Which few of many amounts sum to a value: exact, smallest first, and bounded in work.

Integers only; amounts may be negative; the value is a range, ends included. Work is counted in
nodes, about one sum made each, never in time: what a search answers, "the bound was hit" included,
is a function of the amounts alone, whatever their order and the machine.

Two ways are open for each size, and the one with fewer nodes is gone: halves of subsets meeting in
the middle (`domain.matching.subset_sums`, whatever the width of the amounts), and all reachable
sums as bits (`domain.matching.reachable_sums`, however many subsets there are).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from typing import Literal, NamedTuple

from domain.matching.reachable_sums import BITS_MAX, ReachableSums, Scale
from domain.matching.subset_sums import Classes, Meeting, Vector, classes_of, ways

Outcome = Literal["none", "one", "several", "bound"]

#: Nodes one search may take: about 40 ms at worst, and enough for all of 60 amounts' subsets of 8.
NODES_MAX = 1 << 20
#: Subsets of one size that are written out; beyond it only their members are told.
VECTORS_MAX = 1_000


class Found(NamedTuple):
    """What a search answers.

    Attributes:
        outcome: `none`: no subset fits. `one`: exactly one of the smallest size does. `several`:
            more than one of that size. `bound`: none fits below `size`, and looking at that size
            would take more nodes than are allowed.
        size: How many members the smallest subsets have; with `bound` where the search ended.
        members: Places in the amounts, ascending: the one subset; with `several` every place that
            stands in any of them, empty when they are too many to tell.
        nodes: Work done.
    """

    outcome: Outcome
    size: int
    members: tuple[int, ...]
    nodes: int


class SubsetSearch:
    """The smallest subsets of some amounts whose sum is in a range.

    Args:
        amounts: In minor units, any sign.
        low, high: What the sum may be, ends included.
        most: The largest number of members; a subset has at least one.
        nodes_max: Work allowed.
    """

    def __init__(
        self,
        amounts: Sequence[int],
        low: int,
        high: int,
        most: int,
        nodes_max: int = NODES_MAX,
    ) -> None:
        self._low, self._high = low, high
        self._nodes, self._nodes_max = len(amounts), nodes_max
        usable = _usable(amounts, low, high, most)
        self._classes: Classes = classes_of(amounts, usable)
        self._amounts = amounts
        self._most = min(most, len(usable))
        self._vectors: list[Vector] | None = None
        self._reachable: ReachableSums | None = None
        self.found: Found = self._search()

    # -- the smallest size --

    def _search(self) -> Found:
        sizes = self._sizes_in_range()
        if self._low > self._high or not sizes:
            return Found("none", 0, (), self._nodes)
        values = self._classes.values
        counts = self._classes.counts(self._most)
        numbers = ways(counts, self._most)
        meeting = Meeting(values, counts, self._low, self._high)
        scale = Scale(values, counts, self._low, self._high, self._most)
        bits_cost = scale.cost(counts, self._most)
        if scale.bits(self._most) > BITS_MAX:
            bits_cost = self._nodes_max + 1
        for size in sizes:
            cost = Meeting.cost(numbers, size)
            if self._nodes + min(cost, bits_cost) > self._nodes_max:
                return Found("bound", size, (), self._nodes)
            if bits_cost <= cost:
                return self._by_bits(scale, counts, size)
            self._nodes += cost
            vectors = meeting.of_size(size, VECTORS_MAX)
            if vectors is None:
                if self._nodes + bits_cost > self._nodes_max:
                    return Found("several", size, (), self._nodes)
                return self._by_bits(scale, counts, size)
            if vectors:
                self._vectors = vectors
                return self._answer(size, {index for vector in vectors for index, _ in vector})
        return Found("none", 0, (), self._nodes)

    def _by_bits(self, scale: Scale, counts: list[int], least: int) -> Found:
        self._nodes += scale.cost(counts, self._most)
        reachable = ReachableSums(scale, counts, self._most)
        size = reachable.smallest(least)
        if size is None:
            return Found("none", 0, (), self._nodes)
        self._reachable = reachable
        return self._answer(size, set(reachable.used(size)))

    def _answer(self, size: int, used: set[int]) -> Found:
        # Two subsets of one size have more members between them than either.
        members = tuple(sorted(place for index in used for place in self._classes.members[index]))
        return Found("one" if len(members) == size else "several", size, members, self._nodes)

    def _sizes_in_range(self) -> list[int]:
        """Sizes of which some subset might fit, by their smallest and largest sums."""
        ordered = [
            value
            for value, places in zip(self._classes.values, self._classes.members, strict=True)
            for _ in places[: self._most]
        ]
        sizes: list[int] = []
        least = largest = 0
        for size in range(1, self._most + 1):
            least += ordered[size - 1]
            largest += ordered[-size]
            if least <= self._high and largest >= self._low:
                sizes.append(size)
        return sizes

    # -- which of them --

    def lowest(self) -> tuple[int, ...] | None:
        """The first of the smallest subsets, by their members' places in ascending order.

        Returns:
            None when there is none, or when telling would take more than the bound.
        """
        found = self.found
        if found.outcome == "one":
            return found.members
        if found.outcome != "several" or not found.members:
            return None
        size = found.size
        if self._vectors is not None:
            return min(self._first_of(vector) for vector in self._vectors)
        # Only the first members of a class can be in it; walked back from the last to the first.
        kept = set(found.members)
        places = sorted(
            (place for places in self._classes.members for place in places[:size] if place in kept),
            reverse=True,
        )
        values, counts = [self._amounts[place] for place in places], [1] * len(places)
        scale = Scale(values, counts, self._low, self._high, size)
        if scale.bits(size) > BITS_MAX or scale.cost(counts, size) > self._nodes_max:
            return None
        vector = ReachableSums(scale, counts, size).last_first(size)
        return tuple(sorted(places[index] for index, _ in vector))

    def _first_of(self, vector: Vector) -> tuple[int, ...]:
        members = self._classes.members
        return tuple(sorted(place for index, count in vector for place in members[index][:count]))

    def subsets(self, limit: int) -> list[tuple[int, ...]] | None:
        """All of the smallest subsets; None when there are more than `limit`, or unknown."""
        if self.found.outcome in ("none", "bound"):
            return []
        if not self.found.members:
            return None
        vectors: Iterator[Vector] = iter(self._vectors or ())
        if self._reachable is not None:
            vectors = self._reachable.vectors(self.found.size)
        subsets = list(islice(self._written_out(vectors), limit + 1))
        return None if len(subsets) > limit else sorted(subsets)

    def _written_out(self, vectors: Iterator[Vector]) -> Iterator[tuple[int, ...]]:
        for vector in vectors:
            for places in self._choices(vector):
                yield tuple(sorted(places))

    def _choices(self, vector: Vector) -> Iterator[tuple[int, ...]]:
        if not vector:
            yield ()
            return
        (index, count), rest = vector[0], vector[1:]
        for chosen in combinations(self._classes.members[index], count):
            for others in self._choices(rest):
                yield (*chosen, *others)


def search(
    amounts: Sequence[int], low: int, high: int, most: int, nodes_max: int = NODES_MAX
) -> Found:
    """Find the smallest subsets whose sum is in low…high; see `SubsetSearch`."""
    return SubsetSearch(amounts, low, high, most, nodes_max).found


def _usable(amounts: Sequence[int], low: int, high: int, most: int) -> list[int]:
    """Places of the amounts that can be in a fitting subset at all."""
    ordered = sorted(amounts)
    deepest = sum(amount for amount in ordered[: most - 1] if amount < 0)
    highest = sum(amount for amount in ordered[::-1][: most - 1] if amount > 0)
    return [
        place
        for place, amount in enumerate(amounts)
        if amount + deepest <= high and amount + highest >= low
    ]
