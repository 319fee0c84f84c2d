"""Events in their outward form: sides as words, amounts as decimals of their currency."""

from domain import events as ev
from domain.identity import match_id
from domain.naming import name_event

IDENTITY = match_id("acme", "orders", "r", ["s"], ["t"], 5)


def named(event):
    return name_event(event, "acme", "orders")


def test_a_suggestion_names_the_amounts_of_its_members():
    event = ev.MatchSuggested(
        "r", "one_to_one", 1, ["s"], ["t"], "KWD", 1234, 1000, 5, "why", [1234], [1000], True
    )
    fields = named(event)
    assert fields["match_id"] == IDENTITY
    assert (fields["source_amounts"], fields["target_amounts"]) == (["1.234"], ["1.000"])
    assert (fields["source_amount"], fields["difference"]) == ("1.234", "-0.234")
    assert "source_minor" not in fields


def test_what_people_decided_is_named_like_a_match():
    confirmed = named(
        ev.MatchConfirmed("r", "one_to_one", 1, ["s"], ["t"], "JPY", 5, 7, 5, None, "ok", "c-1")
    )
    assert (confirmed["match_id"], confirmed["difference"]) == (IDENTITY, "2")
    reversed_ = named(ev.MatchReversed(IDENTITY, "r", ["s"], ["t"], "EUR", 500, 700, None, "c-2"))
    assert (reversed_["match_id"], reversed_["target_amount"]) == (IDENTITY, "7.00")
    rejected = named(ev.MatchRejected(IDENTITY, "r", ["s"], ["t"], "no", "c-3"))
    assert (rejected["match_id"], rejected["reason"]) == (IDENTITY, "no")


def test_a_superseded_record_is_named_with_its_side_and_amount():
    fields = named(ev.TransactionSuperseded(1, "t-1", "t-2", -250, "EUR", False))
    assert (fields["side"], fields["amount"], fields["superseded_by"]) == ("target", "-2.50", "t-2")
