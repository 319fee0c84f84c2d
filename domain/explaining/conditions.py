"""Conditions: both sides' values, the form they are compared in, and the verdict."""

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

from domain.definitions import EQUALITY_OPERATORS, Condition
from domain.explaining.shown import ConditionShown
from domain.explaining.wording import quoted
from domain.matching.keys import reader
from domain.matching.texts import pair_test, score
from domain.transactions import SOURCE, TARGET, Transaction, field_value

#: Distinct values of one side that are named.
VALUES_MAX: Final = 20

_HOLDS = {
    "exact": "equals",
    "casefold": "equals, without regard to case,",
    "alphanumeric": "has the letters and digits of",
    "digits": "has the digits of",
    "token_run": "stands as a run of whole words in",
    "token_set": "has all its words in",
    "edit_distance": "is near",
    "similarity": "is similar to",
    "regex_extract": "equals what the pattern finds in",
}
_FAILS = {
    "exact": "does not equal",
    "casefold": "does not equal, even without regard to case,",
    "alphanumeric": "has other letters and digits than",
    "digits": "has other digits than",
    "token_run": "does not stand as a run of whole words in",
    "token_set": "has words that are not in",
    "edit_distance": "is too far from",
    "similarity": "is not similar enough to",
    "regex_extract": "does not equal what the pattern finds in",
}
_SHARES = ("edit_distance", "similarity")


class ConditionTest:
    """One condition, asked with what the rules ask with."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self._readers = reader(condition, SOURCE), reader(condition, TARGET)
        self._agree = None if condition.operator in EQUALITY_OPERATORS else pair_test(condition)

    def form(self, transaction: Transaction) -> Any:
        """The form in which a transaction's value is compared; None satisfies nothing."""
        return self._readers[transaction.side](transaction)

    def forms_agree(self, source: Any, target: Any) -> bool:
        """Whether two forms satisfy the condition."""
        if source is None or target is None:
            return False
        return bool(source == target if self._agree is None else self._agree(source, target))

    def holds(self, source: Transaction, target: Transaction) -> bool:
        """Whether a pair satisfies the condition."""
        return self.forms_agree(self.form(source), self.form(target))

    def show(
        self, sources: Sequence[Transaction], targets: Sequence[Transaction]
    ) -> ConditionShown:
        """The condition over every pair of two sides."""
        one = self.condition
        ours, theirs = self._by_value(sources), self._by_value(targets)
        pairs = list(product(ours.items(), theirs.items()))
        holds = all(self.forms_agree(source[1], target[1]) for source, target in pairs)
        lowest = min(self._score(source, target) for source, target in pairs)
        source_values, target_values = list(ours), list(theirs)
        return ConditionShown(
            source_field=one.source_field,
            target_field=one.target_field,
            operator=one.operator,
            bound=bound_of(one),
            unique=one.unique,
            source_values=source_values[:VALUES_MAX],
            target_values=target_values[:VALUES_MAX],
            source_compared=[_form_text(form) for form in list(ours.values())[:VALUES_MAX]],
            target_compared=[_form_text(form) for form in list(theirs.values())[:VALUES_MAX]],
            score=lowest / 10_000,
            holds=holds,
            sentence=self._sentence(source_values, target_values, lowest, holds=holds),
        )

    def _by_value(self, transactions: Sequence[Transaction]) -> dict[str | None, Any]:
        """The distinct values of one side in order, each with its form."""
        side = transactions[0].side
        name = self.condition.source_field if side == SOURCE else self.condition.target_field
        found = {field_value(one, name): self.form(one) for one in transactions}
        return {value: found[value] for value in sorted(found, key=lambda one: (one or "", one))}

    def _score(self, source: tuple[str | None, Any], target: tuple[str | None, Any]) -> int:
        (ours, our_form), (theirs, their_form) = source, target
        if ours is None or theirs is None or our_form is None or their_form is None:
            return 0
        if self.condition.operator in _SHARES or self.forms_agree(our_form, their_form):
            return score(self.condition, ours, theirs)
        return 0

    def _sentence(
        self,
        source_values: list[str | None],
        target_values: list[str | None],
        lowest: int,
        *,
        holds: bool,
    ) -> str:
        one = self.condition
        verb = (_HOLDS if holds else _FAILS)[one.operator]
        said = (
            f"The source's {one.source_field} {quoted(source_values)} {verb} "
            f"the target's {one.target_field} {quoted(target_values)}"
        )
        if None in source_values or None in target_values:
            return f"{said}: an absent value satisfies no condition."
        match one.operator:
            case "edit_distance":
                return (
                    f"{said}: {_share(lowest)} of the text needs no edit, at most {one.maximum} "
                    "edits are allowed."
                )
            case "similarity":
                return f"{said}: {_share(lowest)} alike, at least {one.minimum} is asked."
            case "regex_extract":
                return f"{said} (pattern {one.pattern})."
        unique = ", and occurs once per side" if holds and one.unique else ""
        return f"{said}{unique}."


def bound_of(condition: Condition) -> str | None:
    """What an operator needs beside its fields."""
    match condition.operator:
        case "edit_distance":
            return str(condition.maximum)
        case "similarity":
            return str(condition.minimum)
    return condition.pattern


def _share(ten_thousandths: int) -> str:
    return f"{ten_thousandths // 10_000}.{ten_thousandths % 10_000:04d}".rstrip("0").rstrip(".")


def _form_text(form: Any) -> str | None:
    if form is None:
        return None
    return " ".join(sorted(form)) if isinstance(form, frozenset) else str(form).strip()
