"""Whether all that one rule admits, another one admits too.

`Contained.ALWAYS` is a proof: it holds for every pair of transactions there can be. Where nothing
is proved the answer is `NO`, which says nothing.
"""

from dataclasses import replace
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from domain.definitions import AmountRule, Condition, DateWindow, PercentOf, Rule


class Contained(IntEnum):
    """How far a rule's pairs are another's; the lesser of two holds for both together."""

    NO = 0
    #: But for values without any letter or digit, which have no form to compare.
    BUT_FOR_SIGNS = 1
    ALWAYS = 2


def pairs_contained(inner: Rule, outer: Rule) -> Contained:
    """Whether every pair `inner` admits is a pair that `outer` admits; of one-to-one rules."""
    return min(
        conditions_contained(inner.conditions, outer.conditions),
        _proved(amounts_contained(inner.amount, outer.amount)),
        _proved(dates_contained(inner.date, outer.date)),
    )


def _proved(holds: bool) -> Contained:
    return Contained.ALWAYS if holds else Contained.NO


# -- text --


def conditions_contained(inner: tuple[Condition, ...], outer: tuple[Condition, ...]) -> Contained:
    """Whether a pair for which all of `inner` hold is one for which all of `outer` do."""
    return min(
        (max((_implies(one, other) for one in inner), default=Contained.NO) for other in outer),
        default=Contained.ALWAYS,
    )


def _implies(one: Condition, other: Condition) -> Contained:
    if (one.source_field, one.target_field) != (other.source_field, other.target_field):
        return Contained.NO
    if one.operator == other.operator:
        return _proved(_bound_contained(one, other))
    match one.operator, other.operator:
        case ("exact", "casefold" | "edit_distance") | ("casefold", "edit_distance"):
            return Contained.ALWAYS
        case ("token_run", "token_set") | ("alphanumeric", "similarity"):
            return Contained.ALWAYS
        case ("edit_distance", "casefold"):
            return _proved(one.maximum == 0)
        case ("similarity", "alphanumeric"):
            return _proved(one.minimum == 1)
        case ("exact" | "casefold", "alphanumeric" | "similarity" | "token_run" | "token_set"):
            return Contained.BUT_FOR_SIGNS
    return Contained.NO


def _bound_contained(one: Condition, other: Condition) -> bool:
    match one.operator:
        case "edit_distance":
            assert one.maximum is not None
            assert other.maximum is not None
            return one.maximum <= other.maximum
        case "similarity":
            assert one.minimum is not None
            assert other.minimum is not None
            return one.minimum >= other.minimum
        case "regex_extract":
            return one.pattern == other.pattern
    return True


# -- amounts --


class _Interval(NamedTuple):
    """Differences from `low` to `high`."""

    low: Decimal
    high: Decimal
    inclusive: bool


class _Share(NamedTuple):
    """Differences up to a percentage."""

    percent: Decimal
    of: PercentOf
    inclusive: bool


_Part = _Interval | _Share


def amounts_contained(inner: AmountRule, outer: AmountRule) -> bool:
    """Whether a pair of amounts within `inner` is always within `outer`."""
    if _measure(inner) != _measure(outer):
        return False
    inner_parts, inner_all = _parts(inner)
    outer_parts, outer_all = _parts(outer)

    def within_outer(part: _Part) -> bool:
        each = (_part_contained(part, one) for one in outer_parts)
        return all(each) if outer_all else any(each)

    # One part of an intersection is enough; of a union, each has to lie within.
    each = (within_outer(part) for part in inner_parts)
    return any(each) if inner_all else all(each)


def _measure(rule: AmountRule) -> AmountRule:
    """What is compared, without its limits."""
    return replace(
        rule,
        kind="equal",
        absolute=None,
        percent=None,
        percent_of="larger",
        combine="larger",
        low=None,
        high=None,
        inclusive=True,
    )


def _parts(rule: AmountRule) -> tuple[list[_Part], bool]:
    """The limits of a rule, and whether a difference must be within all of them."""
    if rule.kind == "equal":
        return [_Interval(Decimal(0), Decimal(0), inclusive=True)], True
    if rule.low is not None and rule.high is not None:
        return [_Interval(rule.low, rule.high, rule.inclusive)], True
    parts: list[_Part] = []
    if rule.absolute is not None:
        parts.append(_Interval(-rule.absolute, rule.absolute, rule.inclusive))
    if rule.percent is not None:
        parts.append(_Share(rule.percent, rule.percent_of, rule.inclusive))
    return parts, rule.combine == "smaller" or len(parts) == 1


def _part_contained(inner: _Part, outer: _Part) -> bool:
    ends = outer.inclusive or not inner.inclusive
    match inner, outer:
        case _Interval(), _Interval():
            return _end_within(outer.low, inner.low, ends) and _end_within(
                inner.high, outer.high, ends
            )
        case _Interval(), _Share():
            return inner.low == inner.high == 0 and outer.inclusive
        case _Share(), _Share():
            # Amounts of zero have a limit of zero, which only an inclusive percentage allows.
            return ends and inner.percent <= outer.percent and _base_within(inner.of, outer.of)
    return False


def _end_within(less: Decimal, more: Decimal, ends: bool) -> bool:
    return less < more or (less == more and ends)


def _base_within(inner: PercentOf, outer: PercentOf) -> bool:
    return inner == outer or inner == "smaller" or outer == "larger"


# -- dates --


def dates_contained(inner: DateWindow | None, outer: DateWindow | None) -> bool:
    """Whether a pair within the window `inner` is always within `outer`; None is any time."""
    if outer is None:
        return True
    if inner is None or inner.anchored != outer.anchored:
        return False
    return _days_contained(inner, outer) and _seconds_contained(inner, outer)


def _days_contained(inner: DateWindow, outer: DateWindow) -> bool:
    if outer.min_days is None and outer.max_days is None:
        return True
    if _days_counted(inner) != _days_counted(outer):
        return False
    inner_low, inner_high = day_ends(inner)
    outer_low, outer_high = day_ends(outer)
    starts_within = outer_low is None or (inner_low is not None and inner_low >= outer_low)
    ends_within = outer_high is None or (inner_high is not None and inner_high <= outer_high)
    return starts_within and ends_within


def _days_counted(window: DateWindow) -> tuple[object, ...]:
    return window.time_zone, window.business, window.holidays


def day_ends(window: DateWindow) -> tuple[int | None, int | None]:
    """The first and the last day a window allows; None is unbounded."""
    step = 0 if window.inclusive else 1
    low = None if window.min_days is None else window.min_days + step
    high = None if window.max_days is None else window.max_days - step
    return low, high


def _seconds_contained(inner: DateWindow, outer: DateWindow) -> bool:
    if outer.max_seconds is None:
        return True
    if inner.max_seconds is None:
        return False
    return inner.max_seconds < outer.max_seconds or (
        inner.max_seconds == outer.max_seconds and (outer.inclusive or not inner.inclusive)
    )
