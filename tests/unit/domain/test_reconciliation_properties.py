"""The promise of CONTRACT §4.8: whatever the way in, the end is the rules run over everything."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from domain.definitions import Condition, DateWindow, Rule
from domain.matching.legs import DISPOSITIONS, Leg
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import build_transaction
from tests.unit.domain import reference
from tests.unit.domain.cases import DAY, EQUAL, MINUTE, some_definition, some_transactions
from tests.unit.domain.ledger import Ledger

pytestmark = pytest.mark.usefixtures("few")


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


def some_late_world(rng):
    """Rules that leave much over to later ones, waits that end before the last has come."""
    plain = Condition("reference", "reference", "exact", unique=False)
    first = Rule(
        "first", "one_to_one", (plain,), EQUAL, None, None,
        rng.choice(["leave_unmatched", "lowest_id"]), 0, immediate=False,
    )  # fmt: skip
    kind = rng.choice(["plain", "window", "tolerance", "group"])
    many = rng.choice(["one_to_many", "many_to_one"])
    batch = Condition("attributes.batch", "attributes.batch", "exact", unique=False)
    second = replace(
        first,
        name="second",
        match_type=many if kind == "group" else "one_to_one",
        conditions=(batch,) if kind == "group" else (),
        whole_key="attributes.batch" if kind == "group" else None,
        amount=replace(EQUAL, kind="tolerance", absolute=Decimal("0.01"))
        if kind == "tolerance"
        else EQUAL,
        date=DateWindow(None, None, "UTC", True, max_seconds=1_200) if kind == "window" else None,
        selection=rng.choice(["suggest", "leave_unmatched", "lowest_id"]),
    )
    definition = some_definition(rng, lateness_us=0, unique=False)
    return replace(
        definition,
        window=replace(definition.window, wait_us=rng.choice([MINUTE, 5 * MINUTE])),
        rules=(first, second),
    )


def some_late_records(rng):
    """Few values of everything; who has a reference comes late."""
    transactions = []
    for number in range(rng.randint(4, 9)):
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": f"{number}",
            "amount": rng.choice(["1.00", "1.00", "1.01", "2.00"]), "currency": "EUR",
            "occurred_at": f"2026-01-05T12:{rng.randint(0, 20):02d}:00Z",
            "attributes": {"batch": rng.choice("xy")},
        }  # fmt: skip
        if rng.random() < 0.5:
            fields["reference"] = rng.choice(["A", "B"])
        transactions.append(build_transaction(fields, rng.randint(0, 1), None))
    late = [one for one in transactions if one.reference and rng.random() < 0.4]
    early = [one for one in transactions if one not in late]
    early.sort(key=lambda one: one.occurred_at)
    return early + late


@pytest.mark.parametrize("block", range(4))
def test_who_was_left_ambiguous_is_looked_at_again_when_a_rival_leaves(block):
    promised = 0
    for seed in range(30_000 + block * 250, 30_000 + block * 250 + 250):
        rng = random.Random(seed)
        definition = some_late_world(rng)
        transactions = some_late_records(rng)
        chunks = in_chunks(rng, transactions)
        state, ledger, finals = play(definition, chunks)
        prefix, kept = [], True
        for number, chunk in enumerate(chunks):
            prefix += chunk
            outcome = reference.run(definition, prefix)
            kept = kept and {match for at, match in finals if at <= number} <= outcome.confirmed
        if kept:
            promised += 1
            check_end(seed, definition, transactions, state, ledger)
    assert promised > 100, "the cases must exercise the promise, not its exceptions"
