"""Tolerances against the amounts they are meant for."""

from decimal import Decimal
from typing import NamedTuple

from domain.definitions import AmountRule
from domain.linting.findings import Place, Sample
from domain.money import CURRENCY_DIGITS

# More than this share of an amount is no rounding, fee or rate any more.
WIDE_PERCENT = Decimal(5)


class _Typical(NamedTuple):
    """A typical amount, in major units; `currency` is empty where it was told."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}".strip()


def lint_tolerance(place: Place, sample: Sample) -> None:
    """Note a tolerance that is wide against typical amounts, or that cannot be judged."""
    rule = place.rule.amount
    if rule.kind == "equal":
        return
    field = "amount.tolerance" if rule.kind == "tolerance" else "amount.bounds"
    percent_counts = rule.percent is not None and (
        rule.absolute is None or rule.combine == "larger"
    )
    if percent_counts and rule.percent is not None and rule.percent > WIDE_PERCENT:
        place.say(
            "warning",
            "wide_tolerance",
            f"Amounts that differ by {rule.percent} % are confirmed as the same: a wrong amount is "
            "no exception any more, and transactions with other counterparts fit. Compare net of "
            "fees or converted instead (amount.basis), and keep the percentage for rounding.",
            f"{field}.percent",
        )
        return
    if rule.absolute is None and rule.low is None:
        return
    typical = _typical(sample)
    if not typical:
        place.say(
            "hint",
            "tolerance_not_judged",
            f"Whether {_widest(rule)} is much depends on the amounts, which are not known here. "
            "Lint with --typical-amount, or with --source and --target of real records.",
            field,
        )
        return
    allowed, of = max(((_limit(rule, one.amount), one) for one in typical), key=_share)
    if allowed * 100 > WIDE_PERCENT * of.amount:
        what = "every" if allowed >= of.amount else "many a"
        place.say(
            "warning",
            "wide_tolerance",
            f"A typical amount is {of}, and this rule confirms differences of up to {allowed:f}, "
            f"{_percentage(allowed, of.amount)} of it: {what} wrong amount passes as right. Narrow "
            "it to what rounding and fees explain, or give it in percent with combine: smaller.",
            field,
        )


def _share(judged: tuple[Decimal, _Typical]) -> Decimal:
    return judged[0] / judged[1].amount


def _percentage(part: Decimal, whole: Decimal) -> str:
    return f"{(part * 100 / whole).quantize(Decimal('0.1')):f} %"


def _typical(sample: Sample) -> list[_Typical]:
    """The median amount of each currency; zero amounts are left out."""
    if sample.typical_amount is not None:
        return [_Typical(sample.typical_amount, "")]
    by_currency: dict[str, list[int]] = {}
    for side in sample.sides:
        for one in side:
            if one.amount_minor:
                by_currency.setdefault(one.currency, []).append(abs(one.amount_minor))
    return [
        _Typical(Decimal(_median(amounts)).scaleb(-CURRENCY_DIGITS[currency]), currency)
        for currency, amounts in sorted(by_currency.items())
    ]


def _widest(rule: AmountRule) -> Decimal:
    if rule.low is not None and rule.high is not None:
        return max(abs(rule.low), abs(rule.high))
    return rule.absolute or Decimal(0)


def _limit(rule: AmountRule, amount: Decimal) -> Decimal:
    """The largest difference a rule allows about an amount."""
    absolute = _widest(rule)
    if rule.percent is None:
        return absolute
    share = rule.percent * amount / 100
    return max(absolute, share) if rule.combine == "larger" else min(absolute, share)


def _median(amounts: list[int]) -> int:
    """The middle one; of an even number the lower of the two."""
    return sorted(amounts)[(len(amounts) - 1) // 2]
