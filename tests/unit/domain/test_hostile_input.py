"""Input made to hurt: the work stays bounded, and what was not tried is told."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.events import MatchSuggested, RecordMatched, RecordUnmatched
from domain.matching import pair_pool
from domain.matching.cases import TOO_MANY
from domain.reconciliation import Chunk, Reconciliation
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
