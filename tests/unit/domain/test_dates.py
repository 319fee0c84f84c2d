"""Date windows: days of a zone, business days, seconds, and what a bare date is."""

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from domain.definitions import Condition, DateWindow
from domain.matching.book import Book
from domain.matching.dates import BusinessDays, spans_of
from domain.matching.groups import select_groups
from domain.transactions import build_transaction
from tests.unit.domain import reference
from tests.unit.domain.cases import EQUAL, some_definition, some_window

EPOCH = date(1970, 1, 1)


def at(text):
    fields = {
        "tenant_id": "a", "reconciliation_id": "b", "transaction_id": "t", "amount": "1",
        "currency": "EUR", "occurred_at": text,
    }  # fmt: skip
    return build_transaction(fields, 0, None)


def within(window, begin, end):
    for span in spans_of(window):
        one, other = span.measure(at(begin)), span.measure(at(end))
        if one is None or other is None or not span.allows(other - one):
            return False
    return True


@pytest.mark.parametrize(
    ("begin", "end", "days"),
    [
        ("2026-01-09", "2026-01-12", 1),  # Friday to Monday
        ("2026-01-10", "2026-01-12", 1),  # Saturday to Monday
        ("2026-01-09", "2026-01-10", 0),  # Friday to Saturday
        ("2026-01-12", "2026-01-09", -1),
        ("2026-01-16", "2026-01-20", 1),  # over Monday the 19th, a holiday
        ("2026-01-16", "2026-01-19", 0),
        ("2025-12-31", "2026-12-31", 260),
        ("1969-12-26", "1970-01-02", 5),
    ],
)
def test_business_days(begin, end, days):
    counted = BusinessDays((date(2026, 1, 19), date(2026, 1, 24)))
    first, last = (
        counted.count((date.fromisoformat(one) - EPOCH) // timedelta(days=1))
        for one in (begin, end)
    )
    assert last - first == days


@pytest.mark.parametrize(
    ("window", "begin", "end", "agree"),
    [
        (DateWindow(0, 0, "Asia/Tokyo", True), "2026-01-05T14:00:00Z", "2026-01-05T16:00:00Z",
         False),
        (DateWindow(0, 0, "UTC", True), "2026-01-05T14:00:00Z", "2026-01-05T16:00:00Z", True),
        (DateWindow(0, 0, "Asia/Tokyo", True), "2026-01-05", "2026-01-05T14:59:59Z", True),
        (DateWindow(0, 0, "Asia/Tokyo", True), "2026-01-05", "2026-01-05T15:00:00Z", False),
        (DateWindow(0, 2, "UTC", False), "2026-01-05", "2026-01-07", False),
        (DateWindow(0, 2, "UTC", False), "2026-01-05", "2026-01-06", True),
        (DateWindow(0, 1, "UTC", True, True), "2026-01-09", "2026-01-12", True),
        (DateWindow(0, 1, "UTC", True, False), "2026-01-09", "2026-01-12", False),
        (DateWindow(None, None, "UTC", True, max_seconds=60), "2026-01-05T10:00:00Z",
         "2026-01-05T09:59:00Z", True),
        (DateWindow(None, None, "UTC", True, max_seconds=60), "2026-01-05T10:00:00Z",
         "2026-01-05T10:01:00.000001Z", False),
        (DateWindow(None, None, "UTC", False, max_seconds=60), "2026-01-05T10:00:00Z",
         "2026-01-05T10:01:00Z", False),
        (DateWindow(None, None, "UTC", True, max_seconds=60), "2026-01-05", "2026-01-05", False),
        (DateWindow(0, 0, "UTC", True, max_seconds=60), "2026-01-05T23:59:59Z",
         "2026-01-06T00:00:00Z", False),
    ],
)  # fmt: skip
def test_a_window(window, begin, end, agree):
    assert within(window, begin, end) is agree


@pytest.mark.parametrize("seed", range(300))
def test_an_anchored_group_lies_around_one_of_its_sources(seed):
    rng = random.Random(seed)
    window = replace(some_window(rng), anchored=True)
    condition = Condition("reference", "reference", "exact", unique=False)
    definition = some_definition(rng, lateness_us=0, unique=False)
    rule = replace(
        definition.rules[0],
        match_type="many_to_one",
        whole_key="reference",
        max_size=None,
        conditions=(condition,),
        amount=replace(EQUAL, kind="bounds", low=Decimal(-1000), high=Decimal(1000)),
        date=window,
    )
    book = Book(replace(definition, rules=(rule,)))
    (compiled,) = book.rules
    found = []
    for side, count in ((0, rng.randint(1, 4)), (1, 1)):
        found.append(
            [
                build_transaction(
                    {
                        "tenant_id": "a", "reconciliation_id": "b", "currency": "EUR",
                        "transaction_id": f"{number}", "amount": "1", "reference": "R",
                        "occurred_at": rng.choice(
                            ["2026-01-04", "2026-01-05"]
                            + [f"2026-01-0{day}T12:{minute:02d}:00Z" for day in (3, 4, 5, 6)
                               for minute in (0, 10, 20)]
                        ),
                    },
                    side, None,
                )
                for number in range(count)
            ]
        )  # fmt: skip
    sources, targets = found
    legs = [[book.leg_of(one) for one in side] for side in found]
    expected = reference.anchored(rule, sources, targets)
    assert compiled.anchored_on_a_source(*legs) == expected
    assert bool(select_groups(compiled, *legs).taken) == expected
