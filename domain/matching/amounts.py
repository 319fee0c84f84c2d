"""Whether two sums agree, in integers only.

Every limit is turned into a comparison of whole numbers once per rule and number of fraction
digits, so that no division and no rounding stands between an amount and its verdict.
"""

from collections.abc import Callable
from fractions import Fraction

from domain.definitions import AmountRule

#: `(source_minor, target_minor) -> agree`
AmountTest = Callable[[int, int], bool]


def _base(source: int, target: int, percent_of: str) -> Fraction:
    """What a percentage is taken of, in minor units."""
    s, t = abs(source), abs(target)
    match percent_of:
        case "source":
            return Fraction(s)
        case "target":
            return Fraction(t)
        case "larger":
            return Fraction(max(s, t))
        case "smaller":
            return Fraction(min(s, t))
        case "average":
            return Fraction(s + t, 2)
    raise AssertionError(percent_of)


def limit_minor(rule: AmountRule, digits: int, source: int, target: int) -> Fraction:
    """The largest allowed absolute difference of a `tolerance`, in minor units."""
    limits: list[Fraction] = []
    if rule.absolute is not None:
        limits.append(Fraction(rule.absolute) * 10**digits)
    if rule.percent is not None:
        share = Fraction(rule.percent) / 100
        limits.append(share * _base(source, target, rule.percent_of))
    return max(limits) if rule.combine == "larger" else min(limits)


def _tolerance(rule: AmountRule, digits: int) -> AmountTest:
    if rule.percent is None:
        assert rule.absolute is not None
        limit = Fraction(rule.absolute) * 10**digits
        most = limit.numerator // limit.denominator
        if not rule.inclusive and limit.denominator == 1:
            most -= 1
        return lambda source, target: -most <= target - source <= most

    def agree(source: int, target: int) -> bool:
        limit = limit_minor(rule, digits, source, target)
        difference = abs(target - source)
        return difference <= limit if rule.inclusive else difference < limit

    return agree


def _bounds(rule: AmountRule, digits: int) -> AmountTest:
    assert rule.low is not None
    assert rule.high is not None
    low, high = Fraction(rule.low) * 10**digits, Fraction(rule.high) * 10**digits
    if rule.inclusive:
        least, most = -(-low.numerator // low.denominator), high.numerator // high.denominator
    else:
        least = low.numerator // low.denominator + 1
        most = -(-high.numerator // high.denominator) - 1
    return lambda source, target: least <= target - source <= most


def amount_test(rule: AmountRule, digits: int) -> AmountTest:
    """Compile an amount rule for currencies of `digits` fraction digits."""
    if rule.kind == "equal":
        return lambda source, target: source == target
    return _tolerance(rule, digits) if rule.kind == "tolerance" else _bounds(rule, digits)


def reach(rule: AmountRule, digits: int, amount: int, side: int) -> tuple[int, int] | None:
    """Amounts of the other side that can agree with `amount`; may include some that do not.

    Returns:
        Lowest and highest amount in minor units, None when there is no bound (a percentage of the
        larger side of 100 or more).
    """
    if rule.kind == "equal":
        return amount, amount
    if rule.kind == "bounds":
        assert rule.low is not None
        assert rule.high is not None
        low, high = Fraction(rule.low) * 10**digits, Fraction(rule.high) * 10**digits
        low, high = (amount + low, amount + high) if side == 0 else (amount - high, amount - low)
        return low.numerator // low.denominator, -(-high.numerator // high.denominator)
    spread = Fraction(0)
    if rule.absolute is not None:
        spread = Fraction(rule.absolute) * 10**digits
    if rule.percent is not None:
        share = Fraction(rule.percent) / 100
        if share >= 1:
            return None
        # |t - s| <= p * max(|s|, |t|) gives max(|s|, |t|) <= |a| / (1 - p) for either side as a.
        spread += share * abs(amount) / (1 - share)
    most = -(-spread.numerator // spread.denominator)
    return amount - most, amount + most
