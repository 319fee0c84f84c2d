"""A window finds its state again wherever in a row of the log its newest snapshot was taken."""

import json

import pytest

from connectors.kafka import Records
from connectors.postgres.inbox import Command
from connectors.postgres.store_memory import MemoryStore
from domain.snapshots import FORMAT, snapshot
from flows import snapshotting
from flows.arrivals import key_by_tenant_reconciliation
from flows.storing import Snapshot
from flows.surroundings import Surroundings
from flows.windows import MatchWindow

STREAM = ("acme/orders", "acme", "orders")
NOW_US = 1_767_650_000_000_000
CHUNKS = 4


def window_on(store):
    return MatchWindow(Surroundings(store, lambda: False, lambda: NOW_US, lambda: 0.0))


def definition():
    rule = {
        "name": "order",
        "match_type": "one_to_one",
        "conditions": [{"field": "reference", "operator": "exact"}],
    }
    payload = {"definition": {"tenant_id": "acme", "reconciliation_id": "orders", "rules": [rule]}}
    command_id = "00000000-0000-0000-0000-000000000001"
    return Command(command_id, "acme", "orders", "define", payload, None, "c")


def chunk(number):
    """Two records, one of which every other chunk has as well."""
    values = [
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": name,
            "amount": "12.50",
            "currency": "EUR",
            "occurred_at": "2026-01-05",
            "reference": name,
        }
        for name in (f"s-{number}", "again")
    ]
    offsets = [2 * number, 2 * number + 1]
    raws = [json.dumps(one).encode() for one in values]
    records = Records("in.source", 0, 0, raws, offsets, {})
    ((_, arrivals),) = key_by_tenant_reconciliation(records, NOW_US)
    return arrivals


@pytest.mark.parametrize("after", range(CHUNKS + 1))
def test_a_snapshot_within_a_row_of_the_log_is_folded_on_from_where_it_stands(after):
    store = MemoryStore(lambda: NOW_US)
    window = window_on(store)
    out, _ = window.on_batch([definition()])
    store.write(list(out), [])
    commits, taken = [], None
    for number in range(CHUNKS + 1):
        if number == after:
            taken = (window._state.version, snapshot(window._state))
        if number < CHUNKS:
            commits += window.on_batch([chunk(number)])[0]
    whole = snapshot(window._state)
    store.write(commits, [])
    assert len(store.batches) == 2, "all chunks share a row"
    version, state = taken
    assert store.save_snapshot("acme/orders", version, FORMAT, state, window._fence)

    found = window_on(store)
    found._stream_id = STREAM[0]
    assert snapshot(found._hold()) == whole


def test_snapshots_come_as_the_state_grows_and_a_restart_does_not_put_them_off(monkeypatch):
    monkeypatch.setattr(snapshotting, "_AFTER_MIN", 4)
    store = MemoryStore(lambda: NOW_US)
    window = window_on(store)
    store.write(list(window.on_batch([definition()])[0]), [])
    taken = []
    for number in range(40):
        if number in (11, 30):
            window = window_on(store)
        out = list(window.on_batch([chunk(number)])[0])
        store.write([one for one in out if not isinstance(one, Snapshot)], [])
        for one in out:
            if isinstance(one, Snapshot):
                assert store.save_snapshot(
                    one.stream_id, one.version, one.format, one.state, one.fence
                )
                one.saved.set()
                taken.append(window._state.known_count)
    # Nothing is forgotten meanwhile: each is taken once there is as much again.
    assert taken == [4, 8, 16, 32]
