"""One validated record of one side, and the rejection of a record that cannot be used."""

from collections.abc import Mapping

import msgspec

from domain.money import CURRENCY_DIGITS
from domain.packed_content import (
    DATE_FLAG,
    PACKED_FORMAT,
    Extra,
    PackedContent,
    decode_packed,
    encode_packed,
)
from domain.record_json import FieldRefused
from domain.shared_values import (
    SCOPE_IDS,
    share,
    shared_attributes_unpacked,
    shared_counterparty_unpacked,
)
from domain.transaction_decoding import RECORD_BYTES_MAX, Content, read_content, readable_ids

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


#: A currency's code by itself: the same text for every transaction.
SHARED_CURRENCIES: dict[str, str] = {code: code for code in CURRENCY_DIGITS}


def unknown_format(found: int) -> str:
    """Word that packed content is of another release's format."""
    return (
        f"transaction has format {found}, this release reads {PACKED_FORMAT}; "
        "run the release that wrote it or a newer one"
    )


def build_transaction(
    fields: Mapping[str, object],
    side: int,
    now_us: int | None,
    raw: bytes = b"",
    offset: int = -1,
) -> Transaction | Rejection:
    """Read one record that is already taken apart, with every check there is.

    Args:
        fields: Our field names. Values are text, None, integers or `Decimal` for decimals,
            `date` or aware `datetime` for `occurred_at`, and a mapping for `attributes`.
        side: `SOURCE` or `TARGET`.
        now_us: The clock; None checks no clock.
        raw: What the record looked like, for its rejection.
        offset: Kafka offset, carried along.
    """
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
        share(SCOPE_IDS, scope_id, scope_id)
    return _transaction(content, side, offset)


def unpack_transaction(packed: bytes, tenant_id: str, reconciliation_id: str) -> Transaction:
    """Give the transaction back whose `packed` this is; the offset is -1.

    Raises:
        ValueError: A format this release does not know.
        msgspec.DecodeError: Not packed content at all.
    """
    content = decode_packed(packed)
    if content.format != PACKED_FORMAT:
        raise ValueError(unknown_format(content.format))
    return Transaction(
        tenant_id,
        reconciliation_id,
        content.flags & TARGET,
        content.transaction_id,
        content.amount_minor,
        SHARED_CURRENCIES.get(content.currency, content.currency),
        content.occurred_at,
        content.flags > TARGET,
        content.reference,
        shared_counterparty_unpacked(content.counterparty),
        content.description,
        shared_attributes_unpacked(content.attributes),
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


def supersedes(transaction: Transaction) -> str | None:
    """The id of the same side that a record corrects, if it is a correction."""
    return None if transaction.extra is None else transaction.extra[5]


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
