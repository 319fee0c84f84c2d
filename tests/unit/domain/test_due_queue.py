"""When legs are due: stale plans are dropped as they are met, and swept out once they are many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.matching import due
from domain.matching.due import FIRST_LOOK, SECOND_US, DueQueue
from domain.matching.legs import Leg, by_time
from domain.reconciliation import Reconciliation
from tests.unit.domain.test_explaining_words import REFERENCE, Told, record
from tests.unit.domain.test_runs import HOUR, START, World


@pytest.fixture
def legs() -> list[Leg]:
    """Twenty, a second apart."""
    told = Told({"name": "pairs", "conditions": [REFERENCE]})
    book = Reconciliation(told.state.definition).book
    names = [f"s{number:02d}" for number in range(20)]
    return [
        book.leg_of(record(name, occurred_at=f"2026-01-05T12:00:{place:02d}Z"))
        for place, name in enumerate(names)
    ]


def taken(queue: DueQueue) -> list[str]:
    return [leg.transaction_id for some in queue.take(1 << 60) for leg in some]


@pytest.mark.parametrize("planned_one_by_one", [True, False])
def test_a_sweep_keeps_what_still_waits_and_nothing_else(monkeypatch, legs, planned_one_by_one):
    monkeypatch.setattr(due, "_STALE_MIN", 3)
    queue = DueQueue()
    if planned_one_by_one:
        for leg in legs:
            queue.plan(leg, leg.occurred_at)
    else:
        for leg in legs:
            leg.due = FIRST_LOOK
        queue.plan_first(legs, legs[0].occurred_at, 0)
    for leg in legs[:15]:
        queue.forget(leg)
    # Swept once more than half were stale; what was forgotten since waits for the next sweep.
    assert queue._entries < len(legs)
    assert 2 * queue._stale <= queue._entries
    # Of those planned together the first is what was the first of them at the last sweep.
    first = legs[15] if planned_one_by_one else legs[11]
    assert queue.first_us() == first.occurred_at + SECOND_US
    assert taken(queue) == [leg.transaction_id for leg in legs[15:]]
    assert (queue._entries, queue._stale) == (0, 0)


def test_the_first_second_is_that_of_legs_that_wait(legs):
    queue = DueQueue()
    for leg in legs[:3]:
        queue.plan(leg, leg.occurred_at)
    for leg in legs[3:6]:
        leg.due = FIRST_LOOK
    queue.plan_first(legs[3:6], legs[3].occurred_at, 0)
    for leg in (*legs[:3], legs[3]):
        queue.forget(leg)
    assert queue.first_us() == legs[3].occurred_at + SECOND_US, "of those planned together"
    assert (queue._entries, queue._stale) == (3, 1)
    assert list(queue.take(legs[4].occurred_at + SECOND_US)) == [[legs[4]]]
    assert queue.first_us() == legs[5].occurred_at + SECOND_US, "they are sorted now"
    queue.forget(legs[5])
    assert queue.first_us() is None
    assert (queue._entries, queue._stale) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=40), st.data())
def test_nobody_is_woken_late_and_everybody_is_woken(occurred, data):
    """Legs are planned by themselves or with others, asked about, forgotten, and waited for."""
    told = Told({"name": "pairs", "conditions": [REFERENCE]})
    make = Reconciliation(told.state.definition).book.leg_of
    queue, together, waiting = DueQueue(), [], []
    for number, (seconds, alone) in enumerate(occurred):
        at = f"2026-01-05T12:{seconds // 60:02d}:{seconds % 60:02d}Z"
        leg = make(record(f"s{number}", occurred_at=at))
        waiting.append(leg)
        if alone:
            queue.plan(leg, leg.occurred_at)
            continue
        leg.due = FIRST_LOOK
        together.append(leg)
        if data.draw(st.booleans()):
            queue.plan_first(together, min(one.occurred_at for one in together), 0)
            together = []
    if together:
        queue.plan_first(together, min(one.occurred_at for one in together), 0)
    while waiting:
        for leg in [leg for leg in waiting if data.draw(st.integers(0, 3)) == 0]:
            queue.forget(leg)
            waiting.remove(leg)
        woken_at = queue.first_us()
        if woken_at is None:
            break
        due = [leg for leg in waiting if leg.occurred_at + SECOND_US <= woken_at]
        got = [leg for some in queue.take(woken_at) for leg in some]
        assert all(leg.occurred_at + SECOND_US == woken_at for leg in due), "nobody is late"
        assert sorted(got, key=by_time) == sorted(due, key=by_time)
        waiting = [leg for leg in waiting if leg not in got]
    assert not waiting
    assert queue.first_us() is None
    assert (queue._entries, queue._stale) == (0, 0)


def test_a_fold_wakes_for_the_first_of_what_was_taken_in_together():
    world = World()
    world.send(*((f"s{number}", f"R{number}", START + number * HOUR) for number in (2, 0, 1)))
    wakes_at = world.state.book.due.first_us()
    assert wakes_at is not None
    assert wakes_at // 1_000_000 == (START + world.state.book.looks[0]) // 1_000_000 + 1
    assert world.folded().book.due.first_us() == wakes_at
