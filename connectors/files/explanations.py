"""Why a match is one: the compared values, the difference and its limit, the days between."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from domain.definitions import AmountRule, Condition, Definition, Rule
from domain.events import MatchSuggested, RecordMatched
from domain.explaining.wording import plain
from domain.instants import SECOND_US
from domain.matching.amounts import limit_units
from domain.matching.dates import Span, spans_of
from domain.matching.texts import score
from domain.matching.values import Comparison
from domain.money import CURRENCY_DIGITS
from domain.transactions import SOURCE, TARGET, Transaction, field_value


class Explainer:
    """Explains the matches of one definition version.

    Args:
        transaction: Gives an accepted transaction by side and id.
    """

    def __init__(
        self,
        definition: Definition,
        definition_version: int,
        transaction: Callable[[int, str], Transaction],
    ) -> None:
        self._rules = {rule.name: (rule, Comparison(rule.amount)) for rule in definition.rules}
        self._version = definition_version
        self._transaction = transaction
        self._measured: dict[str, list[Span]] = {}

    def explain(self, event: RecordMatched | MatchSuggested) -> dict[str, Any]:
        """The explanation of a match or suggestion, ready for JSON."""
        rule, comparison = self._rules[event.rule]
        sources = [self._transaction(SOURCE, one) for one in event.source_ids]
        targets = [self._transaction(TARGET, one) for one in event.target_ids]
        explanation: dict[str, Any] = {
            "definition_version": self._version,
            "conditions": [
                _condition(condition, sources, targets) for condition in rule.conditions
            ],
            "amount": _amount(rule.amount, comparison, event, sources, targets),
        }
        if rule.date is not None:
            explanation["date"] = self._date(rule, sources, targets)
        if isinstance(event, MatchSuggested):
            explanation["reason"] = event.reason
        return explanation

    def _spans(self, rule: Rule) -> list[Span]:
        spans = self._measured.get(rule.name)
        if spans is None:
            spans = self._measured[rule.name] = spans_of(rule.date)
        return spans

    def _date(
        self, rule: Rule, sources: list[Transaction], targets: list[Transaction]
    ) -> dict[str, Any]:
        window = rule.date
        assert window is not None
        found: dict[str, Any] = {}
        for span in self._spans(rule):
            begins, ends = ([span.measure(one) for one in side] for side in (sources, targets))
            numbers = [[number for number in side if number is not None] for side in (begins, ends)]
            apart = [min(numbers[1]) - max(numbers[0]), max(numbers[1]) - min(numbers[0])]
            if span.is_instants:
                found["seconds"] = [f"{Decimal(one) / SECOND_US:f}" for one in apart]
                found["max_seconds"] = window.max_seconds
            else:
                found |= {
                    "days": apart,
                    "min_days": window.min_days,
                    "max_days": window.max_days,
                    "time_zone": window.time_zone,
                }
        if window.business:
            found["business"] = True
        return found


def _condition(
    condition: Condition, sources: list[Transaction], targets: list[Transaction]
) -> dict[str, Any]:
    return {
        "source_field": condition.source_field,
        "target_field": condition.target_field,
        "operator": condition.operator,
        "source_values": _values(condition.source_field, sources),
        "target_values": _values(condition.target_field, targets),
        "score": min(
            score(condition, source, target)
            for source in _values(condition.source_field, sources)
            for target in _values(condition.target_field, targets)
        )
        / 10_000,
    }


def _values(name: str, transactions: list[Transaction]) -> list[str]:
    if len(transactions) == 1:
        return [field_value(transactions[0], name) or ""]
    return sorted({field_value(one, name) or "" for one in transactions})


def _amount(
    amount: AmountRule,
    comparison: Comparison,
    event: RecordMatched | MatchSuggested,
    sources: list[Transaction],
    targets: list[Transaction],
) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": amount.kind}
    values = [
        comparison.side([comparison.value(one) for one in side]) for side in (sources, targets)
    ]
    source, target = values
    # Only what can be compared is matched.
    assert source is not None
    assert target is not None
    currency = source[0]
    if event.compared is not None or not comparison.as_it_is:
        found |= {
            "currency": currency,
            "source_basis": amount.source_basis,
            "target_basis": amount.target_basis,
            "sign": "opposite" if amount.opposite else "same",
            "source": f"{comparison.decimal(source):f}",
            "target": f"{comparison.decimal(target):f}",
        }
    found["difference"] = f"{comparison.decimal((currency, target[1] - source[1])):f}"
    if amount.kind == "bounds":
        found |= {"low": str(amount.low), "high": str(amount.high)}
    elif amount.kind == "tolerance" and not isinstance(event, MatchSuggested):
        # The sums of a suggestion's whole set are not what one of its matches would compare.
        scale = CURRENCY_DIGITS[currency] + comparison.extra
        found["limit"] = _limit(amount, scale, source[1], target[1])
    return found


def _limit(amount: AmountRule, scale: int, source: int, target: int) -> str:
    if amount.percent is None:
        return f"{amount.absolute:f}"
    return plain(limit_units(amount, scale, source, target) / 10**scale)
