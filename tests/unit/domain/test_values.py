"""What is compared of a transaction: bases, fees, conversion and rounding, to the last digit."""

from decimal import Decimal
from fractions import Fraction

import pytest

from domain.definition_parsing import parse_definition
from domain.matching.amounts import limits_of
from domain.matching.values import Comparison, divide_rounded
from domain.transactions import build_transaction


def rule_of(**amount):
    raw = {"tenant_id": "a", "reconciliation_id": "b", "rules": [{"name": "r", "amount": amount}]}
    return parse_definition(raw).rules[0].amount


def transaction(side=0, **fields):
    least = {
        "tenant_id": "a", "reconciliation_id": "b", "transaction_id": "t", "amount": "100.00",
        "currency": "EUR", "occurred_at": "2026-01-05",
    }  # fmt: skip
    return build_transaction(least | fields, side, None)


def compared(rule, side=0, **fields):
    comparison = Comparison(rule)
    value = comparison.side([comparison.value(transaction(side, **fields))])
    return None if value is None else (value[0], str(comparison.decimal(value)))


@pytest.mark.parametrize(
    ("basis", "fields", "value"),
    [
        ("amount", {"fee": "3.10"}, ("EUR", "100.00")),
        ("net", {"fee": "3.10"}, ("EUR", "96.90")),
        ("net", {"fee": "-3.10", "amount": "-100.00"}, ("EUR", "-96.90")),
        ("net", {}, ("EUR", "100.00")),
        ("gross", {"fee": "3.10"}, ("EUR", "103.10")),
        ("fx", {"fx_rate": "1.083", "fx_to": "USD"}, ("USD", "108.30")),
        ("fx", {"fx_rate": "163.0125", "fx_to": "JPY", "amount": "0.01"}, ("JPY", "1.630125")),
        ("fx", {"fx_rate": "0.00000000000000001", "fx_to": "JPY"}, ("JPY", "1E-15")),
        ("fx", {"fx_rate": "2", "fx_to": "KWD", "amount": "7", "currency": "JPY"},
         ("KWD", "14.000")),
        ("fx", {}, None),
        ("base", {"base_amount": "108", "base_currency": "USD"}, ("USD", "108.00")),
        ("base", {"fx_rate": "1", "fx_to": "USD"}, None),
    ],
)  # fmt: skip
def test_a_basis(basis, fields, value):
    assert compared(rule_of(basis=basis), **fields) == value


@pytest.mark.parametrize(
    ("schedule", "amount", "left"),
    [
        ({"items": [{"percent": "1.5"}, {"flat": "0.30"}]}, "100.00", "98.20"),
        ({"items": [{"percent": "10"}, {"percent": "10"}]}, "100.00", "80.00"),
        ({"order": "cascading", "items": [{"percent": "10"}, {"percent": "10"}]}, "100.00",
         "81.00"),
        ({"order": "cascading", "items": [{"flat": "1"}, {"percent": "10"}]}, "100.00", "89.10"),
        ({"items": [{"percent": "1.455"}]}, "10.00", "9.8545"),
        ({"items": [{"percent": "1.455"}], "round": {"scale": 2}}, "10.00", "9.85"),
        ({"items": [{"percent": "1.45"}], "round": {"scale": 2}}, "10.00", "9.85"),
        ({"items": [{"percent": "1.45"}], "round": {"scale": 2, "mode": "half_even"}}, "10.00",
         "9.86"),
        ({"items": [{"percent": "1.5"}, {"flat": "0.30"}]}, "-100.00", "-98.80"),
    ],
)  # fmt: skip
def test_fees_of_a_schedule(schedule, amount, left):
    rule = rule_of(basis={"source": "schedule"}, schedule=schedule)
    assert compared(rule, amount=amount) == ("EUR", left)


def test_the_scale_holds_what_a_cascade_of_fine_fees_leaves():
    fees = [{"flat": "0.000000001"}, *[{"percent": "0.333333333"}] * 15]
    schedule = {"order": "cascading", "items": fees}
    rule = rule_of(basis="schedule", schedule=schedule)
    left = Fraction("999999999999999.999") - Fraction("0.000000001")
    _, text = compared(rule, amount="999999999999999.999", currency="KWD")
    assert Fraction(text) == left * (1 - Fraction("0.333333333") / 100) ** 15


def test_each_side_is_rounded_after_its_sum():
    rule = rule_of(basis={"source": "fx"}, round={"scale": 2})
    comparison = Comparison(rule)
    one = comparison.value(transaction(amount="0.01", fx_rate="0.4", fx_to="USD"))
    assert comparison.decimal(comparison.side([one])) == 0
    assert comparison.decimal(comparison.side([one, one])) == Decimal("0.01")
    assert comparison.side([one, comparison.value(transaction(fx_rate="1", fx_to="EUR"))]) is None


def test_the_target_s_sign_is_turned():
    rule = rule_of(sign="opposite")
    assert compared(rule, 0) == ("EUR", "100.00")
    assert compared(rule, 1) == ("EUR", "-100.00")


@pytest.mark.parametrize(
    ("numerator", "divisor", "half_up", "half_even"),
    [(5, 10, 1, 0), (15, 10, 2, 2), (-5, 10, -1, 0), (-25, 10, -3, -2), (4, 10, 0, 0),
     (10**30 + 5, 10, 10**29 + 1, 10**29)],
)  # fmt: skip
def test_halves(numerator, divisor, half_up, half_even):
    assert divide_rounded(numerator, divisor, "half_up") == half_up
    assert divide_rounded(numerator, divisor, "half_even") == half_even


def test_no_float_is_met_where_amounts_are_compared():
    most = 10**18 - 1
    third = limits_of(rule_of(tolerance={"percent": "33.333333333"}), 2)
    assert third.agree(3 * most, 2 * most + 30_000_000)
    assert not third.agree(3 * most, 2 * most)
    least, highest = third.reach(most, 0)
    assert least < most < highest
    assert {type(least), type(highest)} == {int}
