"""Runs over a range of event time: they end by themselves, and tell what the range came to."""

import random
from collections import Counter

import pytest

from domain.commands import CancelRun, CannotBeDone, Pause, Resume, RetryRun, StartRun
from domain.decision import Decision
from domain.definition_parsing import parse_definition
from domain.event_batches import decode_events, encode_plain
from domain.events import Event, RecordMatched, TransactionsAccepted
from domain.instants import instant_text
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
)
from domain.runs import RUNNING_MAX
from domain.snapshots import restore, snapshot
from domain.transactions import build_transaction
from tests.unit.domain.cases import DAY, MINUTE, START, some_transactions, some_written_definition
from tests.unit.domain.former_snapshots import ending_before
from tests.unit.domain.logs import ask
from tests.unit.domain.test_reconciliation_folding import facts
from tests.unit.domain.test_reconciliation_properties import in_chunks

HOUR = 60 * MINUTE
DEFINITION = {
    "tenant_id": "acme",
    "reconciliation_id": "orders",
    "name": "Orders",
    "time_zone": "Europe/Vienna",
    "window": {"wait": "P1D", "lateness": "PT0S", "idle": "PT1S", "remember": "P7D"},
    "rules": [
        {
            "name": "reference",
            "match_type": "one_to_one",
            "conditions": [{"field": "reference", "operator": "exact"}],
        }
    ],
}


class World:
    """A reconciliation and the clock around it."""

    def __init__(self, **definition: object) -> None:
        self.definition = parse_definition({**DEFINITION, **definition})
        self.state = Reconciliation(self.definition)
        self.decisions: list[Decision] = [self.state.define(self.definition, "define-1")]

    def send(self, *records: tuple[str, str, int], more: dict | None = None) -> list[Event]:
        """Accept records of (id, reference, event time); the id's first letter says the side."""
        built = [
            build_transaction(
                {
                    "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
                    "amount": "10.00", "currency": "EUR", "occurred_at": instant_text(at),
                    "reference": reference, **(more or {}),
                },
                {"s": 0, "t": 1}[name[0]],
                at + DAY,
            )
            for name, reference, at in records
        ]  # fmt: skip
        return self.kept(self.state.advance(Chunk(built, caught_up=True)))

    def until(self, now_us: int) -> list[Event]:
        self.state.last_input_us = now_us - HOUR
        return self.kept(self.state.tick(Tick(now_us, caught_up=True)))

    def ask(self, command, command_id: str = "run-1") -> list[Event]:
        return self.kept(self.state.decide(command, command_id))

    def start(self, begin: int, end: int, command_id: str = "run-1") -> list[Event]:
        return self.ask(StartRun(instant_text(begin), instant_text(end)), command_id)

    def kept(self, decision: Decision) -> list[Event]:
        self.decisions.append(decision)
        return decision.events

    def folded(self) -> Reconciliation:
        state = Reconciliation(self.definition)
        for decision in self.decisions:
            state.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
        state.watermark_us = self.state.watermark_us
        return state


def completed(events: list[Event]) -> list[ReconciliationCompleted]:
    return [one for one in events if isinstance(one, ReconciliationCompleted)]


def refusal(world: World, command) -> str:
    with pytest.raises(CannotBeDone) as raised:
        world.state.decide(command, "refused")
    return raised.value.code


def test_a_run_completes_once_everything_in_it_is_decided():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START + 1), ("s2", "B", START + HOUR))
    (started,) = world.start(START, START + 2 * HOUR)
    assert started == ReconciliationStarted("run-1", None, START, START + 2 * HOUR, 1, "run-1")
    # Event time passes the range; s2 still waits for its counterpart.
    assert completed(world.until(START + 3 * HOUR)) == []
    (done,) = completed(world.until(START + HOUR + DAY + 5 * MINUTE))
    assert done == ReconciliationCompleted(
        "run-1",
        1,
        [
            (0, "EUR", "exception", 1, 1000),
            (0, "EUR", "matched", 1, 1000),
            (1, "EUR", "matched", 1, 1000),
        ],
    )
    assert completed(world.until(START + 3 * DAY)) == []
    assert refusal(world, RetryRun("run-1")) == "run_not_failed"
    assert refusal(world, CancelRun("run-1")) == "run_ended"


def test_the_range_has_its_begin_and_not_its_end():
    world = World()
    world.send(
        ("s1", "A", START - 1), ("s2", "B", START), ("s3", "C", START + HOUR - 1),
        ("s4", "D", START + HOUR), ("t1", "X", START + HOUR),
    )  # fmt: skip
    world.start(START, START + HOUR)
    (done,) = completed(world.until(START + 3 * DAY))
    assert done.totals == [(0, "EUR", "exception", 2, 2000)]


def test_bare_dates_are_days_of_the_definition():
    world = World()
    midnight = START - HOUR  # of 2026-01-05 in Vienna
    world.send(
        ("s1", "A", midnight - 1), ("s2", "B", midnight), ("s3", "C", midnight + DAY - 1),
        ("s4", "D", midnight + DAY), ("t1", "X", midnight + DAY),
    )  # fmt: skip
    world.send(("s5", "E", START), more={"occurred_at": "2026-01-05"})
    world.send(("s6", "F", START), more={"occurred_at": "2026-01-06"})
    (started,) = world.ask(StartRun("2026-01-05", "2026-01-06", "a day"))
    assert (started.from_us, started.to_us) == (midnight, midnight + DAY)
    (done,) = completed(world.until(START + 4 * DAY))
    assert done.totals == [(0, "EUR", "exception", 3, 3000)]


def test_a_range_that_is_decided_completes_at_once():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    world.until(START + 2 * DAY)
    started, done = world.start(START, START + HOUR)
    assert isinstance(started, ReconciliationStarted)
    assert [one[2:4] for one in done.totals] == [("matched", 1), ("matched", 1)]
    started, done = world.start(START + 5 * HOUR, START + 6 * HOUR, "run-2")
    assert done.totals == []


def test_every_place_is_told_each_transaction_once():
    world = World(
        rules=[
            {
                "name": "unique", "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            },
            {
                "name": "asks", "match_type": "one_to_one", "outcome": "suggest",
                "conditions": [{"field": "attributes.k", "operator": "exact"}],
            },
        ]
    )  # fmt: skip
    world.send(("s1", "A", START), ("t1", "A", START), ("s2", "A", START))
    world.send(("s3", "", START), ("t3", "", START), more={"attributes": {"k": "v"}})
    world.send(("s4", "B", START))
    world.send(("s5", "C", START), more={"supersedes": "s4"})
    world.send(("s5", "D", START), more={"supersedes": "s5"})
    world.start(START, START + 1)
    (done,) = completed(world.until(START + 3 * DAY))
    assert [one[:1] + one[2:4] for one in done.totals] == [
        (0, "duplicate", 1), (0, "exception", 1), (0, "matched", 1), (0, "suggested", 1),
        (0, "superseded", 2), (1, "matched", 1), (1, "suggested", 1),
    ]  # fmt: skip


def test_a_new_definition_fails_what_runs_and_it_can_be_retried():
    world = World()
    world.send(("s1", "A", START), ("t1", "B", START))
    world.start(START, START + HOUR)
    other = parse_definition({**DEFINITION, "name": "Other"})
    events = world.kept(world.state.define(other, "define-2"))
    (failed,) = [one for one in events if isinstance(one, ReconciliationFailed)]
    assert (failed.run_id, failed.code) == ("run-1", "definition_changed")
    assert completed(world.until(START + 3 * DAY)) == []
    retried, done = world.ask(RetryRun("run-1", "again"), "command-9")
    assert retried == ReconciliationRetried("run-1", 2, "again", "command-9")
    assert (done.run_id, done.definition_version) == ("run-1", 2)
    assert [one[3] for one in done.totals] == [1, 1]


def test_a_cancelled_run_ends_and_runs_again_when_retried():
    world = World()
    world.send(("s1", "A", START), ("t1", "B", START))
    world.start(START, START + HOUR)
    assert refusal(world, RetryRun("run-1")) == "run_not_failed"
    cancelled = world.ask(CancelRun("run-1", "too early"), "command-2")
    assert cancelled == [ReconciliationCancelled("run-1", "too early", "command-2")]
    assert refusal(world, CancelRun("run-1")) == "run_ended"
    assert completed(world.until(START + 2 * HOUR)) == []
    assert len(world.ask(RetryRun("run-1"), "command-3")) == 1
    assert len(completed(world.until(START + 3 * DAY))) == 1
    assert world.state.decide(RetryRun("run-1"), "command-3").events == []


@pytest.mark.parametrize(
    ("begin", "end", "code"),
    [
        ("2026-01-05", "2026-01-05", "range_empty"),
        ("2026-01-06", "2026-01-05", "range_empty"),
        ("2026-01-05", "2026-04-08", "range_too_wide"),
        ("2025-12-01", "2026-01-05", "range_forgotten"),
        ("yesterday", "2026-01-05", "invalid_command"),
        ("2026-01-05", "2026-01-05T10:00:00", "invalid_command"),
        ("0001-01-01", "0001-01-02", "invalid_command"),
    ],
)
def test_a_range_that_cannot_be_run_is_refused(begin, end, code):
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    assert refusal(world, StartRun(begin, end)) == code
    assert refusal(world, RetryRun("nothing")) == refusal(world, CancelRun("nothing"))


def test_only_so_many_run_at_once():
    world = World()
    for number in range(RUNNING_MAX):
        world.start(START, START + HOUR, f"run-{number}")
    again = StartRun(instant_text(START), instant_text(START + HOUR))
    assert refusal(world, again) == "too_many_runs"
    world.ask(CancelRun("run-3"), "command-1")
    assert world.start(START, START + HOUR, "run-again")


def test_the_range_is_remembered_until_the_run_ends():
    """The totals count what would be forgotten otherwise; what has ended is let go of."""
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    world.start(START, START + 20 * DAY)
    world.until(START + 19 * DAY)
    assert set(world.state.book.known[0]) == {"s1"}
    assert facts(restore(snapshot(world.state))) == facts(world.state) == facts(world.folded())
    (done,) = completed(world.until(START + 20 * DAY + HOUR))
    assert [one[3] for one in done.totals] == [1, 1]
    assert facts(world.folded()) == facts(world.state)
    world.until(START + 21 * DAY)
    assert set(world.state.book.known[0]) == set()
    assert facts(world.folded()) == facts(world.state)


def test_a_paused_reconciliation_completes_nothing():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    world.until(START + 2 * DAY)
    world.ask(Pause(), "command-1")
    assert len(world.start(START, START + HOUR)) == 1
    assert world.state.wake_us(START + 2 * DAY) is None
    world.ask(Resume(), "command-2")
    assert world.state.wake_us(START + 2 * DAY) is not None
    assert len(completed(world.until(START + 2 * DAY + HOUR))) == 1


def test_a_run_wakes_its_reconciliation_when_nothing_else_does():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    world.until(START + 2 * DAY)
    assert world.state.wake_us(START + 2 * DAY) is None
    world.start(START, START + 5 * DAY)
    wake_us = world.state.wake_us(START + 2 * DAY)
    assert START + 5 * DAY <= wake_us <= START + 5 * DAY + 2 * MINUTE
    assert len(completed(world.until(wake_us))) == 1


@pytest.mark.parametrize("seed", range(300))
def test_a_restart_anywhere_ends_runs_the_same(seed):
    """Folding and restoring give the state that decided, whatever people ask of runs."""
    rng = random.Random(f"runs {seed}")
    definition = some_written_definition(rng, lateness_us=5 * MINUTE)
    live = Reconciliation(definition)
    decision = live.define(definition, "command-1")
    folded = Reconciliation(definition)
    accepted: Counter[tuple[int, str]] = Counter()
    for chunk in [*in_chunks(rng, some_transactions(rng, rng.randint(4, 16))), None, None]:
        folded.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
        folded.watermark_us = live.watermark_us
        assert facts(folded) == facts(live)
        assert facts(restore(snapshot(live))) == facts(live)
        for event in decision.events:
            if isinstance(event, TransactionsAccepted):
                for side, currency, count, _ in event.counts:
                    accepted[side, currency] += count
            if isinstance(event, ReconciliationCompleted):
                told: Counter[tuple[int, str]] = Counter()
                for side, currency, place, count, _ in event.totals:
                    assert place != "pending"
                    told[side, currency] += count
                assert told <= accepted
        if chunk is None or rng.random() < 0.4:
            decision = ask(rng, live)
        else:
            decision = live.advance(Chunk(chunk, caught_up=True))


def test_a_match_across_the_bounds_counts_what_lies_within():
    world = World()
    world.send(("s1", "A", START - HOUR), ("t1", "A", START + HOUR))
    events = world.until(START + 3 * HOUR)
    assert any(isinstance(one, RecordMatched) for one in events)
    _, done = world.start(START, START + 2 * HOUR)
    assert done.totals == [(1, "EUR", "matched", 1, 1000)]


def test_what_ended_long_ago_is_no_longer_known():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    world.until(START + 2 * DAY)
    for number in range(105):
        world.start(START, START + HOUR, f"run-{number}")
    assert set(world.state.runs.by_id) == {f"run-{number}" for number in range(4, 105)}
    assert refusal(world, CancelRun("run-3")) == "unknown_run"
    assert refusal(world, CancelRun("run-4")) == "run_ended"
    assert facts(world.folded()) == facts(world.state)


def test_a_snapshot_of_before_there_were_runs_has_none():
    world = World()
    world.send(("s1", "A", START), ("t1", "A", START))
    older = restore(ending_before("runs", snapshot(world.state)))
    assert facts(older) == facts(world.state)
    assert older.runs.by_id == {}
