"""Arrivals: what one read of a partition has for each reconciliation."""

import json

from connectors.kafka import Records
from flows.arrivals import key_by_tenant_reconciliation

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

    arrived = dict(key_by_tenant_reconciliation(records))

    assert {key: one.traceparent for key, one in arrived.items()} == {
        "acme/orders": FIRST,
        "globex/orders": SECOND,
        "initech/orders": None,
    }
