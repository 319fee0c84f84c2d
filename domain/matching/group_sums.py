"""Which sums of one side agree with a sum of the other, as a range subset search can use."""

from collections.abc import Callable

from domain.matching.amounts import reach
from domain.matching.compiled import CompiledRule
from domain.money import currency_digits

#: Lowest and highest sum, ends included; None when no sum agrees.
Range = tuple[int, int] | None
# Beyond any sum of amounts, for limits that have no end.
_FAR = 1 << 100


def is_constant(rule: CompiledRule) -> bool:
    """Whether the same differences are allowed whatever the sums are."""
    return rule.rule.amount.percent is None


def range_of(rule: CompiledRule, currency: str, side: int) -> Callable[[int], Range]:
    """What gives the sums of the other side that agree with the sum of a side."""
    if not is_constant(rule):
        return lambda units: _sum_range(rule, currency, units, side)
    around = _sum_range(rule, currency, 0, side)
    if around is None:
        return lambda _: None
    low, high = around
    return lambda units: (units + low, units + high)


def _sum_range(rule: CompiledRule, currency: str, units: int, side: int) -> Range:
    """The sums that agree follow each other without a gap, so the ends are found by halving."""

    def agrees(other: int) -> bool:
        if side == 0:
            return rule.amounts_agree(currency, units, other)
        return rule.amounts_agree(currency, other, units)

    digits = currency_digits(currency)
    assert digits is not None, currency
    low, high = reach(rule.rule.amount, digits, units, side) or (-_FAR, _FAR)
    inside = next((one for one in (units, low, high, (low + high) // 2) if agrees(one)), None)
    if inside is None:
        return None
    lowest = highest = inside
    while low < lowest:
        middle = (low + lowest) // 2
        if agrees(middle):
            lowest = middle
        else:
            low = middle + 1
    while highest < high:
        middle = (highest + high + 1) // 2
        if agrees(middle):
            highest = middle
        else:
            high = middle - 1
    return lowest, highest
