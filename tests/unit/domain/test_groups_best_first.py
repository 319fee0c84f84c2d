"""Groups taken best first: who loses a candidate is ranked anew before the next is taken."""

from domain.definition_parsing import parse_definition
from domain.events import RecordMatched
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import build_transaction

DEFINITION = parse_definition(
    {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "rules": [
            {
                "name": "closest",
                "match_type": "many_to_one",
                "group": {"max_size": 2},
                "amount": {"tolerance": {"absolute": "0.01"}},
                "selection": {"prefer": ["closest_amount"]},
            }
        ],
    }
)


def test_a_larger_group_that_is_closer_comes_before_what_ranked_behind_the_one_lost():
    given = [(0, "b0", "1.02"), (1, "b1", "1.02"), (0, "b3", "1.08"), (1, "b4", "1.08"),
             (0, "a6", "-0.05"), (1, "c2", "1.03")]  # fmt: skip
    state = Reconciliation(DEFINITION)
    for side, name, amount in given:
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
            "amount": amount, "currency": "EUR", "occurred_at": "2026-01-05T12:00:00Z",
        }  # fmt: skip
        state.advance(Chunk([build_transaction(fields, side, None)]))
    matched = {
        (tuple(event.source_ids), tuple(event.target_ids))
        for event in state.finish().events
        if isinstance(event, RecordMatched)
    }
    # c2 was nearest b0 alone; without b0 it is met exactly by two, of lower ids than b3 alone.
    assert matched == {(("b0",), ("b1",)), (("a6", "b3"), ("c2",))}
