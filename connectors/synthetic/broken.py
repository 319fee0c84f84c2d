"""Records that cannot be used: every kind the transaction record's contract names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Broken:
    """A record made unusable: the code it is refused with, and whether its id can still be read."""

    code: str
    value: bytes
    id_readable: bool = True

    def readable_id(self, transaction_id: str) -> str | None:
        """The id a dead letter of this record can show."""
        return transaction_id if self.id_readable else None


def _changed(code: str, **fields: Any) -> Callable[[bytes], Broken]:
    def breaks(value: bytes) -> Broken:
        return Broken(code, msgspec.json.encode(msgspec.json.decode(value) | fields))

    return breaks


def _without(field: str, id_readable: bool = True) -> Callable[[bytes], Broken]:
    def breaks(value: bytes) -> Broken:
        record = msgspec.json.decode(value)
        del record[field]
        return Broken("missing_field", msgspec.json.encode(record), id_readable)

    return breaks


def _exponent(value: bytes) -> Broken:
    record = msgspec.json.decode(value) | {"amount": msgspec.Raw(b"1e3")}
    return Broken("invalid_amount", msgspec.json.encode(record))


def _truncated(value: bytes) -> Broken:
    return Broken("invalid_json", value[:-9], id_readable=False)


def _array(value: bytes) -> Broken:
    return Broken("invalid_json", b"[" + value + b"]", id_readable=False)


def _not_utf8(value: bytes) -> Broken:
    broken = value.replace(b'"currency":"', b'"currency":"\xff\xfe', 1)
    return Broken("invalid_json", broken, id_readable=False)


#: Kinds that a row of a CSV or Parquet file can have too, and that need no clock.
TABULAR: dict[str, Callable[[bytes], Broken]] = {
    "no_amount": _without("amount"),
    "amount_in_words": _changed("invalid_amount", amount="twelve"),
    "no_currency": _without("currency"),
    "decimal_comma": _changed("invalid_amount", amount="12,50"),
    "no_instant": _without("occurred_at"),
    "too_many_digits": _changed("invalid_amount", amount="1234567890123456789"),
    "unknown_currency": _changed("unknown_currency", currency="ZZZ"),
    "too_precise": _changed("amount_precision", amount="1.23456"),
    "no_such_day": _changed("invalid_timestamp", occurred_at="2026-02-30"),
    "words_for_instant": _changed("invalid_timestamp", occurred_at="yesterday"),
    "no_offset": _changed("invalid_timestamp", occurred_at="2026-01-05T12:00:00"),
    "no_id": _without("transaction_id", id_readable=False),
    "lower_case_currency": _changed("unknown_currency", currency="eur"),
    "long_reference": _changed("invalid_field", reference="R" * 513),
    "half_a_base": _changed("missing_field", base_amount="1.00"),
    "too_large": _changed("too_large", description="x" * 70_000),
    "elsewhere": _changed("unknown_reconciliation", reconciliation_id="nowhere"),
}

#: Kinds that only JSON can have.
JSON_ONLY: dict[str, Callable[[bytes], Broken]] = {
    "truncated": _truncated,
    "an_array": _array,
    "not_utf8": _not_utf8,
    "exponent": _exponent,
    "attribute_number": _changed("invalid_field", attributes={"lines": 3}),
    "unknown_number": _changed("unknown_field", lines=3),
}

#: Kinds that only a reader with a clock refuses.
CLOCK_ONLY: dict[str, Callable[[bytes], Broken]] = {
    "from_the_future": _changed("invalid_timestamp", occurred_at="2199-01-01T00:00:00Z"),
}

KINDS = TABULAR | JSON_ONLY | CLOCK_ONLY
