"""From the plain data of a YAML or JSON file to a checked `Definition`.

Rules are read by `domain.rule_parsing`. Decisions where CONTRACT section 3 leaves room:

- Limits are text or whole numbers. A YAML float such as 0.5 is refused: it is not exact.
- `Definition.raw` states every default, so that a later release with other defaults cannot change
  the meaning of a stored definition.
"""

from collections.abc import Mapping
from decimal import Decimal

from domain.condition_parsing import is_attribute
from domain.definition_plain import definition_to_plain
from domain.definition_values import Section, kind
from domain.definitions import (
    Column,
    Definition,
    Rule,
    Severity,
    SideSpec,
    Window,
)
from domain.errors import DefinitionInvalid, Problem
from domain.instants import DAY_US, MINUTE_US, SECOND_US
from domain.money import shown
from domain.record_json import DECIMAL_FIELDS
from domain.rule_parsing import NAME_LENGTH_MAX, parse_rule
from domain.transaction_decoding import KNOWN_FIELDS, SCOPE_ID

_DECIMAL_SIGNS = (".", ",")
_THOUSANDS_SIGNS = (",", ".", " ", "'", "’", "\N{NO-BREAK SPACE}", "_")
_COLUMN_FIELDS = tuple(sorted(KNOWN_FIELDS - {"attributes"}))

_DEFAULT_WAIT_US = 3 * DAY_US
_DEFAULT_LATENESS_US = 10 * MINUTE_US
_DEFAULT_IDLE_US = 30 * SECOND_US
_DEFAULT_REMEMBER_US = 7 * DAY_US


def parse_definition(
    raw: object, tenant_id: str | None = None, reconciliation_id: str | None = None
) -> Definition:
    """Check a definition and give its typed form.

    Args:
        raw: Plain data as a YAML or JSON reader gives it.
        tenant_id: Whose definition this is, when that is known otherwise; the data may then
            leave it out and may not contradict it.
        reconciliation_id: Likewise.

    Raises:
        DefinitionInvalid: With every problem found, each with its path.
    """
    problems: list[Problem] = []
    if not isinstance(raw, Mapping):
        raise DefinitionInvalid([Problem("", f"the definition is {kind(raw)}, must be a mapping")])
    top = Section(
        raw,
        "",
        problems,
        (
            "tenant_id",
            "reconciliation_id",
            "name",
            "source",
            "target",
            "time_zone",
            "window",
            "rules",
            "severity",
        ),
    )
    tenant_id = _scope_id(top, "tenant_id", tenant_id)
    reconciliation_id = _scope_id(top, "reconciliation_id", reconciliation_id)
    time_zone = top.time_zone("time_zone", "UTC")
    definition = Definition(
        tenant_id=tenant_id,
        reconciliation_id=reconciliation_id,
        name=top.text("name", 256) or reconciliation_id,
        source=_side(top.section("source", ("system", "columns"))),
        target=_side(top.section("target", ("system", "columns"))),
        time_zone=time_zone,
        window=_window(top.section("window", ("wait", "lateness", "idle", "remember"))),
        rules=_rules(top, time_zone),
        severity=_severity(
            top.section("severity", ("medium", "high", "critical", "escalate_after"))
        ),
        raw={},
    )
    if problems:
        raise DefinitionInvalid(problems)
    definition.raw.update(definition_to_plain(definition))
    return definition


def _scope_id(top: Section, name: str, known: str | None) -> str:
    value = top.values.get(name, known)
    if value is None:
        top.refuse(name, "is missing")
        return ""
    if not isinstance(value, str) or SCOPE_ID.fullmatch(value) is None:
        top.refuse(name, f"is {shown(str(value))}, must be 1 to 64 of a-z, 0-9, _ and -")
        return ""
    if known is not None and value != known:
        top.refuse(name, f"is {shown(value)}, but this definition is for {shown(known)}")
    return value


def _window(section: Section) -> Window:
    wait_us = section.duration("wait", _DEFAULT_WAIT_US)
    window = Window(
        wait_us=wait_us,
        lateness_us=section.duration("lateness", _DEFAULT_LATENESS_US),
        idle_us=section.duration("idle", _DEFAULT_IDLE_US),
        remember_us=section.duration("remember", max(2 * wait_us, _DEFAULT_REMEMBER_US)),
    )
    if window.remember_us < wait_us:
        section.refuse("remember", "is shorter than wait; ids must be known while records wait")
    return window


def _severity(section: Section) -> Severity:
    levels = []
    for name, default in (("medium", 100), ("high", 1_000), ("critical", 10_000)):
        level = section.decimal(name)
        if level is not None and level < 0:
            section.refuse(name, "is negative; it is compared with absolute amounts")
        levels.append(Decimal(default) if level is None else level)
    if levels != sorted(levels):
        section.refuse("", "medium, high and critical must not descend")
    medium, high, critical = levels
    return Severity(medium, high, critical, section.duration("escalate_after", 30 * DAY_US))


def _side(section: Section) -> SideSpec:
    given = section.values.get("columns", {})
    columns: dict[str, Column] = {}
    if not isinstance(given, Mapping):
        section.refuse("columns", "must be a mapping: our field to the file's column")
        given = {}
    for field, value in given.items():
        if field in _COLUMN_FIELDS or is_attribute(field):
            columns[field] = _column(section, str(field), value)
        else:
            section.refuse(
                f"columns.{field}",
                f"is no field of a transaction; allowed: {', '.join(_COLUMN_FIELDS)}, "
                "attributes.NAME",
            )
    return SideSpec(section.text("system", NAME_LENGTH_MAX), columns)


def _column(side: Section, field: str, value: object) -> Column:
    # A string is the short form of a column without anything else to say.
    section = Section(
        {"column": value} if isinstance(value, str) else value,
        side.at(f"columns.{field}"),
        side.problems,
        ("column", "decimal", "thousands", "negate", "format", "time_zone"),
    )
    name = section.text("column", 256, required=True) or field
    for option in ("decimal", "thousands", "negate"):
        if option in section and field not in DECIMAL_FIELDS:
            section.refuse(option, "only belongs to amounts, fees and rates")
    for option in ("format", "time_zone"):
        if option in section and field != "occurred_at":
            section.refuse(option, "only belongs to occurred_at")
    decimal = thousands = None
    if "decimal" in section:
        decimal = section.choice("decimal", _DECIMAL_SIGNS, ".")
    if "thousands" in section:
        thousands = section.choice("thousands", _THOUSANDS_SIGNS, "'")
        if thousands == (decimal or "."):
            section.refuse("thousands", "is the same sign as decimal")
    return Column(
        column=name,
        decimal=decimal,
        thousands=thousands,
        negate=section.flag("negate", False),
        format=section.text("format", NAME_LENGTH_MAX),
        time_zone=section.time_zone("time_zone", "UTC") if "time_zone" in section else None,
    )


def _rules(top: Section, time_zone: str) -> tuple[Rule, ...]:
    rules = [parse_rule(value, path, top.problems, time_zone) for path, value in top.items("rules")]
    if not top.values.get("rules", ()):
        top.refuse("rules", "must hold at least one rule")
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule.name in seen:
            top.refuse(f"rules[{place}].name", f"{shown(rule.name)} is the name of an earlier rule")
        if rule.name:
            seen.add(rule.name)
    return tuple(rules)
