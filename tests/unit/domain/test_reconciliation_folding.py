"""Deciding live, folding what was recorded and restoring a snapshot end in the same state."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.event_batches import decode_events, encode_plain
from domain.events import DuplicateDetected, RecordMatched, TransactionsAccepted
from domain.matching.book import Book
from domain.matching.legs import DISPOSITIONS, Leg, Settled, Superseded
from domain.matching.recalling import pair_off_again
from domain.matching.unique_pool import UniquePool
from domain.reconciliation import Chunk, Reconciliation
from domain.snapshots import restore, snapshot
from domain.transactions import build_transaction
from tests.unit.domain.cases import MINUTE, some_transactions, some_written_definition
from tests.unit.domain.test_reconciliation_properties import in_chunks

pytestmark = pytest.mark.usefixtures("few")


def of_entry(entry):
    match entry:
        case Leg():
            return (
                DISPOSITIONS[entry.disposition],
                entry.keys,
                entry.occurred_at,
                entry.amount_minor,
                entry.suggestions,
            )
        case Settled():
            rivals = sorted((leg.side, leg.transaction_id) for leg in entry.rivals)
            return entry.rule, entry.newest_ms, entry.packed(0), entry.packed(1), rivals
        case Superseded():
            return entry.by, entry.contents
    return entry


def known(book: Book):
    return [{identity: of_entry(entry) for identity, entry in side.items()} for side in book.known]


def pools(book: Book):
    """Who is found where, rivals included, and which values are spent."""
    contents = []
    for pool in book.pools:
        members = {}
        legs = [leg for side in book.known for leg in side.values() if isinstance(leg, Leg)]
        legs += book.closed.rivals()
        for leg in legs:
            found = pool.around(leg)
            if found is not None:
                members[(leg.side, leg.transaction_id)] = [
                    sorted((one.transaction_id, one.rule) for one in side)
                    for side in (found.sources, found.targets)
                ]
        spent = (
            [dict(pool.spent(side)) for side in (0, 1)] if isinstance(pool, UniquePool) else None
        )
        aside = (
            sorted(one for one in pool.aside if isinstance(book.known[one[0]].get(one[1]), bytes))
            if isinstance(pool, UniquePool)
            else None
        )
        contents.append((members, spent, aside))
    return contents


def facts(state: Reconciliation):
    """Everything that a later decision can depend on, apart from when a leg is looked at."""
    book = state.book
    return {
        "version": state.version,
        "definition": (state.definition_version, state.definition),
        "newest": state.newest,
        "watermark": state.watermark_us,
        "commands": state.commands,
        "paused": state.paused,
        "runs": {
            one: (run.from_us, run.to_us, run.status) for one, run in state.runs.by_id.items()
        },
        "replaced": book.replaced,
        "refusals": list(book.refusals),
        "known": known(book),
        "pools": pools(book),
        "exceptions": {
            (leg.side, leg.transaction_id): noted for leg, noted in book.exceptions.items()
        },
        "suggestions": {
            identity: (one.rule, one.rule_index, one.single)
            for identity, one in sorted(book.suggestions.items())
        },
    }


def begin(rng):
    definition = some_written_definition(rng, lateness_us=5 * MINUTE)
    state = Reconciliation(definition)
    return state, state.define(definition, "command-1")


@pytest.mark.parametrize("seed", range(250))
def test_folding_the_events_gives_the_state_that_decided_them(seed):
    rng = random.Random(seed)
    live, decision = begin(rng)
    folded = Reconciliation(live.definition)
    folded.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
    for chunk in in_chunks(rng, some_transactions(rng, rng.randint(4, 16))):
        decision = live.advance(Chunk(chunk, caught_up=True))
        folded.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
        # Event time is recorded when it decides something or a minute of it has passed.
        folded.watermark_us = live.watermark_us
        assert facts(folded) == facts(live), f"seed={seed}"


@pytest.mark.parametrize("seed", range(250))
def test_a_restart_anywhere_decides_the_same_from_there_on(seed):
    rng = random.Random(1_000 + seed)
    undisturbed, _ = begin(random.Random(seed))
    restarted, _ = begin(random.Random(seed))
    for chunk in in_chunks(rng, some_transactions(rng, rng.randint(4, 16))):
        if rng.random() < 0.5:
            restarted = restore(snapshot(restarted))
        ours = restarted.advance(Chunk(chunk, caught_up=True))
        theirs = undisturbed.advance(Chunk(chunk, caught_up=True))
        assert ours.events == theirs.events, f"seed={seed}"
    assert restore(snapshot(restarted)).finish().events == undisturbed.finish().events
    assert snapshot(restore(snapshot(undisturbed))) == snapshot(undisturbed)


def test_matches_recorded_one_after_another_are_folded_together(monkeypatch):
    """Pairs by a unique first rule go the short way; what a later rule made of them is there."""
    taken = []

    def counted(book, events):
        closed = pair_off_again(book, events)
        taken.append((len(events), len(closed)))
        return closed

    monkeypatch.setattr("domain.folding.pair_off_again", counted)
    plain = {
        "rules": [
            {
                "name": "unique",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            },
            {"name": "later", "conditions": [{"field": "counterparty", "operator": "exact"}]},
        ]
    }
    live = Reconciliation(parse_definition(plain, "acme", "orders"))
    decisions = [live.define(live.definition, "command-1")]
    for side in (0, 1):
        chunk = [
            build_transaction(
                {
                    "tenant_id": "acme",
                    "reconciliation_id": "orders",
                    "transaction_id": f"{side}-{number}",
                    "amount": "1.00",
                    "currency": "EUR",
                    "occurred_at": "2026-01-05T10:00:00Z",
                    "reference": f"r-{number}" if number % 5 else None,
                    "counterparty": "c",
                },
                side,
                None,
            )
            for number in range(40)
        ]
        decisions.append(live.advance(Chunk(chunk, caught_up=True)))
    folded = Reconciliation(live.definition)
    for decision in decisions:
        folded.evolve_all(decode_events(encode_plain(decision.events)), decision.journal)
    assert (32, 64) in taken
    assert facts(folded) == facts(live)
    assert restore(snapshot(folded)).finish().events == live.finish().events


@pytest.mark.parametrize(
    ("rule", "reference"),
    [("unique", "r-1"), ("unique", "r-2"), ("of another definition", "r-1")],
    ids=["as the rule says", "of two keys", "by a rule that is not there"],
)
def test_what_was_recorded_as_matched_is_matched_whatever_the_rules_say_now(rule, reference):
    raw = {
        "rules": [
            {
                "name": "unique",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            }
        ]
    }
    state = Reconciliation(parse_definition(raw, "acme", "orders"))
    decision = state.define(state.definition, "command-1")
    fields = {"tenant_id": "acme", "reconciliation_id": "orders", "amount": "1.00",
              "currency": "EUR", "occurred_at": "2026-01-05T10:00:00Z"}  # fmt: skip

    def record(side, name, its):
        return build_transaction(fields | {"transaction_id": name, "reference": its}, side, None)

    journal = [record(0, "s1", "r-1").packed, record(1, "t1", reference).packed]
    counts = [(0, "EUR", 1, 100), (1, "EUR", 1, 100)]
    folded = Reconciliation(state.definition)
    folded.evolve_all(decision.events, [])
    folded.evolve_all([TransactionsAccepted(counts, {}, 0, 0)], journal)
    newest_ms = record(0, "s1", "r-1").occurred_at // 1000
    folded.evolve_all(
        [RecordMatched(rule, "one_to_one", 1, ("s1",), ("t1",), "EUR", 100, 100, newest_ms)], []
    )
    assert {type(one) for side in folded.book.known for one in side.values()} == {Settled}
    (pool,) = folded.book.pools
    assert (pool.spent_by(0, "r-1"), pool.spent_by(1, reference)) == ("s1", "t1")
    again = [record(0, "s2", "r-1"), record(1, "t2", reference)]
    events = folded.advance(Chunk(again, caught_up=True)).events
    found = [
        (one.side, one.transaction_id, one.first_transaction_id)
        for one in events
        if isinstance(one, DuplicateDetected)
    ]
    assert found == [(0, "s2", "s1"), (1, "t2", "t1")], "both values are used up"
