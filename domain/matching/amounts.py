"""Whether two values agree, in integers only.

Every limit is turned into a comparison of whole numbers once per rule and scale, so that no
division and no rounding stands between an amount and its verdict.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from domain.definitions import AmountRule

#: `(source_units, target_units) -> agree`
AmountTest = Callable[[int, int], bool]
#: `(units, side) -> (lowest, highest)` value of the other side that can agree; None: any can.
Reach = Callable[[int, int], tuple[int, int] | None]


class Limits:
    """The limits of one rule at one scale.

    Attributes:
        agree: Whether a source's and a target's value are within them.
        reach: Where on the other side to look; may include some that do not agree.
        width: How many values lie within a reach, at most; None where that depends on the value.
    """

    __slots__ = ("agree", "reach", "width")

    def __init__(self, agree: AmountTest, reach: Reach, width: int | None = None) -> None:
        self.agree = agree
        self.reach = reach
        self.width = width


def limits_of(rule: AmountRule, scale: int) -> Limits:
    """Compile an amount rule for values with `scale` fraction digits."""
    if rule.kind == "equal":
        return Limits(lambda source, target: source == target, lambda units, _side: (units, units))
    if rule.kind == "bounds":
        return _between(*_bounds(rule, scale))
    most = _absolute(rule, scale)
    if rule.percent is None:
        assert most is not None
        return _between(-most, most)
    return _percent(rule, rule.percent, most)


def _scaled(limit: Decimal, scale: int) -> Fraction:
    unit: int = 10**scale
    return Fraction(limit) * unit


def _absolute(rule: AmountRule, scale: int) -> int | None:
    """The largest whole difference an absolute tolerance allows; -1 when it allows none."""
    if rule.absolute is None:
        return None
    limit = _scaled(rule.absolute, scale)
    most = limit.numerator // limit.denominator
    return most if rule.inclusive or limit.denominator != 1 else most - 1


def _bounds(rule: AmountRule, scale: int) -> tuple[int, int]:
    assert rule.low is not None
    assert rule.high is not None
    low, high = _scaled(rule.low, scale), _scaled(rule.high, scale)
    if rule.inclusive:
        return -(-low.numerator // low.denominator), high.numerator // high.denominator
    return low.numerator // low.denominator + 1, -(-high.numerator // high.denominator) - 1


def _between(least: int, most: int) -> Limits:
    def reach(units: int, side: int) -> tuple[int, int]:
        return (units + least, units + most) if side == 0 else (units - most, units - least)

    return Limits(
        lambda source, target: least <= target - source <= most, reach, max(most - least + 1, 1)
    )


def _percent_test(rule: AmountRule, share: int, whole: int) -> AmountTest:
    """Whether a difference is within a percentage, share ÷ whole."""
    # difference ≤ share ÷ whole × base, multiplied out.
    slack = 0 if rule.inclusive else 1
    match rule.percent_of:
        case "source":
            return lambda s, t: abs(t - s) * whole + slack <= share * abs(s)
        case "target":
            return lambda s, t: abs(t - s) * whole + slack <= share * abs(t)
        case "larger":
            return lambda s, t: abs(t - s) * whole + slack <= share * max(abs(s), abs(t))
        case "smaller":
            return lambda s, t: abs(t - s) * whole + slack <= share * min(abs(s), abs(t))
        case "average":
            return lambda s, t: abs(t - s) * 2 * whole + slack <= share * (abs(s) + abs(t))


def _percent(rule: AmountRule, percent: Decimal, absolute: int | None) -> Limits:
    share, whole = percent.as_integer_ratio()
    whole *= 100
    within = _percent_test(rule, share, whole)

    def spread(units: int) -> int | None:
        # |t - s| ≤ p × max(|s|, |t|) gives |t - s| ≤ p × |a| ÷ (1 - p) for either side as a, and
        # no other base is larger.
        return None if share >= whole else -(-share * abs(units) // (whole - share))

    if absolute is None:
        return Limits(within, _around(spread))
    if rule.combine == "larger":
        return Limits(
            lambda s, t: -absolute <= t - s <= absolute or within(s, t),
            _around(lambda units: _either(spread(units), absolute)),
        )
    return Limits(
        lambda s, t: -absolute <= t - s <= absolute and within(s, t),
        _around(lambda units: _both(spread(units), absolute)),
        2 * max(absolute, 0) + 1,
    )


def _around(spread: Callable[[int], int | None]) -> Reach:
    def reach(units: int, _side: int) -> tuple[int, int] | None:
        most = spread(units)
        return None if most is None else (units - most, units + most)

    return reach


def _either(spread: int | None, absolute: int) -> int | None:
    return None if spread is None else max(spread, absolute)


def _both(spread: int | None, absolute: int) -> int:
    return absolute if spread is None else min(spread, absolute)


def limit_units(rule: AmountRule, scale: int, source: int, target: int) -> Fraction:
    """The largest allowed absolute difference of a `tolerance`, in units, to be shown."""
    limits: list[Fraction] = []
    if rule.absolute is not None:
        limits.append(_scaled(rule.absolute, scale))
    if rule.percent is not None:
        s, t = abs(source), abs(target)
        base = {
            "source": Fraction(s),
            "target": Fraction(t),
            "larger": Fraction(max(s, t)),
            "smaller": Fraction(min(s, t)),
            "average": Fraction(s + t, 2),
        }[rule.percent_of]
        limits.append(Fraction(rule.percent) / 100 * base)
    return max(limits) if rule.combine == "larger" else min(limits)
