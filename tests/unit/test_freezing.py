"""Freezing changes nothing: who freezes all there is decides what one with all in memory does.

Two engines get the same inputs. One has all that may be frozen put in a store after every step, and
thaws what the next may touch; their events must be equal, byte for byte, and so must their states.
"""

import random
from collections import Counter
from dataclasses import replace

import pytest

from connectors.postgres.store_memory import MemoryStore
from domain.commands import (
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    Pause,
    RejectMatch,
    Resume,
    StartRun,
)
from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.event_batches import decode_events, encode_plain
from domain.freezing.fingerprints import BLOCK_ENTRIES
from domain.freezing.frozen import Touched
from domain.freezing.touching import by_batch, by_chunk, by_command, by_definition, by_tick
from domain.matching.legs import Settled
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.snapshots import FORMAT, restore, snapshot
from domain.transactions import build_transaction
from flows.blocks import Blocks
from flows.freezing import HotLimit, freeze_excess, load_index, thaw_for
from tests.unit.domain.cases import (
    DAY,
    MINUTE,
    START,
    corrected,
    some_definition,
    some_transactions,
)
from tests.unit.domain.logs import reversal
from tests.unit.domain.test_reconciliation_folding import facts
from tests.unit.domain.test_reconciliation_properties import in_chunks

EVERYTHING = Touched(open_legs=True, days=[(-(1 << 40), 1 << 40)])


class Freezer:
    """An engine of which as much as may be is frozen between any two steps."""

    def __init__(self, definition, store, limit):
        self.store, self.limit = store, HotLimit(limit)
        self.use(Reconciliation(definition))

    def use(self, state):
        """Go on with a state, as another process that takes the stream over does."""
        self.state = state
        self.fence = self.store.claim(state.stream_id, "t", "r", create=True).fence
        load_index(state, Blocks(self.store))

    def restart(self):
        """As a restart from a snapshot that was just stored."""
        store, state = self.store, self.state
        stream = store.streams[state.stream_id]
        stream.version += 1
        assert store.save_snapshot(
            state.stream_id, stream.version, FORMAT, snapshot(state), self.fence,
            state.frozen.numbers, state.frozen.number(self.fence),
        )  # fmt: skip
        claim = store.claim(state.stream_id, "t", "r", create=False)
        self.use(restore(claim.snapshot))

    def step(self, touched, decide):
        thaw_for(self.state, touched(self.state), Blocks(self.store))
        try:
            return decide(self.state)
        finally:
            freeze_excess(self.state, self.fence, self.limit, Blocks(self.store))


def whole(state, store):
    thaw_for(state, EVERYTHING, Blocks(store))
    assert not state.frozen.blocks
    return facts(state)


def decided(decide, state):
    """What comes of an input; a refusal of a command goes on record, too."""
    try:
        return decide(state)
    except CannotBeDone as refusal:
        return state.refuse(f"refused-{state.version}", "some", refusal)


def written(decision):
    return encode_plain(decision.events), decision.journal, decision.rejections


class Twins:
    """The same inputs to an engine with all in memory, one that freezes, and one that folds."""

    def __init__(self, rng):
        self.rng = rng
        self.seen = Counter()
        self.definition = self.some_definition()
        limit = rng.choice([0, 0, 0, 6])
        self.plain = Reconciliation(self.definition)
        self.frozen = Freezer(self.definition, MemoryStore(lambda: 0), limit)
        self.recalled = Reconciliation(self.definition)
        self.folded = Freezer(self.definition, MemoryStore(lambda: 0), limit)
        self.commands = 0
        self.now_us = START + DAY

    def some_definition(self):
        rng = self.rng
        definition = some_definition(
            rng, lateness_us=rng.choice([0, 5 * MINUTE]), unique=rng.random() < 0.6
        )
        window = replace(
            definition.window,
            wait_us=rng.choice([MINUTE, 10 * MINUTE, DAY]),
            remember_us=rng.choice([7 * DAY, 9 * DAY]),
        )
        return parse_definition(definition_to_plain(replace(definition, window=window)))

    def step(self, touched, decide):
        decision = decided(decide, self.plain)
        ours = self.frozen.step(touched, lambda state: decided(decide, state))
        assert written(ours) == written(decision)
        events, journal = decode_events(encode_plain(decision.events)), decision.journal
        self.folded.step(
            lambda state: by_batch(state, events, journal),
            lambda state: state.evolve_all(events, journal),
        )
        self.recalled.evolve_all(events, journal)
        self.seen["frozen"] += self.frozen.state.frozen.entries
        self.seen["folded"] += self.folded.state.frozen.entries

    def arrive(self, records):
        for some in in_chunks(self.rng, records):
            caught_up = self.rng.random() < 0.5
            self.take_in(Chunk(some, now_us=self.now_us, caught_up=caught_up))

    def take_in(self, chunk):
        self.step(lambda state: by_chunk(state, chunk), lambda state: state.advance(chunk))

    def pass_time(self):
        self.now_us += self.rng.choice([MINUTE, 30 * MINUTE, DAY, 5 * DAY])
        tick = Tick(self.now_us, caught_up=True)
        self.step(lambda state: by_tick(state, tick), lambda state: state.tick(tick))

    def command(self, command):
        self.commands += 1
        name = f"command-{self.commands}"
        self.step(
            lambda state: by_command(state, command), lambda state: state.decide(command, name)
        )

    def define(self):
        self.commands += 1
        name = f"command-{self.commands}"
        choice, other = self.rng.random(), self.some_definition()
        if choice < 0.6:
            kept = {"window": other.window} if choice < 0.3 else {}
            other = parse_definition(definition_to_plain(replace(self.definition, **kept)))
        self.definition = other
        self.step(
            lambda state: by_definition(state, other), lambda state: state.define(other, name)
        )

    def some_command(self):
        rng, book = self.rng, self.plain.book
        kind = rng.choice(["reverse", "reverse", "hand", "pause", "confirm", "reject", "run"])
        if kind == "reverse":
            matches = {id(one): one for one in book.known[0].values() if type(one) is Settled}
            for one in list(matches.values())[:1]:
                self.seen["reversed"] += 1
                self.command(reversal(self.plain, one))
        elif kind == "hand":
            ids = [[rng.choice(list(side))] if side else ["none"] for side in book.known]
            self.command(MatchByHand(*ids, "because"))
        elif kind == "pause":
            self.command(Resume() if self.plain.paused else Pause())
        elif kind == "run":
            self.command(StartRun("2026-01-05", "2026-01-06", "run"))
        elif book.suggestions:
            one = rng.choice(sorted(book.suggestions))
            self.command(ConfirmMatch(one) if kind == "confirm" else RejectMatch(one))

    def play(self, steps):
        records = some_transactions(self.rng, self.rng.randint(8, 24))
        sent = []
        for _ in range(steps):
            choice = self.rng.random()
            if choice < 0.5 and records:
                some = [records.pop() for _ in range(min(4, len(records)))]
                some += self.rng.choices(sent, k=self.rng.randint(0, 2)) if sent else []
                if sent and self.rng.random() < 0.3:
                    some += corrected(self.rng, sent, 1)
                sent += some
                self.arrive(some)
            elif choice < 0.7:
                self.pass_time()
            elif choice < 0.88:
                self.some_command()
            elif choice < 0.91:
                self.define()
            elif choice < 0.95:
                self.frozen.restart()
                self.plain = restore(snapshot(self.plain))
                self.plain.last_input_us = self.frozen.state.last_input_us = self.now_us
            else:
                self.folded.restart()
                self.recalled = restore(snapshot(self.recalled))

    def check(self):
        assert whole(self.frozen.state, self.frozen.store) == facts(self.plain)
        assert whole(self.folded.state, self.folded.store) == facts(self.recalled)


@pytest.mark.parametrize("block", range(10))
def test_what_is_frozen_decides_as_if_it_were_in_memory(block):
    seen = Counter()
    for seed in range(block * 30, block * 30 + 30):
        twins = Twins(random.Random(seed))
        try:
            twins.play(30)
            twins.check()
        except AssertionError as problem:
            raise AssertionError(f"seed={seed}") from problem
        seen += twins.seen
    assert seen["frozen"] > 500, "most of the time something is frozen"
    assert seen["folded"] > 500
    assert seen["reversed"]


def test_the_windows_of_a_worker_share_what_they_may_hold():
    limit = HotLimit(8_000)
    assert limit.excess("a", 6_000) == 0
    assert limit.excess("b", 1_000) == 0
    assert limit.excess("b", 2_500) == 0, "it holds less than its share: a holds too much"
    assert limit.excess("a", 6_000) == 1_000, "an eighth at once, or what is too much"
    limit.froze("a", 1_000, 5_000)
    assert limit.excess("a", 5_400) == 0
    assert limit.excess("a", 8_000) == 2_500


def test_a_window_that_cannot_freeze_is_left_alone_until_it_has_grown():
    limit = HotLimit(8_000)
    assert limit.excess("a", 9_000) == 1_000
    limit.froze("a", 1_000, 8_900)
    assert limit.excess("a", 9_900) == 0
    assert limit.excess("a", 8_900 + 8_900 // 8) > 0


def test_a_window_that_freezes_a_block_of_pairs_at_a_time_gets_to_its_limit():
    block = 2 * BLOCK_ENTRIES
    limit, size = HotLimit(1_000), 10 * block
    for _ in range(12):
        asked = limit.excess("a", size)
        if asked:
            size -= min(block, asked)
            limit.froze("a", asked, size)
        size += 100
    assert size <= 1_100


@pytest.mark.parametrize("share", [0.6, 0.79, 1])
def test_pairs_that_go_count_as_the_memory_they_took(share):
    gone = int(2 * BLOCK_ENTRIES * share)
    limit = HotLimit(1_000_000)
    asked = limit.excess("a", 1_500_000)
    limit.froze("a", asked, 1_500_000 - gone * 5 // 8)
    assert limit.excess("a", 1_500_000 - gone * 5 // 8 + 100) > 0, "it goes on freezing"


def test_values_used_up_under_former_rules_are_new_again():
    def rules(name):
        unique = {"field": "reference", "operator": "exact", "unique": True}
        rule = {"name": name, "match_type": "one_to_one", "conditions": [unique]}
        return parse_definition(
            {"tenant_id": "acme", "reconciliation_id": "orders", "rules": [rule]}
        )

    def record(side, name):
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
            "amount": "1.00", "currency": "EUR", "occurred_at": "2026-01-05", "reference": "R",
        }  # fmt: skip
        return build_transaction(fields, side, None)

    engine = Freezer(rules("first"), MemoryStore(lambda: 0), 0)

    def take_in(*records):
        chunk = Chunk(list(records))
        return engine.step(lambda state: by_chunk(state, chunk), lambda state: state.advance(chunk))

    def kinds(decision):
        return [type(event).__name__ for event in decision.events]

    assert "RecordMatched" in kinds(take_in(record(0, "s"), record(1, "t")))
    assert engine.state.frozen.entries == 1
    other = rules("other")
    engine.step(
        lambda state: by_definition(state, other), lambda state: state.define(other, "define")
    )
    assert engine.state.frozen.entries == 1
    assert not take_in(record(0, "s")).journal, "it is known all the same"
    assert "DuplicateDetected" not in kinds(take_in(record(0, "second")))
    assert "DuplicateDetected" in kinds(take_in(record(1, "third"), record(1, "fourth")))
