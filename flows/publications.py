"""What leaves the house: committed events and dead letters as Kafka messages."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from connectors.kafka_sending import Outgoing
from connectors.postgres.dead_letters import StoredDeadLetter
from connectors.postgres.records import Batch
from connectors.telemetry import TRACEPARENT
from domain.identity import stream_id
from domain.naming import name_events
from domain.transactions import SIDE_NAMES

#: A letter longer than this is published cut, or the topic of dead letters could not take it; the
#: table dead_letter_queue has it whole.
RAW_BYTES_MAX = 512 * 1024

_encoder = msgspec.json.Encoder()


def event_messages(batches: Iterable[Batch]) -> Iterator[Outgoing]:
    """Write events as their envelopes, in stream order; the journal is there as counts only.

    The key is "tenant/reconciliation", so that a reconciliation's events share a partition.
    """
    for batch in batches:
        key = stream_id(batch.tenant_id, batch.reconciliation_id).encode()
        trace = _trace_header(batch.metadata)
        for envelope in name_events(msgspec.structs.asdict(batch)):
            headers = [
                ("event_type", envelope["event_type"].encode()),
                ("event_id", envelope["event_id"].encode()),
                *trace,
            ]
            yield Outgoing(key, _encoder.encode(envelope), headers)


def letter_messages(letters: Iterable[StoredDeadLetter]) -> Iterator[Outgoing]:
    """Write dead letters with their place; one of unknown owner has no key."""
    for letter in letters:
        key = None
        if letter.tenant_id is not None and letter.reconciliation_id is not None:
            key = stream_id(letter.tenant_id, letter.reconciliation_id).encode()
        headers = [
            ("code", letter.code.encode()),
            ("dead_letter_id", letter.dead_letter_id.encode()),
        ]
        yield Outgoing(key, _encoder.encode(_name_letter(letter)), headers)


def _trace_header(metadata: dict[str, Any]) -> list[tuple[str, bytes]]:
    value = metadata.get(TRACEPARENT)
    return [(TRACEPARENT, value.encode())] if isinstance(value, str) else []


def _name_letter(letter: StoredDeadLetter) -> dict[str, Any]:
    return {
        "dead_letter_id": letter.dead_letter_id,
        "tenant_id": letter.tenant_id,
        "reconciliation_id": letter.reconciliation_id,
        "transaction_id": letter.transaction_id,
        "side": SIDE_NAMES[letter.side],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "code": letter.code,
        "message": letter.message,
        "raw": base64.b64encode(letter.raw[:RAW_BYTES_MAX]).decode(),
        "raw_bytes": len(letter.raw),
        "received_at": letter.received_at,
    }
