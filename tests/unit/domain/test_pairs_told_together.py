"""Pairs of a unique rule are told together as they are decided."""

import json

import pytest

from domain.definition_parsing import parse_definition
from domain.events import RecordMatched
from domain.matched_pairs import MatchedPairs
from domain.reconciliation import Chunk, Reconciliation
from domain.transaction_reading import read_transactions
from domain.transactions import SOURCE, TARGET

DEFINITION = {
    "tenant_id": "t", "reconciliation_id": "r", "name": "n",
    "rules": [{"name": "reference", "match_type": "one_to_one",
               "amount": {"tolerance": {"absolute": "0.05"}},
               "conditions": [{"field": "reference", "operator": "exact", "unique": True}]}],
}  # fmt: skip
NOW_US = 1_800_000_000_000_000


def chunk(side, numbers, amount):
    raws = [
        json.dumps({
            "tenant_id": "t", "reconciliation_id": "r", "transaction_id": f"{side}-{number}",
            "amount": amount, "currency": "EUR", "reference": f"R{number}",
            "occurred_at": "2026-01-05T10:00:00Z",
        }).encode()
        for number in numbers
    ]  # fmt: skip
    (read,) = read_transactions(raws, range(len(raws)), side, NOW_US)
    return Chunk(read.transactions, read.raws)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("last", [SOURCE, TARGET])
def test_pairs_are_told_together_and_count_one_each(count, last):
    state = Reconciliation(parse_definition(DEFINITION, "t", "r"))
    state.advance(chunk(1 - last, range(count), ("10.00", "10.03")[1 - last]))
    before = state.version
    decided = state.advance(chunk(last, range(count), ("10.00", "10.03")[last]))
    events = [one for one in decided.events if isinstance(one, RecordMatched)]
    assert [(one.source_ids, one.target_ids) for one in events] == [
        ((f"{SOURCE}-{number}",), (f"{TARGET}-{number}",)) for number in range(count)
    ]
    assert {(one.source_minor, one.target_minor) for one in events} == {(1000, 1003)}
    assert state.version - before == len(decided.events)
    together = [one for one in decided.told if isinstance(one, MatchedPairs)]
    assert [len(one.pairs) for one in together] == ([count] if count > 1 else [])
