"""Date windows: days of a zone, business days, seconds, and what a bare date is."""

from datetime import date, timedelta

import pytest

from domain.definitions import DateWindow
from domain.matching.dates import BusinessDays, spans_of
from domain.transactions import build_transaction

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
