"""What a rule makes of the candidates it finds: matches to take, and sets a person must judge."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from domain.events import Compared
from domain.matching.compiled import CompiledRule
from domain.matching.legs import OPEN, Leg, by_id, by_time
from domain.matching.preference import rank

# Pairs that are compared by what a rule prefers; it takes about a second.
_RANKED_MAX = 500_000


class Match(NamedTuple):
    """Members of one match, in id order."""

    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]

    @property
    def newest_at(self) -> int:
        """Event time of the newest member, microseconds."""
        return max(leg.occurred_at for leg in (*self.sources, *self.targets))


class Why(NamedTuple):
    """Why a rule that looks for groups took none with a leg, and a sentence on it."""

    kind: Literal["none", "several", "bound"]
    text: str


class Selection(NamedTuple):
    """The outcome of one rule over one set of legs.

    Attributes:
        taken: Every leg of a match → that match.
        ambiguous: Every leg that stands among rival candidates → its set's candidates, each a
            Match, connected by shared members.
        reasons: Of legs that are neither taken nor put before a person, as far as there is more to
            say than that nothing fits.
        lone: Which of the ambiguous sets' candidates are one possible match each; others stand for
            several that share members.
    """

    taken: dict[Leg, Match]
    ambiguous: dict[Leg, list[Match]]
    reasons: dict[Leg, Why]
    lone: frozenset[Match] = frozenset()


class Verdict(NamedTuple):
    """What judging an ambiguous set said for one leg: a suggestion's id, or when to ask again."""

    suggestion_id: str | None
    ask_at: int


#: Gives the targets a source is a candidate with.
Partners = Callable[[Leg], Iterable[Leg]]

EMPTY = Selection({}, {}, {})


def ids_of(legs: tuple[Leg, ...]) -> tuple[str, ...]:
    """Transaction ids, in the order of the legs."""
    return tuple([leg.transaction_id for leg in legs])


def total_of(legs: tuple[Leg, ...]) -> int:
    """The sum of the legs' amounts, in minor units."""
    return sum(leg.amount_minor for leg in legs)


def stated(
    rule: CompiledRule, sources: tuple[Leg, ...], targets: tuple[Leg, ...]
) -> tuple[str, int, int, Compared | None]:
    """What an event states of members: currency, sum of either side, and what was compared.

    Where the members' own amounts are in several currencies the sums are the compared ones.
    """
    currency = sources[0].currency
    comparison = rule.comparison
    if comparison.as_it_is and comparison.target_sign == 1:
        return currency, total_of(sources), total_of(targets), None
    ours, theirs = rule.side_value(sources), rule.side_value(targets)
    # Only what can be compared is matched.
    assert ours is not None
    assert theirs is not None
    source_minor, target_minor = comparison.minor(ours), comparison.minor(theirs)
    totals: dict[tuple[int, str], list[int]] = {}
    for leg in (*sources, *targets):
        total = totals.setdefault((leg.side, leg.currency), [0, 0])
        total[0] += 1
        total[1] += leg.amount_minor
    if len({own for _, own in totals}) == 1:
        compared = Compared(ours[0], source_minor, target_minor, [])
        return currency, total_of(sources), total_of(targets), compared
    own_totals = [(*place, count, total) for place, (count, total) in sorted(totals.items())]
    compared = Compared(ours[0], source_minor, target_minor, own_totals)
    return ours[0], source_minor, target_minor, compared


def make_match(sources: Sequence[Leg], targets: Sequence[Leg]) -> Match:
    """A match of legs in any order."""
    return Match(tuple(sorted(sources, key=by_id)), tuple(sorted(targets, key=by_id)))


def is_open(match: Match) -> bool:
    """Whether no rule has matched any of the members."""
    return all(leg.rule == OPEN for leg in match.sources) and all(
        leg.rule == OPEN for leg in match.targets
    )


def in_competition(rule: CompiledRule, legs: Iterable[Leg]) -> list[Leg]:
    """Legs that a rule takes one by one, best first: those nobody has taken.

    A rule that only suggests consumes nothing: whom a later rule has taken keeps its place, so that
    who is proposed to whom does not depend on when that was.
    """
    return [leg for leg in legs if rule.suggests or leg.rule == OPEN]


def _take_if_open(selection: Selection, match: Match) -> None:
    if is_open(match):
        take_all(selection, match)


def take_all(selection: Selection, match: Match) -> None:
    """Note a match to take for each of its members."""
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
            if is_open(group[0]):
                take_all(selection, group[0])
            continue
        for candidate in group:
            for leg in (*candidate.sources, *candidate.targets):
                selection.ambiguous[leg] = group


def _lowest_pairs(
    rule: CompiledRule,
    sources: list[Leg],
    targets: list[Leg],
    partners: Partners,
    selection: Selection,
) -> None:
    """Sources in id order, each takes its first admissible target by id.

    See `in_competition` for a rule that only suggests.
    """
    in_order = sorted(in_competition(rule, sources), key=by_id)
    free = dict.fromkeys(sorted(in_competition(rule, targets), key=by_id))
    if rule.plain and not rule.refused:
        for source, target in zip(in_order, free, strict=False):
            _take_if_open(selection, Match((source,), (target,)))
        return
    for source in in_order:
        fitting = (target for target in partners(source) if target in free)
        first = min(fitting, key=by_id, default=None)
        if first is not None:
            _take_if_open(selection, Match((source,), (first,)))
            del free[first]


def _blocks(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg]
) -> list[tuple[list[Leg], list[Leg]]]:
    """Divide legs so that no candidate crosses blocks: by currency, and by an equal amount."""
    by_amount = rule.rule.amount.kind == "equal"
    blocks: dict[tuple[str, int], tuple[list[Leg], list[Leg]]] = {}
    for side, legs in enumerate((sources, targets)):
        for leg in legs:
            value = rule.value_of(leg)
            if value is not None:
                key = value if by_amount else (value[0], 0)
                blocks.setdefault(key, ([], []))[side].append(leg)
    return [block for block in blocks.values() if block[0] and block[1]]


def _preferred_pairs(
    rule: CompiledRule,
    sources: list[Leg],
    targets: list[Leg],
    partners: Partners,
    selection: Selection,
) -> None:
    """Take the best pair there is, again and again."""
    sources = in_competition(rule, sources)
    free = set(in_competition(rule, targets))
    if rule.plain and len(sources) * len(free) > _RANKED_MAX:
        _leave_crowd(sources, targets, selection)
        return
    pairs: list[Match] = []
    for source in sources:
        pairs += [Match((source,), (target,)) for target in partners(source) if target in free]
        if len(pairs) > _RANKED_MAX:
            _leave_crowd(sources, targets, selection)
            return
    claimed: set[Leg] = set()
    for pair in sorted(pairs, key=lambda one: rank(rule, one)):
        members = (*pair.sources, *pair.targets)
        if claimed.isdisjoint(members):
            claimed.update(members)
            _take_if_open(selection, pair)


def _leave_crowd(sources: list[Leg], targets: list[Leg], selection: Selection) -> None:
    text = (
        f"no pair was taken: the bound was hit by {len(sources)} source and {len(targets)} target "
        "transactions that the rule finds together"
    )
    selection.reasons.update(dict.fromkeys((*sources, *targets), Why("bound", text)))


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
        return [make_match(sources, targets)]
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
            found.append(make_match(some_sources, [leg for leg in members if leg.side != 0]))
    return found


def _select_pairs(
    rule: CompiledRule, sources: list[Leg], targets: list[Leg], partners: Partners | None
) -> Selection:
    selection = Selection({}, {}, {})
    if len(sources) == 1 and len(targets) == 1:
        # Most legs meet one other, whatever the policy.
        match = Match((sources[0],), (targets[0],))
        if is_open(match) and rule.admits(sources[0], targets[0]):
            take_all(selection, match)
        return selection
    for some_sources, some_targets in _blocks(rule, sources, targets):
        partners_here = partners or _partners_among(rule, some_targets)
        if rule.policy == "lowest_id":
            _lowest_pairs(rule, some_sources, some_targets, partners_here, selection)
        elif rule.policy == "prefer":
            _preferred_pairs(rule, some_sources, some_targets, partners_here, selection)
        elif rule.plain and (len(some_sources) > 1 or len(some_targets) > 1):
            # Everything pairs with everything: one set, kept as the group it is rather than as
            # sources × targets pairs.
            for group in unrefused(rule, some_sources, some_targets):
                if len(group.sources) == len(group.targets) == 1:
                    _take_if_open(selection, group)
                    continue
                alone = [group]
                for leg in (*group.sources, *group.targets):
                    selection.ambiguous[leg] = alone
        else:
            left = set(some_targets)
            _select_unambiguous(
                [
                    Match((source,), (target,))
                    for source in some_sources
                    for target in partners_here(source)
                    if target in left
                ],
                selection,
            )
    return selection


def _partners_among(rule: CompiledRule, targets: list[Leg]) -> Partners:
    return lambda source: [target for target in targets if rule.admits(source, target)]


def admits_group(rule: CompiledRule, group: Match) -> bool:
    """Whether sums agree and every source-target pair is within the other conditions."""
    return (
        rule.sides_agree(group.sources, group.targets)
        and all(rule.admits(source, target) for source in group.sources for target in group.targets)
        and (not rule.anchored or rule.anchored_on_a_source(group.sources, group.targets))
        and not rule.refuses(*group.sources, *group.targets)
    )


def _select_unique(rule: CompiledRule, sources: list[Leg], targets: list[Leg]) -> Selection:
    """The first of each side by event time; what came second is a duplicate, not a candidate."""
    source, target = min(sources, key=by_time), min(targets, key=by_time)
    if not rule.admits(source, target):
        return EMPTY
    match = Match((source,), (target,))
    return Selection({source: match, target: match}, {}, {})


def select(
    rule: CompiledRule,
    sources: list[Leg],
    targets: list[Leg],
    partners: Partners | None = None,
) -> Selection:
    """Apply a one-to-one rule to one set of legs found together, rivals included.

    Args:
        partners: Gives the targets a source is a candidate with, and perhaps others; without it
            every pair is tried.
    """
    if rule.unique:
        # What has been matched has used its value up; it is nobody's rival.
        sources = [leg for leg in sources if leg.rule == OPEN]
        targets = [leg for leg in targets if leg.rule == OPEN]
    if not sources or not targets:
        return EMPTY
    if rule.unique:
        return _select_unique(rule, sources, targets)
    return _select_pairs(rule, sources, targets, partners)
