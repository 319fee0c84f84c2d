"""One validated record of one side, and the rejection of a record that cannot be used."""

import msgspec

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
        extra: (fee_minor, base_minor, base_currency, fx_rate, fx_to, supersedes), or None when
            all of them are absent. `fx_rate` is canonical decimal text.
        packed: Canonical content, see `pack_content`; equal content is equal bytes.
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
    extra: tuple[int | None, int | None, str | None, str | None, str | None, str | None] | None
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
