"""One window of the flow, given its items one by one over a store in memory."""

import json
import threading
import uuid

import msgspec
import pytest

from connectors.kafka_memory import MemoryBroker, MemoryPart
from connectors.postgres.inbox import Command
from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.store_memory import MemoryStore
from domain.event_batches import decode_events
from domain.events import CommandRefused, ReconciliationDefined
from domain.reconciliation import Reconciliation
from flows import snapshotting
from flows.arrivals import key_by_tenant_reconciliation
from flows.storing import Snapshot
from flows.surroundings import Surroundings
from flows.windows import MatchWindow, TickItem

STREAM = "acme/orders"
NOW_US = 1_767_614_400_000_000  # 2026-01-05T12:00:00Z
DEFINITION = {
    "name": "Orders",
    "rules": [
        {
            "name": "reference",
            "match_type": "one_to_one",
            "conditions": [{"field": "reference", "operator": "exact"}],
        }
    ],
}


def a_command(command_type, payload):
    return Command(str(uuid.uuid4()), "acme", "orders", command_type, payload, None, "asked")


class Flow:
    """A worker with the one window, whose decisions are written at once."""

    def __init__(self) -> None:
        self.store = MemoryStore(lambda: NOW_US)
        self.seconds = 0.0
        self.around = Surroundings(self.store, lambda: True, lambda: NOW_US, lambda: self.seconds)
        self.start()

    def start(self) -> None:
        self.window = MatchWindow(self.around)

    def give(self, item):
        """What the window makes of an item, and whether it is kept."""
        out, discard = self.window.on_batch([item])
        commits = [one for one in out if isinstance(one, StreamCommit)]
        self.store.write(commits, [one for one in out if isinstance(one, DeadLetter)])
        return out, not discard

    def ask(self, command_type, payload):
        command = a_command(command_type, payload)
        self.store.submit(command)
        self.give(command)
        return self.store.read_command_state(command.command_id)

    def define(self, **fields):
        return self.ask("define", {"definition": DEFINITION | fields})

    def recorded(self, kind):
        events = [one for batch in self.store.batches for one in decode_events(batch.events)]
        return [one for one in events if isinstance(one, kind)]


def arrivals(*records):
    """Records of one partition, as they are keyed for a window."""
    broker = MemoryBroker({"in.source": 1}, lambda: len(records))
    for record in records:
        broker.append("in.source", 0, json.dumps(record).encode())
    part = MemoryPart(broker, "in.source", 0, 0, None, lambda *_: None, lambda: False)
    (batch,) = part.next_batch()
    ((_, keyed),) = key_by_tenant_reconciliation(batch, NOW_US)
    return keyed


def record(name="s1"):
    return {
        "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
        "amount": "1.00", "currency": "EUR", "occurred_at": "2026-01-05T11:00:00Z",
    }  # fmt: skip


def test_what_is_of_no_reconciliation_is_kept_as_dead_letters_and_not_asked_about_each_time(
    monkeypatch,
):
    flow = Flow()
    claims = []
    claim = flow.store.claim
    monkeypatch.setattr(
        flow.store, "claim", lambda *of, **options: claims.append(of) or claim(*of, **options)
    )
    letters, kept = flow.give(arrivals(record("s1"), record("s2")))
    assert not kept
    assert [one.transaction_id for one in letters] == ["s1", "s2"]
    assert {one.code for one in letters} == {"unknown_reconciliation"}
    redriven = msgspec.structs.replace(arrivals(record("s1")), redriven=["letter-1"])
    assert flow.give(redriven) == ([], False), "its letter stays as it is"
    assert flow.give(TickItem(STREAM, NOW_US)) == ([], False)
    state = flow.ask("pause", {})
    assert (state.status, state.outcome["error"]) == ("refused", "unknown_reconciliation")
    assert len(claims) == 1, "the store has said so a moment ago"
    flow.seconds += 3
    flow.give(TickItem(STREAM, NOW_US))
    assert len(claims) == 2
    assert flow.define().status == "done"
    assert flow.ask("pause", {"reason": "a look"}).status == "done"


@pytest.mark.parametrize("defined", [False, True])
def test_a_definition_that_cannot_be_is_refused_with_what_is_wrong_where(defined):
    flow = Flow()
    if defined:
        flow.define()
    state = flow.define(rules=[])
    assert (state.status, state.outcome["error"]) == ("refused", "definition.invalid")
    assert [one["path"] for one in state.outcome["details"]] == ["rules"]
    assert len(flow.recorded(ReconciliationDefined)) == defined
    # Where there is a stream the refusal is on record there.
    assert len(flow.recorded(CommandRefused)) == defined


@pytest.mark.parametrize(
    ("command_type", "payload", "again"),
    [
        # What it was told is told again, and changes nothing.
        ("define", {"definition": DEFINITION}, [[]]),
        ("define", {"definition": DEFINITION | {"rules": []}}, []),
        ("pause", {"reason": "a look"}, []),
    ],
    ids=["definition", "refused definition", "pause"],
)
def test_a_command_that_comes_again_is_decided_once(command_type, payload, again):
    flow = Flow()
    flow.define()
    command = a_command(command_type, payload)
    flow.store.submit(command)
    (decided,), _ = flow.give(command)
    assert [one.command_id for one in decided.command_outcomes] == [command.command_id]
    flow.start()  # as after a restart that has not seen its outcome
    assert [one.events for one in flow.give(command)[0]] == again


@pytest.mark.parametrize("bytes_max", [0, 1 << 20])
def test_a_snapshot_that_the_store_would_refuse_is_left_out(bytes_max, monkeypatch):
    monkeypatch.setattr(snapshotting, "_AFTER_MIN", 1)
    monkeypatch.setattr(snapshotting, "_BYTES_MAX", bytes_max)
    flow = Flow()
    flow.define()
    out, kept = flow.give(arrivals(record()))
    assert kept
    assert sum(isinstance(one, Snapshot) for one in out) == (bytes_max > 0)


class SlowBlocks:
    """Writes no block to a store before it may."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.began, self.may_write = threading.Event(), threading.Event()
        self.written = 0

    def write_blocks(self, stream_id, blocks):
        self.began.set()
        assert self.may_write.wait(10)
        self._store.write_blocks(stream_id, blocks)
        self.written += len(blocks)


def freezing_slowly(monkeypatch) -> tuple[Flow, SlowBlocks]:
    """A flow that freezes nearly all it holds, and takes a snapshot after 20 records or 40."""
    monkeypatch.setattr(snapshotting, "_AFTER_MIN", 20)
    flow = Flow()
    flow.define()
    slow = SlowBlocks(flow.store)
    flow.around = Surroundings(
        flow.store,
        lambda: True,
        lambda: NOW_US,
        lambda: flow.seconds,
        hot_transactions=4,
        block_store=slow,
    )
    flow.start()
    return flow, slow


def snapshots_of(flow: Flow, numbers: range) -> list[Snapshot]:
    out, _ = flow.give(arrivals(*(record(f"s{number}") for number in numbers)))
    return [one for one in out if isinstance(one, Snapshot)]


def test_no_snapshot_names_a_block_that_is_not_written_yet(monkeypatch):
    flow, slow = freezing_slowly(monkeypatch)
    taken = []
    giving = threading.Thread(target=lambda: taken.extend(snapshots_of(flow, range(40))))
    giving.start()
    assert slow.began.wait(10)
    giving.join(0.1)
    assert giving.is_alive(), "it waits for the block"
    slow.may_write.set()
    giving.join(10)
    (one,) = taken
    assert len(one.blocks) == slow.written > 0


def test_a_snapshot_is_put_off_while_a_block_is_written(monkeypatch):
    flow, slow = freezing_slowly(monkeypatch)
    assert snapshots_of(flow, range(30)) == []
    assert slow.began.wait(10)
    slow.may_write.set()
    assert flow.around.blocks._writing.result(10) is None
    flow.around.hot.limit = 1_000
    (one,) = snapshots_of(flow, range(31))  # one that it has not read yet
    assert len(one.blocks) == slow.written > 0


def test_when_to_be_woken_is_worked_out_once_for_all_that_is_decided_together(monkeypatch):
    asked = []
    wake_us = Reconciliation.wake_us
    monkeypatch.setattr(
        Reconciliation, "wake_us", lambda self, now: asked.append(now) or wake_us(self, now)
    )
    together, one_by_one = Flow(), Flow()
    given = arrivals(record("s1")), arrivals(record("s1"), record("s2"))
    for flow in (together, one_by_one):
        flow.define()
    asked.clear()
    out, _ = together.window.on_batch(list(given))
    assert len(asked) == 1
    first, last = out
    (alone,), _ = one_by_one.give(given[0])
    (behind_it,), _ = one_by_one.give(given[1])
    assert first.wake_at_us == NOW_US, "never too late, should it be stored without the last"
    assert last.wake_at_us == behind_it.wake_at_us > NOW_US
    assert alone.wake_at_us > NOW_US
