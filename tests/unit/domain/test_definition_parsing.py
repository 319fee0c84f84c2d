"""Definitions: what is understood, what is refused with its path, and the stored form."""

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definition_parsing import parse_definition
from domain.definition_values import format_duration, is_time_zone, parse_duration
from domain.definitions import AmountRule, Column, Condition, DateWindow, Severity, Window
from domain.errors import DefinitionInvalid
from domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US

CONDITION = {"field": "reference", "operator": "exact"}


def definition(rule=None, **fields):
    rule = {"name": "first", "match_type": "one_to_one", "conditions": [CONDITION]} | (rule or {})
    return {"tenant_id": "acme", "reconciliation_id": "shop", "rules": [rule]} | fields


def rule_of(**fields):
    return parse_definition(definition(fields)).rules[0]


def problems_of(raw, **known):
    with pytest.raises(DefinitionInvalid) as caught:
        parse_definition(raw, **known)
    return {problem.path: problem.message for problem in caught.value.problems}


def only_problem(raw):
    problems = problems_of(raw)
    assert len(problems) == 1, problems
    return next(iter(problems.items()))


def test_the_least_definition_and_its_defaults():
    parsed = parse_definition(definition())
    assert (parsed.name, parsed.time_zone, parsed.source.system) == ("shop", "UTC", None)
    assert parsed.window == Window(3 * DAY_US, 10 * MINUTE_US, 30 * SECOND_US, 7 * DAY_US)
    assert parsed.severity == Severity(
        Decimal(100), Decimal(1000), Decimal(10000), escalate_after_us=30 * DAY_US
    )
    rule = parsed.rules[0]
    assert rule.conditions == (Condition("reference", "reference", "exact", False),)
    assert rule.amount == AmountRule("equal", None, None, "larger", "larger", None, None, True)
    assert (rule.date, rule.whole_key, rule.selection) == (None, None, "suggest")
    assert (rule.settle_us, rule.immediate) == (0, False)


def test_everything_that_is_supported():
    parsed = parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "name": " Orders ",
            "source": {"system": "shopify"},
            "target": {
                "system": "stripe",
                "columns": {
                    "transaction_id": "id",
                    "amount": {
                        "column": "Amount", "decimal": ",", "thousands": ".", "negate": True
                    },
                    "occurred_at": {
                        "column": "Created (UTC)", "format": "%Y-%m-%d %H:%M", "time_zone": "UTC"
                    },
                    "attributes.order_id": "Order",
                },
            },
            "time_zone": "Europe/Vienna",
            "window": {"wait": "P5D", "lateness": "PT1M", "idle": "PT5S", "remember": "P6D"},
            "rules": [
                {
                    "name": "order",
                    "match_type": "one_to_one",
                    "conditions": [
                        {"field": "reference", "operator": "casefold", "unique": True},
                        {"source_field": "attributes.a", "target_field": "description",
                         "operator": "alphanumeric"},
                        {"field": "counterparty", "operator": "similarity", "minimum": 0.85},
                        {"field": "counterparty", "operator": "edit_distance", "maximum": 2},
                        {"source_field": "reference", "target_field": "description",
                         "operator": "regex_extract", "pattern": r"\b(ORD-\d+)\b"},
                    ],
                    "amount": {
                        "tolerance": {"absolute": "0.50", "percent": 1, "percent_of": "average",
                                      "combine": "smaller"},
                        "inclusive": True, "basis": {"source": "amount"}, "sign": "same",
                    },
                    "date": {"min_days": -1, "max_days": 3, "time_zone": "UTC", "business": True,
                             "holidays": ["2026-01-19", date(2026, 1, 1), "2026-01-19"],
                             "max_seconds": 60, "anchor": "source_member"},
                    "outcome": "confirm",
                },
                {
                    "name": "payout",
                    "match_type": "many_to_one",
                    "conditions": [CONDITION],
                    "group": {"whole_key": "reference"},
                    "amount": {"bounds": {"low": "-1.00", "high": "3.00"}},
                    "date": {"max_days": 2},
                    "selection": {"tie_break": "lowest_id"},
                    "settle": "PT5M",
                },
                {"name": "rest", "match_type": "one_to_one", "conditions": [], "amount": "equal",
                 "selection": {"ambiguity": "leave_unmatched"}, "settle": "immediate"},
            ],
            "severity": {"medium": "0.5", "high": 2, "critical": "2", "escalate_after": "P1W"},
        }
    )  # fmt: skip
    assert parsed.name == "Orders"
    assert parsed.target.columns["transaction_id"] == Column("id")
    assert parsed.target.columns["amount"] == Column("Amount", ",", ".", True)
    assert parsed.target.columns["occurred_at"].format == "%Y-%m-%d %H:%M"
    assert parsed.window == Window(5 * DAY_US, MINUTE_US, 5 * SECOND_US, 6 * DAY_US)
    order, payout, rest = parsed.rules
    assert order.immediate
    assert order.conditions[1] == Condition("attributes.a", "description", "alphanumeric", False)
    assert [(c.minimum, c.maximum, c.pattern) for c in order.conditions[2:]] == [
        (Decimal("0.85"), None, None), (None, 2, None), (None, None, r"\b(ORD-\d+)\b")
    ]  # fmt: skip
    assert order.amount == AmountRule(
        "tolerance", Decimal("0.50"), Decimal(1), "average", "smaller", None, None, True
    )
    assert order.date == DateWindow(
        -1, 3, "UTC", True, True, (date(2026, 1, 1), date(2026, 1, 19)), 60, True
    )
    assert (payout.whole_key, payout.selection) == ("reference", "lowest_id")
    assert (payout.settle_us, payout.immediate) == (5 * MINUTE_US, False)
    assert payout.date == DateWindow(None, 2, "Europe/Vienna", True)
    assert (payout.amount.low, payout.amount.high) == (Decimal("-1.00"), Decimal("3.00"))
    assert (rest.conditions, rest.selection, rest.immediate) == ((), "leave_unmatched", True)
    assert parsed.severity.escalate_after_us == 7 * DAY_US
    assert parse_definition(json.loads(json.dumps(parsed.raw))) == parsed


DECIMALS = st.decimals(0, 100, places=2).map(str)
FIELDS = st.sampled_from(["reference", "transaction_id", "counterparty", "attributes.x y"])
DURATIONS = st.integers(0, 20 * DAY_US).map(format_duration)
CONDITIONS = st.builds(
    lambda fields, operator: fields | operator,
    st.fixed_dictionaries({"source_field": FIELDS, "target_field": FIELDS}),
    st.sampled_from(["exact", "casefold", "alphanumeric", "digits"]).map(
        lambda operator: {"operator": operator}
    ),
)
TEXT_CONDITIONS = st.builds(
    lambda fields, operator: fields | operator,
    st.fixed_dictionaries({"source_field": FIELDS, "target_field": FIELDS}),
    st.sampled_from(["token_run", "token_set"]).map(lambda operator: {"operator": operator})
    | st.integers(0, 64).map(lambda most: {"operator": "edit_distance", "maximum": most})
    | st.decimals("0.01", 1, places=2).map(
        lambda least: {"operator": "similarity", "minimum": str(least)}
    )
    | st.just({"operator": "regex_extract", "pattern": "([A-Z]+)$"}),
)
AMOUNTS = st.one_of(
    st.just("equal"),
    st.fixed_dictionaries(
        {
            "tolerance": st.fixed_dictionaries(
                {"absolute": DECIMALS},
                optional={
                    "percent": DECIMALS | st.integers(0, 100),
                    "percent_of": st.sampled_from(["source", "target", "smaller", "average"]),
                    "combine": st.sampled_from(["larger", "smaller"]),
                },
            )
        }
    ),
    DECIMALS.map(lambda high: {"bounds": {"low": f"-{high}", "high": high}}),
)
ROUNDINGS = st.fixed_dictionaries(
    {"scale": st.integers(0, 9)}, optional={"mode": st.sampled_from(["half_up", "half_even"])}
)
SCHEDULES = st.fixed_dictionaries(
    {
        "items": st.lists(
            DECIMALS.map(lambda one: {"percent": one}) | DECIMALS.map(lambda one: {"flat": one}),
            min_size=1,
            max_size=3,
        )
    },
    optional={"order": st.sampled_from(["parallel", "cascading"]), "round": ROUNDINGS},
)
COMPARED = st.fixed_dictionaries(
    {},
    optional={
        "round": ROUNDINGS,
        "sign": st.sampled_from(["same", "opposite"]),
        "basis": st.sampled_from(["net", {"source": "fx"}, {"source": "gross", "target": "base"}]),
    },
) | SCHEDULES.map(lambda one: {"basis": {"target": "schedule"}, "schedule": one})
RULES = st.builds(
    lambda conditions, texts, amount, compared, date, selection, settle, group: {
        "conditions": [*conditions, *texts],
        "amount": compared or amount if amount == "equal" else amount | compared,
        "date": date,
        "selection": selection,
        "settle": settle,
    }
    | (
        {"match_type": "many_to_one", "group": {"whole_key": conditions[0]["target_field"]}}
        if group and conditions
        else {}
    ),
    st.lists(CONDITIONS, max_size=3),
    st.lists(TEXT_CONDITIONS, max_size=2),
    AMOUNTS,
    COMPARED,
    st.none() | st.fixed_dictionaries({"min_days": st.integers(-9, 0)}, optional={
        "max_days": st.integers(0, 9), "time_zone": st.sampled_from(["Asia/Tokyo", "UTC"]),
        "max_seconds": st.integers(0, 99), "anchor": st.just("source_member")})
    | st.lists(st.dates(), max_size=3).map(lambda days: {
        "max_days": 3, "business": True, "holidays": [day.isoformat() for day in days]}),
    st.sampled_from([{"tie_break": "lowest_id"}, {"ambiguity": "leave_unmatched"}, {}, None]),
    DURATIONS | st.just("immediate") | st.none(),
    st.booleans(),
)  # fmt: skip


@given(
    st.lists(RULES, min_size=1, max_size=3),
    st.fixed_dictionaries({}, optional={"wait": DURATIONS, "lateness": DURATIONS}),
    st.sampled_from(["UTC", "Europe/Vienna", "America/St_Johns"]),
)
def test_the_stored_form_means_the_same(rules, window, time_zone):
    named = [rule | {"name": f"rule {place}"} for place, rule in enumerate(rules)]
    parsed = parse_definition(definition(rules=named, window=window, time_zone=time_zone))
    again = parse_definition(json.loads(json.dumps(parsed.raw)))
    assert again == parsed
    assert again.raw == parsed.raw


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["tenant_id", "rules", "name", "conditions", "amount", "tolerance", "group", "date",
                 "field", "operator", "window", "wait", "source", "columns", "severity", "settle"]
            ) | st.text(max_size=3),
            inner,
            max_size=4,
        ),
        max_leaves=15,
    )
)  # fmt: skip
def test_any_plain_data_without_an_id_is_refused_in_words(raw):
    with pytest.raises(DefinitionInvalid) as caught:
        parse_definition(raw)
    assert caught.value.problems
    assert all(problem.message for problem in caught.value.problems)


@pytest.mark.parametrize("match_type", ["one_to_many", "many_to_one", "many_to_many"])
def test_groups_are_found_by_search_or_taken_whole(match_type):
    assert rule_of(match_type=match_type).max_size == 8
    assert rule_of(match_type=match_type, group={"max_size": 3}).max_size == 3
    whole = rule_of(match_type=match_type, conditions=[CONDITION], group={"whole_key": "reference"})
    assert (whole.whole_key, whole.max_size) == ("reference", None)


def test_preferences_are_kept_in_their_order():
    rule = rule_of(selection={"prefer": ["closest_date", "oldest", "fewest_members"]})
    assert rule.selection == "prefer"
    assert rule.prefer == ("closest_date", "oldest", "fewest_members")


@pytest.mark.parametrize(
    ("rule", "path", "says"),
    [
        ({"name": None}, "name", "is missing"),
        ({"name": "x" * 129}, "name", "1 to 128"),
        ({"match": 1}, "match", "did you mean match_type?"),
        ({"match_type": "one_to_two"}, "match_type", "one_to_one"),
        ({"conditions": {"field": "reference"}}, "conditions", "must be a list"),
        ({"conditions": ["reference"]}, "conditions[0]", "must be a mapping"),
        ({"conditions": [{"field": "reference"}]}, "conditions[0].operator", "is missing"),
        ({"conditions": [CONDITION | {"operator": "exat"}]}, "conditions[0].operator", "exact"),
        ({"conditions": [CONDITION | {"field": "amount"}]}, "conditions[0].field", "attributes."),
        ({"conditions": [CONDITION | {"field": "attributes."}]}, "conditions[0].field", "NAME"),
        ({"conditions": [CONDITION | {"target_field": "reference"}]},
         "conditions[0].field", "both"),
        ({"conditions": [{"source_field": "reference", "operator": "exact"}]},
         "conditions[0].target_field", "missing"),
        ({"conditions": [CONDITION | {"unique": "yes"}]}, "conditions[0].unique", "true or false"),
        ({"conditions": [CONDITION | {"pattern": "x"}]}, "conditions[0].pattern", "no meaning"),
        ({"conditions": [{"field": "reference", "operator": "edit_distance"}]},
         "conditions[0].maximum", "needs it"),
        ({"conditions": [{"field": "reference", "operator": "edit_distance", "maximum": -1}]},
         "conditions[0].maximum", "whole number from 0"),
        ({"conditions": [{"field": "reference", "operator": "edit_distance", "maximum": 1,
                          "minimum": 1}]}, "conditions[0].minimum", "no meaning"),
        ({"conditions": [{"field": "reference", "operator": "similarity", "minimum": 0}]},
         "conditions[0].minimum", "above 0"),
        ({"conditions": [{"field": "reference", "operator": "similarity", "minimum": "1.01"}]},
         "conditions[0].minimum", "at most 1"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract", "pattern": "(a"}]},
         "conditions[0].pattern", "does not compile: missing )"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract", "pattern": "a+"}]},
         "conditions[0].pattern", "no group"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract",
                          "pattern": r"(a+)\1"}]}, "conditions[0].pattern", "no backreferences"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract",
                          "pattern": "(?=a)(a)"}]}, "conditions[0].pattern", "no lookaround"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract",
                          "pattern": "(a)" * 200}]}, "conditions[0].pattern", "1 to 512"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract", "pattern": 5}]},
         "conditions[0].pattern", "must be text of 1 to 512"),
        ({"conditions": [{"field": "reference", "operator": "regex_extract", "pattern": None}]},
         "conditions[0].pattern", "is missing"),
        ({"conditions": [{"field": "reference", "operator": "token_set", "unique": True}]},
         "conditions[0].unique", "does not compare by equality"),
        ({"match_type": "many_to_one", "group": {"whole_key": "reference"},
          "conditions": [{"field": "reference", "operator": "token_run"}]},
         "group.whole_key", "compares by equality"),
        ({"conditions": [CONDITION | {"unique": True}] * 2}, "conditions", "more than one unique"),
        ({"match_type": "many_to_one", "group": {"whole_key": "reference"},
          "conditions": [CONDITION | {"unique": True}]}, "conditions", "unique contradicts"),
        ({"match_type": "many_to_one", "group": {"whole_key": "description"}},
         "group.whole_key", "not the field of a condition"),
        ({"match_type": "many_to_one", "conditions": [], "group": {"whole_key": "reference"}},
         "group.whole_key", "not the field of a condition"),
        ({"group": {"whole_key": "reference"}}, "group", "no meaning for one_to_one"),
        ({"group": {"max_size": 3}}, "group", "no meaning for one_to_one"),
        ({"match_type": "many_to_many", "group": {"max_size": 0}}, "group.max_size", "from 1 to"),
        ({"match_type": "many_to_many", "group": {"max_size": 51}}, "group.max_size", "to 50"),
        ({"match_type": "many_to_one", "group": {"whole_key": "reference", "max_size": 3},
          "conditions": [CONDITION]}, "group.max_size", "contradicts whole_key"),
        ({"selection": {"prefer": ["cheapest"]}}, "selection.prefer[0]", "fewest_members"),
        ({"selection": {"prefer": ["oldest", "oldest"]}}, "selection.prefer[1]", "repeats"),
        ({"selection": {"prefer": []}}, "selection.prefer", "is empty"),
        ({"selection": {"prefer": "oldest"}}, "selection.prefer", "must be a list"),
        ({"selection": {"prefer": ["oldest", "newest"]}}, "selection.prefer", "contradict"),
        ({"selection": {"prefer": ["oldest"], "tie_break": "lowest_id"}},
         "selection.prefer", "contradicts tie_break"),
        ({"amount": {"tolerance": {}}}, "amount.tolerance", "needs absolute"),
        ({"amount": {"tolerance": {"combine": "larger"}}}, "amount.tolerance", "needs absolute"),
        ({"amount": {"tolerance": {"absolute": 0.5}}}, "amount.tolerance.absolute", "in quotes"),
        ({"amount": {"tolerance": {"absolute": "-1"}}}, "amount.tolerance.absolute", "negative"),
        ({"amount": {"tolerance": {"absolute": "1e2"}}}, "amount.tolerance.absolute", "plain"),
        ({"amount": {"tolerance": {"absolute": True}}}, "amount.tolerance.absolute", "decimal"),
        ({"amount": {"tolerance": {"absolute": "1" * 19}}}, "amount.tolerance.absolute", "digits"),
        ({"amount": {"tolerance": {"percent": "100.1"}}}, "amount.tolerance.percent", "over 100"),
        ({"amount": {"tolerance": {"percent": 1, "percent_of": "both"}}},
         "amount.tolerance.percent_of", "average"),
        ({"amount": {"tolerance": {"absolute": 0}, "inclusive": False}},
         "amount.inclusive", "admits no match"),
        ({"amount": {"bounds": {"low": "3", "high": "1"}}}, "amount.bounds.low", "above high"),
        ({"amount": {"bounds": {"low": "3"}}}, "amount.bounds.high", "is missing"),
        ({"amount": {"bounds": {"low": 1, "high": 1}, "inclusive": False}},
         "amount.inclusive", "admits no match"),
        ({"amount": {"bounds": {"low": 1, "high": 1}, "tolerance": {"absolute": 1}}},
         "amount.bounds", "contradicts tolerance"),
        ({"amount": {"inclusive": False}}, "amount.inclusive", "no meaning"),
        ({"amount": "about"}, "amount", "must be a mapping"),
        ({"amount": {"sign": "reverse"}}, "amount.sign", "opposite"),
        ({"amount": {"round": {}}}, "amount.round.scale", "is missing"),
        ({"amount": {"round": {"scale": 10}}}, "amount.round.scale", "from 0 to 9"),
        ({"amount": {"round": {"scale": 2, "mode": "up"}}}, "amount.round.mode", "half_even"),
        ({"amount": {"basis": "cash"}}, "amount.basis", "gross"),
        ({"amount": {"basis": {"source": "cash"}}}, "amount.basis.source", "gross"),
        ({"amount": {"basis": "schedule"}}, "amount.schedule", "is missing"),
        ({"amount": {"schedule": {"items": [{"flat": "1"}]}}}, "amount.schedule", "neither side"),
        ({"amount": {"basis": "schedule", "schedule": {}}},
         "amount.schedule.items", "at least one"),
        ({"amount": {"basis": "schedule", "schedule": {"items": [{}]}}},
         "amount.schedule.items[0]", "needs one of"),
        ({"amount": {"basis": "schedule", "schedule": {"items": [{"percent": 1, "flat": 1}]}}},
         "amount.schedule.items[0]", "needs one of"),
        ({"amount": {"basis": "schedule", "schedule": {"items": [{"percent": 101}]}}},
         "amount.schedule.items[0].percent", "-100 to 100"),
        ({"amount": {"basis": "schedule", "schedule": {"items": [{"percent": 0.5}]}}},
         "amount.schedule.items[0].percent", "in quotes"),
        ({"amount": {"basis": "schedule", "schedule": {"items": [{"flat": 1}] * 17}}},
         "amount.schedule.items", "at most 16"),
        ({"amount": {"basis": "schedule", "schedule": {"order": "first", "items": [{"flat": 1}]}}},
         "amount.schedule.order", "cascading"),
        ({"date": {}}, "date", "needs min_days"),
        ({"date": {"min_days": 2, "max_days": 1}}, "date.min_days", "above max_days"),
        ({"date": {"min_days": 0, "max_days": 1, "inclusive": False}}, "date.inclusive", "no day"),
        ({"date": {"min_days": "1"}}, "date.min_days", "whole number"),
        ({"date": {"min_days": 1.5}}, "date.min_days", "whole number"),
        ({"date": {"max_days": 1, "time_zone": "Mars/Base"}}, "date.time_zone", "IANA"),
        ({"date": {"holidays": ["2026-01-19"], "max_days": 1}}, "date.holidays", "business"),
        ({"date": {"business": True, "max_seconds": 1}}, "date.business", "min_days or max_days"),
        ({"date": {"business": True, "max_days": 1, "holidays": ["2026-01-19"] * 2001}},
         "date.holidays", "at most 2000 are allowed"),
        ({"date": {"business": True, "max_days": 1, "holidays": ["19.1.2026"]}},
         "date.holidays[0]", "such as 2026-01-19"),
        ({"date": {"business": True, "max_days": 1, "holidays": ["2026-02-30"]}},
         "date.holidays[0]", "such as 2026-01-19"),
        ({"date": {"max_seconds": 0, "inclusive": False}}, "date.inclusive", "admits no match"),
        ({"date": {"max_seconds": -1}}, "date.max_seconds", "whole number from 0"),
        ({"date": {"max_days": 1, "anchor": "target_member"}}, "date.anchor", "source_member"),
        ({"selection": {"ambiguity": "guess"}}, "selection.ambiguity", "leave_unmatched"),
        ({"selection": {"tie_break": "highest_id"}}, "selection.tie_break", "lowest_id"),
        ({"selection": {"ambiguity": "suggest", "tie_break": "lowest_id"}},
         "selection.tie_break", "contradicts"),
        ({"settle": "-PT5M"}, "settle", "negative"),
        ({"settle": "P1M"}, "settle", "months"),
        ({"settle": 5}, "settle", "ISO 8601"),
        ({"settle": "PT5M", "conditions": [CONDITION | {"unique": True}]}, "settle", "unique"),
    ],
)  # fmt: skip
def test_a_rule_that_means_nothing_is_refused_with_its_path(rule, path, says):
    found, message = only_problem(definition(rule))
    assert found == f"rules[0].{path}"
    assert says in message


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"tenant_id": "Acme"}, "tenant_id", "a-z"),
        ({"tenant_id": None}, "tenant_id", "missing"),
        ({"reconciliation_id": 7}, "reconciliation_id", "a-z"),
        ({"name": 7}, "name", "in quotes"),
        ({"rule": []}, "rule", "did you mean rules?"),
        ({1: []}, "1", "not a known field"),
        ({"rules": []}, "rules", "at least one"),
        ({"rules": None}, "rules", "at least one"),
        ({"rules": "x"}, "rules", "must be a list"),
        ({"rules": [5]}, "rules[0]", "must be a mapping"),
        ({"rules": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "rules[2].name", "earlier"),
        ({"time_zone": "CEST+1"}, "time_zone", "IANA"),
        ({"time_zone": "../etc/passwd"}, "time_zone", "IANA"),
        ({"window": {"wait": "3 days"}}, "window.wait", "P3D"),
        ({"window": {"wait": "P9D", "remember": "P8D"}}, "window.remember", "shorter than wait"),
        ({"window": {"wait": "P200Y"}}, "window.wait", "years"),
        ({"window": {"lateness": "P36501D"}}, "window.lateness", "100 years"),
        ({"window": []}, "window", "must be a mapping"),
        ({"severity": {"medium": "5", "high": "4"}}, "severity", "descend"),
        ({"severity": {"medium": "-5"}}, "severity.medium", "negative"),
        ({"severity": {"escalate_after": "soon"}}, "severity.escalate_after", "P3D"),
        ({"source": {"columns": []}}, "source.columns", "mapping"),
        ({"source": {"columns": {"amuont": "x"}}}, "source.columns.amuont", "amount"),
        ({"source": {"columns": {"amount": {"decimal": ","}}}},
         "source.columns.amount.column", "is missing"),
        ({"source": {"columns": {"amount": {"column": "x", "decimal": ";"}}}},
         "source.columns.amount.decimal", "one of"),
        ({"source": {"columns": {"amount": {"column": "x", "thousands": "."}}}},
         "source.columns.amount.thousands", "same sign"),
        ({"source": {"columns": {"amount": {"column": "x", "format": "%Y"}}}},
         "source.columns.amount.format", "occurred_at"),
        ({"source": {"columns": {"reference": {"column": "x", "negate": True}}}},
         "source.columns.reference.negate", "amounts"),
        ({"source": {"columns": {"occurred_at": {"column": "x", "time_zone": "X"}}}},
         "source.columns.occurred_at.time_zone", "IANA"),
    ],
)  # fmt: skip
def test_a_definition_that_means_nothing_is_refused_with_its_path(fields, path, says):
    found, message = only_problem(definition() | fields)
    assert found == path
    assert says in message


def test_every_problem_is_told_at_once():
    problems = problems_of(
        {"tenant_id": "A", "window": {"wait": 3}, "rules": [{"settle": "x", "date": {}}]}
    )
    assert set(problems) == {
        "tenant_id", "reconciliation_id", "window.wait",
        "rules[0].name", "rules[0].settle", "rules[0].date",
    }  # fmt: skip


@pytest.mark.parametrize("raw", [None, [], "x", 5])
def test_a_definition_is_a_mapping(raw):
    assert "mapping" in problems_of(raw)[""]


def test_ids_known_otherwise_may_be_left_out_and_not_contradicted():
    raw = {"rules": [{"name": "a"}]}
    parsed = parse_definition(raw, "acme", "shop")
    assert (parsed.tenant_id, parsed.reconciliation_id) == ("acme", "shop")
    problems = problems_of(raw | {"tenant_id": "other"}, tenant_id="acme", reconciliation_id="shop")
    assert "acme" in problems["tenant_id"]


def test_whole_key_is_kept_as_the_source_s_field():
    rule = rule_of(
        match_type="one_to_many",
        conditions=[{"source_field": "attributes.payout", "target_field": "reference",
                     "operator": "exact"}],
        group={"whole_key": "reference"},
    )  # fmt: skip
    assert rule.whole_key == "attributes.payout"


def test_ids_are_remembered_twice_the_wait_and_at_least_a_week():
    assert parse_definition(definition(window={"wait": "P9D"})).window.remember_us == 18 * DAY_US
    assert parse_definition(definition(window={"wait": "P1D"})).window.remember_us == 7 * DAY_US


@given(st.integers(0, 36_500 * DAY_US))
def test_durations_are_read_back(duration_us):
    assert parse_duration(format_duration(duration_us)) == duration_us


@pytest.mark.parametrize(
    ("text", "duration_us"),
    [
        ("P3D", 3 * DAY_US),
        ("PT10M", 10 * MINUTE_US),
        ("P1DT2H", DAY_US + 2 * HOUR_US),
        ("P2W", 14 * DAY_US),
        ("PT0.5S", SECOND_US // 2),
        ("PT90M", 90 * MINUTE_US),
        ("PT0S", 0),
    ],
)
def test_durations(text, duration_us):
    assert parse_duration(text) == duration_us


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "3D", "P3", "PT5", "p3d", "P-1D", "-P1D", "P1W2D", "P1Y", "P1M",
             "P1.5D", "PT1.5M", "PT0.1234567S", "PT1S1M", "P٣D", "P3D "]
)  # fmt: skip
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"ISO 8601|months|negative"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "known"),
    [("UTC", True), ("Asia/Kathmandu", True), ("", False), ("Europe", False), ("/etc/x", False),
     ("Europe/Vienna\0", False), ("localtime", False)],
)  # fmt: skip
def test_time_zones_are_those_of_the_iana_database(name, known):
    assert is_time_zone(name) == known
