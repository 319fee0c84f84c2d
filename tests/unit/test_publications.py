"""What is published: each event in its envelope, a reconciliation's under one key."""

from datetime import UTC, datetime

import msgspec

from connectors.postgres.records import Batch
from domain import events as ev
from domain.event_batches import PLAIN_FORMAT, encode_plain
from domain.identity import casework_stream_id, event_id, exception_id
from flows.publications import event_messages


def test_casework_goes_with_its_reconciliation_and_names_its_exception():
    identity = exception_id("acme", "orders", "source", "s-1")
    stream_id = casework_stream_id("acme", identity)
    event = ev.ExceptionCommented(0, "s-1", "hm", "cmd-1")
    batch = Batch(
        7, 7, stream_id, "acme", "orders", 2, 1, PLAIN_FORMAT, encode_plain([event]).decode(),
        None, {"correlation_id": "cmd-1"}, datetime(2026, 1, 5, tzinfo=UTC),
    )  # fmt: skip
    (message,) = event_messages([batch])
    assert message.key == b"acme/orders"
    envelope = msgspec.json.decode(message.value)
    assert (envelope["aggregate_type"], envelope["aggregate_id"]) == ("exception", identity)
    assert (envelope["stream_id"], envelope["stream_version"]) == (stream_id, 3)
    assert envelope["event_id"] == event_id(stream_id, 3)
    assert envelope["metadata"]["tenant_id"] == "acme"
    assert envelope["data"] == {
        "side": "source", "transaction_id": "s-1", "comment": "hm", "command_id": "cmd-1",
        "exception_id": identity,
    }  # fmt: skip
