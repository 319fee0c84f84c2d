"""What a rule makes of the candidates it finds: matches to take, and sets a person must judge."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.matching.compiled import CompiledRule
from domain.matching.legs import OPEN, Leg, by_id, by_time


class Match(NamedTuple):
    """Members of one match, in id order."""

    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]

    @property
    def newest_at(self) -> int:
        """Event time of the newest member, microseconds."""
        return max(leg.occurred_at for leg in (*self.sources, *self.targets))


class Selection(NamedTuple):
    """The outcome of one rule over one set of legs.

    Attributes:
        taken: Every leg of a match → that match.
        ambiguous: Every leg that stands among rival candidates → its set's candidates, each a
            Match, connected by shared members.
    """

    taken: dict[Leg, Match]
    ambiguous: dict[Leg, list[Match]]


class Verdict(NamedTuple):
    """What judging an ambiguous set said for one leg: a suggestion's id, or when to ask again."""

    suggestion_id: str | None
    ask_at: int


EMPTY = Selection({}, {})


def ids_of(legs: tuple[Leg, ...]) -> list[str]:
    """Transaction ids, in the order of the legs."""
    return [leg.transaction_id for leg in legs]


def total_of(legs: tuple[Leg, ...]) -> int:
    """The sum of the legs' amounts, in minor units."""
    return sum(leg.amount_minor for leg in legs)


def _match(sources: Sequence[Leg], targets: Sequence[Leg]) -> Match:
    return Match(tuple(sorted(sources, key=by_id)), tuple(sorted(targets, key=by_id)))


def _is_open(match: Match) -> bool:
    return all(leg.rule == OPEN for leg in match.sources) and all(
        leg.rule == OPEN for leg in match.targets
    )


def _take_all(selection: Selection, match: Match) -> None:
    for leg in match.sources:
        selection.taken[leg] = match
    for leg in match.targets:
        selection.taken[leg] = match


def connected(candidates: Sequence[Match]) -> list[list[Match]]:
    """Group candidates that share members, directly or through others."""
    parent = list(range(len(candidates)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[Leg, int] = {}
    for index, candidate in enumerate(candidates):
        for leg in (*candidate.sources, *candidate.targets):
            other = first_with.setdefault(leg, index)
            parent[root(index)] = root(other)
    groups: dict[int, list[Match]] = {}
    for index, candidate in enumerate(candidates):
        groups.setdefault(root(index), []).append(candidate)
    return list(groups.values())


def _select_unambiguous(candidates: Sequence[Match], selection: Selection) -> None:
    for group in connected(candidates):
        if len(group) == 1:
            if _is_open(group[0]):
                _take_all(selection, group[0])
            continue
        for candidate in group:
            for leg in (*candidate.sources, *candidate.targets):
                selection.ambiguous[leg] = group


def _lowest_pairs(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg], selection: Selection
) -> None:
    """Sources in id order, each takes its first admissible target by id.

    A rule that only suggests consumes nothing: whom a later rule has taken keeps its place, so that
    who is proposed to whom does not depend on when that was.
    """
    if not rule.suggests:
        sources = [leg for leg in sources if leg.rule == OPEN]
        targets = [leg for leg in targets if leg.rule == OPEN]
    free = sorted(targets, key=by_id)
    for source in sorted(sources, key=by_id):
        for index, target in enumerate(free):
            if rule.admits(source, target):
                match = Match((source,), (target,))
                if _is_open(match):
                    _take_all(selection, match)
                del free[index]
                break


def _blocks(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg]
) -> list[tuple[list[Leg], list[Leg]]]:
    """Divide legs so that no candidate crosses blocks: by currency, and by an equal amount."""
    by_amount = rule.rule.amount.kind == "equal"
    blocks: dict[tuple[str, int], tuple[list[Leg], list[Leg]]] = {}
    for side, legs in enumerate((sources, targets)):
        for leg in legs:
            key = (leg.currency, leg.amount_minor if by_amount else 0)
            blocks.setdefault(key, ([], []))[side].append(leg)
    return [block for block in blocks.values() if block[0] and block[1]]


def unrefused(rule: CompiledRule, sources: Sequence[Leg], targets: Sequence[Leg]) -> list[Match]:
    """Divide legs that all pair with each other into sets that people have left connected.

    Without a refusal among them that is the one set. Costs no more than the legs and the refusals.
    """
    kept_apart: dict[Leg, set[Leg]] = {}
    if rule.refused:
        by_name = tuple({leg.transaction_id: leg for leg in side} for side in (sources, targets))
        for source_ids, target_ids in rule.refused:
            source, target = by_name[0].get(source_ids[0]), by_name[1].get(target_ids[0])
            if len(source_ids) == len(target_ids) == 1 and source and target:
                kept_apart.setdefault(source, set()).add(target)
                kept_apart.setdefault(target, set()).add(source)
    if not kept_apart:
        return [_match(sources, targets)]
    found = []
    unseen = (dict.fromkeys(sources), dict.fromkeys(targets))
    while unseen[0]:
        first, _ = unseen[0].popitem()
        members, frontier = [first], [first]
        while frontier:
            leg = frontier.pop()
            others = unseen[1 - leg.side]
            not_with = kept_apart.get(leg, set())
            reached = [other for other in others if other not in not_with]
            for other in reached:
                del others[other]
            members += reached
            frontier += reached
        if len(members) > 1:
            some_sources = [leg for leg in members if leg.side == 0]
            found.append(_match(some_sources, [leg for leg in members if leg.side != 0]))
    return found


def _select_pairs(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    selection = Selection({}, {})
    for some_sources, some_targets in _blocks(rule, sources, targets):
        if rule.policy == "lowest_id":
            _lowest_pairs(rule, some_sources, some_targets, selection)
        elif rule.plain and (len(some_sources) > 1 or len(some_targets) > 1):
            # Everything pairs with everything: one set, kept as the group it is rather than as
            # sources × targets pairs.
            for group in unrefused(rule, some_sources, some_targets):
                if len(group.sources) == len(group.targets) == 1:
                    _select_unambiguous([group], selection)
                    continue
                alone = [group]
                for leg in (*group.sources, *group.targets):
                    selection.ambiguous[leg] = alone
        else:
            _select_unambiguous(
                [
                    Match((source,), (target,))
                    for source in some_sources
                    for target in some_targets
                    if rule.admits(source, target)
                ],
                selection,
            )
    return selection


def admits_group(rule: CompiledRule, group: Match) -> bool:
    """Whether sums agree and every source-target pair is within the other conditions."""
    legs = (*group.sources, *group.targets)
    currency = legs[0].currency
    return (
        all(leg.currency == currency for leg in legs)
        and rule.amounts_agree(
            currency,
            sum(leg.amount_minor for leg in group.sources),
            sum(leg.amount_minor for leg in group.targets),
        )
        and all(rule.admits(source, target) for source in group.sources for target in group.targets)
        and not (rule.refused and rule.refuses(*legs))
    )


def _select_groups(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """One side whole, all or nothing, against each single leg of the other."""
    if not sources or not targets:
        return EMPTY
    candidates = [
        group
        for group in (
            [_match(sources, (target,)) for target in targets]
            if rule.many_side == 0
            else [_match((source,), targets) for source in sources]
        )
        if admits_group(rule, group)
    ]
    selection = Selection({}, {})
    if rule.policy == "lowest_id":
        in_order = sorted(
            (group for group in candidates if rule.suggests or _is_open(group)),
            key=lambda group: (
                [leg.transaction_id for leg in group.sources],
                group.targets[0].transaction_id,
            ),
        )
        if in_order and _is_open(in_order[0]):
            _take_all(selection, in_order[0])
    else:
        _select_unambiguous(candidates, selection)
    return selection


def _select_unique(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """The first of each side by event time; what came second is a duplicate, not a candidate."""
    open_sources = [leg for leg in sources if leg.rule == OPEN]
    open_targets = [leg for leg in targets if leg.rule == OPEN]
    if not open_sources or not open_targets:
        return EMPTY
    source, target = min(open_sources, key=by_time), min(open_targets, key=by_time)
    if not rule.admits(source, target):
        return EMPTY
    match = Match((source,), (target,))
    return Selection({source: match, target: match}, {})


def select(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """Apply a rule to one set of legs found together, rivals included."""
    if not sources or not targets:
        return EMPTY
    if rule.unique:
        return _select_unique(rule, sources, targets)
    if rule.many_side is None:
        return _select_pairs(rule, sources, targets)
    return _select_groups(rule, sources, targets)
