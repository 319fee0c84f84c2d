"""Second occurrences of a value that may occur once per side."""

from typing import TYPE_CHECKING

from domain.events import DuplicateDetected, ExceptionReclassified
from domain.matching.compiled import CompiledRule
from domain.matching.legs import DUPLICATE, EXCEPTION, Leg, by_time
from domain.matching.near_misses import Classification
from domain.matching.pools import Found
from domain.matching.unique_pool import UniquePool

if TYPE_CHECKING:
    from domain.matching.settling import Settling


def set_duplicates_aside(settling: "Settling", rule: CompiledRule, leg: Leg, found: Found) -> bool:
    """Leave one open leg a side for a unique value; say whether `leg` was set aside."""
    pool = settling.book.pools[rule.index]
    assert isinstance(pool, UniquePool)
    key = leg.keys[rule.slot]
    spent = pool.spent_by(leg.side, key)
    if spent is not None:
        _set_aside(settling, rule, leg, spent)
    else:
        mine = sorted(
            (
                one
                for one in (found.sources, found.targets)[leg.side]
                if settling.outcomes.left_over(one, rule.index)
            ),
            key=by_time,
        )
        if len(mine) < 2:
            return False
        for one in mine[1:]:
            _set_aside(settling, rule, one, mine[0].transaction_id)
    settling.forget_outcomes()
    return leg.disposition == DUPLICATE


def _set_aside(settling: "Settling", rule: CompiledRule, leg: Leg, first: str) -> None:
    value = leg.keys[rule.slot]
    assert isinstance(value, str)
    settling.events.append(
        DuplicateDetected(
            leg.side,
            leg.transaction_id,
            first,
            rule.name,
            value,
            leg.amount_minor,
            leg.currency,
        )
    )
    standing = leg.suggestions
    had_exception = leg.disposition == EXCEPTION
    stale = settling.cases.naming((leg,))
    settling.book.set_duplicate(leg, rule.index)
    settling.book.stood_beside(leg, rule.index + 1)
    for suggestion_id in standing:
        settling.withdraw(suggestion_id, "a member is a duplicate")
    reason = f"{rule.name}: {value} was brought by {first} before"
    if had_exception:
        settling.events.append(
            ExceptionReclassified(leg.side, leg.transaction_id, "duplicate", rule.name, reason, [])
        )
    else:
        settling.events.append(
            settling.cases.unmatched(leg, Classification("duplicate", rule.name, reason, []))
        )
    settling.cases.reclassify(stale)
