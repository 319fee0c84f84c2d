"""When legs are due: stale plans are dropped as they are met, and swept out once they are many."""

import pytest

from domain.matching import due
from domain.matching.due import FIRST_LOOK, SECOND_US, DueQueue
from domain.matching.legs import Leg
from domain.reconciliation import Reconciliation
from tests.unit.domain.test_explaining_words import REFERENCE, Told, record


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
        queue.plan_first(legs, 0)
    for leg in legs[:15]:
        queue.forget(leg)
    # Swept once more than half were stale; what was forgotten since waits for the next sweep.
    assert queue._entries < len(legs)
    assert 2 * queue._stale <= queue._entries
    assert queue.first_us() == legs[15].occurred_at + SECOND_US
    assert taken(queue) == [leg.transaction_id for leg in legs[15:]]
    assert (queue._entries, queue._stale) == (0, 0)


def test_the_first_second_is_that_of_a_leg_that_waits(legs):
    queue = DueQueue()
    for leg in legs[:3]:
        queue.plan(leg, leg.occurred_at)
    for leg in legs[3:6]:
        leg.due = FIRST_LOOK
    queue.plan_first(legs[3:6], 0)
    for leg in (*legs[:3], legs[3]):
        queue.forget(leg)
    assert queue.first_us() == legs[4].occurred_at + SECOND_US
    assert (queue._entries, queue._stale) == (2, 0)
    for leg in legs[4:6]:
        queue.forget(leg)
    assert queue.first_us() is None
    assert (queue._entries, queue._stale) == (0, 0)
