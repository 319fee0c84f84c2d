"""What linting says about one rule, and what it does not say about a good one."""

from decimal import Decimal

import pytest

from domain.definition_parsing import parse_definition
from domain.errors import DefinitionInvalid
from domain.linting.findings import Sample
from domain.linting.lint import invalid_findings, lint_definition
from domain.linting.patterns import takes_nothing
from domain.transactions import Transaction, build_transaction

REFERENCE = {"field": "reference", "operator": "alphanumeric"}
NAME = {"field": "counterparty", "operator": "casefold"}
WINDOW = {"min_days": -1, "max_days": 3}


def defined(*rules, **more):
    return parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "rules": [
                {"name": f"rule-{number}", "match_type": "one_to_one", **rule}
                for number, rule in enumerate(rules)
            ],
            **more,
        }
    )


def found(*rules, sample=None, **more):
    findings = lint_definition(defined(*rules, **more), sample)
    return {one.code: (one.severity, one.path) for one in findings}


def record(side, number, **fields) -> Transaction:
    built = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "transaction_id": f"t{number}",
            "amount": "100.00",
            "currency": "EUR",
            "occurred_at": "2026-01-05",
            **fields,
        },
        side,
        None,
    )
    assert isinstance(built, Transaction), built
    return built


def test_a_good_definition_has_nothing_said_about_it():
    unique = {"field": "reference", "operator": "exact", "unique": True}
    fallback = {
        "source_field": "attributes.order",
        "target_field": "description",
        "operator": "regex_extract",
        "pattern": r"\b(ORD-\d+)\b",
    }
    group = {"match_type": "one_to_many", "conditions": [REFERENCE], "date": WINDOW}
    assert found({"conditions": [unique]}, {"conditions": [fallback], "date": WINDOW}, group) == {}


@pytest.mark.parametrize(
    ("rule", "code", "severity", "path"),
    [
        ({"conditions": [REFERENCE], "settle": "immediate"},
         "immediate_without_unique", "warning", "settle"),
        ({"conditions": [NAME], "date": WINDOW, "selection": {"tie_break": "lowest_id"}},
         "choice_without_reference", "warning", "selection"),
        ({"conditions": [], "date": WINDOW, "selection": {"prefer": ["oldest"]}},
         "choice_without_reference", "warning", "selection"),
        ({"conditions": [REFERENCE], "amount": {"tolerance": {"percent": "1"}},
          "selection": {"tie_break": "lowest_id"}},
         "lowest_id_within_tolerance", "warning", "selection.tie_break"),
        ({"conditions": [REFERENCE], "amount": {"tolerance": {"percent": "1"}},
          "selection": {"prefer": ["oldest"]}},
         "choice_ignores_amount", "hint", "selection.prefer"),
        ({"conditions": []}, "amount_only", "warning", "conditions"),
        ({"conditions": [], "date": WINDOW, "amount": {"tolerance": {"percent": "1"}}},
         "near_amount_only", "warning", "conditions"),
        ({"conditions": [], "date": WINDOW}, "amount_and_date_only", "hint", "conditions"),
        ({"conditions": [NAME]}, "recurring_without_date", "warning", "date"),
        ({"conditions": [{"field": "reference", "operator": "edit_distance", "maximum": 1}]},
         "near_references", "warning", "conditions[0].maximum"),
        ({"conditions": [{"field": "reference", "operator": "similarity", "minimum": "0.85"}]},
         "near_references", "warning", "conditions[0].minimum"),
        ({"conditions": [REFERENCE, {"field": "counterparty", "operator": "similarity",
                                     "minimum": "0.9"}, {**NAME, "operator": "token_set"}]},
         None, None, None),
        ({"conditions": [{"field": "counterparty", "operator": "similarity", "minimum": "0.5"}],
          "date": WINDOW}, "near_names", "warning", "conditions[0].minimum"),
        ({"match_type": "one_to_many", "conditions": [], "date": WINDOW},
         "coincidental_sums", "warning", "group.max_size"),
        ({"conditions": [REFERENCE], "amount": {"tolerance": {"percent": "5.1"}}},
         "wide_tolerance", "warning", "amount.tolerance.percent"),
        ({"conditions": [REFERENCE], "amount": {"tolerance": {"percent": "5"}}},
         None, None, None),
        ({"conditions": [REFERENCE], "amount": {"tolerance": {"absolute": "1"}}},
         "tolerance_not_judged", "hint", "amount.tolerance"),
    ],
)  # fmt: skip
def test_each_risk_is_named_where_it_is(rule, code, severity, path):
    said = found(rule)
    if code is None:
        assert said == {}
    else:
        assert said[code] == (severity, f"rules[0].{path}")


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        (r"^$(ORD)", "pattern_matches_nothing"),
        (r"()", "pattern_matches_nothing"),
        (r"(.*)", "pattern_matches_everything"),
        (r"(?s)^\s*(.+)$", "pattern_matches_everything"),
        (r"(\d+)", "pattern_matches_ordinary_text"),
        (r"(\w+)", "pattern_matches_ordinary_text"),
        (r"(?i)\b(ord-?\d+)\b", None),
        (r"\B(X1)", None),
        (r"\b( X)", None),
    ],
)
def test_patterns_that_take_nothing_everything_or_anything(pattern, code):
    rule = {
        "conditions": [
            {
                "source_field": "reference",
                "target_field": "description",
                "operator": "regex_extract",
                "pattern": pattern,
            }
        ]
    }
    assert set(found(rule)) == ({code} if code else set())


def test_a_pattern_that_needs_something_before_it_does_take_something():
    assert not takes_nothing(r"\B(a)")
    assert not takes_nothing(r"(?m)x*^(b)")


@pytest.mark.parametrize("first", ["confirm", "suggest"])
def test_a_rule_that_asks_a_person_after_one_that_asked_more_is_a_fallback(first):
    strict = {"conditions": [{**REFERENCE, "operator": "exact"}], "outcome": first}
    loose = {"conditions": [REFERENCE], "outcome": "suggest"}
    assert not [one for one in lint_definition(defined(strict, loose)) if one.rule == "rule-1"]
    # Suggestions consume nothing, so that the stricter one is still left all it can confirm.
    found = lint_definition(defined({**loose, "selection": {"tie_break": "lowest_id"}}, strict))
    assert not [one for one in found if one.rule == "rule-1"]


@pytest.mark.parametrize(
    ("first", "second", "code", "severity"),
    [
        ({"conditions": [REFERENCE], "selection": {"tie_break": "lowest_id"}},
         {"conditions": [REFERENCE], "date": WINDOW}, "unreachable_rule", "error"),
        ({"conditions": [{**REFERENCE, "unique": True}]},
         {"conditions": [{**REFERENCE, "operator": "exact"}]},
         "almost_unreachable_rule", "warning"),
        ({"conditions": [REFERENCE]}, {"conditions": [REFERENCE], "date": WINDOW},
         "stricter_after_looser", "warning"),
        ({"conditions": [REFERENCE], "date": WINDOW}, {"conditions": [REFERENCE]},
         "looser_rule", "warning"),
        ({"conditions": [{"field": "reference", "operator": "exact"}]},
         {"conditions": [REFERENCE]}, "looser_rule", "hint"),
        ({"conditions": [REFERENCE]},
         {"conditions": [REFERENCE], "selection": {"tie_break": "lowest_id"}},
         "stricter_after_looser", "warning"),
        ({"conditions": [REFERENCE, NAME]},
         {"conditions": [REFERENCE], "selection": {"tie_break": "lowest_id"}},
         "overrides_ambiguity", "warning"),
        ({"conditions": [REFERENCE, NAME], "outcome": "suggest"}, {"conditions": [REFERENCE]},
         "overrides_suggestions", "warning"),
        ({"match_type": "one_to_many", "conditions": [REFERENCE]},
         {"match_type": "one_to_many", "conditions": [REFERENCE]}, "repeated_rule", "warning"),
    ],
)  # fmt: skip
def test_what_an_earlier_rule_means_for_a_later_one(first, second, code, severity):
    findings = [one for one in lint_definition(defined(first, second)) if one.rule == "rule-1"]
    assert [(one.code, one.severity) for one in findings] == [(code, severity)]
    assert "rule-0" in findings[0].message


def test_a_window_that_reaches_beyond_the_wait_is_named_with_the_wait_to_set():
    rule = {"conditions": [REFERENCE], "date": {"max_days": 5, "business": True}}
    (finding,) = lint_definition(defined(rule))
    assert (finding.code, finding.path) == ("wait_shorter_than_window", "window.wait")
    assert "P8D" in finding.message
    assert found(rule, window={"wait": "P8D"}) == {}


def test_tolerances_are_judged_by_typical_amounts():
    rule = {"conditions": [REFERENCE], "amount": {"tolerance": {"absolute": "5.00"}}}
    assert found(rule, sample=Sample(typical_amount=Decimal(100))) == {}
    wide = found(rule, sample=Sample(typical_amount=Decimal("99.99")))
    assert wide == {"wide_tolerance": ("warning", "rules[0].amount.tolerance")}
    records = [record(0, n, amount=amount, reference=f"R{n}") for n, amount in
               enumerate(["2.00", "-20.00", "500.00"])]  # fmt: skip
    (finding,) = lint_definition(defined(rule), Sample((records, [])))
    assert finding.code == "wide_tolerance"
    assert "20.00 EUR" in finding.message
    assert "25.0 %" in finding.message


def test_samples_tell_of_absent_fields_recurring_values_and_nothing_in_common():
    unique = {"field": "reference", "operator": "exact", "unique": True}
    twice = [record(0, n, reference="R1") for n in (1, 2)]
    assert found({"conditions": [unique]}, sample=Sample((twice, []))) == {
        "unique_value_recurs": ("warning", "rules[0].conditions[0].unique")
    }
    assert "recurring_without_date" in found(
        {"conditions": [REFERENCE]}, sample=Sample((twice, []))
    )
    assert not found({"conditions": [REFERENCE], "date": WINDOW}, sample=Sample((twice, [])))
    assert "no_value_in_sample" in found(
        {"conditions": [{"field": "attributes.order", "operator": "exact"}]},
        sample=Sample((twice, [])),
    )
    other = [record(1, 1, reference="X9")]
    assert "nothing_in_common" in found({"conditions": [unique]}, sample=Sample((twice[:1], other)))
    assert "basis_lacking" in found(
        {"conditions": [REFERENCE], "amount": {"basis": "fx"}}, sample=Sample(([], other))
    )


def test_what_refuses_a_definition_is_a_finding_of_its_path():
    raw = {"tenant_id": "acme", "reconciliation_id": "shop", "rules": []}
    with pytest.raises(DefinitionInvalid) as refused:
        parse_definition(raw)
    (finding,) = invalid_findings(refused.value)
    assert (finding.path, finding.rule, finding.severity) == ("rules", None, "error")
    assert finding.code == "invalid"
    assert finding.message.startswith("Refused: rules")


def test_a_pattern_whose_matches_have_no_known_range_is_not_called_useless():
    assert not takes_nothing(r"(?s)^\C*(a)")


def test_a_sample_tells_where_a_pattern_takes_nothing():
    pattern = {
        "source_field": "reference",
        "target_field": "description",
        "operator": "regex_extract",
        "pattern": r"(?i)(ord-\d+)",
    }
    given = [record(0, 1, reference="ORD-1")], [record(1, 1, description="thank you")]
    (finding,) = lint_definition(defined({"conditions": [pattern]}), Sample(given))
    assert finding.code == "no_value_in_sample"
    assert "has anything in description that the pattern takes" in finding.message


@pytest.mark.parametrize(("combine", "wide"), [("larger", {"wide_tolerance"}), ("smaller", set())])
def test_a_tolerance_in_percent_is_judged_with_what_it_is_combined_with(combine, wide):
    tolerance = {"absolute": "0.50", "percent": "20", "combine": combine}
    rule = {"conditions": [REFERENCE], "amount": {"tolerance": tolerance}}
    assert set(found(rule, sample=Sample(typical_amount=Decimal(100)))) == wide


def test_a_later_rule_that_searches_larger_groups_repeats_nothing():
    rule = {"match_type": "one_to_many", "conditions": [REFERENCE], "date": WINDOW}
    smaller, larger = ({**rule, "group": {"max_size": most}} for most in (3, 6))
    assert lint_definition(defined(smaller, larger)) == []
    assert {one.code for one in lint_definition(defined(larger, larger))} == {"repeated_rule"}
