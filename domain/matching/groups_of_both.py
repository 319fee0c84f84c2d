"""Groups found by subset search that may have several members on both sides."""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from domain.matching.anchored_search import Windows
from domain.matching.block_groups import Block, crowded, decide
from domain.matching.compiled import CompiledRule
from domain.matching.group_sums import is_constant, range_of
from domain.matching.legs import OPEN, Leg, by_id
from domain.matching.preference import rank
from domain.matching.profiles import Fitting
from domain.matching.selection import Match, Selection, Why, is_open, make_match, take_all
from domain.matching.subset_search import NODES_MAX, VECTORS_MAX
from domain.matching.two_sided_search import Part, TwoSidedSearch

# Sets of legs that all fit together, pair by pair, within one set that is searched.
_BLOCKS_MAX = 64
# Searches within one set where each source may be the anchor of a group.
_ANCHORS_MAX = 256
# Groups of one size that are compared by what a rule prefers.
_RANKED_MAX = 2_000


def select_of_both(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg], fitting: Fitting
) -> Selection:
    """Find the smallest groups, then the smallest of those that these leave over, and so on.

    Args:
        sources, targets: In id order.
    """
    profiles = fitting.blocks(_BLOCKS_MAX)
    if profiles is None:
        return crowded(sources, targets)
    blocks: list[_Legs] = []
    for ours, theirs in profiles:
        blocks += _blocks(
            rule,
            [leg for one in ours for leg in fitting.sources[one]],
            [leg for one in theirs for leg in fitting.targets[one]],
        )
        if len(blocks) > _ANCHORS_MAX:
            return crowded(sources, targets)
    # In an order of their own: which profile came first depends on who came first.
    blocks.sort(key=lambda one: one.name)
    return _BySize(rule, [block for block in blocks if block.is_searchable]).select()


def groups_left(rule: CompiledRule, block: Match, staying: Match) -> Iterator[Block]:
    """What is left of a block's candidates when only some of its members stay."""
    before = _blocks(rule, block.sources, block.targets)
    for size in range(2, max((one.largest for one in before), default=0) + 1):
        found = [one.parts(size, NODES_MAX) for one in before]
        if None in found:
            return
        if any(found):
            for after in _blocks(rule, staying.sources, staying.targets):
                for part in after.parts(size, NODES_MAX) or ():
                    yield from after.blocks(part)
            return


def _blocks(rule: CompiledRule, sources: Sequence[Leg], targets: Sequence[Leg]) -> list["_Legs"]:
    """What is searched by itself: all, or for each source what lies in its window."""
    if not rule.anchored:
        return [_Legs(rule, sources, targets)]
    windows = Windows(rule)
    times = {leg: windows.key(leg) for leg in (*sources, *targets)}
    different = set(times.values())
    if all(windows.allow(one, other) for one in different for other in different):
        return [_Legs(rule, sources, targets)]  # any source is an anchor
    return [
        _Legs(
            rule,
            [
                leg
                for leg in sources
                if leg is not anchor and windows.allow(times[anchor], times[leg])
            ],
            [leg for leg in targets if windows.allow(times[anchor], times[leg])],
            anchor,
        )
        for anchor in sources
    ]


class _Legs:
    """Legs that all fit together pair by pair, made ready for search.

    Args:
        anchor: A source that is in every group, in whose window the others lie; not in `sources`.

    Attributes:
        name: Tells it from others, whatever the order of the legs.
    """

    def __init__(
        self,
        rule: CompiledRule,
        sources: Sequence[Leg],
        targets: Sequence[Leg],
        anchor: Leg | None = None,
    ) -> None:
        self._rule = rule
        self._anchors = [] if anchor is None else [anchor]
        self._sides = (sorted(sources, key=by_id), sorted(targets, key=by_id))
        self.name = [[leg.transaction_id for leg in side] for side in (self._anchors, *self._sides)]
        self._search: TwoSidedSearch | None = None
        self._spent = 0
        self.free(set())

    @property
    def is_searchable(self) -> bool:
        """Whether there is anyone on both sides whose amounts can be compared."""
        return bool((self._anchors or self._sides[0]) and self._sides[1])

    @property
    def nodes(self) -> int:
        """Work done so far."""
        return self._spent + (self._search.nodes if self._search else 0)

    @property
    def largest(self) -> int:
        """How many members a group can have."""
        return self._search.largest if self._search else 0

    @property
    def legs(self) -> list[Leg]:
        """Those that no group has claimed."""
        return [leg for side in (self._anchors, *self._sides) for leg in side]

    def free(self, claimed: set[Leg]) -> None:
        """Search on without the legs that groups have claimed."""
        if claimed and claimed.isdisjoint(self.legs):
            return
        self._spent = self.nodes
        self._search = None
        (sources, ours), (targets, theirs) = (
            self._comparable([leg for leg in side if leg not in claimed]) for side in self._sides
        )
        if not claimed.isdisjoint(self._anchors):
            sources, targets = [], []
        self._sides = sources, targets
        most = self._rule.rule.max_size
        assert most is not None
        if self.is_searchable:
            currency = theirs[0][0]
            taken = [value[1] for value in map(self._rule.value_of, self._anchors) if value]
            self._search = TwoSidedSearch(
                [units for _, units in ours],
                [units for _, units in theirs],
                range_of(self._rule, currency, 0),
                most,
                taken[0] if taken else None,
            )

    def _comparable(self, legs: list[Leg]) -> tuple[list[Leg], list[tuple[str, int]]]:
        """Those that have what the rule compares, and its values."""
        values = [(leg, self._rule.value_of(leg)) for leg in legs]
        return (
            [leg for leg, value in values if value is not None],
            [value for _, value in values if value is not None],
        )

    def parts(self, size: int, nodes_max: int) -> list[Part] | None:
        """All groups of a size; None when the bound is hit."""
        if self._search is None or size > self._search.largest:
            return []
        # A range that depends on the sum takes as long to find as twenty sums.
        weight = 1 if is_constant(self._rule) else 20
        return self._search.of_size(size, nodes_max // weight, VECTORS_MAX)

    def match(self, part: Part) -> Match:
        """The members that any choice of a part has."""
        sources, targets = (
            [side[place] for places, _ in one for place in places]
            for side, one in zip(self._sides, (part.sources, part.targets), strict=True)
        )
        return make_match([*self._anchors, *sources], targets)

    def blocks(self, part: Part) -> list[Block]:
        """What a part stands for; one by one where one of its groups is refused."""
        match = self.match(part)
        if self._rule.refuses_within(*match):
            choices = list(islice(self.choices(part), _RANKED_MAX + 1))
            if len(choices) <= _RANKED_MAX:
                return [Block(one, alone=True) for one in choices]
        return [Block(match, _is_one(part))]

    def choices(self, part: Part) -> Iterator[Match]:
        """Every group that a part stands for."""
        sources, targets = self._sides
        for ours in _choose(part.sources):
            for theirs in _choose(part.targets):
                yield make_match(
                    [*self._anchors, *(sources[place] for place in ours)],
                    [targets[place] for place in theirs],
                )


def _choose(taken: tuple[tuple[list[int], int], ...]) -> Iterator[tuple[int, ...]]:
    if not taken:
        yield ()
        return
    (places, count), rest = taken[0], taken[1:]
    for chosen in combinations(places, count):
        for others in _choose(rest):
            yield (*chosen, *others)


def _is_one(part: Part) -> bool:
    """Whether a part stands for one group only."""
    return all(len(places) == count for places, count in (*part.sources, *part.targets))


class _BySize:
    """The search through all blocks of one set, one size after another."""

    def __init__(self, rule: CompiledRule, blocks: list[_Legs]) -> None:
        self._rule = rule
        self._blocks = blocks
        self._reasons: dict[Leg, Why] = {}
        self._decided: list[Block] = []
        self._selection = Selection({}, {}, self._reasons)

    def select(self) -> Selection:
        """Go through the sizes; whoever a size claims is not looked at in the next."""
        if self._rule.greedy and not self._rule.suggests:
            for block in self._blocks:
                block.free({leg for leg in block.legs if leg.rule != OPEN})
        size = 2
        searching = list(self._blocks)
        while searching and size <= max(block.largest for block in searching):
            found: list[tuple[_Legs, list[Part]]] = []
            for block in list(searching):
                parts = block.parts(size, NODES_MAX - self._nodes_of_others(block))
                if parts is None:
                    searching.remove(block)
                    self._stop(block, size)
                elif parts:
                    found.append((block, parts))
            claimed = self._take_best(found, size) if self._rule.greedy else self._claim(found)
            if claimed:
                for block in self._blocks:
                    block.free(claimed)
            size += 1
        most = self._rule.rule.max_size
        for block in searching:
            why = Why("none", f"no group of up to {most} transactions a side fits")
            for leg in block.legs:
                self._reasons.setdefault(leg, why)
        if not self._rule.greedy:
            return decide(self._rule, self._decided, self._reasons)
        return self._selection

    def _nodes_of_others(self, block: _Legs) -> int:
        return sum(other.nodes for other in self._blocks if other is not block)

    def _stop(self, block: _Legs, size: int) -> None:
        sources = sum(leg.side == 0 for leg in block.legs)
        why = Why(
            "bound",
            f"the search hit its bound: groups of {size} or more among {sources} source and "
            f"{len(block.legs) - sources} target transactions were not tried",
        )
        for leg in block.legs:
            self._reasons.setdefault(leg, why)

    def _claim(self, found: list[tuple[_Legs, list[Part]]]) -> set[Leg]:
        claimed: set[Leg] = set()
        for block, parts in found:
            for part in parts:
                match = block.match(part)
                self._decided += block.blocks(part)
                claimed.update(match.sources, match.targets)
        return claimed

    def _take_best(self, found: list[tuple[_Legs, list[Part]]], size: int) -> set[Leg]:
        candidates: dict[Match, None] = {}
        refused: list[Match] = []
        for block, parts in found:
            for part in parts:
                for match in block.choices(part):
                    if self._rule.refuses(*match.sources, *match.targets):
                        refused.append(match)
                        continue
                    candidates[match] = None
                    if len(candidates) > _RANKED_MAX:
                        return self._too_many(found, size)
        claimed: set[Leg] = set()
        for match in sorted(candidates, key=lambda one: rank(self._rule, one)):
            members = (*match.sources, *match.targets)
            if claimed.isdisjoint(members):
                if is_open(match):
                    take_all(self._selection, match)
                claimed.update(members)
        # A refused group is not taken, but it stays the smallest of its members.
        still_whole = [one for one in refused if claimed.isdisjoint((*one.sources, *one.targets))]
        for match in still_whole:
            claimed.update(match.sources, match.targets)
        return claimed

    def _too_many(self, found: list[tuple[_Legs, list[Part]]], size: int) -> set[Leg]:
        """Leave groups alone that are too many to be compared."""
        why = Why("bound", f"more than {_RANKED_MAX} groups of {size} fit, too many to compare")
        claimed: set[Leg] = set()
        for block, parts in found:
            for part in parts:
                match = block.match(part)
                claimed.update(match.sources, match.targets)
        for leg in claimed:
            self._reasons.setdefault(leg, why)
        return claimed
