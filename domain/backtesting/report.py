"""What a backtest found, as plain values for JSON.

Amounts are sums of absolute amounts in major units by currency; of a match its source side counts.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from domain.backtesting.backtest import Backtest
from domain.backtesting.comparison import (
    CANDIDATE,
    RECORDED,
    Change,
    MatchComparison,
)
from domain.backtesting.contradictions import Contradiction, Judgement, judge
from domain.backtesting.outcome import Case, Matched, Place, Standings, places_of
from domain.money import CURRENCY_DIGITS, amount_text, format_minor
from domain.transactions import SIDE_NAMES

Plain = dict[str, Any]


def report(backtest: Backtest, examples: int, named: int | None = None) -> Plain:
    """Give everything that differs.

    Args:
        backtest: An ended one.
        examples: How many of each kind to show.
        named: How many of the decisions that are contradicted to name at most; None for all.
    """
    definition = backtest.definition
    differences = backtest.matches.differences()
    judgement = judge(backtest, differences)
    recorded, candidate = Standings(backtest.recorded), Standings(backtest.candidate)
    return {
        "tenant_id": definition.tenant_id,
        "reconciliation_id": definition.reconciliation_id,
        "recorded_definition_version": backtest.recorded_version,
        "transactions": backtest.transactions,
        "refused": backtest.refused,
        "straddling": backtest.straddling,
        "accuracy": {
            "recorded": _accuracy(backtest, RECORDED),
            "candidate": _accuracy(backtest, CANDIDATE),
        },
        "matches": {
            **_totals(backtest.matches),
            "gained": _matches(differences.gained, examples, recorded, "before"),
            "lost": _matches(differences.lost, examples, candidate, "now"),
            "changed": _changes(differences.changed, examples),
        },
        "people": judgement.fates,
        "contradictions": _contradictions(judgement, candidate, named),
        "suggestions": _suggestions(backtest, examples),
        "exceptions": _exceptions(backtest, examples),
    }


def _accuracy(backtest: Backtest, whose: int) -> float | None:
    if not backtest.transactions:
        return None
    return round(backtest.matches.transactions[whose] / backtest.transactions, 6)


def _totals(comparison: MatchComparison) -> Plain:
    return {
        "recorded": comparison.matches[RECORDED],
        "candidate": comparison.matches[CANDIDATE],
        "unchanged": comparison.unchanged,
    }


def _amounts(amounts: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Sums of absolute amounts by currency."""
    sums: dict[str, int] = {}
    for currency, minor in amounts:
        sums[currency] = sums.get(currency, 0) + abs(minor)
    return {currency: amount_text(total, currency) for currency, total in sorted(sums.items())}


def _match(one: Matched) -> Plain:
    digits = CURRENCY_DIGITS[one.currency]
    return {
        "rule": one.rule,
        "source_ids": list(one.source_ids),
        "target_ids": list(one.target_ids),
        "currency": one.currency,
        "source_amount": format_minor(one.source_minor, digits),
        "target_amount": format_minor(one.target_minor, digits),
    }


def _matches(matches: Sequence[Matched], examples: int, other: Standings, when: str) -> Plain:
    """Matches that one side has; examples say where their members stand on the other."""
    return {
        "count": len(matches),
        "amounts": _amounts((one.currency, one.source_minor) for one in matches),
        "by_rule": _counts(one.rule for one in matches),
        "examples": [
            _match(one) | {when: {_named(place): other.of(place) for place in one.places()}}
            for one in matches[:examples]
        ],
    }


def _changes(changes: Sequence[Change], examples: int) -> Plain:
    return {
        "count": len(changes),
        "by_rule_only": sum(one.by_rule_only for one in changes),
        "amounts": _amounts((one.recorded.currency, one.recorded.source_minor) for one in changes),
        # Other members first: a match by another rule is still the same match.
        "examples": [
            {
                "recorded": _match(one.recorded),
                "candidate": [_match(other) for other in one.candidate],
            }
            for one in sorted(changes, key=lambda one: one.by_rule_only)[:examples]
        ],
    }


def _contradictions(judgement: Judgement, candidate: Standings, named: int | None) -> Plain:
    contradictions = judgement.contradictions
    return {
        "count": len(contradictions),
        "by_decision": _counts(one.decided.kind for one in contradictions),
        "named": [_contradiction(one, candidate) for one in contradictions[:named]],
    }


def _contradiction(one: Contradiction, candidate: Standings) -> Plain:
    decided = one.decided
    matched = {place for match in one.candidate for place in match.places()}
    return {
        "decision": decided.kind,
        "reason": decided.reason,
        "rule": decided.rule,
        "source_ids": list(decided.members[0]),
        "target_ids": list(decided.members[1]),
        "candidate": [_match(match) for match in one.candidate],
        "now": {
            _named(place): candidate.of(place)
            for place in places_of(decided.members)
            if place not in matched
        },
    }


def _suggestions(backtest: Backtest, examples: int) -> Plain:
    comparison = backtest.suggestions()
    differences = comparison.differences()
    return {
        **_totals(comparison),
        "gained": _set(differences.gained, examples),
        "lost": _set(differences.lost, examples),
        "changed": _changes(differences.changed, examples),
    }


def _set(matches: Sequence[Matched], examples: int) -> Plain:
    return {
        "count": len(matches),
        "amounts": _amounts((one.currency, one.source_minor) for one in matches),
        "examples": [_match(one) for one in matches[:examples]],
    }


def _exceptions(backtest: Backtest, examples: int) -> Plain:
    differences = backtest.cases()
    return {
        "recorded": len(backtest.recorded.cases),
        "candidate": len(backtest.candidate.cases),
        "gained": _cases(differences.gained, examples),
        "lost": _cases(differences.lost, examples),
        "recategorised": {
            "count": len(differences.recategorised),
            "by_category": _counts(
                f"{before.category} -> {after.category}"
                for _, before, after in differences.recategorised
            ),
            "examples": [
                _case(place, after) | {"category_before": before.category}
                for place, before, after in differences.recategorised[:examples]
            ],
        },
    }


def _cases(cases: Sequence[tuple[Place, Case]], examples: int) -> Plain:
    categories = sorted({case.category for _, case in cases})
    of = {name: [case for _, case in cases if case.category == name] for name in categories}
    return {
        "count": len(cases),
        "by_category": {
            name: {
                "count": len(found),
                "amounts": _amounts((case.currency, case.amount_minor) for case in found),
            }
            for name, found in of.items()
        },
        "examples": [_case(place, case) for place, case in cases[:examples]],
    }


def _case(place: Place, case: Case) -> Plain:
    return {
        "side": SIDE_NAMES[place[0]],
        "transaction_id": place[1],
        "category": case.category,
        "amount": amount_text(case.amount_minor, case.currency),
        "currency": case.currency,
    }


def _named(place: Place) -> str:
    return f"{SIDE_NAMES[place[0]]} {place[1]}"


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
