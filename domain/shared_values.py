"""Values that many records repeat, kept once each.

A table lookup replaces checking the value again, and a million open transactions share the text.
Results never depend on what is in the tables; full ones are emptied.
"""

from typing import Final, TypeVar

from domain.money import CURRENCY_DIGITS, parse_minor
from domain.record_json import read_json_fields
from domain.transaction_decoding import clean_text, read_attributes

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ENTRIES_MAX: Final = 16_384
_ATTRIBUTES_BYTES_MAX: Final = 128

#: Valid tenant and reconciliation ids, by themselves.
SCOPE_IDS: Final[dict[str, str]] = {}
#: Text as written → trimmed.
COUNTERPARTIES: Final[dict[str, str]] = {}
#: JSON of the field `attributes` → as `Transaction.attributes` has it.
ATTRIBUTES: Final[dict[bytes, dict[str, str]]] = {}
#: Currency → amount as written → minor units. Prices repeat, and their texts are short.
AMOUNTS: Final[dict[str, dict[str, int]]] = {code: {} for code in CURRENCY_DIGITS}

_ATTRIBUTES_UNPACKED: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}


def share(table: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    """Enter a value into a table and give it back."""
    if len(table) >= _ENTRIES_MAX:
        table.clear()
    table[key] = value
    return value


def shared_amount(currency: str, text: str) -> int:
    """Minor units of an amount as written.

    Raises:
        KeyError: The currency is unknown.
        AmountInvalid: Not an amount of that currency.
    """
    return share(AMOUNTS[currency], text, parse_minor(text, CURRENCY_DIGITS[currency]))


def shared_counterparty(counterparty: str) -> str | None:
    """The text trimmed; None when it is blank.

    Raises:
        FieldRefused: Too long, or with a character that cannot be stored.
    """
    text = clean_text("counterparty", counterparty)
    return text and share(COUNTERPARTIES, counterparty, text)


def shared_attributes(key: bytes) -> dict[str, str] | None:
    """Read the JSON of the field `attributes`.

    Raises:
        FieldRefused: See `read_attributes`.
    """
    if key == b"null":
        return None
    attributes = read_attributes(read_json_fields(key), {})
    if attributes is None or len(key) > _ATTRIBUTES_BYTES_MAX:
        return attributes
    return share(ATTRIBUTES, key, attributes)


def shared_attributes_unpacked(attributes: dict[str, str]) -> dict[str, str]:
    """Attributes equal to these, shared with other transactions."""
    entries = tuple(attributes.items())
    return _ATTRIBUTES_UNPACKED.get(entries) or share(_ATTRIBUTES_UNPACKED, entries, attributes)
