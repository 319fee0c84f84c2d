"""The JSON shapes of a transaction record, down to its fields but not into their meaning.

A key that stands twice counts as written last: RFC 8259 section 4 leaves it open, and most readers
do so.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal, cast

import msgspec

from domain.errors import SettlerError
from domain.money import CURRENCY_DIGITS

TRANSACTION_ID_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 512
DECIMAL_FIELDS = frozenset({"amount", "fee", "base_amount", "fx_rate"})

_JSON_KINDS = {
    ord("{"): "an object",
    ord("["): "an array",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
}
# Records of nothing but text, the usual ones with unknown fields or fees, need no closer look.
_decode_text_fields = msgspec.json.Decoder(dict[str, str | dict[str, str | None] | None]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode


# Known currencies are told apart by the decoder, which then gives one shared text for each.
_CurrencyCode = Literal[tuple(sorted(CURRENCY_DIGITS))]  # type: ignore[valid-type]
ABSENT: Final = msgspec.Raw()


class TextAmountRecord(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The common record with its amount in quotes; anything else goes the exact way."""

    tenant_id: str
    reconciliation_id: str
    transaction_id: Annotated[str, msgspec.Meta(max_length=TRANSACTION_ID_LENGTH_MAX)]
    amount: str
    currency: _CurrencyCode  # type: ignore[valid-type]
    occurred_at: str
    reference: Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)] | None = None
    counterparty: str | None = None
    description: Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)] | None = None
    attributes: msgspec.Raw = ABSENT
    fee: msgspec.Raw = ABSENT


class RawAmountRecord(TextAmountRecord, forbid_unknown_fields=True, gc=False):
    """The common record with its amount as a JSON number."""

    amount: msgspec.Raw  # type: ignore[assignment]


decode_text_amount: Final = msgspec.json.Decoder(TextAmountRecord).decode
decode_raw_amount: Final = msgspec.json.Decoder(RawAmountRecord).decode
#: The text of a `Raw`: what `bytes` gives, in a third of the time.
copy_json: Final[Callable[[msgspec.Raw], bytes]] = msgspec.json.Encoder().encode


class FieldRefused(SettlerError):
    """A field cannot be used; `code` is the rejection's code, the message its sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotText(msgspec.Struct, frozen=True):
    """A JSON value that is neither string nor null, where only those are of use."""

    kind: str


def read_json_fields(raw: bytes | msgspec.Raw) -> dict[str, object]:
    """Take a JSON object apart: strings, None, `NotText`, and decimal fields as number text.

    Numbers never become floats: the text of an amount is taken as written.

    Raises:
        FieldRefused: Not one well-formed JSON object in UTF-8.
    """
    try:
        return cast(dict[str, object], _decode_text_fields(raw))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # The closer look finds what it is, and says so.
    try:
        # Values that nobody decodes further would otherwise pass with broken UTF-8 inside.
        bytes(raw).decode()
        return {name: _json_value(name, value) for name, value in _decode_object(raw).items()}
    except msgspec.ValidationError:
        raise FieldRefused("invalid_json", "the record is not a JSON object") from None
    except UnicodeDecodeError as problem:
        raise FieldRefused(
            "invalid_json", f"the record is not UTF-8: {problem.reason} at byte {problem.start}"
        ) from None
    except msgspec.DecodeError as problem:
        raise FieldRefused("invalid_json", f"the record is not well-formed: {problem}") from None
    except RecursionError:
        raise FieldRefused("invalid_json", "the record is nested too deeply") from None


def _json_value(name: str, value: msgspec.Raw) -> object:
    text = bytes(value)
    match text[:1]:
        case b'"':
            return _decode_string(value)
        case b"n":
            return None
        case b"{" if name == "attributes":
            return {key: _json_value("", inner) for key, inner in _decode_object(value).items()}
    kind = _JSON_KINDS.get(text[0], "a number")
    if kind == "a number" and name in DECIMAL_FIELDS:
        return text.decode()
    return NotText(kind)
