"""Blocks: candidates that share members, taken together, and what is decided of them."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.selection import Match, Selection, Why, connected, is_open, take_all


class Block(NamedTuple):
    """Candidates of a rule that stand for each other.

    Attributes:
        match: The members that any of them has, in id order.
        alone: There is but one candidate, and these are its members.
    """

    match: Match
    alone: bool


def decide(rule: CompiledRule, blocks: Sequence[Block], reasons: dict[Leg, Why]) -> Selection:
    """Take candidates that share no member with another; the others are ambiguous.

    Args:
        reasons: What is known of legs already; added to where the rule leaves sets alone.
    """
    alone: dict[Match, bool] = {}
    for block in blocks:
        if not (block.alone and rule.refuses(*block.match.sources, *block.match.targets)):
            alone[block.match] = block.alone and alone.get(block.match, True)
    taken = Selection({}, {}, reasons, frozenset(one for one, is_lone in alone.items() if is_lone))
    for group in connected(list(alone)):
        if len(group) == 1 and alone[group[0]]:
            if is_open(group[0]):
                take_all(taken, group[0])
            continue
        why = Why("several", _several(group))
        for block_match in group:
            for leg in (*block_match.sources, *block_match.targets):
                taken.ambiguous[leg] = group
                if rule.policy == "leave_unmatched":
                    reasons[leg] = why
    return taken


def _several(group: Sequence[Match]) -> str:
    sources = {leg for match in group for leg in match.sources}
    targets = {leg for match in group for leg in match.targets}
    return (
        f"several groups fit among {len(sources)} source and {len(targets)} target transactions, "
        "and the rule leaves such sets alone"
    )


def crowded(sources: Sequence[Leg], targets: Sequence[Leg]) -> Selection:
    """What comes of a set that is too large to be searched at all."""
    why = Why(
        "bound",
        f"no group was searched: the bound was hit by {len(sources)} source and {len(targets)} "
        "target transactions that the rule finds together; a condition or date window narrows them",
    )
    return Selection({}, {}, dict.fromkeys((*sources, *targets), why))
