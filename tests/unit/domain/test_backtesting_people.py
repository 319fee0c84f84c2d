"""Backtests over histories that people worked on, made by the real engine."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from domain.backtesting.report import report
from domain.commands import (
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    Pause,
    RejectMatch,
    Resume,
)
from domain.definition_parsing import parse_definition
from domain.definition_plain import definition_to_plain
from domain.definitions import Definition
from domain.matching.legs import Settled
from domain.reconciliation import Chunk, Reconciliation, Tick
from tests.unit.domain.cases import (
    DAY,
    MINUTE,
    START,
    corrected,
    some_definition,
    some_transactions,
)
from tests.unit.domain.logs import Log, ask, reversal
from tests.unit.domain.test_backtesting import backtest, record, shop
from tests.unit.domain.test_reconciliation_properties import in_chunks

pytestmark = pytest.mark.usefixtures("few")

EXACT = [{"field": "reference", "operator": "exact"}]
ASKING = {"name": "reference", "conditions": EXACT, "outcome": "suggest"}
CONFIRMING = {"name": "reference", "conditions": EXACT}
NEARLY = {"name": "nearly", "conditions": EXACT, "amount": {"tolerance": {"absolute": "1.00"}}}
NOTHING = {
    "name": "nothing",
    "conditions": EXACT,
    "amount": {"bounds": {"low": "900", "high": "901"}},
}
# As late as a match of the first day can still be reversed.
LATER = [record(0, "s90", 8, reference="S90"), record(1, "t90", 8, reference="T90")]
MUCH_LATER = [record(0, "s91", 20, reference="S91"), record(1, "t91", 20, reference="T91")]


def some_asking_definition(rng):
    """A definition that leaves most of its matches to people."""
    definition = some_definition(rng, lateness_us=rng.choice([0, 5 * MINUTE]))
    rules = tuple(
        replace(rule, outcome=rng.choice(["suggest", "suggest", "confirm"]))
        for rule in definition.rules
    )
    return parse_definition(definition_to_plain(replace(definition, rules=rules)))


def decide_some(rng, state):
    """Let somebody decide on a suggestion, whole or in part, or on anything else."""
    standing = sorted(state.book.suggestions)
    if not standing or rng.random() < 0.3:
        return ask(rng, state)
    name = rng.choice(standing)
    suggestion = state.book.suggestions[name]
    one = [rng.choice(side).transaction_id for side in (suggestion.sources, suggestion.targets)]
    command = rng.choice(
        [
            RejectMatch(name, "no"),
            ConfirmMatch(name),
            ConfirmMatch(name, [one[0]], [one[1]], "part"),
        ]
    )
    try:
        return state.decide(command, f"command-{state.version}")
    except CannotBeDone as refusal:
        return state.refuse(f"command-{state.version}", "some", refusal)


def worked_log(seed):
    """A history with arrivals, the clock and people in any order, ended at any moment."""
    rng = random.Random(seed)
    definition = some_asking_definition(rng)
    state, log = Reconciliation(definition), Log()
    log.add(state.define(definition, "command-1").events)
    transactions = some_transactions(rng, rng.randint(6, 18), alike=rng.random() < 0.5)
    if rng.random() < 0.3:
        transactions += corrected(rng, transactions, rng.randint(1, 3))
    now_us = START + 2 * DAY
    for chunk in in_chunks(rng, transactions):
        decision = state.advance(Chunk(chunk, now_us=now_us, caught_up=rng.random() < 0.9))
        log.add(decision.events, decision.journal)
        while rng.random() < 0.6:
            log.add(decide_some(rng, state).events)
            if rng.random() < 0.5:
                now_us += rng.choice([1, 5 * MINUTE, 4 * DAY])
                log.add(state.tick(Tick(now_us, caught_up=True)).events)
    if state.paused:
        log.add(state.decide(Resume(), "command-resume").events)
    log.add(state.tick(Tick(now_us + MINUTE, caught_up=True)).events)
    for _ in range(rng.randint(0, 3)):
        log.add(decide_some(rng, state).events)
    return flushed(rng, log), definition


def flushed(rng, log):
    """The same history in fewer rows: a flush stores whatever was decided since the last one."""
    whole = Log()
    for row in log.rows:
        if whole.rows and rng.random() < 0.5:
            whole.rows[-1].events += row.events
            whole.rows[-1].journal += row.journal
        else:
            whole.add(row.events, row.journal)
    return whole


def test_the_definition_that_was_in_force_changes_nothing_of_what_people_worked_on():
    met = Counter()
    for seed in range(400):
        log, definition = worked_log(seed)
        run = backtest(log, definition)
        found = report(run, 10)
        for kind, of_kind in (("matches", ("gained", "lost", "changed")),
                              ("suggestions", ("gained", "lost", "changed")),
                              ("exceptions", ("gained", "lost", "recategorised"))):  # fmt: skip
            for name in of_kind:
                assert found[kind][name]["count"] == 0, (seed, kind, name, found[kind][name])
            assert found[kind]["recorded"] == found[kind]["candidate"], (seed, kind)
        assert found["matches"]["recorded"] == found["matches"]["unchanged"], seed
        assert found["accuracy"]["recorded"] == found["accuracy"]["candidate"], seed
        assert found["contradictions"] == {"count": 0, "by_decision": {}, "named": []}, seed
        for kind, fates in found["people"].items():
            as_then = "by_people" if kind in ("confirmed", "by_hand") else "repeated"
            assert fates[as_then] == fates["count"], (seed, kind, fates)
            met[kind] += fates["count"]
    assert min(met[kind] for kind in ("confirmed", "by_hand", "rejected", "reversed")) > 20, met


def history(definition, *steps):
    """A history made step by step.

    Args:
        steps: A list of records; a tuple of them while more waits unread; a definition; a command,
            or what makes one of the state.
    """
    log, state = Log(), Reconciliation(definition)
    log.add(state.define(definition, "command-1").events)
    for number, step in enumerate(steps):
        if isinstance(step, list):
            decision = state.advance(Chunk(step, caught_up=True))
        elif isinstance(step, tuple):
            decision = state.advance(Chunk(step, caught_up=False))
        elif isinstance(step, Definition):
            decision = state.define(step, f"command-{number + 2}")
        else:
            command = step(state) if callable(step) else step
            decision = state.decide(command, f"command-{number + 2}")
        assert decision.events, step
        log.add(decision.events, decision.journal)
    return log


def reject(state):
    (name,) = state.book.suggestions
    return RejectMatch(name, "another order")


def confirm(state):
    (name,) = state.book.suggestions
    return ConfirmMatch(name)


def confirm_part(*ids):
    def command(state):
        (name,) = state.book.suggestions
        return ConfirmMatch(name, [ids[0]], [ids[1]])

    return command


def reverse(state):
    (settled,) = {one for one in state.book.known[0].values() if isinstance(one, Settled)}
    return reversal(state, settled)


def found_by(log, *rules, **options):
    found = report(backtest(log, shop(*rules), **options), 10)
    fates = {
        kind: {fate: count for fate, count in fates.items() if count and fate != "count"}
        for kind, fates in found["people"].items()
        if fates["count"]
    }
    return found, fates


def pair(target_amount="10.00", day=1):
    return [record(0, "s1", day), record(1, "t1", day, target_amount)]


def test_a_match_that_a_person_rejected_is_named_when_a_rule_would_make_it():
    log = history(shop(ASKING), pair(), LATER, reject, MUCH_LATER)
    found, fates = found_by(log, CONFIRMING)
    assert [one["source_ids"] for one in found["matches"]["gained"]["examples"]] == [["s1"]]
    assert fates == {"rejected": {"contradicted": 1}}
    assert found["contradictions"]["by_decision"] == {"rejected": 1}
    (named,) = found["contradictions"]["named"]
    assert (named["decision"], named["reason"], named["rule"]) == (
        "rejected", "another order", "reference",
    )  # fmt: skip
    assert (named["source_ids"], named["target_ids"], named["now"]) == (["s1"], ["t1"], {})
    assert [one["target_ids"] for one in named["candidate"]] == [["t1"]]


def test_what_was_rejected_and_is_asked_by_another_rule_is_asked_again():
    log = history(shop(ASKING), pair(), LATER, reject, MUCH_LATER)
    found, fates = found_by(log, ASKING | {"name": "renamed"})
    assert fates == {"rejected": {"asked_again": 1}}
    assert found["suggestions"]["gained"]["count"] == 1
    assert found["contradictions"]["count"] == 0
    assert found_by(log, NOTHING)[1] == {"rejected": {"avoided": 1}}


def test_of_a_rejected_set_no_match_was_one():
    both = [record(0, "s1", 1), record(1, "t1", 1), record(1, "t2", 1)]
    log = history(shop(CONFIRMING), both, LATER, reject, MUCH_LATER)
    lowest = CONFIRMING | {"selection": {"tie_break": "lowest_id"}}
    found, fates = found_by(log, lowest)
    assert fates == {"rejected": {"contradicted": 1}}
    (named,) = found["contradictions"]["named"]
    assert named["target_ids"] == ["t1", "t2"]
    assert [one["target_ids"] for one in named["candidate"]] == [["t1"]]
    assert list(named["now"]) == ["target t2"]


def test_of_a_rejected_group_a_part_may_be_a_match():
    group = {"match_type": "one_to_many", "group": {"whole_key": "reference"}}
    both = [record(0, "s1", 1, "10.00"), record(1, "t1", 1, "9.50"), record(1, "t2", 1, "0.50")]
    log = history(shop(ASKING | group), both, LATER, reject, MUCH_LATER)
    found, fates = found_by(log, NEARLY)
    assert found["matches"]["gained"]["examples"][0]["target_ids"] == ["t1"]
    assert fates == {"rejected": {"avoided": 1}}
    assert found["contradictions"]["count"] == 0


def test_a_match_that_a_person_confirmed_is_named_when_nothing_suggests_it():
    log = history(shop(ASKING), pair(), LATER, confirm, MUCH_LATER)
    found, fates = found_by(log, NOTHING)
    assert found["matches"]["lost"]["count"] == 1
    assert fates == {"confirmed": {"contradicted": 1}}
    (named,) = found["contradictions"]["named"]
    assert (named["decision"], named["source_ids"], named["target_ids"]) == (
        "confirmed", ["s1"], ["t1"],
    )  # fmt: skip
    assert named["now"] == {"source s1": "amount_mismatch", "target t1": "amount_mismatch"}
    assert found["accuracy"]["candidate"] < found["accuracy"]["recorded"]


def test_what_people_confirmed_is_no_work_for_them_when_a_rule_makes_it():
    log = history(shop(ASKING), pair(), LATER, confirm, MUCH_LATER)
    found, fates = found_by(log, CONFIRMING)
    assert fates == {"confirmed": {"by_rules": 1}}
    assert found["matches"]["unchanged"] == 1
    assert found["contradictions"]["count"] == 0
    assert found_by(log, ASKING | {"name": "renamed"})[1] == {"confirmed": {"by_people": 1}}


def test_a_suggestion_that_comes_later_is_decided_on_when_it_comes():
    steps = [record(0, "s8", 3, reference="S8"), record(1, "t8", 3, reference="T8")]
    slower = ASKING | {"settle": "P4D"}
    log = history(shop(ASKING), pair(), steps, confirm, LATER, MUCH_LATER)
    found, fates = found_by(log, slower)
    assert (found["matches"]["unchanged"], fates) == (1, {"confirmed": {"by_people": 1}})
    log = history(shop(ASKING), pair(), steps, reject, LATER, MUCH_LATER)
    found, fates = found_by(log, slower)
    assert (found["suggestions"]["gained"]["count"], fates) == (0, {"rejected": {"repeated": 1}})


def test_a_confirmed_part_is_confirmed_of_whatever_holds_it():
    both = [record(0, "s1", 1), record(1, "t1", 1), record(1, "t2", 1, "10.40")]
    log = history(shop(NEARLY), both, LATER, confirm_part("s1", "t2"), MUCH_LATER)
    assert found_by(log, NEARLY)[1] == {"confirmed": {"by_people": 1}}
    # The candidate is sure of the other one.
    found, fates = found_by(log, CONFIRMING, NEARLY)
    assert fates == {"confirmed": {"contradicted": 1}}
    assert found["matches"]["changed"]["count"] == 1
    (named,) = found["contradictions"]["named"]
    assert [one["target_ids"] for one in named["candidate"]] == [["t1"]]
    assert list(named["now"]) == ["target t2"]


def test_what_was_matched_by_hand_stays_unless_a_rule_takes_a_member():
    records = [*pair("12.00"), record(1, "t2", 1, "10.70")]
    by_hand = MatchByHand(["s1"], ["t1"], "agreed by telephone")
    log = history(shop(CONFIRMING), records, LATER, by_hand, MUCH_LATER)
    found, fates = found_by(log, NOTHING)
    assert (found["matches"]["unchanged"], fates) == (1, {"by_hand": {"by_people": 1}})
    found, fates = found_by(log, NEARLY)
    assert fates == {"by_hand": {"contradicted": 1}}
    (named,) = found["contradictions"]["named"]
    assert (named["decision"], named["reason"], named["rule"]) == (
        "by_hand", "agreed by telephone", "manual",
    )  # fmt: skip
    assert [one["target_ids"] for one in named["candidate"]] == [["t2"]]
    assert list(named["now"]) == ["target t1"]
    unnamed = report(backtest(log, shop(NEARLY)), 10, named=0)["contradictions"]
    assert (unnamed["count"], unnamed["named"]) == (1, [])
    wider = NEARLY | {"amount": {"bounds": {"low": "1.50", "high": "2.50"}}}
    found, fates = found_by(log, wider)
    assert fates == {"by_hand": {"by_rules": 1}}
    assert found["matches"]["changed"]["by_rule_only"] == 1
    assert found["contradictions"]["count"] == 0


def test_a_match_that_a_person_reversed_is_named_when_it_would_stand():
    log = history(shop(CONFIRMING), pair(), LATER, reverse, MUCH_LATER)
    found, fates = found_by(log, CONFIRMING | {"name": "renamed"})
    assert (found["matches"]["gained"]["count"], fates) == (0, {"reversed": {"repeated": 1}})
    assert found_by(log, NOTHING)[1] == {"reversed": {"avoided": 1}}
    # Nobody could reverse what was not made yet.
    found, fates = found_by(log, CONFIRMING | {"settle": "P10D"})
    assert (found["matches"]["gained"]["count"], fates) == (1, {"reversed": {"contradicted": 1}})
    assert found["contradictions"]["named"][0]["candidate"][0]["source_ids"] == ["s1"]


def test_the_last_word_counts_and_none_on_what_was_corrected():
    by_hand = MatchByHand(["s1"], ["t1"], "after all")
    log = history(shop(CONFIRMING), pair(), LATER, reverse, by_hand, MUCH_LATER)
    assert found_by(log, CONFIRMING)[1] == {"by_hand": {"by_people": 1}}
    correction = record(1, "t2", 9, "11.00", supersedes="t1")
    log = history(shop(ASKING), pair(), LATER, confirm, [correction], MUCH_LATER)
    found, fates = found_by(log, NOTHING)
    assert (fates, found["matches"]["recorded"]) == ({}, 0)
    assert found["contradictions"]["count"] == 0


def test_nothing_is_decided_while_paused():
    better = [record(1, "t2", 2, "10.00"), record(0, "s9", 8, reference="R9")]
    later = [record(1, "t9", 8, reference="R9")]
    prefer = NEARLY | {"selection": {"prefer": ["closest_amount"]}}
    log = history(
        shop(NOTHING), Pause(), pair("10.40"), LATER, better + later, Resume(), MUCH_LATER
    )
    found, _ = found_by(log, prefer)
    gained = found["matches"]["gained"]["examples"]
    assert (["s1"], ["t2"]) in [(one["source_ids"], one["target_ids"]) for one in gained]


def test_a_range_leaves_out_decisions_that_it_cuts_through():
    records = [record(0, "s1", 1), record(1, "t1", 3), record(0, "s2", 3, "7.00", "R2"),
               record(1, "t2", 4, "7.00", "R2")]  # fmt: skip
    two = [MatchByHand(["s1"], ["t1"]), MatchByHand(["s2"], ["t2"])]
    log = history(shop(NOTHING), records, *two, LATER, MUCH_LATER)
    begin = 20_454 * DAY  # 2026-01-01
    span = {"from_us": begin + DAY, "to_us": begin + 7 * DAY}
    found, fates = found_by(log, NOTHING, **span)
    assert (found["straddling"], fates) == (1, {"by_hand": {"by_people": 1}})
    undone = history(shop(NOTHING), records, two[0], reverse, two[1], LATER, MUCH_LATER)
    found, fates = found_by(undone, NOTHING, **span)
    assert (found["straddling"], fates) == (0, {"by_hand": {"by_people": 1}})
    assert found["exceptions"]["recorded"] == found["exceptions"]["candidate"] == 1


def test_a_range_leaves_out_a_refusal_whose_member_was_matched_beyond_it():
    records = [*pair(day=2), record(0, "s2", 9, reference="R2")]
    by_hand = MatchByHand(["s2"], ["t1"])
    log = history(shop(ASKING), records, LATER, reject, by_hand, MUCH_LATER)
    week = 20_454 * DAY + 7 * DAY
    assert "rejected" in found_by(log, CONFIRMING)[1]
    assert found_by(log, CONFIRMING, to_us=week)[1] == {}


def test_a_range_leaves_out_what_was_corrected_beyond_it():
    correction = record(1, "t2", 9, "99.00", supersedes="t1")
    log = history(shop(CONFIRMING), pair(day=2), LATER, [correction], MUCH_LATER)
    begin = 20_454 * DAY
    found, _ = found_by(log, CONFIRMING, to_us=begin + 7 * DAY)
    assert found["matches"]["gained"]["count"] == 0


def test_a_refusal_that_the_history_went_against_is_no_contradiction():
    lowest = CONFIRMING | {"selection": {"tie_break": "lowest_id"}}
    both = [*pair(), record(1, "t2", 1)]
    again = shop(lowest | {"name": "second"})
    log = history(shop(CONFIRMING), both, LATER, reject, again, MUCH_LATER)
    found, fates = found_by(log, lowest | {"name": "third"})
    assert (found["matches"]["changed"]["by_rule_only"], fates) == (1, {})
    by_hand = MatchByHand(["s1"], ["t2"])
    log = history(shop(CONFIRMING), both, LATER, reject, by_hand, MUCH_LATER)
    assert found_by(log, CONFIRMING)[1] == {"by_hand": {"by_people": 1}}


def test_what_was_due_while_more_waited_unread_was_not_decided():
    unique = {
        "name": "id",
        "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
    }
    late = (record(0, "s2", 1, reference="R2"), *pair())
    log = history(shop(unique), LATER, late, Pause())
    found, _ = found_by(log, unique)
    assert (found["matches"]["unchanged"], found["exceptions"]["gained"]["count"]) == (1, 0)
