"""Corrections: whatever the order, the end is as if only what stands had come."""

from itertools import permutations

import pytest

from domain.definition_parsing import parse_definition
from domain.events import (
    ExceptionResolved,
    MatchReversed,
    RecordMatched,
    TransactionsAccepted,
    TransactionSuperseded,
)
from domain.matching.legs import Superseded
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transactions import Transaction, build_transaction
from tests.unit.domain.ledger import Ledger
from tests.unit.domain.test_reconciliation_folding import facts

UNIQUE = parse_definition(
    {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "name": "Orders",
        "rules": [
            {
                "name": "reference",
                "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            }
        ],
    }
)
SETTLING = parse_definition(
    {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "name": "Orders",
        "rules": [
            {
                "name": "group",
                "match_type": "many_to_one",
                "conditions": [{"field": "reference", "operator": "exact"}],
                "group": {"whole_key": "reference"},
            }
        ],
    }
)


def record(side, name, reference, amount="10.00", supersedes=None, minute=0, day=5) -> Transaction:
    built = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": name,
            "amount": amount,
            "currency": "EUR",
            "occurred_at": f"2026-01-{day:02d}T12:{minute:02d}:00Z",
            "reference": reference,
            "supersedes": supersedes,
        },
        side,
        None,
    )
    assert isinstance(built, Transaction), built
    return built


def run(definition, *chunks):
    state = Reconciliation(definition)
    folded = Reconciliation(definition)
    ledger = Ledger()
    events = []
    for chunk in chunks:
        decision = state.advance(Chunk(list(chunk)))
        assert not decision.rejections
        ledger.read(decision.events, definition)
        folded.evolve_all(decision.events, decision.journal)
        assert facts(folded) == facts(state)
        events += decision.events
    state = restore(snapshot(state))
    decision = state.finish()
    ledger.read(decision.events, definition)
    return ledger, events + decision.events


def test_a_matched_record_gives_way_and_frees_its_counterpart():
    wrong = record(0, "s1", "A")
    counterpart = record(1, "t1", "A")
    right = record(0, "s2", "B", supersedes="s1")
    real = record(0, "s3", "A")
    ledger, events = run(UNIQUE, [wrong, counterpart], [right], [real])
    assert ledger.confirmed == {("reference", ("s3",), ("t1",))}
    assert ledger.superseded == [(0, "s1")]
    assert ledger.open_cases == {(0, "s2")}
    told = [type(event) for event in events]
    assert told[:6] == [
        TransactionsAccepted,
        RecordMatched,
        MatchReversed,
        TransactionSuperseded,
        TransactionsAccepted,
        TransactionsAccepted,
    ]
    reversed_ = next(event for event in events if isinstance(event, MatchReversed))
    assert reversed_.reason == "s1 was corrected by s2"
    assert reversed_.command_id is None


@pytest.mark.parametrize("together", [True, False])
def test_in_every_order_the_end_is_what_stands(together):
    """The first of a value is corrected away, so its duplicate is none."""
    first = record(0, "s1", "A")
    second = record(0, "s2", "A", minute=1)
    correction = record(0, "s3", "B", supersedes="s1")
    targets = [record(1, "t1", "A"), record(1, "t2", "B")]
    for order in permutations([first, second, correction, *targets]):
        chunks = [order] if together else [[one] for one in order]
        ledger, _ = run(UNIQUE, *chunks)
        label = [one.transaction_id for one in order]
        assert ledger.confirmed == {
            ("reference", ("s2",), ("t1",)),
            ("reference", ("s3",), ("t2",)),
        }, label
        assert not ledger.open_cases, label
        assert not ledger.duplicates, label
        assert ledger.superseded == [(0, "s1")], label


@pytest.mark.parametrize("value", ["A", "B"])
def test_a_duplicate_is_corrected_under_its_own_id_and_then_its_first_is(value):
    """Whether it stays a duplicate of that value or becomes another's, it was set aside once."""
    ledger, events = run(
        UNIQUE,
        [record(0, "s1", "A"), record(0, "s0", "B"), record(0, "s2", "A", "11.00", minute=1)],
        [record(0, "s2", value, "10.00", supersedes="s2", minute=1)],
        [record(0, "s3", "C", supersedes="s1")],
        [record(1, "t1", "A")],
    )
    matches = {("reference", ("s2",), ("t1",))} if value == "A" else set()
    assert ledger.confirmed == matches
    assert ledger.duplicates == (set() if matches else {(0, "s2")})
    ended = [one for one in events if isinstance(one, ExceptionResolved)]
    assert [one.resolution for one in ended] == ["superseded"] + ["first_corrected"] * len(matches)


def test_a_record_corrected_under_its_own_id():
    old, new = record(0, "s1", "A", "9.00"), record(0, "s1", "A", "10.00", supersedes="s1")
    target = record(1, "t1", "A")
    for order in permutations([old, new, target, old, new]):
        ledger, events = run(UNIQUE, *([one] for one in order))
        assert ledger.confirmed == {("reference", ("s1",), ("t1",))}
        matched = next(event for event in events if isinstance(event, RecordMatched))
        assert matched.source_minor == 1000
        assert ledger.superseded == [(0, "s1")]
        accepted = [event for event in events if isinstance(event, TransactionsAccepted)]
        assert sum(entry[2] for event in accepted for entry in event.counts) == 3


def test_other_content_under_a_known_id_is_refused_unless_it_corrects_that_id():
    state = Reconciliation(UNIQUE)
    decision = state.advance(
        Chunk(
            [
                record(0, "s1", "A", "9.00"),
                record(0, "s1", "A", "10.00"),
                record(0, "s2", "B"),
                record(0, "s2", "B", "11.00", supersedes="s1"),
                record(0, "s1", "A", "12.00", supersedes="s1"),
                record(0, "s1", "A", "13.00"),
            ]
        )
    )
    assert [one.code for one in decision.rejections] == ["conflicting_duplicate"] * 3
    assert len(decision.journal) == 3


def test_what_came_before_a_correction_in_its_chunk_is_counted_with_it():
    state = Reconciliation(UNIQUE)
    old = record(0, "s1", "A")
    state.advance(Chunk([old]))
    decision = state.advance(Chunk([old, record(0, "s2", "B", supersedes="s1")], rejected=3))
    (accepted,) = [one for one in decision.events if isinstance(one, TransactionsAccepted)]
    assert (accepted.counts, accepted.redelivered, accepted.rejected) == (
        [(0, "EUR", 1, 1000)],
        1,
        3,
    )


def test_a_chain_of_corrections_leaves_its_last():
    chain = [
        record(0, "s1", "A"),
        record(0, "s2", "A", supersedes="s1"),
        record(0, "s3", "B", supersedes="s2"),
    ]
    for order in permutations([*chain, record(1, "t1", "B")]):
        ledger, _ = run(UNIQUE, *([one] for one in order))
        assert ledger.confirmed == {("reference", ("s3",), ("t1",))}
        assert sorted(ledger.superseded) == [(0, "s1"), (0, "s2")]


def test_a_group_is_matched_anew_with_the_corrected_member():
    members = [record(0, "s1", "A", "4.00"), record(0, "s2", "A", "6.00")]
    single = record(1, "t1", "A", "10.00")
    correction = record(0, "s3", "A", "7.00", supersedes="s2")
    fitting = record(0, "s4", "A", "-1.00")  # a refund within the group
    for order in permutations([*members, single, correction, fitting]):
        ledger, _ = run(SETTLING, *([one] for one in order))
        assert ledger.confirmed == {("group", ("s1", "s3", "s4"), ("t1",))}
        assert not ledger.open_cases


def test_an_exception_of_a_corrected_record_ends():
    state = Reconciliation(SETTLING)
    state.advance(Chunk([record(0, "s1", "A"), record(1, "t9", "Z")]))
    late = record(1, "t1", "Q", minute=1)
    far = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": "far",
            "amount": "1",
            "currency": "EUR",
            "occurred_at": "2026-01-10",
        },
        0,
        None,
    )
    assert isinstance(far, Transaction)
    later = [far, build_transaction({**_plain(far), "transaction_id": "far"}, 1, None), late]
    opened = state.advance(Chunk(later, caught_up=True))
    ledger = Ledger()
    ledger.read(opened.events, SETTLING)
    assert (0, "s1") in ledger.open_cases
    decision = state.advance(Chunk([record(0, "s2", "A", supersedes="s1")]))
    ledger.read(decision.events, SETTLING)
    assert (0, "s1") not in ledger.open_cases
    ended = next(event for event in decision.events if isinstance(event, ExceptionResolved))
    assert (ended.transaction_id, ended.resolution) == ("s1", "superseded")
    assert isinstance(state.book.known[0]["s1"], Superseded)


def test_a_value_used_again_after_a_correction_is_remembered_with_its_new_day():
    state = Reconciliation(UNIQUE)
    # The first pair of a day is noted member by member, the ones after it by their value.
    state.advance(Chunk([record(0, "s0", "Q"), record(1, "t0", "Q")]))
    state.advance(Chunk([record(0, "s1", "A"), record(1, "t1", "A")]))
    corrections = [record(0, "s2", "B", supersedes="s1"), record(1, "t2", "B", supersedes="t1")]
    state.advance(Chunk(corrections))
    anew = [record(0, "s3", "A", day=9), record(1, "t3", "A", day=9)]
    assert state.advance(Chunk(anew)).events[-1].source_ids == ("s3",)
    # Day 5 is forgotten now, day 9 is not.
    far = [record(0, "s4", "F", day=14), record(1, "t4", "G", day=14)]
    state.advance(Chunk(far, caught_up=True))
    assert "s2" not in state.book.known[0]
    again = state.advance(Chunk(anew))
    assert not again.journal
    assert not again.rejections


@pytest.mark.parametrize("reference", ["A", "C"])
def test_a_corrected_duplicate_is_a_duplicate_of_what_it_says_now_alone(reference):
    """Its first record stays aside no more, so the value it left does not bring it back."""
    older, first = record(0, "s1", "A"), record(0, "s2", "A", minute=1)
    holder = record(0, "s0", "C")
    duplicate = record(0, "s2", reference, amount="11.00", supersedes="s2", minute=2)
    away = record(0, "s3", "B", supersedes="s1")
    ledger, _ = run(UNIQUE, [holder], [older], [first], [duplicate, away])
    assert ledger.duplicates == ({(0, "s2")} if reference == "C" else set())
    assert ledger.open_cases >= {(0, "s0"), (0, "s3"), (0, "s2")}


def _plain(one: Transaction) -> dict[str, object]:
    return {
        "tenant_id": one.tenant_id,
        "reconciliation_id": one.reconciliation_id,
        "amount": "1",
        "currency": one.currency,
        "occurred_at": "2026-01-10",
    }
