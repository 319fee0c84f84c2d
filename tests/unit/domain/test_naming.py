"""Events in their outward form: sides as words, amounts as decimals of their currency."""

from domain import events as ev
from domain.identity import match_id
from domain.naming import name_event
from domain.run_events import ReconciliationCompleted, ReconciliationStarted

IDENTITY = match_id("acme", "orders", "r", ["s"], ["t"], 5)


def named(event):
    return name_event(event, "acme", "orders")


def test_a_suggestion_names_the_amounts_of_its_members():
    event = ev.MatchSuggested(
        "r", "one_to_one", 1, ("s",), ("t",), "KWD", 1234, 1000, 5, "why", [1234], [1000], True
    )
    fields = named(event)
    assert fields["match_id"] == IDENTITY
    assert (fields["source_amounts"], fields["target_amounts"]) == (["1.234"], ["1.000"])
    assert (fields["source_amount"], fields["difference"]) == ("1.234", "-0.234")
    assert "source_minor" not in fields


def test_what_people_decided_is_named_like_a_match():
    confirmed = named(
        ev.MatchConfirmed("r", "one_to_one", 1, ("s",), ("t",), "JPY", 5, 7, 5, None, "ok", "c-1")
    )
    assert (confirmed["match_id"], confirmed["difference"]) == (IDENTITY, "2")
    reversed_ = named(ev.MatchReversed(IDENTITY, "r", ("s",), ("t",), "EUR", 500, 700, None, "c-2"))
    assert (reversed_["match_id"], reversed_["target_amount"]) == (IDENTITY, "7.00")
    rejected = named(ev.MatchRejected(IDENTITY, "r", ("s",), ("t",), "no", "c-3"))
    assert (rejected["match_id"], rejected["reason"]) == (IDENTITY, "no")


def test_a_superseded_record_is_named_with_its_side_and_amount():
    fields = named(ev.TransactionSuperseded(1, "t-1", "t-2", -250, "EUR", False))
    assert (fields["side"], fields["amount"], fields["superseded_by"]) == ("target", "-2.50", "t-2")


def test_what_was_compared_is_named_in_the_currency_compared_in():
    compared = ev.Compared("EUR", 1000, 990, [(0, "USD", 1, 1100), (1, "EUR", 2, 990)])
    event = ev.RecordMatched(
        "r", "one_to_many", 1, ("s",), ("t", "u"), "EUR", 1000, 990, 5, compared=compared
    )
    fields = named(event)
    assert fields["difference"] == "-0.10"
    assert fields["compared"] == {
        "currency": "EUR",
        "source_amount": "10.00",
        "target_amount": "9.90",
        "totals": [
            {"side": "source", "currency": "USD", "count": 1, "amount": "11.00"},
            {"side": "target", "currency": "EUR", "count": 2, "amount": "9.90"},
        ],
    }


def test_a_chunk_is_named_by_its_counts_days_and_offsets():
    event = ev.TransactionsAccepted(
        [(1, "JPY", 2, 30)], {"acme.transactions/3": (7, 12)}, 1, 2, [(1, "JPY", 20_458, 2, 30)]
    )
    total = {"side": "target", "currency": "JPY", "count": 2, "amount": "30"}
    assert named(event) == {
        "counts": [total],
        "days": [{**total, "day": "2026-01-05"}],
        "offsets": {"acme.transactions/3": {"first": 7, "next": 12}},
        "redelivered": 1,
        "rejected": 2,
    }


def test_a_run_is_named_by_its_range_and_what_it_came_to():
    hour = 3_600_000_000
    started = named(ReconciliationStarted("run-1", "night", 0, hour, 1, "c-1"))
    assert (started["from"], started["to"]) == ("1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z")
    assert "from_us" not in started
    completed = named(ReconciliationCompleted("run-1", 1, [(0, "EUR", "exception", 3, 450)]))
    assert completed["totals"] == [
        {"side": "source", "currency": "EUR", "place": "exception", "count": 3, "amount": "4.50"}
    ]
