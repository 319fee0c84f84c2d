"""What a state refuses to be built from, and what of it stays bounded."""

import gc
import random

import msgspec
import pytest

from domain import reconciliation
from domain.commands import CancelRun, CannotBeDone
from domain.folding import JournalMissing
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transaction_columns import unpack_columns
from tests.unit.domain.cases import (
    MINUTE,
    some_transactions,
    some_written_definition,
)
from tests.unit.domain.test_explaining_words import record
from tests.unit.domain.test_reconciliation_properties import in_chunks
from tests.unit.domain.test_runs import START, World


def test_a_snapshot_of_another_format_is_refused_with_what_to_do():
    fields = msgspec.msgpack.decode(snapshot(World().state))
    with pytest.raises(ValueError, match=r"snapshot has format 99, .*delete it"):
        restore(msgspec.msgpack.encode([99, *fields[1:]]))


def test_a_state_is_not_folded_over_a_journal_that_is_gone():
    world = World()
    world.send(("s1", "A", START))
    defined, accepted = world.decisions
    state = Reconciliation(world.definition)
    state.evolve_all(defined.events, defined.journal)
    with pytest.raises(JournalMissing, match="acme/orders: the journal of version 2 is not there"):
        state.evolve_all(accepted.events, [])


def test_of_decided_commands_the_last_are_remembered(monkeypatch):
    monkeypatch.setattr(reconciliation, "_COMMANDS_REMEMBERED", 3)
    state = World().state
    for number in range(5):
        refusal = CannotBeDone("unknown_run", "there is none")
        state.refuse(f"command-{number}", CancelRun.__name__, refusal)
    assert list(state.commands) == ["command-2", "command-3", "command-4"]


def test_columns_of_nothing_are_none_and_of_another_format_are_refused():
    assert list(unpack_columns([], "acme", "orders")) == []
    packed = record("s1").packed
    other = msgspec.msgpack.encode([9, *msgspec.msgpack.decode(packed)[1:]])
    with pytest.raises(ValueError, match="format 9"):
        list(unpack_columns([packed, other], "acme", "orders"))


@pytest.mark.parametrize("seed", range(30))
def test_what_a_step_has_made_goes_with_the_step(seed):
    """What knows itself in a circle would wait for a search, and the events of steps with it."""
    rng = random.Random(seed)
    state = Reconciliation(some_written_definition(rng, lateness_us=5 * MINUTE))
    chunks = in_chunks(rng, some_transactions(rng, 40))
    gc.collect()
    gc.disable()
    try:
        for chunk in chunks:
            state.advance(Chunk(chunk, caught_up=True))
        state.finish()
        assert gc.collect() == 0
    finally:
        gc.enable()
