"""Which of several candidates is taken first: `prefer` and `tie_break` as an order."""

from typing import Any

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg

#: Candidates in ascending order of this are best first; no two have the same.
Rank = tuple[Any, ...]
#: Members of a candidate: sources and targets, each in id order.
Members = tuple[tuple[Leg, ...], tuple[Leg, ...]]


def rank(rule: CompiledRule, match: Members) -> Rank:
    """Rank a candidate by what the rule prefers, then by source ids, then by target ids."""
    preferred = [_PREFERENCES[name](rule, match) for name in rule.rule.prefer]
    return (*preferred, *([leg.transaction_id for leg in side] for side in match))


def is_told_by_ids(rule: CompiledRule) -> bool:
    """Whether among candidates with equally many members ids alone decide."""
    return set(rule.rule.prefer) <= {"fewest_members"}


def _members(_: CompiledRule, match: Members) -> int:
    return len(match[0]) + len(match[1])


def _difference(rule: CompiledRule, match: Members) -> int:
    ours, theirs = rule.side_value(match[0]), rule.side_value(match[1])
    assert ours is not None
    assert theirs is not None
    return abs(theirs[1] - ours[1])


def _span(_: CompiledRule, match: Members) -> int:
    """The longest time between a source and a target."""
    sources = [leg.occurred_at for leg in match[0]]
    targets = [leg.occurred_at for leg in match[1]]
    return max(max(targets) - min(sources), max(sources) - min(targets))


def _oldest(_: CompiledRule, match: Members) -> list[int]:
    return sorted(leg.occurred_at for leg in (*match[0], *match[1]))


def _newest(_: CompiledRule, match: Members) -> list[int]:
    return sorted(-leg.occurred_at for leg in (*match[0], *match[1]))


_PREFERENCES = {
    "fewest_members": _members,
    "closest_amount": _difference,
    "closest_date": _span,
    "oldest": _oldest,
    "newest": _newest,
}
