"""What is kept in memory of frozen blocks: places, room, and what an input asks of them."""

import pytest

from domain.commands import CancelRun, CannotBeDone, RetryRun, StartRun
from domain.freezing import frozen
from domain.freezing.freezing import freeze
from domain.freezing.frozen import NEVER, Block, Frozen, Touched
from domain.freezing.touching import by_batch, by_command
from domain.instants import DAY_US
from domain.run_events import ReconciliationRetried
from tests.unit.domain.test_runs import DAY, START, World


def block(slot: int, count: int = 16) -> Block:
    return Block(slot, slot, True, count, True, NEVER, 0, 0)


def test_slots_are_taken_in_turn_until_none_is_left(monkeypatch):
    monkeypatch.setattr(frozen, "SLOTS", 4)
    monkeypatch.setattr(frozen, "_BLOCKS_OF_A_FREEZE", 2)
    blocks = Frozen()
    for expected in (0, 1, 2):
        assert blocks.has_room == (expected < 2)
        slot = blocks.free_slot()
        assert slot == expected
        blocks.add(block(slot), b"")
    blocks.drop(0)
    assert blocks.free_slot() == 3, "that used longest ago"
    blocks.add(block(3), b"")
    assert blocks.free_slot() == 0
    blocks.add(block(0), b"")
    assert blocks.free_slot() is None


def test_a_block_few_of_which_are_alive_is_named_with_them():
    blocks = Frozen()
    blocks.add(block(0), b"")
    blocks.add(block(1, 17), b"")
    for entry in range(14):
        blocks.blocks[1].bury(entry)
    assert blocks.sparse() == {}, "more than an eighth is alive"
    blocks.blocks[1].bury(15)
    assert blocks.sparse() == {1: [14, 16]}


def test_nothing_is_frozen_while_a_step_left_something_to_look_at():
    world = World()
    world.send(("s1", "A", START), ("s2", "B", START))
    state = world.state
    state.book.again = state.book.open_legs()[:1]
    assert freeze(state, 1, 10) == []
    state.book.again = []
    assert len(freeze(state, 1, 10)) == 1
    assert state.frozen.entries == 2


def days(begin: int, end: int) -> list[tuple[int, int]]:
    return [(begin // DAY_US - 2, end // DAY_US + 2)]


def test_a_run_asks_for_the_days_of_its_range():
    world = World()
    world.send(("s1", "A", START))
    begin, end = START, START + 3 * DAY
    world.start(begin, end)
    world.ask(CancelRun("run-1"), "command-2")
    state = world.state
    assert by_command(state, RetryRun("run-1")).days == days(begin, end)
    assert by_command(state, RetryRun("run-9")).days == []
    retried = ReconciliationRetried("run-1", 1, None, "command-3")
    assert by_batch(state, [retried], []).days == days(begin, end)
    assert by_command(state, StartRun("2026-01-05T00:00:00Z", "no time")).days == []
    with pytest.raises(CannotBeDone):
        state.decide(StartRun("2026-01-05T00:00:00Z", "no time"), "command-4")
    assert by_command(state, CancelRun("run-1")).days == []
    assert state.runs.days_asked(CancelRun("run-1"), state.book) == []


def test_what_matters_is_the_first_second_a_leg_is_due_in():
    blocks = Frozen()
    early, late = block(0), block(1)
    early.first_due, late.first_due = 5, 9
    blocks.add(early, b"")
    blocks.add(late, b"")
    assert blocks.first_due_us() == 5_000_000
    assert blocks.found(Touched(until_us=4_999_999)) == {}
    assert list(blocks.found(Touched(until_us=5_000_000))) == [0]
    blocks.drop(0)
    assert blocks.first_due_us() == 9_000_000
    blocks.drop(1)
    assert blocks.first_due_us() is None
