"""Backtests over histories with runs: what a run had remembered, the candidate remembers, too."""

import random

import pytest

from domain.backtesting.report import report
from domain.commands import CancelRun, Pause, Resume, RetryRun, ReverseMatch
from domain.definition_parsing import parse_definition
from domain.events import DuplicateDetected, MatchReversed
from domain.identity import match_id
from domain.run_events import ReconciliationCompleted
from tests.unit.domain.cases import DAY, MINUTE, START
from tests.unit.domain.logs import log_of
from tests.unit.domain.test_backtesting import backtest
from tests.unit.domain.test_runs import World

pytestmark = pytest.mark.usefixtures("few")

ONCE = {"field": "reference", "operator": "exact", "unique": True}
UNIQUE = {"rules": [{"name": "reference", "conditions": [ONCE]}]}
# Ids are remembered for a week.
LONG_AFTER = START + 20 * DAY


def held_world() -> World:
    """A match of the first day, twenty days later, in the range of a run that has not ended."""
    world = World(**UNIQUE)
    world.send(("s1", "A", START), ("t1", "A", START + MINUTE))
    world.start(START, START + 30 * DAY)
    world.until(LONG_AFTER)
    return world


def changes(world: World, definition=None) -> dict[str, int]:
    """What a backtest finds to be different, by name; of the definition in force unless told."""
    log = log_of(world.decisions)
    found = report(backtest(log, definition or world.definition), 10)
    counts = {
        f"{name} {kind}": found[kind][name]["count"]
        for kind in ("matches", "suggestions", "exceptions")
        for name in ("gained", "lost", "changed", "recategorised")
        if name in found[kind]
    }
    counts["contradictions"] = found["contradictions"]["count"]
    return {name: count for name, count in counts.items() if count}


def test_a_value_spent_in_the_range_of_a_run_is_spent_until_the_run_ends():
    world = held_world()
    world.send(("s2", "A", LONG_AFTER), ("t2", "B", LONG_AFTER))
    assert log_of(world.decisions).has(DuplicateDetected)
    world.until(LONG_AFTER + 5 * DAY)
    assert changes(world) == {}


def test_a_match_in_the_range_of_a_run_is_reversed_as_it_was():
    world = held_world()
    named = match_id("acme", "orders", "reference", ["s1"], ["t1"], (START + MINUTE) // 1000)
    world.ask(ReverseMatch(named, ["s1"], ["t1"], "wrong"), "reverse-1")
    world.until(LONG_AFTER + 5 * DAY)
    assert log_of(world.decisions).has(MatchReversed)
    assert changes(world) == {}


def test_what_a_run_let_go_of_is_let_go_of():
    world = held_world()
    world.until(START + 35 * DAY)
    assert log_of(world.decisions).has(ReconciliationCompleted)
    # Event time is written down once more, then the range is let go of.
    world.until(START + 36 * DAY)
    world.send(("s2", "A", START + 36 * DAY), ("t2", "A", START + 36 * DAY))
    assert not log_of(world.decisions).has(DuplicateDetected)
    assert changes(world) == {}


def test_a_run_ends_as_it_did_whatever_the_candidate_waits_for():
    """The candidate is through with the range long before, or after, the recorded run was."""
    for wait in ("PT1H", "P5D"):
        world = held_world()
        world.start(LONG_AFTER - DAY, LONG_AFTER + DAY, "run-2")
        world.ask(CancelRun("run-2"), "cancel-2")
        world.ask(RetryRun("run-2"), "retry-2")
        world.send(("s2", "A", LONG_AFTER), ("s3", "C", LONG_AFTER), ("t3", "C", LONG_AFTER))
        world.ask(Pause(None), "pause")
        world.until(LONG_AFTER + 3 * DAY)
        world.ask(Resume(None), "resume")
        world.until(LONG_AFTER + 8 * DAY)
        world.ask(CancelRun("run-1"), "cancel-1")
        world.until(LONG_AFTER + 9 * DAY)
        window = {**world.definition.raw["window"], "wait": wait}
        other = parse_definition({**world.definition.raw, "window": window})
        assert changes(world, other) == {}


def some_world(seed: int) -> World:
    """Two months in which values come again and runs come and go."""
    rng, world = random.Random(seed), World(**UNIQUE)
    for day in range(0, 60, 2):
        now = START + day * DAY
        names = [f"{side}{day}" for side in rng.sample("st", rng.randint(1, 2))]
        world.send(*((one, rng.choice("ABCDE"), now) for one in names))
        if rng.random() < 0.3:
            world.start(now - rng.randint(0, 6) * DAY, now + rng.randint(1, 25) * DAY, f"{day}")
        running = sorted(world.state.runs.running)
        if running and rng.random() < 0.1:
            world.ask(CancelRun(rng.choice(running)), f"cancel-{day}")
        world.until(now + DAY)
    return world


def test_the_definition_in_force_changes_nothing_however_many_runs_came_and_went():
    completed = 0
    for seed in range(12):
        world = some_world(seed)
        assert changes(world) == {}, seed
        events = [one for decision in world.decisions for one in decision.events]
        completed += sum(isinstance(one, ReconciliationCompleted) for one in events)
    assert completed > 30
