"""The promise of CONTRACT §4.8: whatever the way in, the end is the rules run over everything."""

import random

import pytest

from domain.matching.legs import DISPOSITIONS, Leg
from domain.reconciliation import Chunk, Reconciliation
from tests.unit.domain import reference
from tests.unit.domain.cases import DAY, MINUTE, some_definition, some_transactions
from tests.unit.domain.ledger import Ledger


def open_exceptions(state):
    return {(leg.side, leg.transaction_id) for leg in state.book.exceptions}


def play(definition, chunks):
    """Run chunks through the flow of time; give the ledger, the state and the prefix outcomes."""
    state = Reconciliation(definition)
    ledger = Ledger()
    finals = []
    for number, chunk in enumerate(chunks):
        before = set(ledger.confirmed)
        decision = state.advance(Chunk(chunk, caught_up=True))
        ledger.read(decision.events, definition)
        finals += [(number, one) for one in ledger.confirmed - before]
    decision = state.finish()
    ledger.read(decision.events, definition)
    return state, ledger, finals


def in_chunks(rng, transactions):
    chunks, rest = [], list(transactions)
    while rest:
        size = rng.randint(1, 4)
        chunks.append(rest[:size])
        rest = rest[size:]
    return chunks


def check_end(seed, definition, transactions, state, ledger):
    expected = reference.run(definition, transactions)
    label = f"seed={seed} rules={definition.rules}"
    assert ledger.confirmed == expected.confirmed, label
    assert set(ledger.suggested.values()) == expected.suggested, label
    assert ledger.duplicates == expected.duplicates, label
    assert open_exceptions(state) == expected.exceptions, label


@pytest.mark.parametrize("block", range(8))
def test_any_order_before_finality_ends_in_the_batch_result(block):
    for seed in range(block * 150, block * 150 + 150):
        rng = random.Random(seed)
        definition = some_definition(rng, lateness_us=400 * DAY, unique=False)
        transactions = some_transactions(rng, rng.randint(2, 12))
        for _ in range(2):
            rng.shuffle(transactions)
            state, ledger, _ = play(definition, in_chunks(rng, transactions))
            check_end(seed, definition, transactions, state, ledger)


@pytest.mark.parametrize("block", range(8))
def test_finality_on_the_way_ends_in_the_batch_result_where_promised(block):
    promised = 0
    for seed in range(10_000 + block * 200, 10_000 + block * 200 + 200):
        rng = random.Random(seed)
        definition = some_definition(rng, lateness_us=rng.choice([0, 10 * MINUTE]))
        transactions = some_transactions(rng, rng.randint(3, 12))
        transactions.sort(key=lambda one: one.occurred_at + rng.randint(0, 15) * MINUTE)
        chunks = in_chunks(rng, transactions)
        state, ledger, finals = play(definition, chunks)
        prefix, kept = [], True
        for number, chunk in enumerate(chunks):
            prefix += chunk
            outcome = reference.run(definition, prefix)
            made = {match for at, match in finals if at <= number}
            kept = kept and made <= outcome.confirmed
        duplicates_moved = ledger.duplicates - reference.run(definition, transactions).duplicates
        if kept and not duplicates_moved:
            promised += 1
            check_end(seed, definition, transactions, state, ledger)
    assert promised > 80, "the cases must exercise the promise, not its exceptions"


@pytest.mark.parametrize("seed", range(300))
def test_every_transaction_has_one_disposition_and_redelivery_changes_nothing(seed):
    rng = random.Random(50_000 + seed)
    definition = some_definition(rng, lateness_us=5 * MINUTE)
    transactions = some_transactions(rng, rng.randint(2, 14))
    again = [*transactions, *rng.sample(transactions, k=len(transactions) // 2)]
    state = Reconciliation(definition)
    accepted = redelivered = 0
    for chunk in in_chunks(rng, again):
        decision = state.advance(Chunk(chunk, caught_up=rng.random() < 0.7))
        accepted += len(decision.journal)
        redelivered += decision.events[0].redelivered if decision.journal else 0
        assert not decision.rejections
    assert accepted == len(transactions)
    matched = set()
    for side in (0, 1):
        for identity, entry in state.book.known[side].items():
            if isinstance(entry, Leg):
                assert DISPOSITIONS[entry.disposition] in ("pending", "suggested", "exception")
                assert (entry.disposition == 1) == bool(entry.suggestions)
                assert (entry in state.book.exceptions) == (entry.disposition == 2)
            else:
                matched.add((side, identity))
    total = sum(len(known) for known in state.book.known)
    assert total == len(transactions)
