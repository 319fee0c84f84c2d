"""Reading transaction records as they came from Kafka or a JSONL file, many at once.

The fast reading here and the exact one of `domain.transaction_decoding` agree on every record they
both accept: the fast one accepts only what it is sure of and leaves the rest to the exact one.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, cast

import msgspec
from msgspec.structs import astuple

from domain.errors import SettlerError
from domain.instant_columns import Instants, read_instants
from domain.instants import DATE_LENGTH, DAY_US, instant_text
from domain.money import CURRENCY_DIGITS, parse_minor
from domain.packed_content import (
    DATE_FLAG,
    PACKED_FORMAT,
    Extra,
    PackedContent,
    encode_packed,
)
from domain.record_json import (
    ABSENT,
    FieldRefused,
    TextAmountRecord,
    copy_json,
    decode_raw_amount,
    decode_text_amount,
    read_json_fields,
)
from domain.shared_values import (
    AMOUNTS,
    ATTRIBUTES,
    COUNTERPARTIES,
    SCOPE_IDS,
    shared_amount,
    shared_attributes,
    shared_counterparty,
)
from domain.transaction_columns import TransactionColumns
from domain.transaction_decoding import RECORD_BYTES_MAX, clean_text
from domain.transactions import Rejection, Transaction, build_transaction

# Deleting these from a text is twice as fast as asking it whether it is printable.
_VISIBLE: Final = bytes(range(ord("!"), ord("~") + 1))
# What `PackedContent` begins with is no field of the record.
_FIELD_COUNT: Final = len(PackedContent.__struct_fields__) - 2

# How each side wrote its last amount.  A producer keeps to one form, so trying that one first
# saves a failed decode a record; trying the other first would give the same result.
_wire_decoders: list[Callable[[bytes], TextAmountRecord]] = [decode_text_amount] * 2


class ScopeRecords(msgspec.Struct, gc=False):
    """What a batch has for one reconciliation, in offset order.

    Attributes:
        tenant_id, reconciliation_id: None where a record does not name it.
        raws: The messages of `transactions`, in the same order.
    """

    tenant_id: str | None
    reconciliation_id: str | None
    transactions: Sequence[Transaction]
    raws: list[bytes]
    rejections: list[Rejection]

    @property
    def span(self) -> tuple[int, int]:
        """The first offset and the one after the last."""
        lists = [one for one in (self.transactions, self.rejections) if one]
        return min(one[0].offset for one in lists), max(one[-1].offset for one in lists) + 1


#: The fields of a record in the order of `PackedContent`, its event time still as written.
_Fields = tuple[Any, ...]


class _Gathered(msgspec.Struct, gc=False):
    """A reconciliation's records while a batch is read; the first three go together."""

    fields: list[_Fields]
    raws: list[bytes]
    offsets: list[int]
    rejections: list[Rejection]


_Scopes = dict[str | None, dict[str | None, _Gathered]]


def read_transactions(
    raws: Sequence[bytes], offsets: Iterable[int], side: int, now_us: int
) -> list[ScopeRecords]:
    """Read records and gather them by reconciliation.

    Args:
        raws: One JSON object each, UTF-8, at most 64 KiB.
        offsets: Kafka offsets, one a record, rising, carried along.
        side: `SOURCE` or `TARGET`, from the topic or file.
        now_us: The clock, microseconds since the epoch: no event lies a day ahead of it.
    """
    scopes: _Scopes = {}
    counterparties, shared, amounts = COUNTERPARTIES, ATTRIBUTES, AMOUNTS
    absent, bytes_max, fields_of = ABSENT, RECORD_BYTES_MAX, astuple
    last_currency, known_amount = "", dict[str, int]().get
    decode = _wire_decoders[side]
    numbers = decode is not decode_text_amount
    for raw, offset in zip(raws, offsets, strict=True):
        try:
            if len(raw) > bytes_max:
                raise _Unsure
            (
                tenant_id,
                reconciliation_id,
                transaction_id,
                amount,
                currency,
                occurred_at,
                reference,
                counterparty,
                description,
                attributes_json,
                fee,
            ) = fields_of(decode(raw))
            try:
                into = scopes[tenant_id][reconciliation_id]
            except KeyError:
                into = _scope(scopes, SCOPE_IDS[tenant_id], SCOPE_IDS[reconciliation_id])

            if numbers:
                amount = _number_text(cast(msgspec.Raw, amount), side)
            if currency is not last_currency:
                last_currency, known_amount = currency, amounts[currency].get
            amount_minor = known_amount(amount)
            if amount_minor is None:
                amount_minor = shared_amount(currency, amount)

            if counterparty is not None:
                counterparty = counterparties.get(counterparty) or shared_counterparty(counterparty)
            if description is not None:
                description = clean_text("description", description)
            attributes: dict[str, str] | None = None
            if attributes_json is not absent:
                key = copy_json(attributes_json)
                attributes = shared.get(key) or shared_attributes(key)
            extra = None if fee is absent else _fee_alone(fee, CURRENCY_DIGITS[currency])
            fields = (
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
        except _NEEDS_EXACT_READING:
            one = _read_exactly(raw, side, now_us, offset)
            _put(_scope(scopes, one.tenant_id, one.reconciliation_id), one, raw)
            decode = _wire_decoders[side]
            numbers = decode is not decode_text_amount
            continue
        into.fields.append(fields)
        into.raws.append(raw)
        into.offsets.append(offset)
    return [
        _scope_records(tenant_id, reconciliation_id, gathered, side, now_us)
        for tenant_id, of_tenant in scopes.items()
        for reconciliation_id, gathered in of_tenant.items()
        if gathered.fields or gathered.rejections
    ]


def _scope_records(
    tenant_id: str | None,
    reconciliation_id: str | None,
    gathered: _Gathered,
    side: int,
    now_us: int,
) -> ScopeRecords:
    # Event times, and what an id and a reference are made of, are looked at for all together: a
    # third of the time.
    fields = _columns(gathered.fields)
    instants, odd = _instants_and_odd(fields, now_us)
    if odd:
        gathered = _with_exact(gathered, odd, side, now_us)
        fields = _columns(gathered.fields)
        instants, _ = _instants_and_odd(fields, now_us)
    records = ScopeRecords(tenant_id, reconciliation_id, (), gathered.raws, gathered.rejections)
    if gathered.fields:
        assert tenant_id is not None, gathered.raws[0]
        assert reconciliation_id is not None, gathered.raws[0]
        ids, amounts, currencies, _, *others = fields
        occurred_at, are_dates, flags = instants.microseconds, [False] * len(ids), [side] * len(ids)
        for place in instants.dates:
            are_dates[place], flags[place] = True, side | DATE_FLAG
        known = ids, amounts, currencies, occurred_at
        packed = map(encode_packed, zip(repeat(PACKED_FORMAT), flags, *known, *others))
        columns = *known, are_dates, *others, list(packed), gathered.offsets
        records.transactions = TransactionColumns(tenant_id, reconciliation_id, side, *columns)
    return records


def _columns(rows: list[_Fields]) -> list[list[Any]]:
    """A list for each field."""
    return list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in range(_FIELD_COUNT)]


def _instants_and_odd(fields: list[list[Any]], now_us: int) -> tuple[Instants, set[int]]:
    """Event times, and the places of what needs the exact reading."""
    ids, _, _, texts, references, *_ = fields
    instants = read_instants(texts)
    odd = {*instants.unreadable, *_not_clean(ids), *_not_clean(references)}
    latest_us = now_us + DAY_US
    if texts and max(instants.microseconds) > latest_us:
        odd.update(at for at, one in enumerate(instants.microseconds) if one > latest_us)
    return instants, odd


def _with_exact(gathered: _Gathered, odd: set[int], side: int, now_us: int) -> _Gathered:
    """The same records with those at the odd places read with every check there is."""
    result = _Gathered([], [], [], list(gathered.rejections))
    for place, raw in enumerate(gathered.raws):
        offset = gathered.offsets[place]
        if place in odd:
            _put(result, _read_exactly(raw, side, now_us, offset), raw)
        else:
            result.fields.append(gathered.fields[place])
            result.raws.append(raw)
            result.offsets.append(offset)
    result.rejections.sort(key=attrgetter("offset"))
    return result


def _not_clean(texts: Sequence[str | None]) -> list[int]:
    """Places of texts that are empty, have blanks around them, or anything unprintable in them."""
    filled = list(filter(None, texts))
    joined = "".join(filled)
    if len(filled) == len(texts) or "" not in texts:
        if joined.isascii():
            if not joined.encode().translate(None, _VISIBLE):
                return []
        # Of all white space only the blank is printable.
        elif " " not in joined and joined.isprintable():
            return []
    return [
        place
        for place, text in enumerate(texts)
        if text is not None and (not text or text != text.strip() or not text.isprintable())
    ]


def decode_transaction(
    raw: bytes, side: int, now_us: int, offset: int = -1
) -> Transaction | Rejection:
    """Read one record; see `read_transactions`."""
    (read,) = read_transactions((raw,), (offset,), side, now_us)
    return read.transactions[0] if read.transactions else read.rejections[0]


class _Unsure(SettlerError):
    """The fast reading leaves this record to the exact one."""


# What the fast reading meets when a record is not what it expects: an unknown scope or currency
# (KeyError), a field that is refused (SettlerError), and everything a JSON decoder says.
_NEEDS_EXACT_READING = (KeyError, SettlerError, msgspec.DecodeError, UnicodeError, RecursionError)


def _scope(scopes: _Scopes, tenant_id: str | None, reconciliation_id: str | None) -> _Gathered:
    of_tenant = scopes.setdefault(tenant_id, {})
    found = of_tenant.get(reconciliation_id)
    if found is None:
        found = of_tenant[reconciliation_id] = _Gathered([], [], [], [])
    return found


def _put(into: _Gathered, one: Transaction | Rejection, raw: bytes) -> None:
    if isinstance(one, Rejection):
        into.rejections.append(one)
        return
    written = instant_text(one.occurred_at)
    into.fields.append(
        (
            one.transaction_id,
            one.amount_minor,
            one.currency,
            written[:DATE_LENGTH] if one.is_date else written,
            one.reference,
            one.counterparty,
            one.description,
            one.attributes,
            one.extra,
        )
    )
    into.raws.append(raw)
    into.offsets.append(one.offset)


def _read_exactly(raw: bytes, side: int, now_us: int, offset: int) -> Transaction | Rejection:
    try:
        fields = read_json_fields(raw)
    except FieldRefused as problem:
        return Rejection(problem.code, str(problem), None, None, None, side, raw, offset)
    if _wire_decoders[side] is decode_text_amount:
        _note_number_amounts(raw, side)
    return build_transaction(fields, side, now_us, raw, offset)


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
