"""Weighing members again: every condition of a rule, asked of what an event names.

Nothing here knows a rule of its own. Verdicts come from the compiled rule that matching runs, made
of the definition that was in force; what is added is only which part of it said what.
"""

from collections.abc import Sequence
from typing import Final

from domain.definitions import EQUALITY_OPERATORS, Definition
from domain.explaining.amounts import show_amount
from domain.explaining.conditions import ConditionTest
from domain.explaining.dates import show_dates
from domain.explaining.shown import Evidence
from domain.matching.compiled import CompiledRule
from domain.matching.legs import Leg
from domain.matching.selection import admits_group, make_match
from domain.matching.terms import Terms
from domain.transactions import Transaction

#: Pairs of members that are weighed again; it takes a tenth of a second.
PAIRS_MAX: Final = 50_000


class Scene:
    """One version of a definition, ready to weigh members by its rules."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._terms = Terms(definition)
        self._tests = {
            rule.name: [ConditionTest(condition) for condition in rule.rule.conditions]
            for rule in self._terms.rules
        }

    @property
    def rules(self) -> list[CompiledRule]:
        """The rules, in order."""
        return self._terms.rules

    def rule(self, name: str | None) -> CompiledRule | None:
        """A rule by name; None where there is none, as for matches by hand."""
        return next((rule for rule in self._terms.rules if rule.name == name), None)

    def leg(self, transaction: Transaction) -> Leg:
        """A transaction as the rules see it."""
        return self._terms.leg_of(transaction)

    def event_time(self, transaction: Transaction) -> int:
        """Microseconds since the epoch; a bare date is the end of its day."""
        return self._terms.event_time(transaction)

    def weigh(
        self, rule: CompiledRule, sources: Sequence[Transaction], targets: Sequence[Transaction]
    ) -> Evidence | None:
        """What the rule asks of a whole match; None for more pairs than are weighed again."""
        if len(sources) * len(targets) > PAIRS_MAX:
            return None
        legs = [self.leg(one) for one in sources], [self.leg(one) for one in targets]
        return Evidence(
            [test.show(sources, targets) for test in self._tests[rule.name]],
            show_amount(rule, *legs),
            show_dates(rule, sources, targets, legs),
            admits_group(rule, make_match(*legs)),
        )

    def weigh_pair(self, rule: CompiledRule, source: Transaction, target: Transaction) -> Evidence:
        """What the rule asks of one pair, be it of a larger group.

        Of a group the amounts are asked as a whole and so is an anchor; the verdict leaves them
        out, and so do the dates.
        """
        legs = self.leg(source), self.leg(target)
        sides = [source], [target]
        dates = [] if rule.anchored else show_dates(rule, *sides, ([legs[0]], [legs[1]]))
        return Evidence(
            [test.show(*sides) for test in self._tests[rule.name]],
            show_amount(rule, [legs[0]], [legs[1]]),
            dates,
            rule.admits(*legs),
        )

    def first_failure(
        self, rule: CompiledRule, source: Transaction, target: Transaction
    ) -> tuple[str, int | None]:
        """What keeps a pair apart, in the order the engine asks, as `Candidate.failed` says it.

        Returns:
            The word, and for `condition` the place of the condition in the rule.
        """
        failed = rule.first_failure(self.leg(source), self.leg(target))
        if failed is None:
            return ("ambiguous" if rule.many_side is None else "amount"), None
        if failed != "condition":
            return failed, None
        tests = list(enumerate(self._tests[rule.name]))
        # Equality is asked first, by key; what looks at both texts of a pair after it.
        tests.sort(key=lambda one: one[1].condition.operator not in EQUALITY_OPERATORS)
        return failed, next(place for place, test in tests if not test.holds(source, target))
