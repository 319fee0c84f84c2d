"""Groups, told as stories: partial ones that wait, several that fit, searches that hit a bound."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.events import (
    ExceptionResolved,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
)
from domain.matching import groups_of_singles
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transactions import Transaction, build_transaction

BATCH = {"field": "attributes.batch", "operator": "exact"}


PAIRS = {
    "name": "pairs",
    "match_type": "one_to_one",
    "conditions": [{"field": "reference", "operator": "exact"}],
}


def definition(*later, **rule):
    rule = {"name": "groups", "match_type": "one_to_many", "conditions": [BATCH]} | rule
    return parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "deposits",
            "window": {"wait": "P1D", "lateness": "PT0S"},
            "rules": [rule, *later],
        }
    )


def record(name, amount, *, at="12:00", day=5, batch="b", currency="EUR", reference=None):
    """A source when its name begins with s, else a target."""
    fields = {
        "tenant_id": "acme",
        "reconciliation_id": "deposits",
        "transaction_id": name,
        "amount": amount,
        "currency": currency,
        "occurred_at": f"2026-01-{day:02d}T{at}:00Z",
    }
    if reference is not None:
        fields["reference"] = reference
    if batch is not None:
        fields["attributes"] = {"batch": batch}
    built = build_transaction(fields, 0 if name.startswith("s") else 1, None)
    assert isinstance(built, Transaction), built
    return built


def end_of(rule, *records, later=()):
    """All events but the journal's, once all time has run out."""
    state = Reconciliation(definition(*later, **rule))
    state.advance(Chunk(list(records), caught_up=True))
    return state.finish().events


def of_kind(kind, events):
    return [event for event in events if isinstance(event, kind)]


def members(events, kind=RecordMatched):
    return {(*event.source_ids, *event.target_ids) for event in of_kind(kind, events)}


def reasons(events):
    return {
        event.transaction_id: (event.category, event.reason)
        for event in of_kind(RecordUnmatched, events)
    }


def test_the_smallest_group_is_taken():
    events = end_of(
        {},
        record("s", "10.00"),
        record("t1", "7.00"),
        record("t2", "3.00"),
        record("t3", "2.00"),
        record("t4", "1.00"),
    )
    assert members(events) == {("s", "t1", "t2")}


def test_refunds_count_with_their_sign():
    events = end_of({}, record("s", "9.00"), record("t1", "12.00"), record("t2", "-3.00"))
    assert members(events) == {("s", "t1", "t2")}


def test_the_many_side_may_be_the_source():
    events = end_of(
        {"match_type": "many_to_one"}, record("s1", "4.00"), record("s2", "6.00"), record("t", "10")
    )
    assert members(events) == {("s1", "s2", "t")}


def test_a_tolerance_is_of_the_sums():
    rule = {"amount": {"bounds": {"low": "-0.50", "high": "0.00"}}}
    records = [record("s", "10.00"), record("t1", "4.60"), record("t2", "4.90")]
    assert members(end_of(rule, *records)) == {("s", "t1", "t2")}
    rule = {"amount": {"bounds": {"low": "-0.49", "high": "0.00"}}}
    assert members(end_of(rule, *records)) == set()
    rule = {"amount": {"tolerance": {"percent": "5", "percent_of": "source"}}}
    assert members(end_of(rule, *records)) == {("s", "t1", "t2")}


def test_a_group_larger_than_its_cap_is_none_and_says_so():
    records = [record("s", "3.00"), *(record(f"t{n}", "1.00") for n in range(3))]
    assert members(end_of({"group": {"max_size": 3}}, *records)) == {("s", "t0", "t1", "t2")}
    told = reasons(end_of({"group": {"max_size": 2}}, *records))
    assert told["s"] == (
        "amount_mismatch",
        "no group of up to 2 of 3 target transactions fits",
    )


def test_a_partial_group_stays_open_until_its_last_member():
    state = Reconciliation(definition())
    first = [record("s", "10.00"), record("t1", "4.00"), record("t2", "3.00")]
    events = state.advance(Chunk(first, caught_up=True)).events
    state = restore(snapshot(state))
    later = [record("s9", "1.00", day=7, batch="z"), record("t9", "1.00", day=7, batch="z")]
    events = state.advance(Chunk(later, caught_up=True)).events
    assert {one.transaction_id for one in of_kind(RecordUnmatched, events)} == {"s", "t1", "t2"}
    events = state.advance(Chunk([record("t3", "3.00")], caught_up=True)).events
    assert members(events) == {("s", "t1", "t2", "t3")}
    assert {one.transaction_id for one in of_kind(ExceptionResolved, events)} == {"s", "t1", "t2"}


def test_a_better_group_may_arrive_until_the_match_has_settled():
    rule = {"settle": "PT1H", "selection": {"ambiguity": "leave_unmatched"}}
    state = Reconciliation(definition(**rule))
    early = [record("s", "10.00"), record("t1", "4.00"), record("t2", "6.00")]
    clock = [record("s8", "1", at="12:30", batch="x"), record("t8", "1", at="12:30", batch="y")]
    events = state.advance(Chunk([*early, *clock], caught_up=True)).events
    assert members(events) == set()
    events = state.advance(Chunk([record("t3", "10.00")], caught_up=True)).events
    assert members([*events, *state.finish().events]) == {("s", "t3")}


def test_several_groups_are_one_suggestion():
    records = [
        record("s", "10.00"),
        record("t1", "4.00"),
        record("t2", "6.00"),
        record("t3", "3.00"),
        record("t4", "7.00"),
        record("t5", "1.50"),
    ]
    events = end_of({}, *records)
    assert members(events) == set()
    assert members(events, MatchSuggested) == {("s", "t1", "t2", "t3", "t4")}
    assert set(reasons(events)) == {"t5"}


def test_several_groups_that_are_left_alone_say_so():
    records = [record("s", "2.00"), *(record(f"t{n}", "1.00") for n in range(3))]
    told = reasons(end_of({"selection": {"ambiguity": "leave_unmatched"}}, *records))
    assert {category for category, _ in told.values()} == {"ambiguous"}
    assert "several groups fit among 1 source and 3 target transactions" in told["s"][1]


def test_two_singles_that_want_one_member_are_ambiguous():
    records = [
        record("s1", "10.00"),
        record("s2", "11.00"),
        record("t1", "4.00"),
        record("t2", "6.00"),
        record("t3", "7.00"),
    ]
    events = end_of({}, *records)
    assert members(events, MatchSuggested) == {("s1", "s2", "t1", "t2", "t3")}


def test_the_lowest_ids_are_taken_where_the_rule_says_so():
    records = [record("s1", "2.00"), record("s2", "2.00")]
    records += [record(f"t{n}", "1.00") for n in range(5)]
    events = end_of({"selection": {"tie_break": "lowest_id"}}, *records)
    assert members(events) == {("s1", "t0", "t1"), ("s2", "t2", "t3")}


@pytest.mark.parametrize(
    ("prefer", "taken"),
    [
        (["closest_amount"], ("s", "t3", "t4")),
        (["oldest"], ("s", "t1", "t2")),
        (["newest"], ("s", "t5", "t6")),
        (["closest_date", "closest_amount"], ("s", "t3", "t4")),
        (["fewest_members"], ("s", "t1", "t2")),
    ],
)
def test_what_a_rule_prefers_is_taken(prefer, taken):
    records = [
        record("s", "10.00", at="12:00"),
        record("t1", "4.02", at="09:00"),
        record("t2", "6.02", at="09:00"),
        record("t3", "3.00", at="11:00"),
        record("t4", "7.00", at="13:00"),
        record("t5", "8.98", at="15:00"),
        record("t6", "1.00", at="15:00"),
    ]
    rule = {"amount": {"tolerance": {"absolute": "0.04"}}, "selection": {"prefer": prefer}}
    assert members(end_of(rule, *records)) == {taken}


def test_a_pair_is_preferred_by_the_same_order():
    records = [record("s", "1.00"), record("t1", "1.01", day=6), record("t2", "1.02")]
    rule = {"match_type": "one_to_one", "amount": {"tolerance": {"absolute": "0.05"}}}
    nearest = rule | {"selection": {"prefer": ["closest_amount"]}}
    assert members(end_of(nearest, *records)) == {("s", "t1")}
    nearest = rule | {"selection": {"prefer": ["closest_date"]}}
    assert members(end_of(nearest, *records)) == {("s", "t2")}


def test_several_members_on_both_sides():
    records = [
        record("s1", "5.00"),
        record("s2", "7.00"),
        record("s3", "1.00"),
        record("t1", "4.00"),
        record("t2", "8.00"),
        record("t3", "1.00"),
    ]
    events = end_of({"match_type": "many_to_many", "group": {"max_size": 3}}, *records)
    assert members(events) == {("s3", "t3"), ("s1", "s2", "t1", "t2")}


def test_both_sides_whole_by_a_key():
    rule = {"match_type": "many_to_many", "group": {"whole_key": "attributes.batch"}}
    records = [record("s1", "5"), record("s2", "7"), record("t1", "4"), record("t2", "8")]
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1", "t2")}
    events = end_of(rule, *records, record("t3", "1"))
    assert members(events) == set()
    assert "is no whole group that fits" in reasons(events)["s1"][1]


def test_members_of_both_sides_must_fit_pair_by_pair():
    rule = {
        "match_type": "many_to_many",
        "date": {"min_days": 0, "max_days": 1},
        "group": {"max_size": 4},
    }
    records = [
        record("s1", "5", day=5),
        record("s2", "7", day=6),
        record("t1", "4", day=6),
        record("t2", "8", day=7),
    ]
    assert members(end_of(rule, *records)) == set()
    records[3] = record("t2", "8", day=6)
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1", "t2")}


def test_members_of_both_sides_fit_although_each_has_others_it_fits():
    rule = {"match_type": "many_to_many", "date": {"min_days": 0, "max_days": 1}}
    records = [
        record("s1", "5", day=5),
        record("s2", "7", day=6),
        record("t1", "4", day=6),
        record("t2", "8", day=6),
        record("t3", "0.10", day=5),
        record("t4", "0.10", day=7),
    ]
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1", "t2")}


@pytest.mark.parametrize("match_type", ["many_to_one", "many_to_many"])
def test_all_members_may_lie_in_the_window_of_one_source(match_type):
    records = [
        record("s1", "1.00", day=4),
        record("s2", "2.00", day=5),
        record("t1", "3.00", day=6),
        record("s3", "2.00", day=7),
    ]
    window = {"min_days": -1, "max_days": 1}
    rule = {"match_type": match_type, "date": window}
    assert members(end_of(rule, *records)) == set()
    rule = {"match_type": match_type, "date": window | {"anchor": "source_member"}}
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1")}


def test_only_the_smallest_groups_are_left_when_a_later_rule_takes_members():
    records = [record("s", "6.00")]
    for place, amount in enumerate(["5.00", "1.00", "4.00", "2.00", "3.00", "3.00"]):
        reference = f"R{place}" if place in (0, 2, 4) else None
        records.append(record(f"t{place}", amount, reference=reference))
        if reference is not None:
            records.append(record(f"s{place}", amount, batch=None, reference=reference))
    events = end_of({}, *records, later=[PAIRS])
    assert members(events) == {("s0", "t0"), ("s2", "t2"), ("s4", "t4")}
    # 1 + 2 + 3 fits as well, yet it never was a candidate.
    assert members(events, MatchSuggested) == set()
    events = end_of({}, *records, record("t6", "3.00"), later=[PAIRS])
    assert members(events, MatchSuggested) == {("s", "t5", "t6")}


def test_a_whole_group_is_not_suggested_without_a_member_that_a_later_rule_takes():
    rule = {"group": {"whole_key": "attributes.batch"}}
    records = [record("s1", "3.00"), record("s2", "3.00")]
    records += [record("t1", "1.00"), record("t2", "2.00", reference="R")]
    events = end_of(rule, *records, later=[PAIRS])
    assert members(events, MatchSuggested) == {("s1", "s2", "t1", "t2")}
    events = end_of(rule, *records, record("s9", "2.00", batch="z", reference="R"), later=[PAIRS])
    assert members(events) == {("s9", "t2")}
    assert members(events, MatchSuggested) == set()


def test_a_member_that_a_later_rule_took_still_counts_when_a_group_is_whole():
    rule = {"group": {"whole_key": "attributes.batch"}}
    state = Reconciliation(definition(PAIRS, **rule))
    first = [
        record("s", "3.00"),
        record("t1", "1.00", reference="R"),
        record("s9", "1.00", batch="z", reference="R"),
    ]
    clock = [record("s8", "1", at="12:30", batch="x"), record("t8", "1", at="12:30", batch="y")]
    events = state.advance(Chunk([*first, *clock], caught_up=True)).events
    assert members(events) == {("s9", "t1")}
    events = state.advance(Chunk([record("t2", "2.00")], caught_up=True)).events
    assert members([*events, *state.finish().events]) == set()


def test_groups_without_any_condition_keep_to_a_currency():
    rule = {"conditions": []}
    records = [
        record("s", "3.00", batch=None),
        record("t1", "1.00"),
        record("t2", "2.00", currency="USD"),
        record("t3", "2.00"),
    ]
    assert members(end_of(rule, *records)) == {("s", "t1", "t3")}


def test_a_late_twin_makes_the_suggestion_another():
    state = Reconciliation(definition())
    first = [record("s", "2.00"), *(record(f"t{n}", "1.00") for n in range(3))]
    clock = [record("s9", "1", day=6, batch="x"), record("t9", "1", day=6, batch="y")]
    events = state.advance(Chunk([*first, *clock], caught_up=True)).events
    assert members(events, MatchSuggested) == {("s", "t0", "t1", "t2")}
    events = state.advance(Chunk([record("t3", "1.00")], caught_up=True)).events
    assert members(events, MatchSuperseded) == {("s", "t0", "t1", "t2")}
    assert members(events, MatchSuggested) == {("s", "t0", "t1", "t2", "t3")}


# -- hostile input --


def test_ten_thousand_twins_are_one_suggestion():
    records = [record("s", "3.00"), *(record(f"t{n}", "1.00") for n in range(10_000))]
    events = end_of({}, *records)
    (suggestion,) = of_kind(MatchSuggested, events)
    assert len(suggestion.target_ids) == 10_000
    records += [record(f"s{n}", "3.00") for n in range(2_000)]
    events = end_of({}, *records)
    (suggestion,) = of_kind(MatchSuggested, events)
    assert (len(suggestion.source_ids), len(suggestion.target_ids)) == (2_001, 10_000)


def test_a_search_that_hits_its_bound_says_so(monkeypatch):
    rng = random.Random(1)
    records = [record(f"t{n:02d}", str(rng.randrange(10**9, 10**12))) for n in range(30)]
    records.append(record("s", "7" * 12))
    monkeypatch.setattr(groups_of_singles, "NODES_MAX", 1_000)
    category, reason = reasons(end_of({}, *records))["s"]
    assert category == "amount_mismatch"
    assert reason.startswith("the search hit its bound: no group of fewer than")
    assert reason.endswith("of 30 target transactions fits, larger ones were not tried")


def test_both_sides_tell_the_bound(monkeypatch):
    rng = random.Random(1)
    records = [
        record(f"{side}{n:03d}", str(rng.randrange(10**9, 10**12)))
        for n in range(120)
        for side in "st"
    ]
    _, reason = reasons(end_of({"match_type": "many_to_many"}, *records))["s000"]
    assert reason.startswith("the search hit its bound: groups of")
    assert "among 120 source and 120 target transactions" in reason


def test_a_set_too_large_to_search_says_so():
    rng = random.Random(1)
    records = [
        record(f"{side}{n}", str(rng.randrange(1, 10**12))) for n in range(1_600) for side in "st"
    ]
    _, reason = reasons(end_of({}, *records))["s0"]
    assert reason.startswith("no group was searched: the bound was hit by 1600 source and 1600")


@pytest.mark.parametrize("match_type", ["one_to_many", "many_to_one", "many_to_many"])
def test_a_whole_group_of_five_thousand(match_type):
    rule = {"match_type": match_type, "group": {"whole_key": "attributes.batch"}}
    many = "s" if match_type == "many_to_one" else "t"
    one = "t" if many == "s" else "s"
    records = [record(f"{many}{n}", "1.00") for n in range(5_000)]
    (match,) = of_kind(RecordMatched, end_of(rule, *records, record(f"{one}x", "5000.00")))
    assert match.source_minor == match.target_minor == 500_000


def test_five_thousand_that_a_whole_group_fits_are_one_suggestion():
    rule = {"group": {"whole_key": "attributes.batch"}}
    records = [record(f"t{n}", "1.00") for n in range(5_000)]
    records += [record(f"s{n}", "5000.00") for n in range(5_000)]
    (suggestion,) = of_kind(MatchSuggested, end_of(rule, *records))
    assert len(suggestion.source_ids) == len(suggestion.target_ids) == 5_000
