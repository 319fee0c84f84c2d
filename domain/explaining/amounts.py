"""Amounts: the sums as compared, their difference, its limit and how that comes about."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from domain.definitions import AmountRule, Basis, Rounding, Schedule
from domain.explaining.shown import AmountShown
from domain.explaining.wording import listed, plain
from domain.matching.amounts import limit_units
from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.values import Value
from domain.money import CURRENCY_DIGITS

_BASES: dict[Basis, str] = {
    "amount": "as they are",
    "net": "net, less their fees",
    "gross": "gross, with their fees added",
    "fx": "converted by their own rates",
    "base": "in their base currency",
    "schedule": "less the fees of the schedule",
}
_LACKS: dict[Basis, str] = {"fx": "fx_rate and fx_to", "base": "a base amount"}


def show_amount(rule: CompiledRule, sources: Sequence[Leg], targets: Sequence[Leg]) -> AmountShown:
    """Compare the sums of two sides as `CompiledRule.sides_agree` does, and say how."""
    amount = rule.rule.amount
    ours, theirs = rule.side_value(sources), rule.side_value(targets)
    holds = rule.sides_agree(sources, targets)
    sides = [_side_text(rule, one) for one in (ours, theirs)]
    difference = limit = over = None
    if ours is None or theirs is None or ours[0] != theirs[0]:
        said = _why_not_compared(rule, (sources, targets), (ours, theirs))
    else:
        currency, units = ours[0], theirs[1] - ours[1]
        difference = f"{rule.comparison.decimal((currency, units)):f}"
        scale = CURRENCY_DIGITS[currency] + rule.comparison.extra
        if amount.kind == "tolerance":
            limit = plain(limit_units(amount, scale, ours[1], theirs[1]) / 10**scale)
        beyond = _beyond(amount, scale, ours[1], theirs[1])
        if not holds:
            over = plain(beyond)
        verdict = _verdict(amount, scale, (ours[1], theirs[1]), over, holds=holds)
        said = (
            f"{sides[0]} {currency} on the source side against {sides[1]} {currency} on the "
            f"target side: {_difference_text(difference)}{verdict}"
        )
    return AmountShown(
        kind=amount.kind,
        source_basis=amount.source_basis,
        target_basis=amount.target_basis,
        opposite=amount.opposite,
        source_currency=ours and ours[0],
        source=sides[0],
        target_currency=theirs and theirs[0],
        target=sides[1],
        difference=difference,
        limit=limit,
        low=_text(amount.low),
        high=_text(amount.high),
        inclusive=amount.inclusive,
        over=over,
        holds=holds,
        sentence=f"{said}{_how_compared(amount)}.",
    )


def _side_text(rule: CompiledRule, value: Value | None) -> str | None:
    return None if value is None else f"{rule.comparison.decimal(value):f}"


def _text(limit: Decimal | None) -> str | None:
    return None if limit is None else f"{limit:f}"


def _difference_text(difference: str) -> str:
    if Decimal(difference) == 0:
        return "they are equal"
    return f"the difference is {difference}"


def _beyond(amount: AmountRule, scale: int, source: int, target: int) -> Fraction:
    """How far a difference is beyond its limit, in major units; negative where it is within."""
    unit: int = 10**scale
    difference = Fraction(target - source, unit)
    if amount.kind == "bounds":
        assert amount.low is not None
        assert amount.high is not None
        return max(Fraction(amount.low) - difference, difference - Fraction(amount.high))
    if amount.kind == "equal":
        return abs(difference)
    return abs(difference) - limit_units(amount, scale, source, target) / unit


def _verdict(
    amount: AmountRule, scale: int, units: tuple[int, int], over: str | None, *, holds: bool
) -> str:
    if amount.kind == "equal":
        return "" if holds else ", and the rule asks for equal amounts"
    ends = "included" if amount.inclusive else "not included"
    if amount.kind == "bounds":
        allowed = f"between {amount.low:f} and {amount.high:f}, ends {ends}"
    else:
        allowed = f"up to {_how_limited(amount, scale, units)}, the limit itself {ends}"
    if holds:
        return f", and the rule allows {allowed}"
    beyond = "exactly an end, which is not allowed" if over == "0" else f"{over} too much"
    return f", and the rule allows {allowed}: {beyond}"


def _how_limited(amount: AmountRule, scale: int, units: tuple[int, int]) -> str:
    """The limit of a tolerance and where it comes from, each part worked out as the whole is."""
    unit: int = 10**scale
    parts: list[str] = []
    if amount.absolute is not None:
        parts.append(f"{amount.absolute:f} absolute")
    if amount.percent is not None:
        of_percent = limit_units(replace(amount, absolute=None), scale, *units)
        base = (
            "the average of both amounts"
            if amount.percent_of == "average"
            else f"the {amount.percent_of} amount"
        )
        parts.append(f"{plain(of_percent / unit)}, {amount.percent:f} % of {base}")
    if len(parts) == 1:
        return parts[0]
    limit = plain(limit_units(amount, scale, *units) / unit)
    return f"{limit}, the {amount.combine} of {' and '.join(parts)}"


def _why_not_compared(
    rule: CompiledRule,
    sides: tuple[Sequence[Leg], Sequence[Leg]],
    values: tuple[Value | None, Value | None],
) -> str:
    for side, value in zip(sides, values, strict=True):
        lacking = [leg.transaction_id for leg in side if rule.value_of(leg) is None]
        if lacking:
            amount = rule.rule.amount
            basis = (amount.source_basis, amount.target_basis)[side[0].side]
            verb = "lacks" if len(lacking) == 1 else "lack"
            return f"The amounts cannot be compared: {listed(lacking)} {verb} {_LACKS[basis]}"
        if value is None:
            found = sorted({leg_value[0] for leg in side if (leg_value := rule.value_of(leg))})
            return f"The amounts cannot be compared: one side is in {listed(found)}"
    ours, theirs = values
    assert ours is not None
    assert theirs is not None
    return f"The currencies differ: {ours[0]} on the source side, {theirs[0]} on the target side"


def _how_compared(amount: AmountRule) -> str:
    """What is compared, where that is not the amounts as they are."""
    said: list[str] = []
    bases = (amount.source_basis, amount.target_basis)
    if bases != ("amount", "amount"):
        said.append(
            f"both compared {_BASES[bases[0]]}"
            if bases[0] == bases[1]
            else f"sources compared {_BASES[bases[0]]}, targets {_BASES[bases[1]]}"
        )
    if amount.schedule is not None and "schedule" in bases:
        said.append(f"the schedule takes {_fees(amount.schedule)}")
    if amount.opposite:
        said.append("the target's sign is turned")
    if amount.round is not None:
        said.append(f"each side rounded {_rounding(amount.round)}")
    return f" ({'; '.join(said)})" if said else ""


def _fees(schedule: Schedule) -> str:
    fees = [f"{fee.percent:f} %" if fee.percent is not None else f"{fee.flat:f}"
            for fee in schedule.items]  # fmt: skip
    order = "one after the other" if schedule.order == "cascading" else "side by side"
    rounding = f", each rounded {_rounding(schedule.round)}" if schedule.round else ""
    return f"{' and '.join(fees)} {order}{rounding}"


def _rounding(rounding: Rounding) -> str:
    half = "half up" if rounding.mode == "half_up" else "half to even"
    return f"to {rounding.scale} digits, {half}"
