"""Arrivals: what one read of a partition has for each reconciliation."""

import json
import pickle
import pickletools

from connectors.kafka import Records
from flows.arrivals import UNKEYED, key_by_tenant_reconciliation

# After all the records here.
NOW_US = 1_772_366_400_000_000
FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECOND = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_goes_to_the_reconciliation_of_its_message_and_no_other():
    values = [
        json.dumps(
            {
                "tenant_id": tenant_id, "reconciliation_id": "orders",
                "transaction_id": f"s-{place}", "amount": "12.50", "currency": "EUR",
                "occurred_at": "2026-02-28",
            }
        ).encode()
        for place, tenant_id in enumerate(("acme", "globex", "acme", "globex", "initech"))
    ]  # fmt: skip
    records = Records("source", 0, 0, values, [7, 8, 9, 10, 11], {8: SECOND, 9: FIRST, 10: FIRST})

    arrived = dict(key_by_tenant_reconciliation(records, NOW_US))

    assert {key: one.traceparent for key, one in arrived.items()} == {
        "acme/orders": FIRST,
        "globex/orders": SECOND,
        "initech/orders": None,
    }


def test_what_crosses_to_another_process_is_one_packed_text_a_chunk():
    records = [
        json.dumps(
            {
                "tenant_id": "acme",
                "reconciliation_id": "orders",
                "transaction_id": f"s-{number}",
                "amount": "12.50",
                "currency": "EUR",
                "occurred_at": "2026-01-05T10:00:00Z",
                "reference": f"ORD-{number}",
                "attributes": {"channel": "web"},
            }
        ).encode()
        for number in range(1_000)
    ]
    records.append(b"{}")
    offsets = list(range(7, 7 + len(records)))
    keyed = key_by_tenant_reconciliation(Records("in.source", 3, 0, records, offsets, {}), NOW_US)
    (arrivals,) = [one for key, one in keyed if key == "acme/orders"]
    crossing = pickle.dumps(arrivals, protocol=5)
    told = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(crossing)]
    texts = [argument for _, argument in told if isinstance(argument, bytes)]
    # A name to call, and its one argument; whatever is in a record is within that.
    assert len(texts) == 1
    assert len(told) < 20
    assert len(crossing) < len(texts[0]) + 200
    arrived = pickle.loads(crossing)
    assert list(arrived.transactions) == list(arrivals.transactions)
    assert [one.offset for one in arrived.transactions] == offsets[:-1]
    fields = ("stream_id", "topic", "partition", "first_offset", "next_offset", "raws")
    assert all(getattr(arrived, one) == getattr(arrivals, one) for one in fields)
    ((_, unkeyed),) = [one for one in keyed if one[0] == UNKEYED]
    assert pickle.loads(pickle.dumps(unkeyed)).rejections == unkeyed.rejections
