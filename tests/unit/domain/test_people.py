"""What people ask of a reconciliation, and what it is told when that cannot be."""

import pytest

from domain.commands import (
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    Pause,
    RejectMatch,
    Resume,
    ReverseMatch,
    parse_command,
)
from domain.definition_parsing import parse_definition
from domain.events import (
    CommandRefused,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    RecordUnmatched,
)
from domain.identity import match_id
from domain.matching.pair_pool import PairPool
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.snapshots import restore, snapshot
from domain.transactions import Transaction, build_transaction

NOW_US = 1_767_614_400_000_000  # 2026-01-05T12:00:00Z
DAY_US = 86_400_000_000


def definition(**rule):
    return parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "name": "Orders",
            "rules": [
                {
                    "name": "reference",
                    "match_type": "one_to_one",
                    "conditions": [{"field": "reference", "operator": "exact"}],
                    **rule,
                }
            ],
        }
    )


def record(
    side, name, reference="A", amount="10.00", currency="EUR", **more: object
) -> Transaction:
    built = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": name,
            "amount": amount,
            "currency": currency,
            "occurred_at": "2026-01-05T12:00:00Z",
            "reference": reference,
            **more,
        },
        side,
        None,
    )
    assert isinstance(built, Transaction), built
    return built


def at_once(*records, **rule):
    """A state in which these have come, and what settles or expires has."""
    state = Reconciliation(definition(**rule))
    state.advance(Chunk(list(records), now_us=NOW_US))
    return state, state.tick(Tick(NOW_US + 4 * DAY_US, caught_up=True)).events


def only(kind, events):
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, events
    return found[0]


def identity(event):
    return match_id(
        "acme", "orders", event.rule, event.source_ids, event.target_ids, event.newest_ms
    )


def refused(state, command):
    with pytest.raises(CannotBeDone) as raised:
        state.decide(command, "refused")
    return raised.value.code


def test_a_rule_that_suggests_leaves_its_match_to_a_person():
    state, events = at_once(record(0, "s1"), record(1, "t1"), outcome="suggest")
    suggested = only(MatchSuggested, events)
    assert suggested.single
    assert suggested.source_amounts == suggested.target_amounts == [1000]
    assert suggested.reason == "the rule leaves its matches to a person"
    confirmed = state.decide(ConfirmMatch(identity(suggested), reason="seen"), "c1").events
    assert [type(event) for event in confirmed] == [MatchConfirmed]
    assert identity(confirmed[0]) == confirmed[0].suggestion_id == identity(suggested)
    assert (confirmed[0].reason, confirmed[0].command_id) == ("seen", "c1")
    assert refused(state, ConfirmMatch(identity(suggested))) == "suggestion_not_standing"


def test_part_of_a_suggestion_ends_it_and_what_is_left_is_looked_at_again():
    records = [record(0, "s1"), record(1, "t1"), record(1, "t2"), record(0, "s2")]
    state, events = at_once(*records)
    suggestion = identity(only(MatchSuggested, events))
    assert refused(state, ConfirmMatch(suggestion)) == "members_needed"
    assert refused(state, ConfirmMatch(suggestion, ["s1"], [])) == "members_needed"
    assert refused(state, ConfirmMatch(suggestion, ["s1"], ["t9"])) == "not_in_suggestion"
    assert refused(state, ConfirmMatch(suggestion, ["s1", "s2"], ["t1"])) == "not_a_candidate"
    events = state.decide(ConfirmMatch(suggestion, ["s1"], ["t2"]), "c1").events
    assert only(MatchConfirmed, events).suggestion_id == suggestion
    assert only(MatchSuperseded, events).match_id == suggestion
    rest = only(RecordMatched, state.tick(Tick(NOW_US + 5 * DAY_US, caught_up=True)).events)
    assert (rest.source_ids, rest.target_ids) == (("s2",), ("t1",))


@pytest.mark.parametrize(("sources", "targets"), [(["s1", "s2"], ["t1"]), (["s1"], ["t1", "t2"])])
def test_members_whose_sums_agree_are_no_match_of_pairs_when_they_are_three(sources, targets):
    within_all = {"tolerance": {"absolute": "100.00"}}
    records = [record(side, f"{'st'[side]}{number}") for side in (0, 1) for number in (1, 2)]
    state, events = at_once(*records, amount=within_all)
    suggestion = identity(only(MatchSuggested, events))
    assert refused(state, ConfirmMatch(suggestion, sources, targets)) == "not_a_candidate"


def test_what_an_earlier_rule_asks_about_all_of_is_asked_by_no_later_one():
    rules = definition(date={"min_days": -1, "max_days": 1, "time_zone": "UTC"}).raw
    rules["rules"].append(
        {
            "name": "counterparty",
            "match_type": "one_to_one",
            "conditions": [{"field": "counterparty", "operator": "exact"}],
            "outcome": "suggest",
        }
    )
    state = Reconciliation(parse_definition(rules))

    def on(day, side, name, counterparty):
        at = f"2026-01-0{day}T12:00:00Z"
        return record(side, name, counterparty=counterparty, occurred_at=at)

    begun = [on(2, 0, "s1", "X"), on(5, 1, "t1", "X")]
    state.advance(Chunk(begun, now_us=NOW_US))
    asked = only(MatchSuggested, state.tick(Tick(NOW_US + DAY_US, caught_up=True)).events)
    assert asked.rule == "counterparty"
    # With these between them the two are of one set of the first rule, and not a pair of it.
    events = state.advance(Chunk([on(3, 1, "t2", "Y"), on(4, 0, "s2", "Z")], caught_up=True)).events
    events += state.tick(Tick(NOW_US + 2 * DAY_US, caught_up=True)).events
    ended = only(MatchSuperseded, events)
    assert (ended.match_id, ended.reason) == (
        identity(asked),
        "an earlier rule asks about all of them",
    )
    again = only(MatchSuggested, events)
    assert (again.rule, again.source_ids, again.target_ids) == (
        "reference", ("s1", "s2"), ("t1", "t2"),
    )  # fmt: skip


def test_what_is_rejected_is_not_suggested_again():
    state, events = at_once(record(0, "s1"), record(1, "t1"), outcome="suggest")
    suggestion = identity(only(MatchSuggested, events))
    rejected = only(MatchRejected, state.decide(RejectMatch(suggestion, "no"), "c1").events)
    assert (rejected.match_id, rejected.reason, rejected.command_id) == (suggestion, "no", "c1")
    state = restore(snapshot(state))
    later = state.tick(Tick(NOW_US + 5 * DAY_US, caught_up=True)).events
    later += state.define(definition(outcome="suggest", settle="PT1H"), "c2").events
    later += state.tick(Tick(NOW_US + 6 * DAY_US, caught_up=True)).events
    opened = {event.transaction_id for event in later if isinstance(event, RecordUnmatched)}
    assert opened == {"s1", "t1"}
    assert not [event for event in later if isinstance(event, MatchSuggested)]


def test_a_reversed_match_frees_both_and_is_not_made_again():
    state, events = at_once(record(0, "s1"), record(1, "t1"))
    matched = only(RecordMatched, events)
    assert refused(state, ReverseMatch("other", ["s1"], ["t1"])) == "match_not_standing"
    command = ReverseMatch(identity(matched), ["s1"], ["t1"], "wrong")
    undone = only(MatchReversed, state.decide(command, "c1").events)
    assert (undone.reason, undone.command_id, undone.source_minor) == ("wrong", "c1", 1000)
    assert refused(state, command) == "match_not_standing"
    state.advance(Chunk([record(0, "s2")], now_us=NOW_US))
    later = state.tick(Tick(NOW_US + 5 * DAY_US, caught_up=True)).events
    again = only(RecordMatched, later)
    assert (again.source_ids, again.target_ids) == (("s2",), ("t1",))
    assert only(RecordUnmatched, later).transaction_id == "s1"


def test_people_may_match_what_they_kept_apart():
    state, events = at_once(record(0, "s1"), record(1, "t1"))
    state.decide(ReverseMatch(identity(only(RecordMatched, events)), ["s1"], ["t1"]), "c1")
    by_hand = only(MatchConfirmed, state.decide(MatchByHand(["s1"], ["t1"]), "c2").events)
    assert (by_hand.rule, by_hand.match_type) == ("manual", "one_to_one")


def test_a_match_by_hand_ends_exceptions_and_says_why_it_cannot_be():
    records = [
        record(0, "s1", "A"),
        record(0, "s2", "B", "5.00"),
        record(1, "t1", "C", "15.50"),
        record(1, "t2", "D", currency="USD"),
        record(0, "s3", "E"),
        record(1, "t3", "E"),
    ]
    state, events = at_once(*records)
    assert len([event for event in events if isinstance(event, RecordUnmatched)]) == 4
    assert refused(state, MatchByHand(["s1"], ["t2"])) == "currency_mismatch"
    assert refused(state, MatchByHand(["s1"], ["t9"])) == "unknown_transaction"
    assert refused(state, MatchByHand(["s1"], ["t3"])) == "transaction_not_open"
    assert refused(state, MatchByHand(["s1", "s1"], ["t1"])) == "invalid_command"
    assert refused(state, MatchByHand(["s1", "s2"], ["t1"])) == "reason_needed"
    events = state.decide(MatchByHand(["s2", "s1"], ["t1"], "bank charges"), "c1").events
    confirmed = only(MatchConfirmed, events)
    assert (confirmed.source_ids, confirmed.match_type) == (("s1", "s2"), "many_to_one")
    ended = [event for event in events if isinstance(event, ExceptionResolved)]
    assert {event.transaction_id for event in ended} == {"s1", "s2", "t1"}
    assert {(event.resolution, event.match_id) for event in ended} == {
        ("manual_match", identity(confirmed))
    }


def test_a_refund_is_matched_apart_from_its_charge():
    """A refund is a record of negative amount; it matches what the other side has of it."""
    records = [
        record(0, "charge", amount="10.00"),
        record(0, "refund", amount="-10.00"),
        record(1, "refunded", amount="-10.00"),
        record(1, "charged", amount="10.00"),
    ]
    _, events = at_once(*records)
    matched = [event for event in events if isinstance(event, RecordMatched)]
    assert {(event.source_ids[0], event.target_ids[0]) for event in matched} == {
        ("charge", "charged"),
        ("refund", "refunded"),
    }


@pytest.mark.parametrize("settle", ["PT0S", "immediate"])
def test_paused_everything_is_accepted_and_nothing_decided(settle):
    state = Reconciliation(definition(settle=settle))
    paused = state.decide(Pause("migration"), "c1").events
    assert paused == [ReconciliationPaused("migration", "c1")]
    assert refused(state, Pause()) == "already_paused"
    decision = state.advance(
        Chunk([record(0, "s1"), record(1, "t1"), record(0, "s2", "B")], now_us=NOW_US)
    )
    assert len(decision.events) == 1
    assert len(decision.journal) == 3
    assert state.tick(Tick(NOW_US + 4 * DAY_US, caught_up=True)).events == []
    assert state.wake_us(NOW_US) is None
    state = restore(snapshot(state))
    assert state.paused
    events = state.decide(Resume(), "c2").events
    assert isinstance(events[0], ReconciliationResumed)
    assert refused(state, Resume()) == "not_paused"
    assert state.wake_us(NOW_US) is not None
    state.last_input_us = NOW_US
    events += state.tick(Tick(NOW_US + 4 * DAY_US, caught_up=True)).events
    assert only(RecordMatched, events).target_ids == ("t1",)
    assert only(RecordUnmatched, events).transaction_id == "s2"


def test_a_command_is_decided_once_and_a_refusal_is_on_record():
    state, _ = at_once(record(0, "s1"))
    with pytest.raises(CannotBeDone) as raised:
        state.decide(RejectMatch("nothing"), "c1")
    version = state.version
    events = state.refuse("c1", "reject_match", raised.value).events
    assert events == [
        CommandRefused("c1", "reject_match", "suggestion_not_standing", str(raised.value))
    ]
    assert state.version == version + 1
    assert state.refuse("c1", "reject_match", raised.value).events == []
    assert state.decide(RejectMatch("nothing"), "c1").events == []


@pytest.mark.parametrize(
    ("command_type", "payload", "code"),
    [
        ("explode", {}, "unknown_command"),
        ("confirm_match", {}, "invalid_command"),
        ("match_by_hand", {"source_ids": [], "target_ids": ["t"]}, "invalid_command"),
        ("match_by_hand", {"source_ids": [7], "target_ids": ["t"]}, "invalid_command"),
        ("pause", {"reason": "x" * 513}, "invalid_command"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(command_type, payload, code):
    with pytest.raises(CannotBeDone) as raised:
        parse_command(command_type, payload)
    assert raised.value.code == code


def test_a_reversed_match_counts_among_the_rivals_of_earlier_rules_no_more():
    rules = definition(
        selection={"ambiguity": "leave_unmatched"},
    ).raw
    rules["rules"].append(
        {
            "name": "counterparty",
            "match_type": "one_to_one",
            "conditions": [{"field": "counterparty", "operator": "exact"}],
        }
    )
    state = Reconciliation(parse_definition(rules))
    records = [record(0, "s1", counterparty="X"), record(1, "t1")]
    state.advance(Chunk([*records, record(1, "t2", counterparty="X")], now_us=NOW_US))
    events = state.tick(Tick(NOW_US + 2 * DAY_US, caught_up=True)).events
    matched = only(RecordMatched, events)
    assert (matched.rule, matched.target_ids) == ("counterparty", ("t2",))
    state.decide(ReverseMatch(identity(matched), ["s1"], ["t2"]), "c1")
    correction = record(1, "t3", "Z", supersedes="t1")
    state.advance(Chunk([correction, record(1, "t4")], now_us=NOW_US))
    again = only(RecordMatched, state.tick(Tick(NOW_US + 3 * DAY_US, caught_up=True)).events)
    assert (again.rule, again.source_ids, again.target_ids) == ("reference", ("s1",), ("t4",))


@pytest.mark.parametrize("restart", ["none", "snapshot", "fold"])
def test_whom_a_match_by_hand_leaves_fitting_is_matched_over_any_restart(restart):
    group = {
        "match_type": "many_to_one",
        "group": {"whole_key": "reference"},
        "selection": {"tie_break": "lowest_id"},
    }
    folded = Reconciliation(definition(**group))
    state = Reconciliation(definition(**group))
    records = [record(0, "s1", amount="4.00"), record(0, "s2"), record(1, "t1"), record(1, "t2")]

    def fold(decision):
        folded.evolve_all(decision.events, decision.journal)
        return decision.events

    fold(state.advance(Chunk(records, now_us=NOW_US)))
    events = fold(state.tick(Tick(NOW_US + 4 * DAY_US, caught_up=True)))
    assert len([event for event in events if isinstance(event, RecordUnmatched)]) == 4
    fold(state.decide(MatchByHand(["s1"], ["t2"], "in part"), "c1"))
    if restart != "none":
        state = restore(snapshot(state if restart == "snapshot" else folded))
        state.last_input_us = NOW_US
    later = state.tick(Tick(NOW_US + 5 * DAY_US, caught_up=True)).events
    assert only(RecordMatched, later).source_ids == ("s2",)
    assert len([event for event in later if isinstance(event, ExceptionResolved)]) == 2


def test_a_set_of_many_is_searched_once_a_step_and_not_once_a_member(monkeypatch):
    searched = []
    around = PairPool.around
    monkeypatch.setattr(
        PairPool,
        "around",
        lambda pool, leg, known: searched.append(leg) or around(pool, leg, known),
    )
    records = [record(side, f"x{number}") for side in (0, 1) for number in range(200)]
    _, events = at_once(*records, conditions=[])
    assert len(only(MatchSuggested, events).source_ids) == 200
    assert len(searched) < 10
