"""Groups found by subset search for one single transaction on the other side."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from domain.matching.anchored_search import AnchoredSearch, Windows
from domain.matching.block_groups import Block, crowded, decide
from domain.matching.compiled import CompiledRule
from domain.matching.group_sums import Range, range_of
from domain.matching.legs import Leg, by_id
from domain.matching.preference import Rank, is_told_by_ids, rank
from domain.matching.profiles import Fitting, Profile
from domain.matching.selection import (
    Match,
    Selection,
    Why,
    in_competition,
    is_open,
    take_all,
)
from domain.matching.subset_search import NODES_MAX, SubsetSearch
from domain.transactions import SIDE_NAMES

# Work over all singles of one set: about half a second.
_NODES_MAX_TOGETHER = 8 * NODES_MAX
# Amounts looked at over all singles of one set, before any sum is made.
_SCANNED_MAX = 2_000_000
# Subsets of the smallest size that are compared by what a rule prefers.
_RANKED_MAX = 2_000


def select_of_singles(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg], fitting: Fitting
) -> Selection:
    """Find every single its smallest subsets.

    Args:
        sources, targets: In id order.
    """
    searches = _Searches(rule, fitting)
    if searches.scanned > _SCANNED_MAX:
        return crowded(sources, targets)
    return searches.best_first() if rule.greedy else searches.all_at_once()


def group_left(rule: CompiledRule, block: Match, staying: Match) -> Iterator[Block]:
    """What is left of a block's candidates when only some of its members stay."""
    assert rule.many_side is not None
    assert rule.rule.max_size is not None
    single_side = 1 - rule.many_side
    single = staying[single_side][0]
    value = rule.value_of(single)
    assert value is not None
    limits = range_of(rule, value[0], single_side)(value[1])
    assert limits is not None
    # All that is in the block fits, so the smallest size is that of the block's candidates.
    before = _search(rule, block[rule.many_side], single, limits, NODES_MAX).found
    search = _search(rule, staying[rule.many_side], single, limits, NODES_MAX)
    found = search.found
    if found.outcome in ("one", "several") and found.size == before.size and found.members:
        yield from _blocks(rule, search, staying[single_side], staying[rule.many_side])


def _blocks(
    rule: CompiledRule,
    search: SubsetSearch | AnchoredSearch,
    singles: Sequence[Leg],
    others: Sequence[Leg],
) -> list[Block]:
    """What a search found for singles that look alike; one by one where one is refused."""
    match = _match(rule, singles, [others[place] for place in search.found.members])
    if rule.refuses_within(*match):
        subsets = search.subsets(_RANKED_MAX)
        if subsets is not None and len(subsets) * len(singles) <= _RANKED_MAX:
            each = (
                _match(rule, (single,), [others[place] for place in places])
                for single in singles
                for places in subsets
            )
            return [Block(one, alone=True) for one in each]
    return [Block(match, search.found.outcome == "one" and len(singles) == 1)]


def _search(
    rule: CompiledRule,
    others: Sequence[Leg],
    single: Leg,
    limits: tuple[int, int],
    nodes_max: int,
) -> SubsetSearch | AnchoredSearch:
    """Search the groups of a single among legs that could be in one, in id order."""
    most = rule.rule.max_size
    assert most is not None
    if rule.anchored:
        windows = Windows(rule)
        times = {windows.key(leg) for leg in (*others, single)}
        # Where all lie in each other's windows any source is an anchor.
        if not all(windows.allow(one, other) for one in times for other in times):
            return AnchoredSearch(rule, others, single, *limits, most, nodes_max)
    return SubsetSearch(_units(rule, others), *limits, most, nodes_max)


def _units(rule: CompiledRule, legs: Sequence[Leg]) -> list[int]:
    values = [rule.value_of(leg) for leg in legs]
    return [value[1] for value in values if value is not None]


def _match(rule: CompiledRule, singles: Sequence[Leg], members: Sequence[Leg]) -> Match:
    one, many = tuple(sorted(singles, key=by_id)), tuple(sorted(members, key=by_id))
    return Match(one, many) if rule.many_side == 1 else Match(many, one)


class _Searches:
    """The searches for all singles of one set; those that look alike share theirs.

    Attributes:
        scanned: How many amounts all searches together look at.
    """

    def __init__(self, rule: CompiledRule, fitting: Fitting) -> None:
        assert rule.many_side is not None
        assert rule.rule.max_size is not None
        self._rule = rule
        self._most = rule.rule.max_size
        self._single_side = 1 - rule.many_side
        sides = (fitting.sources, fitting.targets)
        # Per profile of the singles: the singles of each amount, and who may be in their groups.
        self._alike: dict[tuple[Profile, tuple[str, int]], list[Leg]] = {}
        self._others: dict[Profile, list[Leg]] = {}
        self.scanned = 0
        for profile, legs in sides[self._single_side].items():
            others = [
                leg
                for one in fitting.others(profile, self._single_side)
                for leg in sides[rule.many_side][one]
                if rule.value_of(leg) is not None
            ]
            self._others[profile] = sorted(others, key=by_id)
            for leg in legs:
                value = rule.value_of(leg)
                if value is not None:
                    self._alike.setdefault((profile, value), []).append(leg)
        per_single = sum(len(legs) * len(self._others[p]) for (p, _), legs in self._alike.items())
        per_amount = sum(len(self._others[profile]) for profile, _ in self._alike)
        self.scanned = per_single if rule.greedy else per_amount
        if rule.anchored:
            # Each of the others may have to be tried as the anchor.
            self.scanned *= max(map(len, self._others.values()), default=0)
        self._nodes_max = min(NODES_MAX, _NODES_MAX_TOGETHER // max(1, len(self._alike)))

    @property
    def _improves(self) -> bool:
        """Whether a larger group may rank before a smaller one that is gone."""
        return bool(self._rule.rule.prefer) and self._rule.rule.prefer[0] != "fewest_members"

    def _limits(self, value: tuple[str, int]) -> Range:
        return range_of(self._rule, value[0], self._single_side)(value[1])

    def all_at_once(self) -> Selection:
        """Find candidates for all singles, then take those that share no member."""
        blocks: list[Block] = []
        reasons: dict[Leg, Why] = {}
        left_open: list[tuple[list[Leg], Why]] = []
        for (profile, value), singles in self._alike.items():
            limits, others = self._limits(value), self._others[profile]
            if limits is None or not others:
                continue
            search = _search(self._rule, others, singles[0], limits, self._nodes_max)
            found = search.found
            if found.members:
                blocks += _blocks(self._rule, search, singles, others)
                continue
            why = self._why(found.outcome, found.size, len(others))
            reasons.update(dict.fromkeys(singles, why))
            if why.kind != "none":
                left_open.append((others, why))
        for others, why in left_open:
            for leg in others:
                reasons.setdefault(leg, why)
        return decide(self._rule, blocks, reasons)

    def _why(self, outcome: str, size: int, others: int) -> Why:
        side = SIDE_NAMES[1 - self._single_side]
        if outcome == "none":
            return Why(
                "none", f"no group of up to {self._most} of {others} {side} transactions fits"
            )
        if outcome == "bound":
            return Why(
                "bound",
                f"the search hit its bound: no group of fewer than {size} of {others} {side} "
                "transactions fits, larger ones were not tried",
            )
        return Why(
            "bound",
            f"several groups of {size} of {others} {side} transactions fit, and the search hit "
            "its bound before it had them all",
        )

    def best_first(self) -> Selection:
        """Take the best candidate there is, again and again."""
        reasons: dict[Leg, Why] = {}
        selection = Selection({}, {}, reasons)
        claimed: set[Leg] = set()
        waiting: list[tuple[Rank, Leg, Match]] = []
        budget = _NODES_MAX_TOGETHER
        singles = [
            (single, profile, value)
            for (profile, value), legs in self._alike.items()
            for single in in_competition(self._rule, legs)
        ]
        places = {}
        for single, profile, value in sorted(singles, key=lambda one: one[0].transaction_id):
            places[single] = profile, value
            budget -= self._put_best(single, profile, value, budget, claimed, waiting, reasons)
        while waiting:
            _, single, match = heappop(waiting)
            members = (*match.sources, *match.targets)
            if not claimed.isdisjoint(members):
                if single not in claimed and not self._improves:
                    profile, value = places[single]
                    budget -= self._put_best(
                        single, profile, value, budget, claimed, waiting, reasons
                    )
                continue
            claimed.update(members)
            if is_open(match):
                take_all(selection, match)
            if self._improves:
                for other in _losing(waiting, members, claimed):
                    profile, value = places[other]
                    budget -= self._put_best(
                        other, profile, value, budget, claimed, waiting, reasons
                    )
        return selection

    def _put_best(
        self,
        single: Leg,
        profile: Profile,
        value: tuple[str, int],
        budget: int,
        claimed: set[Leg],
        waiting: list[tuple[Rank, Leg, Match]],
        reasons: dict[Leg, Why],
    ) -> int:
        """Put the best candidate for a single in order; say how many nodes that took."""
        limits = self._limits(value)
        others = [
            leg for leg in in_competition(self._rule, self._others[profile]) if leg not in claimed
        ]
        if limits is None or not others:
            return 0
        nodes_max = max(0, min(NODES_MAX, budget))
        search = _search(self._rule, others, single, limits, nodes_max)
        best = self._best(search, single, others)
        if best is None:
            found = search.found
            reasons[single] = self._why(found.outcome, found.size, len(others))
        else:
            heappush(waiting, (rank(self._rule, best), single, best))
        return search.found.nodes

    def _best(
        self, search: SubsetSearch | AnchoredSearch, single: Leg, others: list[Leg]
    ) -> Match | None:
        if search.found.outcome == "one" or (is_told_by_ids(self._rule) and not self._rule.refused):
            places = search.lowest()
            candidates = [] if places is None else [places]
        else:
            candidates = search.subsets(_RANKED_MAX) or []
        matches = (
            _match(self._rule, (single,), [others[place] for place in places])
            for places in candidates
        )
        return min(
            (match for match in matches if not self._rule.refuses(*match.sources, *match.targets)),
            key=lambda match: rank(self._rule, match),
            default=None,
        )


def _losing(
    waiting: list[tuple[Rank, Leg, Match]], gone: tuple[Leg, ...], claimed: set[Leg]
) -> list[Leg]:
    """Singles, not claimed themselves, whose best candidate has just lost a member."""
    lost = set(gone)
    singles = {
        single
        for _, single, match in waiting
        if single not in claimed and not lost.isdisjoint((*match.sources, *match.targets))
    }
    return sorted(singles, key=by_id)
