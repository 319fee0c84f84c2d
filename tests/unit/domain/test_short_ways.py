"""The short ways of plain records match and leave the same as the long way of all."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.events import ExceptionReclassified, RecordMatched
from domain.matching.lone_pairs import LonePairs
from domain.matching.pairing import Pairing
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import build_transaction

RECORDS = 120
NAMES = [f"N-{number}" for number in range(12)]


def some_rules(rng, *, unique):
    """A first rule that most meet their counterpart by, and others that find by other keys."""
    reference = {"field": "reference", "operator": "exact"}
    rules = [
        {
            "name": "reference",
            "conditions": [reference | ({"unique": True} if unique else {})],
            "settle": rng.choice(["PT0S", "PT3M"]),
        },
        {"name": "name", "conditions": [{"field": "counterparty", "operator": "exact"}]},
        {"name": "text", "conditions": [{"field": "description", "operator": "casefold"}]},
    ]
    if unique:
        del rules[0]["settle"]
    return rules[: rng.choice([2, 3])]


def some_world(rng, *, unique):
    """A definition under which exceptions open on the way, and records in order of time."""
    definition = parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "name": "Orders",
            "window": {"wait": "PT10M", "lateness": "PT0S", "remember": "P7D"},
            "rules": some_rules(rng, unique=unique),
        }
    )
    records = []
    for number in range(RECORDS):
        pair, side = divmod(number, 2)
        late = rng.choice([0, 0, 0, 4, 15]) if side else 0
        minute = pair + late
        fields = {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": f"{'st'[side]}{pair}",
            "reference": f"R-{pair}",
            # No two pairs agree, so the other rules find near misses and no match.
            "amount": f"{pair + 1}.{rng.choice([0] * 8 + [50]):02d}",
            # The same number of another currency's units is other money.
            "currency": rng.choice(["EUR"] * 9 + ["USD"]),
            "counterparty": rng.choice(NAMES),
            "description": rng.choice(NAMES),
            "occurred_at": f"2026-01-05T{12 + minute // 60:02d}:{minute % 60:02d}:00Z",
        }
        records.append((minute, build_transaction(fields, side, None)))
    records.sort(key=lambda one: one[0])
    return definition, [one for _, one in records]


def run(definition, records, chunk):
    """The matches of every step and the exceptions it leaves; how often one was told anew.

    Within a step the short way takes pairs first, so that an exception may never name one of them.
    """
    state = Reconciliation(definition)
    steps, reclassified = [], 0
    for begin in range(0, len(records), chunk):
        for side in (0, 1):
            some = [one for one in records[begin : begin + chunk] if one.side == side]
            events = state.advance(Chunk(some, caught_up=True)).events
            reclassified += sum(isinstance(event, ExceptionReclassified) for event in events)
            matches = [event for event in events if isinstance(event, RecordMatched)]
            steps.append((sorted(map(repr, matches)), exceptions(state)))
    return steps, reclassified


def exceptions(state):
    """Open exceptions: side and id → category and the candidates named."""
    return {(leg.side, leg.transaction_id): what for leg, what in state.book.exceptions.items()}


@pytest.mark.parametrize("unique", [True, False], ids=["unique", "settling"])
def test_the_short_ways_leave_what_the_long_way_does(unique, monkeypatch):
    reclassified = 0
    for seed in range(40):
        rng = random.Random(seed)
        definition, records = some_world(rng, unique=unique)
        chunk = rng.choice([4, 12, 40])
        short, _ = run(definition, records, chunk)
        with monkeypatch.context() as patched:
            for way in (Pairing, LonePairs):
                patched.setattr(way, "of", classmethod(lambda *_: None))
            long, told = run(definition, records, chunk)
        reclassified += told
        assert short == long, f"seed {seed}"
    assert reclassified > 40, "these worlds do not show what they are for"
