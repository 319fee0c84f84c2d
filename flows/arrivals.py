"""Decoding messages and gathering them by reconciliation."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from connectors.kafka import Records
from connectors.postgres.dead_letters import StoredDeadLetter
from domain.identity import stream_id
from domain.transaction_columns import TransactionColumns, unpack_columns
from domain.transaction_reading import ScopeRecords, decode_transaction, read_transactions
from domain.transactions import Rejection, Transaction

#: The key of what names no reconciliation: it passes through on its way to the dead letters.
UNKEYED = ""


class Arrivals(msgspec.Struct, gc=False):
    """Decoded records of one reconciliation from one partition, in offset order.

    Attributes:
        stream_id: The reconciliation's stream; `UNKEYED` where none is named.
        raws: The messages of `transactions`, in the same order.
        first_offset, next_offset: What of the partition they span; -1 for a redrive.
        traceparent: W3C trace context of the first message of theirs that has one.
        redriven: Ids of the dead letters they come from, for a redrive.
    """

    stream_id: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    transactions: Sequence[Transaction]
    raws: list[bytes]
    rejections: list[Rejection]
    traceparent: str | None
    redriven: list[str] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross to another process as one MessagePack text: objects one by one cost far more."""
        return _unpacked, (_encoder.encode(_packed(self)),)


class _Crossing(msgspec.Struct, array_like=True, gc=False):
    stream_id: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    packed: list[bytes]
    offsets: list[int]
    raws: list[bytes]
    rejections: list[Rejection]
    traceparent: str | None
    redriven: list[str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Crossing)


def _packed(arrivals: Arrivals) -> _Crossing:
    transactions = arrivals.transactions
    if isinstance(transactions, TransactionColumns):
        packed, offsets = transactions.packed, transactions.offsets
    else:
        packed = [one.packed for one in transactions]
        offsets = [one.offset for one in transactions]
    return _Crossing(
        arrivals.stream_id,
        arrivals.topic,
        arrivals.partition,
        arrivals.first_offset,
        arrivals.next_offset,
        packed,
        offsets,
        arrivals.raws,
        arrivals.rejections,
        arrivals.traceparent,
        arrivals.redriven,
    )


def _unpacked(data: bytes) -> Arrivals:
    crossing = _decoder.decode(data)
    tenant_id, _, reconciliation_id = crossing.stream_id.partition("/")
    # A partition's records are of one side, and so of one stretch.
    columns = list(unpack_columns(crossing.packed, tenant_id, reconciliation_id))
    assert len(columns) <= 1, "records of a chunk are of one side"
    transactions: Sequence[Transaction] = columns[0] if columns else []
    if columns:
        columns[0].offsets = crossing.offsets
    return Arrivals(
        crossing.stream_id,
        crossing.topic,
        crossing.partition,
        crossing.first_offset,
        crossing.next_offset,
        transactions,
        crossing.raws,
        crossing.rejections,
        crossing.traceparent,
        crossing.redriven,
    )


def key_by_tenant_reconciliation(records: Records, now_us: int) -> list[tuple[str, Arrivals]]:
    """Decode a partition's records and gather them by reconciliation.

    Args:
        now_us: The time, microseconds since the epoch: no event lies a day ahead of it.

    Returns:
        (stream id, its records); under `UNKEYED` what names no reconciliation.
    """
    decoded = []
    for scope in read_transactions(records.values, records.offsets, records.side, now_us):
        first_offset, next_offset = scope.span
        arrivals = Arrivals(
            _key((scope.tenant_id, scope.reconciliation_id)),
            records.topic,
            records.partition,
            first_offset,
            next_offset,
            scope.transactions,
            scope.raws,
            scope.rejections,
            _first_trace(records, scope) if records.traces else None,
        )
        decoded.append((arrivals.stream_id, arrivals))
    return decoded


def _first_trace(records: Records, scope: ScopeRecords) -> str | None:
    """The trace of the first of these that has one: another's would lead to another tenant."""
    own = {one.offset for one in scope.transactions} | {one.offset for one in scope.rejections}
    return next((trace for offset, trace in records.traces.items() if offset in own), None)


def _key(scope: tuple[str | None, str | None]) -> str:
    tenant_id, reconciliation_id = scope
    if tenant_id is None or reconciliation_id is None:
        return UNKEYED
    return stream_id(tenant_id, reconciliation_id)


def decode_redriven(letters: Iterable[StoredDeadLetter], now_us: int) -> list[tuple[str, Arrivals]]:
    """Read dead letters again, each by itself; what still cannot be used keeps its letter.

    Args:
        now_us: The time, microseconds since the epoch.
    """
    decoded = []
    for letter in letters:
        # The letter's own place, so that a second rejection is known for the same record.
        one = decode_transaction(letter.raw, letter.side, now_us, letter.offset)
        accepted = isinstance(one, Transaction)
        arrivals = Arrivals(
            _key((one.tenant_id, one.reconciliation_id)) if accepted else UNKEYED,
            letter.topic,
            letter.partition,
            -1,
            -1,
            [one] if isinstance(one, Transaction) else [],
            [letter.raw] if accepted else [],
            [one] if isinstance(one, Rejection) else [],
            None,
            [letter.dead_letter_id],
        )
        decoded.append((arrivals.stream_id, arrivals))
    return decoded


def from_offset(arrivals: Arrivals, first: int) -> Arrivals:
    """What of these records the stream has not taken in yet."""
    kept = [
        (one, raw)
        for one, raw in zip(arrivals.transactions, arrivals.raws, strict=True)
        if one.offset >= first
    ]
    return Arrivals(
        arrivals.stream_id,
        arrivals.topic,
        arrivals.partition,
        first,
        arrivals.next_offset,
        [one for one, _ in kept],
        [raw for _, raw in kept],
        [one for one in arrivals.rejections if one.offset >= first],
        arrivals.traceparent,
    )
