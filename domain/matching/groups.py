"""What a rule with a many side makes of the legs found together.

A rule takes groups whole by a key, or finds them by subset search. With one member on one side, the
*single*, the candidates are the smallest groups that fit that single; with several on both, the
smallest groups of all that is there, then the smallest of what these leave over.

Candidates are not listed where legs can stand for each other, for they may be too many: a *block*
has all the members that some of its candidates have, and stands for them all.
"""

from collections.abc import Collection, Iterator, Sequence

from domain.matching.block_groups import Block, crowded, decide
from domain.matching.compiled import BOTH, CompiledRule
from domain.matching.group_sums import range_of
from domain.matching.groups_of_both import groups_left, select_of_both
from domain.matching.groups_of_singles import group_left, select_of_singles
from domain.matching.legs import Leg, by_id
from domain.matching.preference import rank
from domain.matching.profiles import Fitting
from domain.matching.selection import (
    EMPTY,
    Match,
    Selection,
    Why,
    connected,
    is_open,
    make_match,
    take_all,
    unrefused,
)

# More pairs of profiles than this are not judged: it takes a tenth of a second.
_PAIRS_MAX = 250_000
# Candidates of a whole group with more members than this in all are not ranked.
_RANKED_MEMBERS_MAX = 1_000_000


def select_groups(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """Apply a rule with a many side to one set of legs found together, rivals included."""
    if not sources or not targets:
        return EMPTY
    if rule.rule.whole_key is not None:
        return _select_whole(rule, sources, targets)
    sources, targets = sorted(sources, key=by_id), sorted(targets, key=by_id)
    fitting = Fitting(rule, sources, targets)
    if fitting.pairs > _PAIRS_MAX:
        return crowded(sources, targets)
    if rule.many_side == BOTH:
        return select_of_both(rule, sources, targets, fitting)
    return select_of_singles(rule, sources, targets, fitting)


def left_of(
    rule: CompiledRule, group: Sequence[Match], staying: set[Leg], lone: Collection[Match]
) -> list[Block]:
    """What is left of a set of connected candidates, under any rule.

    Args:
        staying: Its members that no other rule takes.
        lone: Which of the candidates are one possible match each, see `Selection.lone`.

    Returns:
        The members of each connected set, and whether they are one possible match.
    """
    left: dict[Match, bool] = {}
    for match in group:
        sources = tuple(leg for leg in match.sources if leg in staying)
        targets = tuple(leg for leg in match.targets if leg in staying)
        if len(sources) + len(targets) == len(match.sources) + len(match.targets):
            left[match] = match in lone or _is_pair(rule, match)
        elif sources and targets:
            for block in _left_of_block(rule, match, Match(sources, targets)):
                if not (block.alone and rule.refuses(*_members(block.match))):
                    left[block.match] = block.alone and left.get(block.match, True)
    return [
        Block(one[0], left[one[0]]) if len(one) == 1 else Block(_all_of(one), alone=False)
        for one in connected(list(left))
    ]


def _is_pair(rule: CompiledRule, match: Match) -> bool:
    return rule.many_side is None and len(match.sources) == len(match.targets) == 1


def _all_of(candidates: Sequence[Match]) -> Match:
    return make_match(
        list({leg for match in candidates for leg in match.sources}),
        list({leg for match in candidates for leg in match.targets}),
    )


def _left_of_block(rule: CompiledRule, block: Match, staying: Match) -> Iterator[Block]:
    if rule.many_side is None:
        # It stood for all pairs of its members, and so does what is left.
        for match in unrefused(rule, staying.sources, staying.targets):
            yield Block(match, _is_pair(rule, match))
    elif rule.rule.whole_key is not None:
        many = rule.many_side
        if many != BOTH and len(staying[many]) == len(block[many]):
            # A group is whole or not at all; any single stays a candidate.
            yield Block(staying, len(staying[1 - many]) == 1)
    elif rule.many_side == BOTH:
        yield from groups_left(rule, block, staying)
    else:
        yield from group_left(rule, block, staying)


# -- whole groups --


def _select_whole(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """One side or both whole, all or nothing."""
    # Sums are asked first: a group that grows member by member costs little until it is whole.
    everyone = (*sources, *targets)
    singles: list[Leg] = []
    if rule.many_side == BOTH:
        could_fit = rule.sides_agree(sources, targets)
    else:
        many, others = (sources, targets) if rule.many_side == 0 else (targets, sources)
        singles = _of_the_sum(rule, many, others)
        could_fit = bool(singles)
        sources, targets = (many, singles) if rule.many_side == 0 else (singles, many)
    if not could_fit:
        return _not_whole(rule, everyone)
    sources, targets = sorted(sources, key=by_id), sorted(targets, key=by_id)
    fitting = Fitting(rule, sources, targets)
    if fitting.pairs > _PAIRS_MAX:
        return crowded(sources, targets)
    whole = Match(tuple(sources), tuple(targets))
    if rule.many_side == BOTH:
        candidates = [whole] if _holds_together(rule, whole, fitting) else []
    else:
        singles = _unrefused_singles(rule, whole, _fitting_all(rule, whole, fitting))
        if rule.greedy and len(many) * len(singles) > _RANKED_MEMBERS_MAX:
            return crowded(sources, targets)
        candidates = [_with_singles(rule, whole, [single]) for single in singles]
        whole = _with_singles(rule, whole, singles)
    if not candidates:
        return _not_whole(rule, everyone)
    if not rule.greedy:
        return decide(rule, [Block(whole, alone=len(candidates) == 1)], {})
    selection = Selection({}, {}, {})
    competing = candidates if rule.suggests else filter(is_open, candidates)
    best = min(competing, key=lambda one: rank(rule, one), default=None)
    if best is not None and is_open(best):
        take_all(selection, best)
    return selection


def _with_singles(rule: CompiledRule, whole: Match, singles: list[Leg]) -> Match:
    chosen = tuple(sorted(singles, key=by_id))
    return whole._replace(targets=chosen) if rule.many_side == 0 else whole._replace(sources=chosen)


def _unrefused_singles(rule: CompiledRule, whole: Match, singles: list[Leg]) -> list[Leg]:
    if not rule.refused:
        return singles
    return [
        single
        for single in singles
        if not rule.refuses(*_members(_with_singles(rule, whole, [single])))
    ]


def _members(match: Match) -> tuple[Leg, ...]:
    return (*match.sources, *match.targets)


def _of_the_sum(rule: CompiledRule, many: list[Leg], singles: list[Leg]) -> list[Leg]:
    """Who of the other side has an amount that agrees with the sum of a whole group."""
    first = rule.value_of(many[0])
    if first is None:
        return []
    currency, total = first[0], 0
    for leg in many:
        value = rule.value_of(leg)
        if value is None or value[0] != currency:
            return []
        total += value[1]
    agreeing = range_of(rule, currency, many[0].side)(total)
    if agreeing is None:
        return []
    low, high = agreeing
    values = [(leg, rule.value_of(leg)) for leg in singles]
    return [
        leg for leg, value in values if value and value[0] == currency and low <= value[1] <= high
    ]


def _holds_together(rule: CompiledRule, group: Match, fitting: Fitting) -> bool:
    """Whether all pairs of a group whose sums agree are within the other conditions."""
    return (
        fitting.all_fit()
        and (not rule.anchored or rule.anchored_on_a_source(group.sources, group.targets))
        and not rule.refuses(*_members(group))
    )


def _fitting_all(rule: CompiledRule, whole: Match, fitting: Fitting) -> list[Leg]:
    """The singles that fit every member of a group, whose sum they have."""
    single_side = 1 if rule.many_side == 0 else 0
    group_profiles, single_profiles = fitting.sources, fitting.targets
    if single_side == 0:
        group_profiles, single_profiles = single_profiles, group_profiles
    found: list[Leg] = []
    for profile, legs in single_profiles.items():
        if len(fitting.others(profile, single_side)) < len(group_profiles):
            continue
        # Anchored groups have several sources, so the single is a target.
        if not rule.anchored or rule.anchored_on_a_source(whole.sources, legs[:1]):
            found += legs
    return found


def _not_whole(rule: CompiledRule, legs: Sequence[Leg]) -> Selection:
    why = Why("none", f"what is open with one {rule.rule.whole_key} is no whole group that fits")
    return Selection({}, {}, dict.fromkeys(legs, why))
