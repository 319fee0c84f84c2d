"""One validated record of one side, and the rejection of a record that cannot be used.

The fast reading here and the exact one of `domain.transaction_decoding` agree on every record they
both accept: the fast one accepts only what it is sure of and leaves the rest to the exact one.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import msgspec

from domain.errors import SettlerError
from domain.instants import MINUTES, TAILS, check_not_ahead, fine_tail_us, parse_occurred_at
from domain.money import CURRENCY_DIGITS, parse_minor
from domain.packed_content import (
    DATE_FLAG,
    PACKED_FORMAT,
    Extra,
    PackedContent,
    decode_packed,
    encode_packed,
)
from domain.record_json import (
    ABSENT,
    FieldRefused,
    TextAmountRecord,
    decode_raw_amount,
    decode_text_amount,
    read_json_fields,
)
from domain.transaction_decoding import (
    RECORD_BYTES_MAX,
    Content,
    clean_text,
    read_attributes,
    read_content,
    readable_ids,
)

SOURCE, TARGET = 0, 1
SIDE_NAMES = ("source", "target")


class Transaction(msgspec.Struct, gc=False):
    """One validated record.

    Attributes:
        side: `SOURCE` or `TARGET`.
        amount_minor: Signed minor units of `currency`.
        occurred_at: Microseconds since the epoch, UTC. A bare date: its midnight UTC; the stream
            applies the definition's zone.
        is_date: The record gave a bare business date.
        reference, counterparty, description: Trimmed, never blank.
        attributes: Sorted by name, values trimmed and never blank; None when there are none.
            Transactions share equal ones: never change them in place.
        extra: (fee_minor, base_minor, base_currency, fx_rate, fx_to, supersedes), or None when
            all of them are absent. `fx_rate` is canonical decimal text.
        packed: Canonical content, see `PackedContent`; equal content is equal bytes.
        offset: Kafka offset, -1 outside Kafka.
    """

    tenant_id: str
    reconciliation_id: str
    side: int
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
    packed: bytes
    offset: int = -1


class Rejection(msgspec.Struct, gc=False):
    """A record that cannot be used: a stable code and a sentence a person can act on.

    The three ids are filled in whenever they can be read and are valid.
    """

    code: str
    message: str
    tenant_id: str | None
    reconciliation_id: str | None
    transaction_id: str | None
    side: int
    raw: bytes
    offset: int = -1


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

# Repeated values, kept once: a table lookup replaces the check, and a million open transactions
# share the text.  Results never depend on what is in the tables; full ones are emptied.
_TABLE_ENTRIES_MAX = 16_384
_SHARED_ATTRIBUTES_BYTES_MAX = 128
_scope_ids: dict[str, str] = {}
_counterparties: dict[str, str] = {}
_attributes: dict[bytes, dict[str, str]] = {}
_attributes_unpacked: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
_currencies: dict[str, str] = {code: code for code in CURRENCY_DIGITS}

# How each side wrote its last amount.  A producer keeps to one form, so trying that one first
# saves a failed decode a record; trying the other first would give the same result.
_wire_decoders: list[Callable[[bytes], TextAmountRecord]] = [decode_text_amount] * 2

_MINUTE_PART = slice(None, 17)
_TAIL_PART = slice(17, None)


def decode_transaction(  # noqa: C901 - one straight line: every call would cost a tenth of it
    raw: bytes, side: int, now_us: int, offset: int = -1
) -> Transaction | Rejection:
    """Read one record as it came from Kafka or a JSONL line.

    Args:
        raw: One JSON object, UTF-8, at most 64 KiB.
        side: `SOURCE` or `TARGET`, from the topic or file.
        now_us: The clock, microseconds since the epoch: no event lies a day ahead of it.
        offset: Kafka offset, carried along.
    """
    if len(raw) > RECORD_BYTES_MAX:
        return _decode_exactly(raw, side, now_us, offset)
    try:
        wire = _wire_decoders[side](raw)
        tenant_id = _scope_ids[wire.tenant_id]
        reconciliation_id = _scope_ids[wire.reconciliation_id]
        currency = wire.currency
        digits = CURRENCY_DIGITS[currency]

        amount = wire.amount
        if type(amount) is not str:
            amount = _number_text(cast(msgspec.Raw, amount), side)
        joined = amount.replace(".", "", 1)
        if (
            digits == 2
            and 2 < len(joined) < 19
            and amount[-3] == "."
            and joined.isdigit()
            and joined.isascii()
        ):
            amount_minor = int(joined)
        else:
            amount_minor = parse_minor(amount, digits)

        text = wire.occurred_at
        minute_us = MINUTES.get(text[_MINUTE_PART])
        tail_text = text[_TAIL_PART]
        tail_us = TAILS.get(tail_text)
        if tail_us is None and minute_us is not None:
            tail_us = fine_tail_us(tail_text)
        if minute_us is not None and tail_us is not None:
            occurred_at = minute_us + tail_us
            flags = side
        else:
            occurred_at, is_date = parse_occurred_at(text)
            flags = side | DATE_FLAG if is_date else side
        if occurred_at > now_us:
            check_not_ahead(occurred_at, flags > TARGET, now_us)

        transaction_id = wire.transaction_id.strip()
        reference = wire.reference
        if reference is not None:
            reference = reference.strip()
            if not reference.isprintable() or not reference:
                reference = clean_text("reference", reference)
        if not transaction_id.isprintable() or not transaction_id:
            return _decode_exactly(raw, side, now_us, offset)
        counterparty = wire.counterparty
        if counterparty is not None:
            counterparty = _counterparties.get(counterparty) or _share_counterparty(counterparty)
        description = wire.description
        if description is not None:
            description = clean_text("description", description)
        attributes: dict[str, str] | None = None
        if wire.attributes is not ABSENT:
            key = bytes(wire.attributes)
            attributes = _attributes.get(key) or _share_attributes(key)
        extra = None if wire.fee is ABSENT else _fee_alone(wire.fee, digits)
    except _NEEDS_EXACT_READING:
        return _decode_exactly(raw, side, now_us, offset)
    return Transaction(
        tenant_id,
        reconciliation_id,
        side,
        transaction_id,
        amount_minor,
        currency,
        occurred_at,
        flags > TARGET,
        reference,
        counterparty,
        description,
        attributes,
        extra,
        encode_packed(
            (
                PACKED_FORMAT,
                flags,
                transaction_id,
                amount_minor,
                currency,
                occurred_at,
                reference,
                counterparty,
                description,
                attributes,
                extra,
            )
        ),
        offset,
    )


# What the fast reading meets when a record is not what it expects: an unknown scope or currency
# (KeyError), a field that is refused (SettlerError), and everything a JSON decoder says.
_NEEDS_EXACT_READING = (KeyError, SettlerError, msgspec.DecodeError, UnicodeError, RecursionError)


def build_transaction(
    fields: Mapping[str, object], side: int, now_us: int | None, raw: bytes = b""
) -> Transaction | Rejection:
    """Read one record of a file, already taken apart; the same checks as `decode_transaction`.

    Args:
        fields: Our field names. Values are text, None, integers or `Decimal` for decimals,
            `date` or aware `datetime` for `occurred_at`, and a mapping for `attributes`.
        side: `SOURCE` or `TARGET`.
        now_us: The clock; None checks no clock.
        raw: What the record looked like, for its rejection.
    """
    return _build(fields, side, now_us, raw, -1)


def unpack_transaction(packed: bytes, tenant_id: str, reconciliation_id: str) -> Transaction:
    """Give the transaction back whose `packed` this is; the offset is -1.

    Raises:
        ValueError: A format this release does not know.
        msgspec.DecodeError: Not packed content at all.
    """
    content = decode_packed(packed)
    if content.format != PACKED_FORMAT:
        raise ValueError(
            f"transaction has format {content.format}, this release reads {PACKED_FORMAT}; "
            "run the release that wrote it or a newer one"
        )
    counterparty, attributes = content.counterparty, content.attributes
    if counterparty is not None:
        counterparty = _counterparties.get(counterparty) or _share_counterparty(counterparty)
    if attributes is not None:
        entries = tuple(attributes.items())
        attributes = _attributes_unpacked.get(entries) or _share(
            _attributes_unpacked, entries, attributes
        )
    return Transaction(
        tenant_id,
        reconciliation_id,
        content.flags & TARGET,
        content.transaction_id,
        content.amount_minor,
        _currencies.get(content.currency, content.currency),
        content.occurred_at,
        content.flags > TARGET,
        content.reference,
        counterparty,
        content.description,
        attributes,
        content.extra,
        packed,
    )


def field_value(transaction: Transaction, name: str) -> str | None:
    """Give a field that a rule names, trimmed; None when it is absent.

    Args:
        transaction: The record.
        name: `transaction_id`, `reference`, `counterparty`, `description` or `attributes.NAME`.

    Raises:
        KeyError: Any other name; definitions are checked before they get here.
    """
    if name == "reference":
        return transaction.reference
    if name.startswith("attributes."):
        attributes = transaction.attributes
        return None if attributes is None else attributes.get(name[11:])
    if name in ("transaction_id", "counterparty", "description"):
        value: str | None = getattr(transaction, name)
        return value
    raise KeyError(name)


def _decode_exactly(raw: bytes, side: int, now_us: int, offset: int) -> Transaction | Rejection:
    try:
        fields = read_json_fields(raw)
    except FieldRefused as problem:
        return Rejection(problem.code, str(problem), None, None, None, side, raw, offset)
    if _wire_decoders[side] is decode_text_amount:
        _note_number_amounts(raw, side)
    return _build(fields, side, now_us, raw, offset)


def _build(
    fields: Mapping[str, object], side: int, now_us: int | None, raw: bytes, offset: int
) -> Transaction | Rejection:
    try:
        if len(raw) > RECORD_BYTES_MAX:
            raise FieldRefused(
                "too_large",
                f"the record has {len(raw)} bytes, at most {RECORD_BYTES_MAX} are allowed",
            )
        content = read_content(fields, now_us)
    except FieldRefused as problem:
        ids = readable_ids(fields)
        return Rejection(problem.code, str(problem), *ids, side, raw, offset)
    for scope_id in (content.tenant_id, content.reconciliation_id):
        _share(_scope_ids, scope_id, scope_id)
    return _transaction(content, side, offset)


def _transaction(content: Content, side: int, offset: int) -> Transaction:
    packed = PackedContent(
        PACKED_FORMAT,
        side | DATE_FLAG if content.is_date else side,
        content.transaction_id,
        content.amount_minor,
        content.currency,
        content.occurred_at,
        content.reference,
        content.counterparty,
        content.description,
        content.attributes,
        content.extra,
    )
    return Transaction(
        content.tenant_id,
        content.reconciliation_id,
        side,
        *content[2:],
        packed=encode_packed(packed),
        offset=offset,
    )


def _number_text(amount: msgspec.Raw, side: int) -> str:
    """Give the text of a JSON number as written; a string's content, too, and note the form."""
    text = bytes(amount).decode()
    if text[0] == '"':
        _wire_decoders[side] = decode_text_amount
        return text[1:-1]
    return text


def _fee_alone(fee: msgspec.Raw, digits: int) -> Extra | None:
    text = bytes(fee).decode()
    if text == "null":
        return None
    # Quotes come off in pairs: what stands between them is no decimal when it has an escape.
    return parse_minor(text.strip('"'), digits), None, None, None, None, None


def _note_number_amounts(raw: bytes, side: int) -> None:
    try:
        amount = bytes(decode_raw_amount(raw).amount)
    except msgspec.DecodeError:
        return
    if not amount.startswith(b'"'):
        _wire_decoders[side] = decode_raw_amount


def _share(table: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    if len(table) >= _TABLE_ENTRIES_MAX:
        table.clear()
    table[key] = value
    return value


def _share_counterparty(counterparty: str) -> str | None:
    text = clean_text("counterparty", counterparty)
    return text and _share(_counterparties, counterparty, text)


def _share_attributes(key: bytes) -> dict[str, str] | None:
    if key == b"null":
        return None
    attributes = read_attributes(read_json_fields(key), {})
    if attributes is None or len(key) > _SHARED_ATTRIBUTES_BYTES_MAX:
        return attributes
    return _share(_attributes, key, attributes)
