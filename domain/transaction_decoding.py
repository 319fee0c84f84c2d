"""The exact reading of a transaction record, field by field: its content, or why it is refused.

`domain.transactions` tries a fast reading first and comes here for everything that needs a closer
look. The decisions where CONTRACT section 1 leaves room:

- Text is trimmed of white space as `str.strip` sees it. Blank or null is absent, also for unknown
  fields and attributes. Amounts and the two scope ids are not trimmed: white space refuses them.
- No text may hold the character NUL, which no database column keeps; a transaction id no control
  character at all.
- An unknown field that also stands under `attributes` with another value is refused: either
  choice would drop one of the two.
- Attribute names are taken as they are; at most 64 attributes are left after blank ones are gone.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from domain.instants import (
    InstantInvalid,
    check_not_ahead,
    date_us,
    parse_occurred_at,
)
from domain.money import CURRENCY_DIGITS, AmountInvalid, parse_minor, parse_rate, shown
from domain.packed_content import Extra
from domain.record_json import (
    DECIMAL_FIELDS,
    TEXT_LENGTH_MAX,
    TRANSACTION_ID_LENGTH_MAX,
    FieldRefused,
    NotText,
)

RECORD_BYTES_MAX: Final = 64 * 1024
ATTRIBUTES_MAX: Final = 64
SCOPE_ID: Final = re.compile(r"[a-z0-9_-]{1,64}")

REQUIRED_FIELDS = (
    "tenant_id",
    "reconciliation_id",
    "transaction_id",
    "amount",
    "currency",
    "occurred_at",
)
_EXTRA_FIELDS = frozenset({"fee", "base_amount", "base_currency", "fx_rate", "fx_to", "supersedes"})
KNOWN_FIELDS = frozenset(
    {
        *REQUIRED_FIELDS,
        *DECIMAL_FIELDS,
        "reference",
        "counterparty",
        "description",
        "base_currency",
        "fx_to",
        "supersedes",
        "attributes",
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Content(NamedTuple):
    """What a record says, in canonical form; the fields are those of `Transaction`."""

    tenant_id: str
    reconciliation_id: str
    transaction_id: str
    amount_minor: int
    currency: str
    occurred_at: int
    is_date: bool
    reference: str | None
    counterparty: str | None
    description: str | None
    attributes: dict[str, str] | None
    extra: Extra | None


def read_content(fields: Mapping[str, object], now_us: int | None) -> Content:
    """Check and normalise the fields of one record.

    Args:
        fields: As `read_json_fields` gives them, or from a file: text; also integers and
            `Decimal` for decimals, integers for text, `date` and aware `datetime` for
            `occurred_at`.
        now_us: The clock in microseconds, for what lies ahead of it; None checks no clock.

    Raises:
        FieldRefused: The first problem, in the order of the fields of CONTRACT section 1.
    """
    missing = [name for name in REQUIRED_FIELDS if _is_blank(fields.get(name))]
    if missing:
        raise FieldRefused("missing_field", f"{', '.join(missing)}: required, but missing or blank")
    tenant_id = _scope_id(fields, "tenant_id")
    reconciliation_id = _scope_id(fields, "reconciliation_id")
    transaction_id = _transaction_id(fields, "transaction_id")
    assert tenant_id
    assert reconciliation_id
    assert transaction_id
    currency = _currency(fields, "currency")
    assert currency
    occurred_at, is_date = _occurred_at(fields["occurred_at"], now_us)
    amount_minor = _minor(fields, "amount", currency)
    assert amount_minor is not None
    return Content(
        tenant_id,
        reconciliation_id,
        transaction_id,
        amount_minor,
        currency,
        occurred_at,
        is_date,
        _text(fields, "reference"),
        _text(fields, "counterparty"),
        _text(fields, "description"),
        read_attributes(fields.get("attributes"), _unknown(fields)),
        _extra(fields, currency),
    )


def readable_ids(fields: Mapping[str, object]) -> tuple[str | None, str | None, str | None]:
    """Give tenant, reconciliation and transaction id of a record, each None unless valid."""
    ids: list[str | None] = []
    for name, check in (
        ("tenant_id", _scope_id),
        ("reconciliation_id", _scope_id),
        ("transaction_id", _transaction_id),
    ):
        try:
            ids.append(check(fields, name))
        except FieldRefused:
            ids.append(None)
    return ids[0], ids[1], ids[2]


def read_attributes(given: object, unknown: Mapping[str, object]) -> dict[str, str] | None:
    """Merge attributes and unknown fields: sorted by name, trimmed, without blank ones.

    Raises:
        FieldRefused: Not text, too many, without name, or the same name with two values.
    """
    if given is not None and not isinstance(given, Mapping):
        raise FieldRefused("invalid_field", f"attributes is {_kind(given)}, not an object")
    found: dict[str, str] = {}
    for name, value in (given or {}).items():
        text = _clean(f"attributes.{name}", value, None)
        if text is not None:
            found[name] = text
    for name, value in unknown.items():
        try:
            text = _clean(name, value, None)
        except FieldRefused as problem:
            if problem.code != "invalid_field" or isinstance(value, str):
                raise
            raise FieldRefused(
                "unknown_field",
                f"{shown(name)} is no field of a transaction and is {_kind(value)}; "
                "only text can be kept under attributes",
            ) from None
        if text is None:
            continue
        if found.setdefault(name, text) != text:
            raise FieldRefused(
                "invalid_field",
                f"{shown(name)} stands both as a field and under attributes, "
                "with different values; send one of them",
            )
    if len(found) > ATTRIBUTES_MAX:
        raise FieldRefused(
            "invalid_field", f"{len(found)} attributes, at most {ATTRIBUTES_MAX} are allowed"
        )
    for name in found:
        if not name.strip() or not _is_storable(name):
            raise FieldRefused("invalid_field", f"{shown(name)} cannot be an attribute's name")
    return dict(sorted(found.items())) or None


def clean_text(name: str, value: str) -> str | None:
    """Trim a text of at most 512 characters; blank gives None.

    Raises:
        FieldRefused: Too long, or with a character that cannot be stored.
    """
    return _clean(name, value, TEXT_LENGTH_MAX)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _kind(value: object) -> str:
    if isinstance(value, NotText):
        return value.kind
    if isinstance(value, Mapping):
        return "an object"
    return {bool: "a boolean", float: "a float", int: "a number"}.get(
        type(value), f"a {type(value).__name__}"
    )


def _is_storable(text: str) -> bool:
    """Say whether text has a UTF-8 form and no NUL."""
    if text.isprintable():
        return True
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _clean(name: str, value: object, length_max: int | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FieldRefused("invalid_field", f"{name} is {_kind(value)}, not text")
    text = value.strip()
    if length_max is not None and len(text) > length_max:
        raise FieldRefused(
            "invalid_field", f"{name} has {len(text)} characters, at most {length_max} are allowed"
        )
    if not _is_storable(text):
        raise FieldRefused("invalid_field", f"{name} holds a character that cannot be stored")
    return text or None


def _text(fields: Mapping[str, object], name: str) -> str | None:
    return _clean(name, fields.get(name), TEXT_LENGTH_MAX)


def _scope_id(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldRefused("invalid_field", f"{name} is {_kind(value)}, not text")
    if SCOPE_ID.fullmatch(value) is None:
        raise FieldRefused(
            "invalid_field", f"{name} {shown(value)} is not 1 to 64 of a-z, 0-9, _ and -"
        )
    return value


def _transaction_id(fields: Mapping[str, object], name: str) -> str | None:
    text = _clean(name, fields.get(name), TRANSACTION_ID_LENGTH_MAX)
    if text and not text.isprintable() and any(unicodedata.category(c) == "Cc" for c in text):
        raise FieldRefused("invalid_field", f"{name} {shown(text)} holds a control character")
    return text


def _currency(fields: Mapping[str, object], name: str) -> str | None:
    code = _clean(name, fields.get(name), None)
    if code is None:
        return None
    if code not in CURRENCY_DIGITS:
        hint = f"; did you mean {code.upper()}?" if code.upper() in CURRENCY_DIGITS else ""
        raise FieldRefused(
            "unknown_currency",
            f"{name} {shown(code)} is not an ISO 4217 code with a minor unit{hint}",
        )
    return code


def _decimal_text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if _is_blank(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    hint = "; floats are not exact, give text or a decimal" if isinstance(value, float) else ""
    raise FieldRefused("invalid_amount", f"{name} is {_kind(value)}, not a decimal{hint}")


def _minor(fields: Mapping[str, object], name: str, currency: str) -> int | None:
    text = _decimal_text(fields, name)
    if text is None:
        return None
    try:
        return parse_minor(text, CURRENCY_DIGITS[currency])
    except AmountInvalid as problem:
        raise FieldRefused(problem.code, f"{name} {problem} ({currency})") from None


def _occurred_at(value: object, now_us: int | None) -> tuple[int, bool]:
    try:
        if isinstance(value, str):
            occurred_at, is_date = parse_occurred_at(value.strip())
        elif isinstance(value, datetime):
            if value.tzinfo is None:
                raise InstantInvalid("has no offset; say its time zone in the definition")
            occurred_at, is_date = (value - _EPOCH) // timedelta(microseconds=1), False
        elif isinstance(value, date):
            occurred_at, is_date = date_us(value), True
        else:
            raise InstantInvalid(f"is {_kind(value)}, not text")
        if now_us is not None:
            check_not_ahead(occurred_at, is_date, now_us)
    except InstantInvalid as problem:
        given = shown(value) if isinstance(value, str) else str(value)
        raise FieldRefused("invalid_timestamp", f"occurred_at {given} {problem}") from None
    return occurred_at, is_date


def _unknown(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in KNOWN_FIELDS}


def _extra(fields: Mapping[str, object], currency: str) -> Extra | None:
    if fields.keys().isdisjoint(_EXTRA_FIELDS):
        return None
    for one, other in (("base_amount", "base_currency"), ("fx_rate", "fx_to")):
        if _is_blank(fields.get(one)) != _is_blank(fields.get(other)):
            raise FieldRefused("missing_field", f"{one} and {other} only have a meaning together")
    fee_minor = _minor(fields, "fee", currency)
    base_currency = _currency(fields, "base_currency")
    base_minor = _minor(fields, "base_amount", base_currency) if base_currency else None
    rate_text = _decimal_text(fields, "fx_rate")
    fx_rate = None
    if rate_text is not None:
        try:
            fx_rate = parse_rate(rate_text)
        except AmountInvalid as problem:
            raise FieldRefused(problem.code, f"fx_rate {problem}") from None
    fx_to = _currency(fields, "fx_to")
    supersedes = _transaction_id(fields, "supersedes")
    if fee_minor is None and base_minor is None and fx_rate is None and supersedes is None:
        return None
    return fee_minor, base_minor, base_currency, fx_rate, fx_to, supersedes
