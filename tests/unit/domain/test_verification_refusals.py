"""What verification refuses that no log of the engine comes near."""

from datetime import UTC, datetime

import msgspec
import pytest

from connectors.postgres.journal import decode_journal
from domain.casework_events import ExceptionCommented
from domain.events import (
    ExceptionResolved,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    RecordUnmatched,
    TransactionsAccepted,
    WatermarkAdvanced,
    match_id_of,
)
from domain.period_events import PeriodClosed
from domain.transactions import Transaction, build_transaction
from domain.verification.accounts import Accounts
from domain.verification.days import DayBooks
from domain.verification.difference import Difference, Where
from domain.verification.ledger import Ledger
from domain.verification.letters import Letters
from domain.verification.match_books import MatchBooks
from domain.verification.stream import StreamAudit
from domain.verification.totals import Tally
from tests.unit.domain.logs import Log, audit, engine_log

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
SCOPE = ("acme", "orders")


def transaction(name: str, side: int = 0, supersedes: str | None = None) -> Transaction:
    fields = {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "transaction_id": name,
        "amount": "1.00",
        "currency": "EUR",
        "occurred_at": "2026-01-05T12:00:00Z",
    }
    if supersedes is not None:
        fields["supersedes"] = supersedes
    built = build_transaction(fields, side, None)
    assert isinstance(built, Transaction), built
    return built


def ledger_of(*accepted: Transaction) -> Ledger:
    ledger = Ledger(*SCOPE)
    ledger.accounts.accept(accepted)
    return ledger


def opened(name: str, amount_minor: int, occurred_ms: int = 0) -> RecordUnmatched:
    kind = "missing_in_target", "high"
    return RecordUnmatched(0, name, *kind, amount_minor, "EUR", occurred_ms, None, "why", [], 1)


def altered(kind: type, **fields) -> Log:
    """A log of the engine with its first event of a type changed."""
    log, _ = engine_log(3)
    row, place = log.at(kind)
    row.events[place] = msgspec.structs.replace(row.events[place], **fields)
    return log


def test_an_event_of_another_stream_is_not_passed_over():
    log, _ = engine_log(3)
    log.add([ExceptionCommented(0, "s-1", "why?", "c-1")])
    with pytest.raises(Difference, match="ExceptionCommented is an event that verification does"):
        audit(log)


def test_a_definition_that_cannot_be_read_is_told_when_it_is_needed():
    ledger = ledger_of()
    ledger.read(ReconciliationDefined(1, {"rules": 7}, "c-1"))
    assert ledger.forgotten_before_us() is None
    ledger.read(WatermarkAdvanced(1))
    with pytest.raises(Difference, match="the definition in force cannot be read"):
        ledger.forgotten_before_us()


def test_who_is_no_duplicate_is_not_freed_by_the_correction_of_the_first():
    one = transaction("s-1")
    ledger = ledger_of(one)
    ledger.read(opened("s-1", 100))
    with pytest.raises(Difference, match="which is exception, is resolved as first_corrected"):
        ledger.read(ExceptionResolved(0, "s-1", "first_corrected", None))


def test_days_are_closed_in_their_order():
    log, _ = engine_log(3)
    log.add([PeriodClosed("2026-01-05"), PeriodClosed("2026-01-05")])
    with pytest.raises(Difference, match="day 2026-01-05 is closed after 2026-01-05 was"):
        audit(log)


def test_business_days_other_than_the_journal_s_are_told():
    log, _ = engine_log(3)
    row, place = log.at(TransactionsAccepted)
    (side, currency, day, count, total), *others = row.events[place].days
    days = [(side, currency, day + 1, count, total), *others]
    with pytest.raises(Difference, match="the business days a chunk tells are not those of") as one:
        audit(altered(TransactionsAccepted, days=days))
    assert one.value.kind == "journal"


@pytest.mark.parametrize("name", ["redelivered", "rejected"])
def test_no_count_is_below_zero(name):
    with pytest.raises(Difference, match="redelivered or rejected records is below zero"):
        audit(altered(TransactionsAccepted, **{name: -1}))


def test_a_batch_at_a_position_that_was_passed_is_told():
    log, _ = engine_log(3)
    first, second, *_ = log.batches()
    stream = StreamAudit(*SCOPE, decode_journal, Letters([]))
    stream.read(first)
    moved = second._replace(first_position=1, last_position=second.event_count)
    with pytest.raises(Difference, match="is not behind the stream's last, 1"):
        stream.read(moved)


def test_a_match_that_does_not_stand_is_not_reversed():
    books = MatchBooks(*SCOPE, Accounts(Where("acme/orders"), lambda: None))
    event = MatchReversed("m-1", "r", ("s",), ("t",), "EUR", 100, 100, None, "c-1")
    with pytest.raises(Difference, match="match m-1 is reversed, but does not stand"):
        books.undo(event)


def test_what_came_behind_its_correction_is_not_accepted_in_silence():
    accounts = Accounts(Where("acme/orders"), lambda: None)
    accounts.accept([transaction("s-1", supersedes="s-1"), transaction("s-1")])
    with pytest.raises(Difference, match="source transaction s-1 was accepted twice"):
        accounts.end_batch()


def test_places_that_hold_less_than_was_accepted_are_told():
    accounts = Accounts(Where("acme/orders"), lambda: None)
    accounts.accept([transaction("s-1"), transaction("s-2")])
    del accounts.known[0]["s-2"]
    with pytest.raises(Difference, match=r"tell of 2 accepted .* of 200 minor units, 1 with 100 "):
        accounts.places()


def suggestion(rule: str) -> MatchSuggested:
    return MatchSuggested(rule, "one_to_one", 1, ("s",), ("t",), "EUR", 1, 1, 0, "why", [1], [1])


def ended(of: MatchSuggested) -> MatchSuperseded:
    identity = match_id_of(*SCOPE, of)
    return MatchSuperseded(identity, of.rule, of.source_ids, of.target_ids, "why")


def test_who_is_suggested_twice_counts_once_until_both_have_ended():
    days = DayBooks(*SCOPE)
    first, second = suggestion("one"), suggestion("two")

    def suggested() -> set[int]:
        return {of_key["suggested"].count for of_key in days.tallies().values()}

    for event, count in (
        (first, 1),
        (second, 1),
        (ended(first), 1),
        (ended(first), 1),  # it stands no more, and nothing goes with it
        (ended(second), 0),
    ):
        days.read([event], [], AT)
        assert suggested() == {count}, event


def test_an_exception_that_never_opened_moves_nothing_when_it_is_resolved():
    days = DayBooks(*SCOPE)
    days.read([ExceptionResolved(0, "s-1", "late_match", "m-1")], [], AT)
    assert days.tallies() == {}


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Pacific/Kiritimati", datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "9999-12-31"),
        ("Pacific/Niue", datetime(1, 1, 1, tzinfo=UTC), "0001-01-01"),
    ],
)
def test_a_day_beyond_the_calendar_is_the_calendar_s_last(zone, instant, day):
    days = DayBooks(*SCOPE)
    days.read([ReconciliationDefined(1, {"time_zone": zone}, "c-1")], [], AT)
    at_ms = int(instant.timestamp()) * 1000
    days.read([opened("s", 5, at_ms)], [], AT)
    assert days.tallies() == {(day, "source", "EUR"): {"exception": Tally(1, 5)}}
