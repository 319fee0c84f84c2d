"""What sample records say about a definition: fields that are never there, values that recur."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from domain.definitions import EQUALITY_OPERATORS, Condition
from domain.linting.findings import Place, Sample, fields_of
from domain.linting.rules import is_unique
from domain.matching.texts import form_of
from domain.matching.values import Comparison
from domain.transactions import SIDE_NAMES, SOURCE, Transaction, field_value

# A value that comes again in more than this share of the records is more than an accident.
_RECURRING_PERCENT = 5


def lint_sample(place: Place, sample: Sample) -> None:
    """Note where a rule and the sample do not go together."""
    for path, condition in place.conditions():
        forms = [_forms(condition, side, sample.sides[side]) for side in (0, 1)]
        _lint_presence(place, path, condition, sample, forms)
        if condition.operator in EQUALITY_OPERATORS:
            for side in (0, 1):
                _lint_recurrence(place, path, condition, side, forms[side])
            _lint_overlap(place, path, condition, forms)
    _lint_values(place, sample)


def _forms(condition: Condition, side: int, records: Sequence[Transaction]) -> list[Any]:
    field = condition.source_field if side == SOURCE else condition.target_field
    form = form_of(condition, side)
    values = (field_value(one, field) for one in records)
    present = [value for value in values if value is not None]
    formed = present if form is None else map(form, present)
    return [one for one in formed if one is not None]


def _lint_presence(
    place: Place, path: str, condition: Condition, sample: Sample, forms: list[list[Any]]
) -> None:
    for side, field in enumerate((condition.source_field, condition.target_field)):
        records = sample.sides[side]
        if not records or forms[side]:
            continue
        what = f"None of {len(records):,} {SIDE_NAMES[side]} records has"
        if condition.pattern is not None and side != SOURCE:
            said = f"{what} anything in {field} that the pattern takes"
        else:
            said = f"{what} a value in {field}"
        place.say(
            "warning",
            "no_value_in_sample",
            f"{said}, so the rule matches none of them. Check the field's name and the columns of "
            f"the {SIDE_NAMES[side]}.",
            path,
        )


def _lint_recurrence(
    place: Place, path: str, condition: Condition, side: int, forms: list[Any]
) -> None:
    counts = Counter(forms)
    again = len(forms) - len(counts)
    if not again:
        return
    value, times = max(counts.items(), key=lambda one: (one[1], str(one[0])))
    seen = (
        f"{again:,} of {len(forms):,} {SIDE_NAMES[side]} records repeat a value of "
        f"{fields_of(condition)}, such as '{value}' ({times:,} times)"
    )
    if condition.unique:
        place.say(
            "warning",
            "unique_value_recurs",
            f"{seen}: each but the first is set aside as a duplicate and never matched. Leave "
            "unique out, or compare a field whose value occurs once per side.",
            f"{path}.unique",
        )
        return
    rule = place.rule
    if rule.whole_key is not None or rule.date is not None or is_unique(rule):
        return
    if rule.match_type == "one_to_one" and again * 100 > _RECURRING_PERCENT * len(forms):
        place.say(
            "warning",
            "recurring_without_date",
            f"{seen}, and there is no date window: the payment of one month is matched with the "
            "record of another. Add date, such as {min_days: -1, max_days: 5}.",
            "date",
        )


def _lint_overlap(place: Place, path: str, condition: Condition, forms: list[list[Any]]) -> None:
    source, target = forms
    if source and target and not set(source) & set(target):
        place.say(
            "warning",
            "nothing_in_common",
            f"No value of {fields_of(condition)} is the same on both sides of the sample, such as "
            f"'{min(source)}' and '{min(target)}': compared by {condition.operator}, the rule "
            "matches none of these records. Compare other fields or by another operator, unless "
            "the two samples are of different times.",
            path,
        )


def _lint_values(place: Place, sample: Sample) -> None:
    comparison = Comparison(place.rule.amount)
    bases = place.rule.amount.source_basis, place.rule.amount.target_basis
    for side, records in enumerate(sample.sides):
        missing = sum(comparison.value(one) is None for one in records)
        if missing:
            place.say(
                "warning",
                "basis_lacking",
                f"{missing:,} of {len(records):,} {SIDE_NAMES[side]} records lack what the basis "
                f"{bases[side]} needs and are never matched by this rule. Map the columns, or add "
                "a rule for them.",
                "amount.basis",
            )
