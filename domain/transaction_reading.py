"""Reading transaction records as they came from Kafka or a JSONL file, many at once.

The fast reading here and the exact one of `domain.transaction_decoding` agree on every record they
both accept: the fast one accepts only what it is sure of and leaves the rest to the exact one.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, compress, count, repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec.structs import astuple

from domain.errors import SettlerError
from domain.instant_columns import read_instants
from domain.instants import DATE_LENGTH, DAY_US, instant_text
from domain.money import CURRENCY_DIGITS, parse_minor
from domain.packed_content import (
    DATE_FLAG,
    PACKED_FORMAT,
    Extra,
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
# Of the fields of a `Transaction`: those that are read, those before its event time and behind it.
_FIRST, _TIME, _EXTRA = map(
    Transaction.__struct_fields__.index, ("transaction_id", "occurred_at", "extra")
)
_COLUMNS: Final = slice(_FIRST, _EXTRA + 1)
_BEFORE_TIME, _BEHIND_TIME = slice(_FIRST, _TIME), slice(_TIME + 2, _EXTRA + 1)
_TIME_COLUMN, _FIELD_COUNT = _TIME - _FIRST, _EXTRA - _FIRST

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


#: The fields of a record in the order of `PackedContent`, its event time as written.
_Fields = tuple[Any, ...]


class _Gathered(msgspec.Struct, gc=False):
    """A reconciliation's records while a batch is read; the first three go together."""

    fields: list[_Fields]
    raws: list[bytes]
    offsets: list[int]
    rejections: list[Rejection]


_Scopes = dict[str | None, dict[str | None, _Gathered]]


class _Times(NamedTuple):
    """Event times in microseconds, which of them are dates, and which need the exact reading."""

    microseconds: list[int]
    are_dates: list[bool]
    are_odd: list[bool]

    def between(self, begin: int, end: int) -> "_Times":
        return _Times(
            self.microseconds[begin:end], self.are_dates[begin:end], self.are_odd[begin:end]
        )


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
            decode = _wire_decoders[side]
            numbers = decode is not decode_text_amount
            into = _scope(scopes, one.tenant_id, one.reconciliation_id)
            if isinstance(one, Rejection):
                into.rejections.append(one)
                continue
            fields = (*astuple(one)[_BEFORE_TIME], _written(one), *astuple(one)[_BEHIND_TIME])
        into.fields.append(fields)
        into.raws.append(raw)
        into.offsets.append(offset)
    return _scope_records(scopes, side, now_us)


def _scope_records(scopes: _Scopes, side: int, now_us: int) -> list[ScopeRecords]:
    read = [
        (tenant_id, reconciliation_id, gathered, _columns(gathered.fields))
        for tenant_id, of_tenant in scopes.items()
        for reconciliation_id, gathered in of_tenant.items()
        if gathered.fields or gathered.rejections
    ]
    # Event times are read for all together: a fourth of the time.
    written = list(chain.from_iterable(columns[_TIME_COLUMN] for *_, columns in read))
    times = _read_times(written, now_us)
    result = []
    begin = 0
    for tenant_id, reconciliation_id, gathered, columns in read:
        records = ScopeRecords(tenant_id, reconciliation_id, (), gathered.raws, gathered.rejections)
        end = begin + len(gathered.fields)
        if begin < end:
            _fill(records, columns, gathered.offsets, times.between(begin, end), side, now_us)
        result.append(records)
        begin = end
    return result


def _columns(rows: list[_Fields]) -> list[list[Any]]:
    """A list for each field."""
    return list(map(list, zip(*rows, strict=True))) if rows else [[]] * _FIELD_COUNT


def _read_times(texts: list[str], now_us: int) -> _Times:
    instants = read_instants(texts)
    are_dates, are_odd = [False] * len(texts), [False] * len(texts)
    for place in instants.dates:
        are_dates[place] = True
    for place in instants.unreadable:
        are_odd[place] = True
    latest_us = now_us + DAY_US
    if texts and max(instants.microseconds) > latest_us:
        are_odd = [
            odd or one > latest_us for odd, one in zip(are_odd, instants.microseconds, strict=True)
        ]
    return _Times(instants.microseconds, are_dates, are_odd)


def _fill(
    records: ScopeRecords,
    columns: list[list[Any]],
    offsets: list[int],
    times: _Times,
    side: int,
    now_us: int,
) -> None:
    """Make the transactions of a reconciliation from their fields."""
    ids, amounts, currencies, _, references, *others = columns
    occurred_at, are_dates, are_odd = times
    # What an id and a reference are made of is looked at for all together: a fifth of the time.
    odd = {*_not_clean(ids), *_not_clean(references)}
    if True in are_odd:
        odd.update(compress(count(), are_odd))
    columns = [ids, amounts, currencies, occurred_at, are_dates, references, *others]
    if odd:
        _read_again(records, columns, offsets, odd, side, now_us)
        if not ids:
            return
    flags: Iterable[int] = repeat(side)
    if True in are_dates:
        flags = [side | DATE_FLAG if is_date else side for is_date in are_dates]
    content = zip(
        repeat(PACKED_FORMAT), flags, ids, amounts, currencies, occurred_at, references, *others
    )
    columns += [list(map(encode_packed, content)), offsets]
    tenant_id, reconciliation_id = records.tenant_id, records.reconciliation_id
    assert tenant_id is not None, records.raws[0]
    assert reconciliation_id is not None, records.raws[0]
    records.transactions = TransactionColumns(tenant_id, reconciliation_id, side, *columns)


def _read_again(
    records: ScopeRecords,
    columns: list[list[Any]],
    offsets: list[int],
    odd: set[int],
    side: int,
    now_us: int,
) -> None:
    """Read the records at the odd places with every check there is."""
    for place in sorted(odd, reverse=True):
        one = _read_exactly(records.raws[place], side, now_us, offsets[place])
        if isinstance(one, Rejection):
            records.rejections.append(one)
            for column in (*columns, records.raws, offsets):
                del column[place]
        else:
            for column, value in zip(columns, astuple(one)[_COLUMNS], strict=True):
                column[place] = value
    records.rejections.sort(key=attrgetter("offset"))


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


def _written(transaction: Transaction) -> str:
    """The event time as text, which reads as it was read."""
    text = instant_text(transaction.occurred_at)
    return text[:DATE_LENGTH] if transaction.is_date else text


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
