"""The stored form of a definition: plain data in which every default is written out."""

from decimal import Decimal
from typing import Any

from domain.definition_values import format_duration
from domain.definitions import (
    AmountRule,
    Column,
    Condition,
    DateWindow,
    Definition,
    Rounding,
    Rule,
    Schedule,
    SideSpec,
)


def definition_to_plain(definition: Definition) -> dict[str, Any]:
    """Write a definition as `parse_definition` reads it; JSON-able, with text for decimals."""
    window, severity = definition.window, definition.severity
    return {
        "tenant_id": definition.tenant_id,
        "reconciliation_id": definition.reconciliation_id,
        "name": definition.name,
        "source": _side(definition.source),
        "target": _side(definition.target),
        "time_zone": definition.time_zone,
        "window": {
            "wait": format_duration(window.wait_us),
            "lateness": format_duration(window.lateness_us),
            "idle": format_duration(window.idle_us),
            "remember": format_duration(window.remember_us),
        },
        "rules": [_rule(rule) for rule in definition.rules],
        "severity": {
            "medium": _decimal(severity.medium),
            "high": _decimal(severity.high),
            "critical": _decimal(severity.critical),
            "escalate_after": format_duration(severity.escalate_after_us),
        },
    }


def _decimal(value: Decimal) -> str:
    return format(value, "f")


def _side(side: SideSpec) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if side.system is not None:
        plain["system"] = side.system
    if side.columns:
        plain["columns"] = {field: _column(column) for field, column in side.columns.items()}
    return plain


def _column(column: Column) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "column": column.column,
        "decimal": column.decimal,
        "thousands": column.thousands,
        "negate": column.negate or None,
        "format": column.format,
        "time_zone": column.time_zone,
    }
    return {name: value for name, value in plain.items() if value is not None}


def _rule(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": rule.name,
        "match_type": rule.match_type,
        "conditions": [_condition(condition) for condition in rule.conditions],
        "amount": _amount(rule.amount),
        "selection": _selection(rule),
        "outcome": rule.outcome,
        "settle": "immediate" if rule.immediate else format_duration(rule.settle_us),
    }
    if rule.date is not None:
        plain["date"] = _date(rule.date)
    if rule.whole_key is not None:
        plain["group"] = {"whole_key": rule.whole_key}
    if rule.max_size is not None:
        plain["group"] = {"max_size": rule.max_size}
    return plain


def _selection(rule: Rule) -> dict[str, Any]:
    if rule.selection == "prefer":
        return {"prefer": list(rule.prefer)}
    if rule.selection == "lowest_id":
        return {"tie_break": "lowest_id"}
    return {"ambiguity": rule.selection}


def _condition(condition: Condition) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "source_field": condition.source_field,
        "target_field": condition.target_field,
        "operator": condition.operator,
        "unique": condition.unique,
        "maximum": condition.maximum,
        "minimum": None if condition.minimum is None else _decimal(condition.minimum),
        "pattern": condition.pattern,
    }
    return {name: value for name, value in plain.items() if value is not None}


def _amount(amount: AmountRule) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "inclusive": amount.inclusive,
        "basis": {"source": amount.source_basis, "target": amount.target_basis},
        "sign": "opposite" if amount.opposite else "same",
    }
    if amount.round is not None:
        plain["round"] = _rounding(amount.round)
    if amount.schedule is not None:
        plain["schedule"] = _schedule(amount.schedule)
    if amount.low is not None and amount.high is not None:
        plain["bounds"] = {"low": _decimal(amount.low), "high": _decimal(amount.high)}
    elif amount.kind == "tolerance":
        tolerance: dict[str, Any] = {"percent_of": amount.percent_of, "combine": amount.combine}
        for name, limit in (("absolute", amount.absolute), ("percent", amount.percent)):
            if limit is not None:
                tolerance[name] = _decimal(limit)
        plain["tolerance"] = tolerance
    return plain


def _date(window: DateWindow) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "min_days": window.min_days,
        "max_days": window.max_days,
        "time_zone": window.time_zone,
        "inclusive": window.inclusive,
        "business": window.business,
        "holidays": [day.isoformat() for day in window.holidays],
        "max_seconds": window.max_seconds,
        "anchor": "source_member" if window.anchored else None,
    }
    return {name: value for name, value in plain.items() if value is not None}


def _rounding(rounding: Rounding) -> dict[str, Any]:
    return {"scale": rounding.scale, "mode": rounding.mode}


def _schedule(schedule: Schedule) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "order": schedule.order,
        "items": [
            {
                name: _decimal(value)
                for name, value in (("percent", fee.percent), ("flat", fee.flat))
                if value is not None
            }
            for fee in schedule.items
        ],
    }
    if schedule.round is not None:
        plain["round"] = _rounding(schedule.round)
    return plain
