"""The rules of a definition, from plain data to checked `Rule`s.

Features of CONTRACT section 3 that are not built yet are known here and refused by name; a value
that only states their default is accepted. Decisions where the contract leaves room:

- `percent_of` and `combine` default to `larger`; without a percentage they change nothing.
- A definition that could admit no match at all, or every match, is a contradiction and refused.
- At most one condition of a rule is `unique`; such a rule is always immediate.
"""

from collections.abc import Mapping
from typing import Final, cast, get_args

from domain.definition_values import Section
from domain.definitions import (
    AmountRule,
    Combine,
    Condition,
    DateWindow,
    MatchType,
    Operator,
    Outcome,
    PercentOf,
    Rule,
    Selection,
)
from domain.errors import Problem
from domain.money import shown

NAME_LENGTH_MAX: Final = 128
CONDITION_FIELDS: Final = ("transaction_id", "reference", "counterparty", "description")
_MATCH_TYPES = ("one_to_one", "one_to_many", "many_to_one", "many_to_many")
_OPERATORS = get_args(Operator)
_OPERATORS_LATER = (
    "digits",
    "token_run",
    "token_set",
    "edit_distance",
    "similarity",
    "regex_extract",
)
_OPERATOR_BOUNDS = ("maximum", "minimum", "pattern")
_BASES_LATER = ("net", "gross", "fx", "base", "schedule")
_DAYS_MAX = 36_500
_EXACT = AmountRule("equal", None, None, "larger", "larger", None, None, True)


def parse_rule(value: object, path: str, problems: list[Problem], time_zone: str) -> Rule:
    """Check one rule; what is wrong goes to `problems`, and then the rule given is of no use."""
    section = Section(
        value,
        path,
        problems,
        (
            "name",
            "match_type",
            "conditions",
            "amount",
            "date",
            "group",
            "selection",
            "outcome",
            "settle",
        ),
    )
    name = section.text("name", NAME_LENGTH_MAX, required=section.is_mapping) or ""
    match_type = section.choice("match_type", _MATCH_TYPES, "one_to_one")
    conditions = tuple(
        _condition(inner, inner_path, problems) for inner_path, inner in section.items("conditions")
    )
    outcome = section.choice("outcome", get_args(Outcome), "confirm")
    whole_key = _whole_key(section, match_type, conditions)
    uniques = sum(condition.unique for condition in conditions)
    if uniques > 1:
        section.refuse("conditions", "have more than one unique condition; at most one is allowed")
    if uniques and match_type != "one_to_one":
        section.refuse(
            "conditions", f"unique contradicts {match_type}, where a value stands for a group"
        )
    settle_us, immediate = _settle(section, bool(uniques))
    return Rule(
        name=name,
        match_type=cast(MatchType, match_type),
        conditions=conditions,
        amount=_amount(section),
        date=_date(section, time_zone),
        whole_key=whole_key,
        selection=_selection(section),
        settle_us=settle_us,
        immediate=immediate,
        outcome=cast(Outcome, outcome),
    )


def is_attribute(field: object) -> bool:
    """Say whether a field is named `attributes.NAME`."""
    return isinstance(field, str) and field.startswith("attributes.") and bool(field[11:].strip())


def _condition(value: object, path: str, problems: list[Problem]) -> Condition:
    section = Section(
        value,
        path,
        problems,
        ("field", "source_field", "target_field", "operator", "unique", *_OPERATOR_BOUNDS),
    )
    if not section.is_mapping:
        return Condition("", "", "exact", unique=False)
    if "field" in section:
        if "source_field" in section or "target_field" in section:
            section.refuse("field", "stands for both sides; leave out source_field, target_field")
        source_field = target_field = _condition_field(section, "field")
    else:
        source_field = _condition_field(section, "source_field")
        target_field = _condition_field(section, "target_field")
    if "operator" not in section:
        section.refuse("operator", f"is missing; supported: {', '.join(_OPERATORS)}")
    operator = section.choice("operator", _OPERATORS, "exact", _OPERATORS_LATER)
    for bound in _OPERATOR_BOUNDS:
        if bound in section and section.values.get("operator") in _OPERATORS:
            section.refuse(bound, f"has no meaning for operator {operator}")
    return Condition(
        source_field, target_field, cast(Operator, operator), section.flag("unique", False)
    )


def _condition_field(section: Section, name: str) -> str:
    value = section.values.get(name)
    if value is None:
        section.refuse(name, "is missing; give field, or source_field and target_field")
    elif value in CONDITION_FIELDS or is_attribute(value):
        return str(value)
    else:
        section.refuse(
            name,
            f"is {shown(str(value))}, must be one of {', '.join(CONDITION_FIELDS)}, "
            "attributes.NAME",
        )
    return ""


def _whole_key(section: Section, match_type: str, conditions: tuple[Condition, ...]) -> str | None:
    group = section.section("group", ("max_size", "whole_key"))
    if match_type == "many_to_many":
        section.refuse(
            "match_type",
            "many_to_many is not supported yet; supported: one_to_one, "
            "one_to_many and many_to_one with group.whole_key",
        )
        return None
    if match_type == "one_to_one":
        if group.values:
            section.refuse("group", "has no meaning for one_to_one")
        return None
    if "max_size" in group:
        group.refuse("max_size", "groups by subset search are not supported yet; use whole_key")
    named = group.values.get("whole_key")
    if named is None:
        section.refuse(
            "group",
            f"{match_type} without whole_key (subset search) is not supported yet; "
            "name the field of an equality condition as group.whole_key",
        )
        return None
    # Whichever side the definition names it by, the engine looks for the source's field.
    for condition in conditions:
        if condition.source_field == named:
            return condition.source_field
    for condition in conditions:
        if condition.target_field == named:
            return condition.source_field
    group.refuse("whole_key", f"{shown(str(named))} is not the field of a condition of this rule")
    return None


def _amount(rule: Section) -> AmountRule:
    if rule.values.get("amount") == "equal":
        return _EXACT
    section = rule.section(
        "amount", ("tolerance", "bounds", "inclusive", "round", "basis", "schedule", "sign")
    )
    for name in ("round", "schedule"):
        if name in section:
            section.refuse(name, "is not supported yet; amounts are compared as they are")
    section.choice("sign", ("same",), "same", ("opposite",))
    _basis(section)
    inclusive = section.flag("inclusive", True)
    if "tolerance" in section and "bounds" in section:
        section.refuse("bounds", "contradicts tolerance; give one of them")
    if "tolerance" in section:
        return _tolerance(section, inclusive)
    if "bounds" in section:
        return _bounds(section, inclusive)
    if not inclusive:
        section.refuse("inclusive", "false has no meaning without tolerance or bounds")
    return _EXACT


def _basis(section: Section) -> None:
    if not isinstance(section.values.get("basis"), Mapping):
        section.choice("basis", ("amount",), "amount", _BASES_LATER)
        return
    basis = section.section("basis", ("source", "target"))
    for side in ("source", "target"):
        basis.choice(side, ("amount",), "amount", _BASES_LATER)


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


def _date(rule: Section, time_zone: str) -> DateWindow | None:
    if "date" not in rule:
        return None
    later = ("business", "holidays", "max_seconds", "anchor")
    section = rule.section("date", ("min_days", "max_days", "time_zone", "inclusive", *later))
    for name in later:
        # False and an empty list only say what is so anyway.
        if section.values.get(name):
            section.refuse(name, "is not supported yet; supported: min_days, max_days")
    low = section.integer("min_days", -_DAYS_MAX, _DAYS_MAX)
    high = section.integer("max_days", -_DAYS_MAX, _DAYS_MAX)
    inclusive = section.flag("inclusive", True)
    if not any(name in section for name in ("min_days", "max_days", *later)):
        section.refuse("", "needs min_days, max_days or both")
    if low is not None and high is not None:
        if low > high:
            section.refuse("min_days", f"{low} is above max_days {high}")
        elif not inclusive and high - low < 2:
            section.refuse("inclusive", f"false leaves no day between {low} and {high}")
    return DateWindow(low, high, section.time_zone("time_zone", time_zone), inclusive)


def _selection(rule: Section) -> Selection:
    section = rule.section("selection", ("ambiguity", "tie_break", "prefer"))
    if "prefer" in section:
        section.refuse("prefer", "is not supported yet; supported: ambiguity, tie_break")
    if "ambiguity" in section and "tie_break" in section:
        section.refuse("tie_break", "contradicts ambiguity; give one of them")
    if "tie_break" in section:
        section.choice("tie_break", ("lowest_id",), "lowest_id")
        return "lowest_id"
    ambiguity = section.choice("ambiguity", ("suggest", "leave_unmatched"), "suggest")
    return cast(Selection, ambiguity)


def _settle(rule: Section, unique: bool) -> tuple[int, bool]:
    if rule.values.get("settle") == "immediate":
        return 0, True
    settle_us = rule.duration("settle", 0)
    if unique and settle_us:
        rule.refuse("settle", "contradicts unique, which makes a rule immediate; leave it out")
    return settle_us, unique
