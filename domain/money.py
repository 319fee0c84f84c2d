"""Money as integer minor units plus an ISO 4217 currency; no floats anywhere.

The sign rule, said once: both sides carry the sign their system gave, an amount that should agree
is equal on both, and a difference is always `target - source`. A surplus on the target side is a
positive difference, a shortfall a negative one.
"""

import re
from decimal import Decimal

from iso4217 import Currency

from domain.errors import SettlerError

# 18 digits fit a signed 64-bit integer with room for the sums of a match.
AMOUNT_DIGITS_MAX = 18

_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_SHOWN_CHARACTERS_MAX = 40

# Codes whose minor unit is "N.A." in ISO 4217 (gold, special drawing rights, the testing code)
# are left out: an amount in them has no minor units to be counted in.
CURRENCY_DIGITS: dict[str, int] = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}


class AmountInvalid(SettlerError):
    """A text is not an amount of its currency.

    `code` is `invalid_amount`, or `amount_precision` when it has more fraction digits than the
    currency. The message is a sentence without subject, such as "has 3 fraction digits, ...".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def currency_digits(code: str) -> int | None:
    """Give the fraction digits of an ISO 4217 currency; None for a code that is not one."""
    return CURRENCY_DIGITS.get(code)


def shown(text: str) -> str:
    """Quote a piece of input for a message, shortened, so that a message stays a sentence."""
    if len(text) > _SHOWN_CHARACTERS_MAX:
        text = text[:_SHOWN_CHARACTERS_MAX] + "…"
    return ascii(text) if not text.isprintable() else f"'{text}'"


def parse_minor(text: str, digits: int) -> int:
    """Read a decimal exactly as written into minor units.

    Args:
        text: An optional minus sign, digits, and optionally a point and digits; nothing else.
        digits: Fraction digits of the currency. Fewer in the text are filled up with zeros, more
            are refused even when they are zeros.

    Raises:
        AmountInvalid: Not such a text, too many fraction digits, or over 18 digits in all.
    """
    parts = _DECIMAL.fullmatch(text)
    if parts is None:
        raise AmountInvalid("invalid_amount", _why_not_decimal(text))
    sign, whole, fraction = parts.groups("")
    if len(fraction) > digits:
        raise AmountInvalid(
            "amount_precision",
            f"{shown(text)} has {len(fraction)} fraction digits, its currency has {digits}",
        )
    minor_text = (whole + fraction.ljust(digits, "0")).lstrip("0")
    if len(minor_text) > AMOUNT_DIGITS_MAX:
        raise AmountInvalid(
            "invalid_amount",
            f"{shown(text)} has {len(minor_text)} digits in minor units, "
            f"at most {AMOUNT_DIGITS_MAX} are allowed",
        )
    minor = int(minor_text or "0")
    return -minor if sign else minor


def parse_rate(text: str) -> str:
    """Read a positive exchange rate and give its canonical text, without superfluous zeros.

    Raises:
        AmountInvalid: Not a plain decimal, not above zero, or over 18 digits.
    """
    parts = _DECIMAL.fullmatch(text)
    if parts is None:
        raise AmountInvalid("invalid_amount", _why_not_decimal(text))
    sign, whole, fraction = parts.groups("")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if sign or not (whole or fraction):
        raise AmountInvalid("invalid_amount", f"{shown(text)} is not above zero")
    if len(whole) + len(fraction) > AMOUNT_DIGITS_MAX:
        raise AmountInvalid(
            "invalid_amount",
            f"{shown(text)} has {len(whole) + len(fraction)} digits, "
            f"at most {AMOUNT_DIGITS_MAX} are allowed",
        )
    return (whole or "0") + ("." + fraction if fraction else "")


def split_decimal(value: Decimal) -> tuple[int, int]:
    """Take a finite decimal apart into a whole number and its fraction digits: 1.50 -> (150, 2)."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "not a finite number"
    number = int("".join(map(str, digits)))
    if exponent > 0:
        number, exponent = number * 10**exponent, 0
    return -number if sign else number, -exponent


def format_minor(minor: int, digits: int) -> str:
    """Write minor units as a decimal with exactly `digits` fraction digits: 1250, 2 -> "12.50"."""
    if digits == 0:
        return str(minor)
    text = str(abs(minor)).rjust(digits + 1, "0")
    return f"{'-' if minor < 0 else ''}{text[:-digits]}.{text[-digits:]}"


def amount_text(minor: int, currency: str) -> str:
    """Write minor units as the decimal string of their currency: 1250, "EUR" -> "12.50"."""
    return format_minor(minor, CURRENCY_DIGITS[currency])


def format_money(minor: int, currency: str) -> str:
    """Write an amount for people: 1250, "EUR" -> "12.50 EUR".

    Raises:
        KeyError: The currency is unknown; nothing unknown gets past `currency_digits`.
    """
    return f"{amount_text(minor, currency)} {currency}"


def _why_not_decimal(text: str) -> str:
    if not text:
        return "is empty"
    if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+[eE][-+]?[0-9]+", text):
        return f"{shown(text)} has an exponent; write it out, such as 1200.00"
    return (
        f"{shown(text)} is not a plain decimal; only digits, one point and a leading minus "
        "are allowed, such as -12.50"
    )
