"""Subset search where all members must lie in the window of one source's day (`anchor`)."""

from collections.abc import Sequence
from typing import Any

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.subset_search import NODES_MAX, Found, SubsetSearch

SpanKey = tuple[Any, ...]


class Windows:
    """Which legs lie in whose window under a rule."""

    def __init__(self, rule: CompiledRule) -> None:
        self._spans = rule.spans

    def key(self, leg: Leg) -> SpanKey:
        """What a leg is placed by; legs with one key lie in the same windows."""
        return tuple([leg.keys[slot] for slot, _ in self._spans])

    def allow(self, anchor: SpanKey, other: SpanKey) -> bool:
        """Whether another leg lies in the window of an anchor."""
        return all(
            begin is not None and end is not None and span.allows(end - begin)
            for begin, end, (_, span) in zip(anchor, other, self._spans, strict=True)
        )


class AnchoredSearch:
    """The smallest groups of sources for one target, each with a source that anchors all others.

    Every source is tried as the anchor: it is taken, and the rest searched for in its window.

    Args:
        sources: In id order; each could be in a group with the target, windows aside.
        low, high, most, nodes_max: As for `SubsetSearch`.

    Attributes:
        found: As of a `SubsetSearch` over the sources.
    """

    def __init__(
        self,
        rule: CompiledRule,
        sources: Sequence[Leg],
        target: Leg,
        low: int,
        high: int,
        most: int,
        nodes_max: int = NODES_MAX,
    ) -> None:
        self._windows = Windows(rule)
        self._keys = [self._windows.key(leg) for leg in sources]
        values = [rule.value_of(leg) for leg in sources]
        self._units = [value[1] for value in values if value is not None]
        assert len(self._units) == len(sources), "who lacks a value is not searched"
        self._target = self._windows.key(target)
        self._limits = low, high, most
        # Sources that look alike are anchors of groups that look alike.
        self._alike: dict[tuple[SpanKey, int], list[int]] = {}
        for place, one in enumerate(zip(self._keys, self._units, strict=True)):
            self._alike.setdefault(one, []).append(place)
        self._nodes_max = nodes_max // max(1, len(self._alike))
        self._firsts: list[tuple[int, list[int], SubsetSearch | None]] = []
        self.found: Found = self._search()

    def _with_anchor(self, place: int) -> tuple[int, list[int], SubsetSearch | None] | None:
        """The search with an anchor taken.

        Returns:
            The anchor's place, the places of the others, their search; no search where the anchor
            by itself fits. None when the target is not in its window.
        """
        key, units = self._keys[place], self._units[place]
        low, high, most = self._limits
        if not self._windows.allow(key, self._target):
            return None
        if low <= units <= high:
            return place, [], None
        rest = [
            one
            for one in range(len(self._keys))
            if one != place and self._windows.allow(key, self._keys[one])
        ]
        amounts = [self._units[one] for one in rest]
        return (
            place,
            rest,
            SubsetSearch(amounts, low - units, high - units, most - 1, self._nodes_max),
        )

    def _search(self) -> Found:
        nodes = len(self._keys)
        stopped_at: int | None = None
        tried: list[tuple[int, list[int], list[int], SubsetSearch | None]] = []
        for alike in self._alike.values():
            with_anchor = self._with_anchor(alike[0])
            if with_anchor is None:
                continue
            _, rest, search = with_anchor
            size = 1
            if search is not None:
                nodes += search.found.nodes
                size += search.found.size
                if search.found.outcome == "bound":
                    stopped_at = size if stopped_at is None else min(stopped_at, size)
            if search is None or search.found.outcome in ("one", "several"):
                tried.append((size, alike, rest, search))
        best = min((size for size, *_ in tried), default=None)
        if stopped_at is not None and (best is None or stopped_at <= best):
            return Found("bound", stopped_at, (), nodes)
        if best is None:
            return Found("none", 0, (), nodes)
        members: set[int] = set()
        for size, alike, rest, search in tried:
            if size == best:
                if search is not None and not search.found.members:
                    return Found("several", best, (), nodes)
                self._firsts.append((alike[0], rest, search))
                members.update(alike)
                members.update(rest[one] for one in (search.found.members if search else ()))
        places = tuple(sorted(members))
        return Found("one" if len(places) == best else "several", best, places, nodes)

    def lowest(self) -> tuple[int, ...] | None:
        """As `SubsetSearch.lowest`."""
        if not self.found.members:
            return None
        lowest: list[tuple[int, ...]] = []
        for place, rest, search in self._firsts:
            others = () if search is None else search.lowest()
            if others is None:
                return None
            lowest.append(tuple(sorted((place, *(rest[one] for one in others)))))
        return min(lowest)

    def subsets(self, limit: int) -> list[tuple[int, ...]] | None:
        """As `SubsetSearch.subsets`."""
        if self.found.outcome in ("none", "bound"):
            return []
        if not self.found.members:
            return None
        subsets: set[tuple[int, ...]] = set()
        for member in self.found.members:
            with_anchor = self._with_anchor(member)
            if with_anchor is None:
                continue
            place, rest, search = with_anchor
            some: list[tuple[int, ...]] | None = [()]
            if search is not None:
                some = search.subsets(limit) if search.found.size + 1 == self.found.size else []
            if some is None:
                return None
            for others in some:
                subsets.add(tuple(sorted((place, *(rest[one] for one in others)))))
            if len(subsets) > limit:
                return None
        return sorted(subsets)
