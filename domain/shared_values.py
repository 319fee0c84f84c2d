"""Values that many records repeat, kept once each.

A table lookup replaces checking the value again, and a million open transactions share the text.
Results never depend on what is in the tables; full ones are emptied.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from domain.money import CURRENCY_DIGITS, parse_minor
from domain.packed_content import decode_packed_attributes
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
_ATTRIBUTES_BY_PACKED: dict[bytes, dict[str, str]] = {}


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


def shared_attributes_unpacked(attributes: dict[str, str] | None) -> dict[str, str] | None:
    """Attributes equal to these, shared with other transactions."""
    if attributes is None:
        return None
    entries = tuple(attributes.items())
    return _ATTRIBUTES_UNPACKED.get(entries) or share(_ATTRIBUTES_UNPACKED, entries, attributes)


def shared_attributes_by_packed(packed: Sequence[bytes]) -> list[dict[str, str] | None]:
    """Attributes as `PackedFields` has them, of each."""
    known = _ATTRIBUTES_BY_PACKED
    found: list[dict[str, str] | None] = list(map(known.get, packed))
    if None in found:
        for place, one in enumerate(packed):
            if found[place] is None:
                attributes = shared_attributes_unpacked(decode_packed_attributes(one))
                if attributes is not None and len(one) <= _ATTRIBUTES_BYTES_MAX:
                    share(known, one, attributes)
                found[place] = attributes
    return found


def shared_counterparty_unpacked(counterparty: str | None) -> str | None:
    """A counterparty as it was accepted, shared with other transactions."""
    if counterparty is None:
        return None
    return COUNTERPARTIES.get(counterparty) or shared_counterparty(counterparty)


def shared_counterparties_unpacked(counterparties: Sequence[str | None]) -> list[str | None]:
    """`shared_counterparty_unpacked` of each."""
    known: dict[str | None, str] = COUNTERPARTIES  # type: ignore[assignment] # None is no key of it
    found = list(map(known.get, counterparties))
    if found.count(None) == counterparties.count(None):
        return list(found)
    return list(map(shared_counterparty_unpacked, counterparties))
