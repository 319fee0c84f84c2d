"""The rules of a definition, from plain data to checked `Rule`s.

Features of CONTRACT section 3 that are not built yet are known here and refused by name; a value
that only states their default is accepted. Decisions where the contract leaves room:

- A definition that could admit no match at all, or every match, is a contradiction and refused.
- At most one condition of a rule is `unique`; such a rule is always immediate.
- A group rule without `group` searches subsets of up to 8 members a side.
"""

from datetime import date
from typing import Final, cast, get_args

from domain.amount_parsing import parse_amount
from domain.condition_parsing import parse_condition
from domain.definition_values import Section, kind
from domain.definitions import (
    EQUALITY_OPERATORS,
    Condition,
    DateWindow,
    MatchType,
    Outcome,
    Preference,
    Rule,
    Selection,
)
from domain.errors import Problem
from domain.money import shown

NAME_LENGTH_MAX: Final = 128
_MATCH_TYPES = ("one_to_one", "one_to_many", "many_to_one", "many_to_many")
_DAYS_MAX = 36_500
_HOLIDAYS_MAX = 2_000
_GROUP_SIZE, _GROUP_SIZE_MAX = 8, 50


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
        parse_condition(inner, inner_path, problems)
        for inner_path, inner in section.items("conditions")
    )
    outcome = section.choice("outcome", get_args(Outcome), "confirm")
    whole_key, max_size = _group(section, match_type, conditions)
    selection, prefer = _selection(section)
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
        amount=parse_amount(section),
        date=_date(section, time_zone),
        whole_key=whole_key,
        selection=selection,
        settle_us=settle_us,
        immediate=immediate,
        max_size=max_size,
        prefer=prefer,
        outcome=cast(Outcome, outcome),
    )


def _group(
    rule: Section, match_type: str, conditions: tuple[Condition, ...]
) -> tuple[str | None, int | None]:
    """Give the whole key and the largest size of a group; at most one of them is set."""
    section = rule.section("group", ("max_size", "whole_key"))
    if match_type == "one_to_one":
        if section.values:
            rule.refuse("group", "has no meaning for one_to_one")
        return None, None
    named = section.values.get("whole_key")
    if named is not None:
        if "max_size" in section:
            section.refuse("max_size", "contradicts whole_key, which takes all or nothing")
        return _whole_key(section, named, conditions), None
    return None, section.integer("max_size", 1, _GROUP_SIZE_MAX) or _GROUP_SIZE


def _whole_key(group: Section, named: object, conditions: tuple[Condition, ...]) -> str | None:
    # Whichever side the definition names it by, the engine looks for the source's field.
    equal = [one for one in conditions if one.operator in EQUALITY_OPERATORS]
    for condition in equal:
        if condition.source_field == named:
            return condition.source_field
    for condition in equal:
        if condition.target_field == named:
            return condition.source_field
    group.refuse(
        "whole_key",
        f"{shown(str(named))} is not the field of a condition of this rule that compares by "
        "equality",
    )
    return None


def _date(rule: Section, time_zone: str) -> DateWindow | None:
    if "date" not in rule:
        return None
    section = rule.section(
        "date",
        (
            "min_days",
            "max_days",
            "time_zone",
            "inclusive",
            "business",
            "holidays",
            "max_seconds",
            "anchor",
        ),
    )
    low = section.integer("min_days", -_DAYS_MAX, _DAYS_MAX)
    high = section.integer("max_days", -_DAYS_MAX, _DAYS_MAX)
    seconds = section.integer("max_seconds", 0, _DAYS_MAX * 86_400)
    inclusive = section.flag("inclusive", True)
    if not any(name in section for name in ("min_days", "max_days", "max_seconds")):
        section.refuse("", "needs min_days, max_days or max_seconds")
    if low is not None and high is not None:
        if low > high:
            section.refuse("min_days", f"{low} is above max_days {high}")
        elif not inclusive and high - low < 2:
            section.refuse("inclusive", f"false leaves no day between {low} and {high}")
    if seconds == 0 and not inclusive:
        section.refuse("inclusive", "false with max_seconds 0 admits no match")
    business = section.flag("business", False)
    if business and "min_days" not in section and "max_days" not in section:
        section.refuse("business", "has no meaning without min_days or max_days")
    holidays = _holidays(section)
    if holidays and not business:
        section.refuse("holidays", "have no meaning without business: true")
    section.choice("anchor", ("source_member",), "source_member")
    return DateWindow(
        low,
        high,
        section.time_zone("time_zone", time_zone),
        inclusive,
        business,
        holidays,
        seconds,
        "anchor" in section,
    )


def _holidays(section: Section) -> tuple[date, ...]:
    days = set()
    items = section.items("holidays")
    if len(items) > _HOLIDAYS_MAX:
        section.refuse("holidays", f"has {len(items)} days, at most {_HOLIDAYS_MAX} are allowed")
        return ()
    for path, value in items:
        # YAML reads a bare 2026-01-19 as a date by itself.
        text = value.isoformat() if isinstance(value, date) else value
        try:
            if not isinstance(text, str) or len(text) != len("2026-01-19"):
                raise ValueError
            days.add(date.fromisoformat(text))
        except ValueError:
            said = f"is {kind(value)}, must be a date such as 2026-01-19"
            section.problems.append(Problem(path, said))
    return tuple(sorted(days))


def _selection(rule: Section) -> tuple[Selection, tuple[Preference, ...]]:
    names = ("ambiguity", "tie_break", "prefer")
    section = rule.section("selection", names)
    given = [name for name in names if name in section]
    for name in given[1:]:
        section.refuse(name, f"contradicts {given[0]}; give one of them")
    if "tie_break" in section:
        section.choice("tie_break", ("lowest_id",), "lowest_id")
        return "lowest_id", ()
    if "prefer" in section:
        return "prefer", _preferences(section)
    ambiguity = section.choice("ambiguity", ("suggest", "leave_unmatched"), "suggest")
    return cast(Selection, ambiguity), ()


def _preferences(section: Section) -> tuple[Preference, ...]:
    known = get_args(Preference)
    named: list[str] = []
    items = section.items("prefer")
    for path, value in items:
        if value not in known:
            section.problems.append(
                Problem(path, f"is {kind(value)}, must be one of {', '.join(known)}")
            )
        elif value in named:
            section.problems.append(Problem(path, f"repeats {value}, which changes nothing"))
        else:
            named.append(str(value))
    if not items and isinstance(section.values["prefer"], list | tuple):
        section.refuse("prefer", f"is empty; name at least one of {', '.join(known)}")
    if "oldest" in named and "newest" in named:
        section.refuse("prefer", "names oldest and newest, which contradict each other")
    return cast(tuple[Preference, ...], tuple(named))


def _settle(rule: Section, unique: bool) -> tuple[int, bool]:
    if rule.values.get("settle") == "immediate":
        return 0, True
    settle_us = rule.duration("settle", 0)
    if unique and settle_us:
        rule.refuse("settle", "contradicts unique, which makes a rule immediate; leave it out")
    return settle_us, unique
