"""The conditions of a rule, from plain data to checked `Condition`s.

Decisions where CONTRACT section 3 leaves room:

- `minimum` may be a bare number such as 0.85: it is read as written, and no amount depends on it.
- `unique` and `whole_key` need an operator of equality, since only such a value can be counted.
"""

from decimal import Decimal
from typing import Final, cast, get_args

from domain.definition_values import Section
from domain.definitions import EQUALITY_OPERATORS, Condition, Operator
from domain.errors import Problem
from domain.money import shown
from domain.patterns import PatternRefused, compile_pattern

CONDITION_FIELDS: Final = ("transaction_id", "reference", "counterparty", "description")
_OPERATORS: Final = get_args(Operator)
#: Operator → the bound it needs.
_BOUNDS: Final = {"edit_distance": "maximum", "similarity": "minimum", "regex_extract": "pattern"}
# More edits than this fit a text to almost any other.
_EDITS_MAX: Final = 64
_PATTERN_LENGTH_MAX: Final = 512


def parse_condition(value: object, path: str, problems: list[Problem]) -> Condition:
    """Check one condition; what is wrong goes to `problems`."""
    section = Section(
        value,
        path,
        problems,
        ("field", "source_field", "target_field", "operator", "unique", *_BOUNDS.values()),
    )
    if not section.is_mapping:
        return Condition("", "", "exact", unique=False)
    if "field" in section:
        if "source_field" in section or "target_field" in section:
            section.refuse("field", "stands for both sides; leave out source_field, target_field")
        source_field = target_field = _field(section, "field")
    else:
        source_field = _field(section, "source_field")
        target_field = _field(section, "target_field")
    if "operator" not in section:
        section.refuse("operator", f"is missing; supported: {', '.join(_OPERATORS)}")
    operator = section.choice("operator", _OPERATORS, "exact")
    known = section.values.get("operator") in _OPERATORS
    needed = _BOUNDS.get(operator)
    for bound in _BOUNDS.values():
        if known and bound in section and bound != needed:
            section.refuse(bound, f"has no meaning for operator {operator}")
    if needed is not None and needed not in section:
        section.refuse(needed, f"is missing; operator {operator} needs it")
    unique = section.flag("unique", False)
    if unique and operator not in EQUALITY_OPERATORS:
        section.refuse(
            "unique",
            f"has no meaning for operator {operator}, which does not compare by equality; "
            f"use one of {', '.join(sorted(EQUALITY_OPERATORS))}",
        )
    return Condition(
        source_field,
        target_field,
        cast(Operator, operator),
        unique,
        section.integer("maximum", 0, _EDITS_MAX) if needed == "maximum" else None,
        _minimum(section) if needed == "minimum" else None,
        _pattern(section) if needed == "pattern" else None,
    )


def is_attribute(field: object) -> bool:
    """Say whether a field is named `attributes.NAME`."""
    return isinstance(field, str) and field.startswith("attributes.") and bool(field[11:].strip())


def _field(section: Section, name: str) -> str:
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


def _minimum(section: Section) -> Decimal | None:
    value = section.values.get("minimum")
    if isinstance(value, float):
        # The shortest text of a number read from a file is what was written there.
        section.values["minimum"] = repr(value)
    minimum = section.decimal("minimum")
    if minimum is not None and not 0 < minimum <= 1:
        section.refuse("minimum", f"is {minimum}, must be above 0 and at most 1")
    return minimum


def _pattern(section: Section) -> str | None:
    value = section.values.get("pattern")
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > _PATTERN_LENGTH_MAX:
        section.refuse("pattern", f"must be text of 1 to {_PATTERN_LENGTH_MAX} characters")
        return None
    try:
        compile_pattern(value)
    except (PatternRefused, UnicodeError) as problem:
        section.refuse("pattern", f"{shown(value)} {problem}")
        return None
    return value
