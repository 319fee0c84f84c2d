"""Money: exact both ways, and refused for what is not an amount."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.money import (
    AmountInvalid,
    currency_digits,
    format_minor,
    format_money,
    parse_minor,
    parse_rate,
    split_decimal,
)

MINOR = st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1)
DIGITS = st.integers(min_value=0, max_value=4)


@given(MINOR, DIGITS)
def test_what_is_written_is_read_back(minor, digits):
    assert parse_minor(format_minor(minor, digits), digits) == minor


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
@example(Decimal("1.5E+3"))
@example(Decimal("-0.00"))
def test_a_decimal_taken_apart_is_itself_put_together(value):
    number, digits = split_decimal(value)
    assert digits >= 0
    assert Fraction(number, 10**digits) == Fraction(value)


@given(st.integers(0, 10**12 - 1), st.text("0123456789", max_size=3), st.integers(0, 3))
@example(10**12 - 1, "999", 3)  # 18 digits, the most there may be
def test_missing_fraction_digits_are_zeros(whole, fraction, more):
    digits = len(fraction) + more
    text = f"{whole}.{fraction}" if fraction else str(whole)
    assert parse_minor(text, digits) == int(f"{whole}{fraction}{'0' * more}")


@given(st.text(max_size=12) | st.text("-.0123456789", max_size=7), DIGITS)
def test_any_text_is_an_amount_or_refused_with_a_code(text, digits):
    sign, body = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, fraction = body.partition(".")
    plain = (
        bool(whole) and bool(fraction or not point) and set(whole + fraction) <= set("0123456789")
    )
    if plain and len(fraction) <= digits:
        assert parse_minor(text, digits) == int(f"{sign}{whole}{fraction.ljust(digits, '0')}")
    else:
        with pytest.raises(AmountInvalid) as caught:
            parse_minor(text, digits)
        assert caught.value.code == ("amount_precision" if plain else "invalid_amount")


@pytest.mark.parametrize(
    ("text", "digits", "minor"),
    [
        ("12.50", 2, 1250),
        ("12.5", 2, 1250),
        ("12", 2, 1200),
        ("-0.05", 2, -5),
        ("-0.00", 2, 0),
        ("007.50", 2, 750),
        ("1500", 0, 1500),
        ("1.234", 3, 1234),
        ("9999999999999999.99", 2, 10**18 - 1),
        ("0000000000000000000000001", 0, 1),
    ],
)
def test_amounts(text, digits, minor):
    assert parse_minor(text, digits) == minor


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1e2",
        "1E2",
        "1.5e1",
        "NaN",
        "Infinity",
        "1_000",
        "1,000",
        "1.",
        ".5",
        "1.2.3",
        "--1",
        "-",
        "１２",
        "١",
        "0x1",
        "1\n",
        "10000000000000000.00",
        "1" * 5000,
    ],
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(AmountInvalid) as caught:
        parse_minor(text, 2)
    assert caught.value.code == "invalid_amount"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "digits"), [("1.0", 0), ("12.500", 2), ("0.0001", 3)])
def test_more_fraction_digits_than_the_currency_are_refused_even_zeros(text, digits):
    with pytest.raises(AmountInvalid) as caught:
        parse_minor(text, digits)
    assert caught.value.code == "amount_precision"


def test_an_exponent_is_named_as_such():
    with pytest.raises(AmountInvalid, match="exponent"):
        parse_minor("12e2", 2)


@pytest.mark.parametrize(
    ("code", "digits"),
    [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("eur", None), ("XXX", None), ("XAU", None)],
)
def test_currency_digits_are_those_of_iso_4217(code, digits):
    assert currency_digits(code) == digits


def test_money_for_people():
    assert format_money(-5, "EUR") == "-0.05 EUR"
    assert format_money(1500, "JPY") == "1500 JPY"
    with pytest.raises(KeyError):
        format_money(1, "ZZZ")


@pytest.mark.parametrize(
    ("text", "canonical"), [("1.0842", "1.0842"), ("1.50", "1.5"), ("007", "7"), ("0.10", "0.1")]
)
def test_rates_have_one_form(text, canonical):
    assert parse_rate(text) == canonical
    assert parse_rate(canonical) == canonical


@pytest.mark.parametrize("text", ["0", "0.00", "-1", "1e3", "", "1." + "1" * 18])
def test_rates_that_mean_nothing_are_refused(text):
    with pytest.raises(AmountInvalid) as caught:
        parse_rate(text)
    assert caught.value.code == "invalid_amount"
