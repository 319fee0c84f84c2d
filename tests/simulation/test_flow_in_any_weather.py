"""The flow over a simulated broker and store: it dies anywhere, comes back, and ends the same.

Windows, decoding and the store's promises are the real ones; broker, clock and processes are
simulated, so that one seed is one history.
"""

import json
import random
from collections import Counter

import pytest

from connectors.kafka_memory import MemoryBroker, MemoryPart
from connectors.postgres.checkpoints import SourceCheckpoint
from connectors.postgres.errors import Fenced
from connectors.postgres.inbox import Command
from connectors.postgres.journal import decode_journal
from connectors.postgres.records import DeadLetter, StreamCommit
from connectors.postgres.store_memory import MemoryStore
from domain.definition_plain import definition_to_plain
from domain.event_batches import decode_events
from domain.events import CommandRefused, TransactionsAccepted
from domain.transactions import unpack_transaction
from flows import snapshotting
from flows.arrivals import key_by_tenant_reconciliation
from flows.storing import Snapshot
from flows.surroundings import Surroundings
from flows.windows import MatchWindow, TickItem
from tests.unit.domain import reference
from tests.unit.domain.cases import DAY, some_definition, some_records
from tests.unit.domain.ledger import Ledger

TOPICS = ("in.source", "in.target")
PARTITIONS = 2
COMMAND = "00000000-0000-0000-0000-000000000001"
STREAM = "acme/orders"


class Died(Exception):
    """The process died here."""


def broker_with(rng, records):
    """A broker that gives out a few at a time, over partitions with gaps and tombstones."""
    places = [(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
    broker = MemoryBroker(dict.fromkeys(TOPICS, PARTITIONS), lambda: rng.randint(1, 4))
    for side, fields in records:
        broker.append(TOPICS[side], rng.randrange(PARTITIONS), json.dumps(fields).encode())
        topic, number = rng.choice(places)
        if rng.random() < 0.2:
            broker.skip(topic, number, rng.randint(1, 3))
        elif rng.random() < 0.1:
            broker.append(topic, number, None)
    return broker


class Flow:
    """One process: its memory, its queue of unwritten decisions, its reading positions."""

    def __init__(self, world):
        self.world = world
        self.queue = []
        self.windows = {}
        self.identities = {}
        self.parts = {}
        for side, topic in enumerate(TOPICS):
            identity = self.identities[topic] = world.broker.describe_topic(topic, bool)
            saved = world.store.load_offsets(topic, identity.cluster_id, identity.topic_id)
            for number in identity.partitions:
                self.parts[(topic, number)] = MemoryPart(
                    world.broker, topic, number, side, saved.get(number), self.passed, lambda: False
                )
        self.around = Surroundings(
            world.store,
            lambda: world.caught_up,
            lambda: world.now_us,
            lambda: world.now_us / 1e6,
            hot_transactions=world.hot_transactions,
        )

    def feed(self, key, item):
        window = self.windows.setdefault(key, MatchWindow(self.around))
        out, discard = window.on_batch([item])
        self.queue += list(out)
        if discard:
            del self.windows[key]

    def poll(self, place):
        batches = self.parts[place].next_batch()
        for records in batches:
            for key, arrivals in key_by_tenant_reconciliation(records, self.world.now_us):
                self.feed(key, arrivals)
        return batches

    def flush(self, count):
        taken, self.queue = self.queue[:count], self.queue[count:]
        commits = [one for one in taken if isinstance(one, StreamCommit)]
        letters = [one for one in taken if isinstance(one, DeadLetter)]
        if commits or letters:
            self.world.store.write(commits, letters)
        for one in taken:
            if isinstance(one, Snapshot):
                one.save_to(self.world.store)
            elif isinstance(one, SourceCheckpoint):
                self.world.store.save_offsets([one])

    def end_epoch(self):
        """What was read has gone through: each part tells so when it is asked for more."""
        for part in self.parts.values():
            part.snapshot()

    def passed(self, topic, number, next_offset):
        """Offsets are queued behind the decisions they speak of."""
        identity = self.identities[topic]
        self.queue.append(
            SourceCheckpoint(topic, number, next_offset, identity.cluster_id, identity.topic_id)
        )


class World:
    def __init__(self, seed, hot_transactions=1_000_000):
        self.rng = random.Random(seed)
        self.hot_transactions = hot_transactions
        self.now_us = 1_767_650_000_000_000
        self.caught_up = False
        self.deadly = 0.0
        self.store = MemoryStore(lambda: self.now_us, self.fault)
        self.definition = some_definition(self.rng, lateness_us=400 * DAY, unique=False)
        records = some_records(self.rng, self.rng.randint(6, 14))
        records += [self.correction(of, number) for number, of in enumerate(records[:2])]
        again = self.rng.choices(records, k=4)
        mixed = [*records, *again]
        self.rng.shuffle(mixed)
        self.broker = broker_with(self.rng, mixed)
        self.records = records
        self.sent = len(mixed)
        self.flow = Flow(self)
        self.zombies = []

    def correction(self, of, number):
        """Some other content under a new id, instead of `of`."""
        side, fields = of
        _, other = some_records(self.rng, 1)[0]
        named = {"transaction_id": f"k{number}", "supersedes": fields["transaction_id"]}
        return side, other | named

    def ask(self):
        """Somebody puts a command into the inbox; most cannot be done as things stand."""
        one = {side: [f["transaction_id"] for s, f in self.records if s == side] for side in (0, 1)}
        kind = self.rng.choice(["pause", "resume", "match_by_hand", "match_by_hand", "nonsense"])
        payload = {"reason": "because"}
        if kind == "match_by_hand":
            payload |= {
                "source_ids": [self.rng.choice(one[0] or ["none"])],
                "target_ids": [self.rng.choice(one[1] or ["none"])],
            }
        number = len(self.store.commands) + 2
        self.store.submit(
            Command(
                f"00000000-0000-0000-0000-{number:012}", "acme", "orders", kind, payload, None, "c"
            )
        )

    def feed_commands(self):
        for command in self.store.read_pending(100):
            self.flow.feed(STREAM, command)

    def fault(self, point):
        if self.rng.random() < self.deadly:
            raise Died(point)

    def command(self):
        return Command(
            COMMAND,
            "acme",
            "orders",
            "define",
            {"definition": definition_to_plain(self.definition)},
            None,
            "correlation",
        )

    def step(self):
        choice = self.rng.random()
        if choice < 0.08:
            self.ask()
        elif choice < 0.14:
            self.feed_commands()
        elif choice < 0.55:
            self.flow.poll(self.rng.choice(list(self.flow.parts)))
        elif choice < 0.8:
            self.flow.flush(self.rng.randint(1, 3))
        elif choice < 0.87:
            self.flow.end_epoch()
        elif choice < 0.92:
            self.flow.feed(STREAM, TickItem(STREAM, self.now_us))
        elif choice < 0.96:
            raise Died("at random")
        else:
            # Another takes over while this one only sleeps; later it wakes and wants to write.
            self.zombies.append(self.flow)
            self.flow = Flow(self)

    def wake_a_zombie(self):
        zombie = self.rng.choice(self.zombies)
        writes = any(isinstance(one, StreamCommit) and one.events for one in zombie.queue)
        taken_over = STREAM in self.flow.windows
        try:
            zombie.flush(len(zombie.queue))
        except Fenced:
            self.zombies.remove(zombie)
        else:
            assert not (writes and taken_over), "a zombie wrote to a stream that was taken over"

    def run(self, steps):
        self.flow.feed(STREAM, self.command())
        self.flow.flush(10)
        self.deadly = 0.04
        for _ in range(steps):
            try:
                self.step()
                if self.zombies and self.rng.random() < 0.1:
                    self.wake_a_zombie()
            except (Died, Fenced):
                self.flow = Flow(self)

    def settle(self):
        """Everything is read and written in peace, then all time runs out."""
        self.deadly = 0.0
        self.flow = Flow(self)
        self.flow.feed(STREAM, self.command())
        for place, part in self.flow.parts.items():
            while self.flow.poll(place):
                pass
            part.snapshot()
            assert part.next_batch() == [], "everything is read"
        self.feed_commands()
        self.flow.flush(1_000)
        assert not self.store.read_pending(1)
        # Refused where it is not paused, which is as good.
        self.store.submit(Command("last", "acme", "orders", "resume", {}, None, "c"))
        self.feed_commands()
        self.caught_up = True
        self.flow.flush(1_000)
        self.flow.feed(STREAM, TickItem(STREAM, self.now_us))
        self.now_us += 3_000 * DAY
        self.flow.feed(STREAM, TickItem(STREAM, self.now_us))
        self.flow.flush(1_000)


def events_of(world):
    version = 0
    for batch in world.store.read_batches(0, 100_000):
        assert batch.base_version == version, "a gap in the stream's versions"
        events = decode_events(batch.events, batch.format)
        version += len(events)
        yield batch, events


@pytest.mark.parametrize("block", range(20))
def test_any_weather_ends_in_the_same_result(block):
    play_seeds(range(block * 15, block * 15 + 15))


@pytest.mark.parametrize("block", range(10))
def test_it_does_with_a_snapshot_after_every_other_record(block, monkeypatch):
    monkeypatch.setattr(snapshotting, "_AFTER_MIN", 2)
    monkeypatch.setattr(snapshotting, "_AFTER_SIZES", 0)
    taken = Counter()
    save = MemoryStore.save_snapshot

    def counted(store, *arguments):
        taken[save(store, *arguments)] += 1

    monkeypatch.setattr(MemoryStore, "save_snapshot", counted)
    play_seeds(range(block * 15, block * 15 + 15))
    assert taken[True] > 15


@pytest.mark.parametrize("block", range(10))
def test_it_does_with_next_to_nothing_in_memory(block, monkeypatch):
    """State goes to the store after every step, and snapshots name what of it lies there."""
    monkeypatch.setattr(snapshotting, "_AFTER_MIN", 2)
    monkeypatch.setattr(snapshotting, "_AFTER_SIZES", 0)
    moved = Counter()
    for method in ("write_blocks", "read_pages", "read_fingerprints"):
        monkeypatch.setattr(MemoryStore, method, counting(moved, method))
    for limit in (0, 3):
        play_seeds(range(block * 15, block * 15 + 15), limit)
    assert moved["write_blocks"] > 50
    assert moved["read_pages"] > 50
    assert moved["read_fingerprints"] > 15, "a restart goes on with what is frozen"


def counting(calls, name):
    method = getattr(MemoryStore, name)

    def counted(*arguments):
        calls[name] += 1
        return method(*arguments)

    return counted


def play_seeds(seeds, hot_transactions=1_000_000):
    for seed in seeds:
        world = World(seed, hot_transactions)
        world.run(steps=60)
        world.settle()
        check(world, seed)


def check(world, seed):
    """Everything sent is there once, and the end is what the rules say over all at once."""
    ledger, journal = Ledger(), []
    counted = 0
    for batch, events in events_of(world):
        ledger.read(events, world.definition)
        if batch.journal is not None:
            journal += decode_journal(batch.journal)
        told = [e for e in events if isinstance(e, TransactionsAccepted)]
        accepted = sum(entry[2] for e in told for entry in e.counts)
        assert accepted == (0 if batch.journal is None else len(decode_journal(batch.journal)))
        counted += accepted + sum(e.redelivered + e.rejected for e in told)
    taken_in = [unpack_transaction(packed, "acme", "orders") for packed in journal]
    ids = sorted((one.side, one.transaction_id) for one in taken_in)
    assert ids == sorted((side, f["transaction_id"]) for side, f in world.records), seed
    assert counted == world.sent, f"seed={seed}: each message is counted once"
    check_commands(world)
    expected = reference.run(
        world.definition,
        reference.standing(taken_in),
        by_people=frozenset(one for one in ledger.confirmed if one[0] == "manual"),
    )
    assert ledger.confirmed == expected.confirmed, f"seed={seed}"
    assert set(ledger.suggested.values()) == expected.suggested, f"seed={seed}"


def check_commands(world):
    """Each ended once: as the event or the refusal its sender was told of."""
    told = Counter()
    for _, events in events_of(world):
        for event in events:
            if isinstance(event, CommandRefused):
                told[event.command_id, "refused"] += 1
            elif getattr(event, "command_id", None) is not None:
                told[event.command_id, "done"] += 1
    del told[COMMAND, "done"]
    assert told == {
        (command_id, state.status): 1 for command_id, (_, state) in world.store.commands.items()
    }


def test_the_simulation_notices_a_missing_guard(monkeypatch):
    """Without the version and fence check zombies write: some seed must show it."""
    monkeypatch.setattr(MemoryStore, "_holds", lambda _store, _step: True)
    with pytest.raises(AssertionError):
        play_seeds(range(40))
