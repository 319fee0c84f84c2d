"""Verification of runs: none begins, ends or goes on that may not."""

import pytest

from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
)
from domain.verification.accounts import Accounts
from domain.verification.difference import Difference, Where
from domain.verification.entries import Known
from domain.verification.run_books import RunBooks

END = 1_000_000_000
STARTED = ReconciliationStarted("run-1", None, 0, END, 1, "run-1")
RETRIED = ReconciliationRetried("run-1", 1, None, "command-2")
CANCELLED = ReconciliationCancelled("run-1", None, "command-3")
FAILED = ReconciliationFailed("run-1", "definition_changed", "It changed.")
COMPLETED = ReconciliationCompleted("run-1", 1, [(0, "EUR", "exception", 2, 5)])


def books() -> RunBooks:
    accounts = Accounts(Where("acme/orders"), lambda: None)
    for name in ("s-1", "s-2"):
        accounts.known[0][name] = Known(5, "EUR", 7, "exception")
    accounts.known[0]["s-3"] = Known(5, "JPY", 7, "exception")
    return RunBooks(accounts)


def read(*events, watermark_us: int | None = END) -> RunBooks:
    of_stream = books()
    for event in events:
        of_stream.read(event, watermark_us)
    return of_stream


@pytest.mark.parametrize(
    "events",
    [
        (STARTED, COMPLETED), (STARTED, FAILED, RETRIED, CANCELLED, RETRIED, COMPLETED),
        (STARTED, CANCELLED),
    ],
)  # fmt: skip
def test_what_may_be_holds(events):
    read(*events).end_batch()


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ((STARTED, STARTED), "started twice"),
        ((ReconciliationStarted("run-1", None, 5, 5, 1, "run-1"),), "over nothing"),
        ((RETRIED,), "is retried, which is None"),
        ((STARTED, RETRIED), "is retried, which is running"),
        ((STARTED, COMPLETED, RETRIED), "is retried, which is completed"),
        ((CANCELLED,), "ends, which is None"),
        ((STARTED, CANCELLED, COMPLETED), "ends, which is ended"),
        ((STARTED, COMPLETED, FAILED), "ends, which is completed"),
        (
            (STARTED, ReconciliationCompleted("run-1", 1, [(0, "EUR", "exception", 3, 5)])),
            "tells 3 exception source transactions in EUR, 2 are",
        ),
        ((STARTED, ReconciliationCompleted("run-1", 1, [(0, "EUR", "matched", 1, 5)])), "0 are"),
        ((STARTED, ReconciliationCompleted("run-1", 1, [(0, "EUR", "exception", 0, 0)])), "2 are"),
        ((STARTED, ReconciliationCompleted("run-1", 1, [(0, "EUR", "pending", 1, 5)])), "0 are"),
    ],
)
def test_what_may_not_be_is_named(events, problem):
    with pytest.raises(Difference, match=problem):
        read(*events)


@pytest.mark.parametrize("watermark_us", [None, END - 60_000_001])
def test_no_run_completes_before_its_time(watermark_us):
    with pytest.raises(Difference, match="before event time has passed it"):
        read(STARTED, COMPLETED, watermark_us=watermark_us)
    read(STARTED, COMPLETED, watermark_us=END - 60_000_000)


def test_a_new_definition_ends_every_run_of_its_batch():
    of_stream = read(STARTED)
    of_stream.redefine()
    with pytest.raises(Difference, match="run-1 goes on under a new definition"):
        of_stream.end_batch()
    of_stream.read(FAILED, END)
    of_stream.end_batch()


def test_what_was_replaced_under_its_id_counts_where_it_stood():
    accounts = Accounts(Where("acme/orders"), lambda: None)
    accounts.known[0]["s-1"] = Known(5, "EUR", 7, "superseded")
    assert accounts.standing(0, "EUR", "superseded") == 1
    accounts._replace(0, Known(5, "EUR", 7), "superseded")
    assert accounts.standing(0, "EUR", "superseded") == 2
