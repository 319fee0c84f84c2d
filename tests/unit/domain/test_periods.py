"""Business days: what is accepted is told by day; a day closes once everything of it is final."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.events import TransactionsAccepted
from domain.matching.calendar import Calendar
from domain.period_events import PeriodClosed
from domain.periods import day_number, day_text
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.snapshots import restore, snapshot
from domain.transactions import build_transaction
from tests.unit.domain.cases import DAY, MINUTE, START, some_transactions, some_written_definition
from tests.unit.domain.former_snapshots import ending_before

HOUR = 60 * MINUTE


def definition(**more):
    raw = {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "window": {"wait": "P1D", "lateness": "PT0S", "idle": "PT30S"},
        "rules": [
            {
                "name": "by-reference",
                "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            }
        ],
    }
    return parse_definition(raw | more)


def record(side: int, name: str, occurred: str, amount: str = "1.00"):
    fields = {
        "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
        "amount": amount, "currency": "EUR", "occurred_at": occurred, "reference": name,
    }  # fmt: skip
    return build_transaction(fields, side, None)


def closes(events) -> list[str]:
    return [event.day for event in events if isinstance(event, PeriodClosed)]


def tick(state: Reconciliation, hours: float) -> list[str]:
    return closes(state.tick(Tick(round(START + hours * HOUR), caught_up=True)).events)


def test_a_day_closes_when_its_wait_has_passed_and_not_before():
    state = Reconciliation(definition(time_zone="Europe/Vienna"))
    state.version = 1
    # the 5th ends at 23:00 UTC in Vienna
    chunk = [record(side, "a", "2026-01-05T12:00:00Z") for side in (0, 1)]
    first = state.advance(Chunk(chunk, now_us=START + 12 * HOUR, caught_up=True))
    assert closes(first.events) == ["2026-01-03"], "what lies behind belongs to no open day"
    assert tick(state, 12 + 1) == []
    assert state.wake_us(START + 13 * HOUR) is not None, "a day with something in it will close"
    assert tick(state, 23 - 1 / 3600) == []
    assert tick(state, 23 + 1 / 3600) == ["2026-01-04"]
    assert tick(state, 47 - 1 / 3600) == []
    assert tick(state, 47 + 1 / 3600) == ["2026-01-05"]
    assert state.wake_us(START + 48 * HOUR) is None, "nothing of a later day has come"
    assert state.closed_day == day_number("2026-01-05")


def test_it_wakes_by_itself_when_the_day_closes():
    state = Reconciliation(definition())
    state.version = 1
    chunk = [record(side, "a", "2026-01-05T12:00:00Z") for side in (0, 1)]
    state.advance(Chunk(chunk, now_us=START + 12 * HOUR, caught_up=True))
    state.tick(Tick(START + 13 * HOUR, caught_up=True))
    wake = state.wake_us(START + 13 * HOUR)
    assert closes(state.tick(Tick(wake - 3_000_000, caught_up=True)).events) == []
    assert closes(state.tick(Tick(wake, caught_up=True)).events) == ["2026-01-04"]


def test_paused_or_behind_nothing_closes_and_files_close_nothing():
    state = Reconciliation(definition())
    state.version = 1
    chunk = [record(side, "a", "2026-01-05T12:00:00Z") for side in (0, 1)]
    decided = state.advance(Chunk(chunk, now_us=START + 90 * DAY, caught_up=False))
    assert closes(decided.events) == []
    state.paused = True
    assert tick(state, 24 * 90) == []
    state.paused = False
    assert closes(state.finish().events) == []
    assert closes(Reconciliation(definition()).finish().events) == []


def test_days_close_once_and_forward_when_the_zone_changes():
    state = Reconciliation(definition())
    state.version = 1
    chunk = [record(side, "a", "2026-01-05T12:00:00Z") for side in (0, 1)]
    state.advance(Chunk(chunk, now_us=START + 12 * HOUR, caught_up=True))
    seen = ["2026-01-03"]
    for hour in range(13, 24 * 8, 5):
        if hour % 3 == 0:
            zone = ("Pacific/Auckland", "America/Los_Angeles", "UTC")[hour // 3 % 3]
            state.define(definition(time_zone=zone), f"define-{hour}")
        seen += tick(state, hour)
    assert seen == sorted(set(seen))
    assert len(seen) > 4


@pytest.mark.parametrize("seed", range(40))
def test_what_is_accepted_is_told_by_its_day(seed):
    """However records come: many at once the short way, or one by one."""
    rng = random.Random(seed)
    wanted = some_written_definition(rng, lateness_us=10 * MINUTE, unique=seed % 2 == 0 or None)
    transactions = some_transactions(rng, 60)
    calendar = Calendar(wanted.time_zone)
    for side in (0, 1):
        state = Reconciliation(wanted)
        state.version = 1
        of_side = [one for one in transactions if one.side == side]
        rng.shuffle(of_side)
        decision = state.advance(Chunk(of_side, now_us=None))
        (event,) = [one for one in decision.events if isinstance(one, TransactionsAccepted)]
        expected: dict[tuple[int, str, int], list[int]] = {}
        for one in of_side:
            day = calendar.day_of(state.book.event_time(one))
            counted = expected.setdefault((side, one.currency, day), [0, 0])
            counted[0] += 1
            counted[1] += one.amount_minor
        assert event.days == sorted((*key, *counted) for key, counted in expected.items())
        sums: dict[tuple[int, str], list[int]] = {}
        for of, currency, _, count, minor in event.days:
            told = sums.setdefault((of, currency), [0, 0])
            told[0] += count
            told[1] += minor
        assert event.counts == sorted((*key, *told) for key, told in sums.items())
        assert state.newest[side] == max(state.book.event_time(one) for one in of_side)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Havana"])
@pytest.mark.parametrize("unique", [True, False])
def test_many_of_several_days_are_told_by_day_and_the_newest_is_known(zone, unique):
    rng = random.Random(zone)
    condition = {"field": "reference", "operator": "exact"} | ({"unique": True} if unique else {})
    rule = {"name": "by", "match_type": "one_to_one", "conditions": [condition]}
    state = Reconciliation(definition(time_zone=zone, rules=[rule]))
    state.version = 1
    newest = None
    for first in range(0, 300, 30):
        records = [
            record(0, f"{first + n}", f"2026-03-0{rng.randint(7, 9)}T{rng.randint(10, 23)}:15:00Z",
                   f"{rng.randint(1, 9)}.00")
            for n in range(30)
        ]  # fmt: skip
        decision = state.advance(Chunk(records, now_us=None))
        (event,) = [one for one in decision.events if isinstance(one, TransactionsAccepted)]
        days = {}
        for one in records:
            count, total = days.get(state.book.calendar.day_of(one.occurred_at), (0, 0))
            of_day = (count + 1, total + one.amount_minor)
            days[state.book.calendar.day_of(one.occurred_at)] = of_day
        assert event.days == [(0, "EUR", day, *of_day) for day, of_day in sorted(days.items())]
        assert len(days) > 2
        newest = max(newest or 0, *(one.occurred_at for one in records))
        assert state.newest == [newest, None]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("unique", [True, False])
def test_the_ends_of_the_calendar_are_days_like_others(zone, text, unique):
    """Systems write the year 1 for "unknown": such a record may not stop the flow."""
    condition = {"field": "reference", "operator": "exact"} | ({"unique": True} if unique else {})
    rule = {"name": "by", "match_type": "one_to_one", "conditions": [condition]}
    state = Reconciliation(definition(time_zone=zone, rules=[rule]))
    state.version = 1
    for name in ("a", "b"):
        chunk = [record(side, f"{name}{side}", text) for side in (0, 1)]
        events = state.advance(Chunk(chunk, now_us=None, caught_up=True)).events
        (accepted,) = [one for one in events if isinstance(one, TransactionsAccepted)]
        assert {day_text(day) for _, _, day, _, _ in accepted.days} == {text[:10]}
        assert closes(events) == []
    if text < "0002":
        later = [record(side, "c", "2026-01-05T12:00:00Z") for side in (0, 1)]
        events = state.advance(Chunk(later, now_us=None, caught_up=True)).events
        assert closes(events) == ["2026-01-03"]


def test_a_snapshot_keeps_what_is_closed_and_one_from_before_has_closed_nothing():
    state = Reconciliation(definition())
    state.version = 1
    state.closed_day = day_number("2026-01-05")
    written = snapshot(state)
    assert restore(written).closed_day == state.closed_day
    assert restore(ending_before("closed_day", written)).closed_day is None


@pytest.mark.parametrize("text", ["1970-01-01", "2026-02-28", "0001-01-01", "9999-12-31"])
def test_days_are_written_and_read_alike(text):
    assert day_text(day_number(text)) == text
