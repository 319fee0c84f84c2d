"""Reading transaction records as they came from Kafka or a JSONL file, many at once.

The fast reading here and the exact one of `domain.transaction_decoding` agree on every record they
both accept: the fast one accepts only what it is sure of and leaves the rest to the exact one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

import msgspec

from domain.errors import SettlerError
from domain.instants import MINUTES, TAILS, check_not_ahead, fine_tail_us, parse_occurred_at
from domain.money import CURRENCY_DIGITS, parse_minor
from domain.packed_content import DATE_FLAG, PACKED_FORMAT, Extra, encode_packed
from domain.record_json import (
    ABSENT,
    FieldRefused,
    TextAmountRecord,
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
from domain.transaction_decoding import RECORD_BYTES_MAX, clean_text
from domain.transactions import TARGET, Rejection, Transaction, build_transaction

_MINUTE_PART: Final = slice(None, 17)
_TAIL_PART: Final = slice(17, None)

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
    transactions: list[Transaction]
    raws: list[bytes]
    rejections: list[Rejection]

    @property
    def span(self) -> tuple[int, int]:
        """The first offset and the one after the last."""
        lists = [one for one in (self.transactions, self.rejections) if one]
        return min(one[0].offset for one in lists), max(one[-1].offset for one in lists) + 1


_Scopes = dict[str | None, dict[str | None, ScopeRecords]]


def read_transactions(  # noqa: C901 - one straight line: every call would cost a tenth of it
    raws: Sequence[bytes], offsets: Iterable[int], side: int, now_us: int
) -> list[ScopeRecords]:
    """Read records and gather them by reconciliation.

    Args:
        raws: One JSON object each, UTF-8, at most 64 KiB.
        offsets: Kafka offsets, one a record, carried along.
        side: `SOURCE` or `TARGET`, from the topic or file.
        now_us: The clock, microseconds since the epoch: no event lies a day ahead of it.
    """
    scopes: _Scopes = {}
    minutes, tails, encode = MINUTES, TAILS, encode_packed
    counterparties, shared, amounts = COUNTERPARTIES, ATTRIBUTES, AMOUNTS
    absent, make = ABSENT, Transaction
    minute_part, tail_part = _MINUTE_PART, _TAIL_PART
    for raw, offset in zip(raws, offsets, strict=True):
        try:
            if len(raw) > RECORD_BYTES_MAX:
                raise _Unsure
            wire = _wire_decoders[side](raw)
            tenant_id = wire.tenant_id
            reconciliation_id = wire.reconciliation_id
            try:
                into = scopes[tenant_id][reconciliation_id]
            except KeyError:
                into = _scope(scopes, SCOPE_IDS[tenant_id], SCOPE_IDS[reconciliation_id])

            currency = wire.currency
            amount = wire.amount
            if type(amount) is not str:
                amount = _number_text(cast(msgspec.Raw, amount), side)
            amount_minor = amounts[currency].get(amount)
            if amount_minor is None:
                amount_minor = shared_amount(currency, amount)

            text = wire.occurred_at
            minute_us = minutes.get(text[minute_part])
            tail_us = tails.get(text[tail_part])
            flags = side
            if minute_us is not None and tail_us is not None:
                occurred_at = minute_us + tail_us
            else:
                occurred_at, is_date = _read_instant(text, minute_us)
                if is_date:
                    flags = side | DATE_FLAG
            if occurred_at > now_us:
                check_not_ahead(occurred_at, flags > TARGET, now_us)

            transaction_id = wire.transaction_id.strip()
            if not transaction_id or not transaction_id.isprintable():
                raise _Unsure
            reference = wire.reference
            if reference is not None:
                reference = reference.strip()
                if not reference or not reference.isprintable():
                    reference = clean_text("reference", reference)
            counterparty = wire.counterparty
            if counterparty is not None:
                counterparty = counterparties.get(counterparty) or shared_counterparty(counterparty)
            description = wire.description
            if description is not None:
                description = clean_text("description", description)
            attributes: dict[str, str] | None = None
            if wire.attributes is not absent:
                key = bytes(wire.attributes)
                attributes = shared.get(key) or shared_attributes(key)
            extra = None if wire.fee is absent else _fee_alone(wire.fee, CURRENCY_DIGITS[currency])
        except _NEEDS_EXACT_READING:
            _read_exactly(scopes, raw, side, now_us, offset)
            continue
        into.raws.append(raw)
        into.transactions.append(
            make(
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
                encode(
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
        )
    return [
        one
        for of_tenant in scopes.values()
        for one in of_tenant.values()
        if one.transactions or one.rejections
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


def _scope(scopes: _Scopes, tenant_id: str | None, reconciliation_id: str | None) -> ScopeRecords:
    of_tenant = scopes.setdefault(tenant_id, {})
    found = of_tenant.get(reconciliation_id)
    if found is None:
        found = ScopeRecords(tenant_id, reconciliation_id, [], [], [])
        of_tenant[reconciliation_id] = found
    return found


def _read_exactly(scopes: _Scopes, raw: bytes, side: int, now_us: int, offset: int) -> None:
    try:
        fields = read_json_fields(raw)
    except FieldRefused as problem:
        one: Transaction | Rejection = Rejection(
            problem.code, str(problem), None, None, None, side, raw, offset
        )
    else:
        if _wire_decoders[side] is decode_text_amount:
            _note_number_amounts(raw, side)
        one = build_transaction(fields, side, now_us, raw, offset)
    into = _scope(scopes, one.tenant_id, one.reconciliation_id)
    if isinstance(one, Transaction):
        into.transactions.append(one)
        into.raws.append(raw)
    else:
        into.rejections.append(one)


def _read_instant(text: str, minute_us: int | None) -> tuple[int, bool]:
    if minute_us is not None:
        tail_us = fine_tail_us(text[_TAIL_PART])
        if tail_us is not None:
            return minute_us + tail_us, False
    return parse_occurred_at(text)


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
