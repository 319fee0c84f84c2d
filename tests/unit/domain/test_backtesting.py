"""Backtests over logs made by the real engine."""

import random
from dataclasses import replace

import pytest

from domain.backtesting.backtest import Backtest, HistoryExpired
from domain.backtesting.report import report
from domain.definition_parsing import parse_definition
from domain.events import ReconciliationDefined, RecordMatched
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import Transaction, build_transaction
from tests.unit.domain.cases import DAY, some_transactions, some_written_definition
from tests.unit.domain.logs import Log, engine_log
from tests.unit.domain.test_reconciliation_properties import in_chunks

pytestmark = pytest.mark.usefixtures("few")


def backtest(log: Log, definition, **options) -> Backtest:
    run = Backtest(definition, **options)
    for row in log.rows:
        run.read(row.events, row.journal)
    run.end()
    return run


def definition_of(log: Log):
    (defined,) = [
        one for row in log.rows for one in row.events if isinstance(one, ReconciliationDefined)
    ]
    return parse_definition(defined.definition)


def test_the_definition_that_was_in_force_changes_nothing():
    matches = 0
    for seed in range(250):
        log, _ = engine_log(seed, redefined=False)
        found = report(backtest(log, definition_of(log)), 10)
        assert found["matches"]["unchanged"] == found["matches"]["recorded"], seed
        for kind, of_kind in (("matches", ("gained", "lost", "changed")),
                              ("suggestions", ("gained", "lost", "changed")),
                              ("exceptions", ("gained", "lost", "recategorised"))):  # fmt: skip
            for name in of_kind:
                assert found[kind][name]["count"] == 0, (seed, kind, name, found)
        matches += found["matches"]["recorded"]
    assert matches > 40


def plain_run(definition, transactions):
    """The matches of a run over everything at once, as (rule, source ids, target ids)."""
    state = Reconciliation(definition)
    events = state.advance(Chunk(transactions)).events + state.finish().events
    return {
        (one.rule, tuple(one.source_ids), tuple(one.target_ids))
        for one in events
        if isinstance(one, RecordMatched)
    }


def test_what_differs_is_what_two_plain_runs_differ_in():
    kinds = dict.fromkeys(("gained", "lost", "changed", "unchanged"), 0)
    for seed in range(700):
        rng = random.Random(seed)
        # Nothing settles before the end, so that arrival makes no difference.
        before, after = (some_written_definition(rng, lateness_us=400 * DAY) for _ in range(2))
        if any(rule.immediate for rule in (*before.rules, *after.rules)):
            continue
        # Every other time one definition begins as the other does, so that much stays the same.
        rules = (*before.rules[:1], *after.rules[1:]) if seed % 2 else after.rules
        after = replace(after, rules=rules, window=before.window, time_zone=before.time_zone)
        transactions = some_transactions(rng, rng.randint(6, 20))
        log = Log()
        state = Reconciliation(before)
        log.add(state.define(before, "command-1").events)
        for chunk in in_chunks(rng, transactions):
            decision = state.advance(Chunk(chunk, caught_up=True))
            log.add(decision.events, decision.journal)
        log.add(state.finish().events)

        found = report(backtest(log, after), 10)["matches"]
        recorded, candidate = plain_run(before, transactions), plain_run(after, transactions)
        assert found["recorded"] == len(recorded), seed
        assert found["candidate"] == len(candidate), seed
        assert found["unchanged"] == len(recorded & candidate), seed
        assert found["lost"]["count"] == alone(recorded - candidate, candidate - recorded), seed
        assert found["gained"]["count"] == alone(candidate - recorded, recorded - candidate), seed
        assert found["lost"]["count"] + found["changed"]["count"] == len(recorded - candidate)
        for kind in ("gained", "lost", "changed"):
            kinds[kind] += found[kind]["count"]
        kinds["unchanged"] += found["unchanged"]
    assert min(kinds.values()) > 5, kinds


def alone(matches, others):
    """How many share no member with any of the others."""
    taken = {place for one in others for place in places(one)}
    return sum(taken.isdisjoint(places(one)) for one in matches)


def places(match):
    _, sources, targets = match
    return {(0, one) for one in sources} | {(1, one) for one in targets}


def shop(*rules, **more):
    return parse_definition(
        {"tenant_id": "acme", "reconciliation_id": "orders", "rules": list(rules), **more}
    )


BY_REFERENCE = {"name": "reference", "conditions": [{"field": "reference", "operator": "exact"}]}
NEARLY = BY_REFERENCE | {"name": "nearly", "amount": {"tolerance": {"absolute": "1.00"}}}


def record(side, name, day, amount="10.00", reference="R1", **more):
    built = build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "orders",
            "transaction_id": name,
            "amount": amount,
            "currency": "EUR",
            "occurred_at": f"2026-01-{day:02d}T12:00:00Z",
            "reference": reference,
            **more,
        },
        side,
        None,
    )
    assert isinstance(built, Transaction), built
    return built


def log_of(definition, *chunks) -> Log:
    log = Log()
    state = Reconciliation(definition)
    log.add(state.define(definition, "command-1").events)
    for chunk in chunks:
        decision = state.advance(Chunk(chunk, caught_up=True))
        log.add(decision.events, decision.journal)
    return log


def test_the_candidate_cannot_see_what_had_not_arrived_yet():
    # The better partner came when the first had long been confirmed, or would have been.
    log = log_of(
        shop(BY_REFERENCE),
        [record(0, "s1", 1, "10.00"), record(1, "t1", 1, "10.40")],
        [record(0, "s9", 9, reference="R9"), record(1, "t9", 9, reference="R9")],
        [record(1, "t2", 2, "10.00")],
    )
    run = backtest(log, shop(NEARLY))
    found = report(run, 10)["matches"]
    assert [one["target_ids"] for one in found["changed"]["examples"][0]["candidate"]] == [["t1"]]
    assert found["changed"]["examples"][0]["recorded"]["target_ids"] == ["t2"]


def test_a_report_names_matches_exceptions_and_amounts():
    log = log_of(
        shop(BY_REFERENCE),
        [record(0, "s1", 1, "10.00"), record(1, "t1", 1, "10.40")],
        [record(0, "s2", 1, "-7.00", "R2"), record(1, "t2", 1, "-7.00", "R2")],
        [record(0, "s9", 9, reference="R9"), record(1, "t9", 9, reference="R9")],
        [record(0, "s10", 20, reference="X"), record(1, "t10", 20, reference="Y")],
    )
    found = report(backtest(log, shop(NEARLY)), 10)
    assert found["accuracy"] == {"recorded": 0.5, "candidate": 0.75}
    gained = found["matches"]["gained"]
    assert (gained["count"], gained["amounts"]) == (1, {"EUR": "10.00"})
    assert gained["examples"][0]["before"] == {
        "source s1": "amount_mismatch",
        "target t1": "amount_mismatch",
    }
    # The rule has another name: by the rule only.
    changed = found["matches"]["changed"]
    assert (changed["count"], changed["by_rule_only"], changed["amounts"]) == (
        2,
        2,
        {"EUR": "17.00"},
    )
    lost = found["exceptions"]["lost"]
    assert lost["by_category"] == {"amount_mismatch": {"count": 2, "amounts": {"EUR": "20.40"}}}
    back = report(backtest(log_of(shop(NEARLY), [record(0, "s1", 1), record(1, "t1", 1, "10.40")],
        [record(0, "s9", 9, reference="R9"), record(1, "t9", 9, reference="R9")],
        [record(0, "s10", 20, reference="X"), record(1, "t10", 20, reference="Y")],
    ), shop(BY_REFERENCE | {"name": "nearly"})), 10)  # fmt: skip
    assert back["matches"]["lost"]["examples"][0]["now"] == {
        "source s1": "amount_mismatch",
        "target t1": "amount_mismatch",
    }
    assert back["exceptions"]["gained"]["count"] == 2


def test_a_range_leaves_out_what_it_cuts_through():
    log = log_of(
        shop(BY_REFERENCE),
        [record(0, "s1", 1), record(1, "t1", 3)],
        [record(0, "s2", 3, reference="R2"), record(1, "t2", 4, reference="R2")],
        [record(0, "s4", 3, "5.00", "R4"), record(1, "t4", 3, "5.50", "R4")],
        [record(0, "s3", 9, reference="R3"), record(1, "t3", 9, reference="R3")],
        [record(0, "s10", 20, reference="X"), record(1, "t10", 20, reference="Y")],
    )
    day = 86_400_000_000
    begin = 20_454 * day  # 2026-01-01
    found = report(backtest(log, shop(NEARLY), from_us=begin + day, to_us=begin + 7 * day), 10)
    assert (found["transactions"], found["straddling"]) == (5, 1)
    assert (found["matches"]["recorded"], found["matches"]["candidate"]) == (1, 2)
    assert found["matches"]["gained"]["examples"][0]["source_ids"] == ["s4"]
    # t1 matched beyond the range: that it has no counterpart within is no finding.
    assert found["exceptions"]["gained"]["count"] == 0
    assert found["exceptions"]["lost"]["count"] == 2


def test_a_range_leaves_out_suggestions_it_cuts_through_and_what_was_of_them():
    rule = BY_REFERENCE | {"outcome": "suggest", "date": {"min_days": -9, "max_days": 9}}
    log = log_of(
        shop(rule),
        [record(0, "s1", 3), record(1, "t1", 6), record(1, "t3", 3, reference="r-1")],
        [record(0, "s2", 3, reference="R2"), record(1, "t2", 4, reference="R2")],
        [record(0, "s9", 28, reference="X"), record(1, "t9", 28, reference="Y")],
    )
    day = 86_400_000_000
    begin = 20_454 * day  # 2026-01-01
    # The candidate would ask about s1 and t3, both within; but s1 was asked about beyond it.
    looser = rule | {"conditions": [{"field": "reference", "operator": "alphanumeric"}]}
    run = backtest(log, shop(looser), from_us=begin, to_us=begin + 4 * day)
    assert run.straddling == 1
    assert run.beyond == {(0, "s1")}
    for outcome in (run.recorded, run.candidate):
        assert [one.source_ids for one in outcome.suggestions.values()] == [("s2",)]


def test_a_history_whose_journals_are_gone_cannot_be_run_again():
    log = log_of(shop(BY_REFERENCE), [record(0, "s1", 1)])
    run = Backtest(shop(BY_REFERENCE))
    run.read(log.rows[0].events, log.rows[0].journal)
    with pytest.raises(HistoryExpired, match="journals of this reconciliation have expired"):
        run.read(log.rows[1].events, [])


def test_of_no_transactions_no_accuracy_is_told():
    found = report(backtest(log_of(shop(BY_REFERENCE)), shop(BY_REFERENCE)), 10)
    assert found["transactions"] == 0
    assert set(found["accuracy"].values()) == {None}
