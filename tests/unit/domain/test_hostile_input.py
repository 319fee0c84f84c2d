"""Input made to hurt: the work stays bounded, and what was not tried is told.

Work is counted in calls of functions, never in time.
"""

import random
import sys
from collections import Counter

import pytest
import re2

from domain.definition_parsing import parse_definition
from domain.events import DuplicateDetected, MatchSuggested, RecordMatched, RecordUnmatched
from domain.matching import group_pool, near_misses, pair_pool, selection
from domain.matching.group_pool import CROWDED
from domain.matching.outcomes import TOO_MANY
from domain.matching.subset_search import NODES_MAX
from domain.patterns import compile_pattern
from domain.reconciliation import Chunk, Reconciliation
from domain.transaction_reading import read_transactions
from domain.transactions import build_transaction


def transactions(count, **fields):
    least = {
        "tenant_id": "acme", "reconciliation_id": "shop", "amount": "10.00", "currency": "EUR",
    }  # fmt: skip
    return [
        build_transaction(
            least
            | {
                "transaction_id": f"{'st'[side]}{number}",
                "occurred_at": f"2026-01-05T12:{number // 60 % 60:02d}:{number % 60:02d}Z",
            }
            | fields,
            side,
            None,
        )
        for number in range(count)
        for side in (0, 1)
    ]


def events_of(rule, given, chunk=1_000):
    definition = parse_definition(
        {"tenant_id": "acme", "reconciliation_id": "shop", "rules": [{"name": "r"} | rule]}
    )
    state = Reconciliation(definition)
    events = []
    for begin in range(0, len(given), chunk):
        events += state.advance(Chunk(given[begin : begin + chunk], caught_up=True)).events
    return events + state.finish().events


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ({}, {}),
        ({"conditions": [{"field": "reference", "operator": "exact"}]}, {"reference": "SAME"}),
    ],
    ids=["equal amounts", "identical twins"],
)
def test_what_pairs_with_everything_is_one_suggestion(rule, fields):
    events = events_of(rule, transactions(3_600, **fields))
    (suggested,) = [event for event in events if isinstance(event, MatchSuggested)]
    assert len(suggested.source_ids) == len(suggested.target_ids) == 3_600
    assert not [event for event in events if isinstance(event, RecordMatched | RecordUnmatched)]


@pytest.mark.parametrize("selection", [{}, {"tie_break": "lowest_id"}])
@pytest.mark.parametrize("seed", range(5))
def test_a_set_too_large_to_follow_is_left_alone_and_says_so(seed, selection, monkeypatch):
    monkeypatch.setattr(pair_pool, "PAIRS_MAX", 400)
    given = transactions(100)
    alone = transactions(1, amount="77.00", transaction_id="lone")
    given += alone
    random.Random(seed).shuffle(given)
    rule = {"date": {"max_seconds": 5}, "selection": selection}
    events = events_of(rule, given, chunk=1 + seed * 7)
    (matched,) = [event for event in events if isinstance(event, RecordMatched)]
    assert (matched.source_minor, matched.target_minor) == (7_700, 7_700)
    left = [event for event in events if isinstance(event, RecordUnmatched)]
    assert len(left) == 200
    assert {(event.category, event.rule, event.reason) for event in left} == {
        ("ambiguous", "r", TOO_MANY)
    }
    assert not [event for event in events if isinstance(event, MatchSuggested)]


def calls_of(rule, given, chunk=200):
    """How many functions are called to decide about some transactions, and the events."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        events = events_of(rule, given, chunk)
    finally:
        sys.setprofile(before)
    return calls, events


MANY = {"match_type": "many_to_one", "group": {"max_size": 8}}
TOLERANT = {"amount": {"tolerance": {"absolute": "0.01"}}}
ALIKE = {"reference": "SAME", "counterparty": "Twin Ltd", "description": "the same for all"}
SAME = [{"field": "reference", "operator": "exact"}]
RULES = {
    "equal amounts": {},
    "left alone": {"selection": {"ambiguity": "leave_unmatched"}},
    "in order": {"selection": {"tie_break": "lowest_id"}},
    "best first": {"selection": {"prefer": ["closest_date"]}},
    "tolerance": TOLERANT,
    "tolerance, best first": TOLERANT | {"selection": {"prefer": ["closest_date"]}},
    "seconds": {"date": {"max_seconds": 5}},
    "similar names": {
        "conditions": [{"field": "counterparty", "operator": "similarity", "minimum": "0.8"}]
    },
    "twins": {"conditions": SAME},
    "unique twins": {"conditions": [SAME[0] | {"unique": True}]},
    "whole group": {
        "match_type": "many_to_one", "conditions": SAME, "group": {"whole_key": "reference"},
    },
    "groups": MANY,
    "groups of twins": MANY | {"conditions": SAME},
    "groups of both": MANY | {"match_type": "many_to_many"},
    "suggested": {"outcome": "suggest", "conditions": SAME},
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_work_for_one_more_does_not_grow_with_those_that_are_there(rule, monkeypatch):
    monkeypatch.setattr(pair_pool, "PAIRS_MAX", 300)
    monkeypatch.setattr(group_pool, "UNKEYED_MAX", 100)
    monkeypatch.setattr(group_pool, "KEYED_MAX", 100)
    monkeypatch.setattr(selection, "_RANKED_MAX", 300)
    monkeypatch.setattr(near_misses, "FELLOWS_MAX", 20)
    few, many = 200, 800
    calls_for_few, _ = calls_of(rule, transactions(few, **ALIKE))
    calls_for_many, events = calls_of(rule, transactions(many, **ALIKE))
    # Four times as many; a set that is one suggestion is put anew as it grows.
    assert calls_for_many / many < 2 * calls_for_few / few
    # An exception looks at up to so many others that share its key.
    assert calls_for_many < 2 * many * 50 * 20
    made = Counter(type(event) for event in events)
    assert made[MatchSuggested] <= 1 or rule.get("outcome") == "suggest"
    # Whoever is neither matched nor asked about has an exception with a reason.
    told = [event for event in events if isinstance(event, RecordUnmatched)]
    assert all(event.reason for event in told)
    named = {
        (side, one)
        for event in events
        if isinstance(event, RecordMatched | MatchSuggested)
        for side, ids in enumerate((event.source_ids, event.target_ids))
        for one in ids
    } | {(event.side, event.transaction_id) for event in told}
    assert len(named) == 2 * many


def read(count):
    """That many a side of one amount, read as from Kafka: quicker than building each."""
    for begin in range(0, count, 10_000):
        for side in (0, 1):
            raws = [
                b'{"tenant_id":"acme","reconciliation_id":"shop","transaction_id":"%c%d",'
                b'"amount":"10.00","currency":"EUR","occurred_at":"2026-01-05T12:%02d:%02dZ"}'
                % (b"st"[side], number, number // 60 % 60, number % 60)
                for number in range(begin, min(begin + 10_000, count))
            ]
            (one,) = read_transactions(raws, range(len(raws)), side, 1 << 60)
            yield one.transactions


def test_a_hundred_thousand_of_equal_amount_are_one_suggestion():
    definition = parse_definition(
        {"tenant_id": "acme", "reconciliation_id": "shop", "rules": [{"name": "r"}]}
    )
    state = Reconciliation(definition)
    events = [event for some in read(50_000) for event in state.advance(Chunk(some)).events]
    events += state.finish().events
    (suggested,) = [
        event
        for event in events
        if isinstance(event, MatchSuggested | RecordMatched | RecordUnmatched)
    ]
    assert isinstance(suggested, MatchSuggested)
    assert len(suggested.source_ids) + len(suggested.target_ids) == 100_000


def test_ten_thousand_twins_of_a_value_that_occurs_once_are_its_duplicates():
    rule = {"conditions": [SAME[0] | {"unique": True}]}
    made = Counter(type(event) for event in events_of(rule, transactions(5_000, **ALIKE)))
    assert made[RecordMatched] == 1
    assert made[DuplicateDetected] == 9_998


def members(count, **fields):
    """Sources of one batch, in minutes one after the other, and the target they sum to."""
    batch = [one for one in transactions(count, **ALIKE | fields) if one.side == 0]
    (single,) = (
        one
        for one in transactions(1, **ALIKE | {"amount": f"{count * 10}.00", "transaction_id": "x"})
        if one.side == 1
    )
    return batch, single


def test_a_whole_group_of_five_thousand_is_one_match():
    batch, single = members(5_000)
    calls, events = calls_of(RULES["whole group"], [*batch, single], chunk=500)
    (matched,) = [event for event in events if isinstance(event, RecordMatched)]
    assert len(matched.source_ids) == 5_000
    assert calls < 5_000 * 400
    assert not [event for event in events if isinstance(event, RecordUnmatched | MatchSuggested)]


def test_groups_of_five_thousand_different_amounts_are_not_all_tried_and_that_is_told():
    chance = random.Random(1)
    batch = [
        transactions(1, **ALIKE | {
            "transaction_id": f"s{number}", "amount": f"{chance.randrange(10**15)}.17",
        })[0]
        for number in range(5_000)
    ]  # fmt: skip
    total = sum(one.amount_minor for one in batch[:6])
    (single,) = (
        one
        for one in transactions(
            1, **ALIKE | {"amount": f"{total // 100}.{total % 100:02d}", "transaction_id": "x"}
        )
        if one.side == 1
    )
    calls, events = calls_of(MANY | {"conditions": SAME}, [*batch, single], chunk=1_000)
    assert calls < NODES_MAX
    assert not [event for event in events if isinstance(event, RecordMatched | MatchSuggested)]
    (left,) = [event for event in events if isinstance(event, RecordUnmatched) and event.side == 1]
    assert "bound" in left.reason
    assert "5000" in left.reason.replace(",", "")


def test_more_than_a_group_is_searched_among_are_told(monkeypatch):
    monkeypatch.setattr(group_pool, "KEYED_MAX", 500)
    events = events_of(MANY | {"conditions": SAME}, transactions(251, **ALIKE))
    reasons = {event.reason for event in events if isinstance(event, RecordUnmatched)}
    assert reasons == {CROWDED}


@pytest.mark.parametrize(
    "pattern", ["^((a+)+)$", "^((a|aa)+)$", "^(([a-z]+.?)*)$", "((a*)*b)", "(.*.*.*.*=)"]
)
def test_a_pattern_built_to_backtrack_does_not(pattern):
    # Each of these takes a backtracking engine more steps than there are atoms.
    given = transactions(50, description="a" * 511 + "!", reference="a")
    condition = {
        "source_field": "reference", "target_field": "description", "operator": "regex_extract",
        "pattern": pattern,
    }  # fmt: skip
    calls, events = calls_of({"conditions": [condition]}, given)
    plain, _ = calls_of({"conditions": [condition | {"pattern": "(b)"}]}, given)
    assert calls < 2 * plain
    assert not [event for event in events if isinstance(event, RecordMatched)]
    assert isinstance(compile_pattern(pattern), re2._Regexp)
