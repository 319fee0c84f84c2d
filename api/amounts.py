"""Amounts on their way out: whole minor units from the database, decimal strings to the client."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from domain.money import CURRENCY_DIGITS, format_minor

Amount = Annotated[
    str,
    Field(
        pattern=r"^-?\d+(\.\d+)?$",
        description="Decimal in major units, with the currency's digits.",
        examples=["12.50"],
    ),
]

CurrencyFilter = Annotated[
    str | None, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, e.g. `EUR`.")
]


def amount_text(minor: Decimal | int, currency: str) -> str:
    """Write minor units as the decimal string of their currency."""
    return format_minor(int(minor), CURRENCY_DIGITS[currency])
