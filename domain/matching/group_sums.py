"""Which sums of one side agree with a sum of the other, as a range subset search can use."""

from collections.abc import Callable

from domain.matching.compiled import CompiledRule

#: Lowest and highest sum, ends included; None when no sum agrees.
Range = tuple[int, int] | None
# Beyond any sum of values, for limits that have no end.
_FAR = 1 << 200


def is_constant(rule: CompiledRule) -> bool:
    """Whether the same differences are allowed whatever the sums are."""
    return rule.rule.amount.percent is None and not rule.comparison.rounds


def range_of(rule: CompiledRule, currency: str, side: int) -> Callable[[int], Range]:
    """What gives the sums of the other side that agree with the sum of a side, in units."""
    if not is_constant(rule):
        return lambda units: _sum_range(rule, currency, units, side)
    around = _sum_range(rule, currency, 0, side)
    if around is None:
        return lambda _: None
    low, high = around
    return lambda units: (units + low, units + high)


def _sum_range(rule: CompiledRule, currency: str, units: int, side: int) -> Range:
    """The sums that agree follow each other without a gap, so the ends are found by halving."""
    rounded, limits = rule.comparison.rounded, rule.limits(currency)
    mine = rounded(currency, units)

    def agrees(other: int) -> bool:
        theirs = rounded(currency, other)
        return limits.agree(mine, theirs) if side == 0 else limits.agree(theirs, mine)

    step = rule.comparison.step(currency)
    reach = limits.reach(mine, side)
    low, high = (-_FAR, _FAR) if reach is None else (reach[0] - step, reach[1] + step)
    # Where anything agrees the same sum does, or the least one in reach.
    least = low if reach is None else -(-reach[0] // step) * step
    inside = next((one for one in (mine, least) if agrees(one)), None)
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
