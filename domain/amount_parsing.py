"""What a rule says of amounts, from plain data to a checked `AmountRule`.

Decisions where CONTRACT section 3 leaves room:

- `percent_of` and `combine` default to `larger`; without a percentage they change nothing.
- `mode` of a rounding defaults to `half_up`, `order` of a schedule to `parallel`.
- A definition that could admit no match at all, or every match, is a contradiction and refused.
"""

from collections.abc import Mapping
from typing import Final, cast, get_args

from domain.definition_values import Section
from domain.definitions import (
    AmountRule,
    Basis,
    Combine,
    Fee,
    FeeOrder,
    PercentOf,
    Rounding,
    RoundingMode,
    Schedule,
)

EXACT: Final = AmountRule("equal", None, None, "larger", "larger", None, None, True)
_SCALE_MAX: Final = 9
_FEES_MAX: Final = 16


def parse_amount(rule: Section) -> AmountRule:
    """Check the field `amount` of a rule; what is wrong is noted in the section."""
    if rule.values.get("amount") == "equal":
        return EXACT
    section = rule.section(
        "amount", ("tolerance", "bounds", "inclusive", "round", "basis", "schedule", "sign")
    )
    limits = _limits(section)
    source_basis, target_basis = _bases(section)
    schedule = _schedule(section)
    if "schedule" in (source_basis, target_basis):
        if schedule is None and "schedule" not in section:
            section.refuse("schedule", "is missing; the basis schedule needs it")
    elif schedule is not None:
        section.refuse("schedule", "is used by neither side; name it as a basis")
    opposite = section.choice("sign", ("same", "opposite"), "same") == "opposite"
    return AmountRule(
        limits.kind,
        limits.absolute,
        limits.percent,
        limits.percent_of,
        limits.combine,
        limits.low,
        limits.high,
        limits.inclusive,
        _rounding(section),
        source_basis,
        target_basis,
        schedule,
        opposite,
    )


def _limits(section: Section) -> AmountRule:
    inclusive = section.flag("inclusive", True)
    if "tolerance" in section and "bounds" in section:
        section.refuse("bounds", "contradicts tolerance; give one of them")
    if "tolerance" in section:
        return _tolerance(section, inclusive)
    if "bounds" in section:
        return _bounds(section, inclusive)
    if not inclusive:
        section.refuse("inclusive", "false has no meaning without tolerance or bounds")
    return EXACT


def _bases(section: Section) -> tuple[Basis, Basis]:
    if not isinstance(section.values.get("basis"), Mapping):
        both = cast(Basis, section.choice("basis", get_args(Basis), "amount"))
        return both, both
    basis = section.section("basis", ("source", "target"))
    source, target = (
        cast(Basis, basis.choice(side, get_args(Basis), "amount")) for side in ("source", "target")
    )
    return source, target


def _rounding(section: Section) -> Rounding | None:
    if "round" not in section:
        return None
    inner = section.section("round", ("scale", "mode"))
    if inner.is_mapping and "scale" not in inner:
        inner.refuse("scale", "is missing; it is the number of fraction digits to keep")
    mode = inner.choice("mode", get_args(RoundingMode), "half_up")
    return Rounding(inner.integer("scale", 0, _SCALE_MAX) or 0, cast(RoundingMode, mode))


def _schedule(amount: Section) -> Schedule | None:
    if "schedule" not in amount:
        return None
    section = amount.section("schedule", ("order", "round", "items"))
    order = section.choice("order", get_args(FeeOrder), "parallel")
    items = section.items("items")
    if section.is_mapping and not items and not section.values.get("items"):
        section.refuse("items", "must hold at least one percent or flat fee")
    if len(items) > _FEES_MAX:
        section.refuse("items", f"has {len(items)} fees, at most {_FEES_MAX} are allowed")
    fees = tuple(_fee(value, path, section) for path, value in items)
    return Schedule(cast(FeeOrder, order), _rounding(section), fees)


def _fee(value: object, path: str, schedule: Section) -> Fee:
    section = Section(value, path, schedule.problems, ("percent", "flat"))
    percent, flat = section.decimal("percent"), section.decimal("flat")
    if section.is_mapping and ("percent" in section) == ("flat" in section):
        section.refuse("", "needs one of percent and flat")
    if percent is not None and not -100 <= percent <= 100:
        section.refuse("percent", "must be from -100 to 100")
    return Fee(percent, flat)


def _tolerance(amount: Section, inclusive: bool) -> AmountRule:
    section = amount.section("tolerance", ("absolute", "percent", "percent_of", "combine"))
    limits = {name: section.decimal(name) for name in ("absolute", "percent")}
    for name, limit in limits.items():
        if limit is not None and limit < 0:
            section.refuse(name, "is negative; a tolerance is an absolute difference")
    percent = limits["percent"]
    if percent is not None and percent > 100:
        section.refuse("percent", "is over 100, which lets almost any two amounts agree")
    if "absolute" not in section and "percent" not in section:
        section.refuse("", "needs absolute, percent or both")
    elif not inclusive and not any(limits.values()):
        amount.refuse("inclusive", "false with a tolerance of zero admits no match")
    percent_of = section.choice("percent_of", get_args(PercentOf), "larger")
    combine = section.choice("combine", get_args(Combine), "larger")
    return AmountRule(
        "tolerance",
        limits["absolute"],
        percent,
        cast(PercentOf, percent_of) if percent is not None else "larger",
        cast(Combine, combine) if None not in limits.values() else "larger",
        None,
        None,
        inclusive,
    )


def _bounds(amount: Section, inclusive: bool) -> AmountRule:
    section = amount.section("bounds", ("low", "high"))
    low, high = section.decimal("low"), section.decimal("high")
    for name in ("low", "high"):
        if name not in section:
            section.refuse(name, "is missing; both ends are needed")
    if low is not None and high is not None:
        if low > high:
            section.refuse("low", f"{low} is above high {high}")
        elif low == high and not inclusive:
            amount.refuse("inclusive", "false with equal bounds admits no match")
    return AmountRule("bounds", None, None, "larger", "larger", low, high, inclusive)
