"""The generator: the same seed, the same bytes; a truth that adds up; a comparer that sees."""

import copy
from collections import Counter
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest

from connectors.synthetic import broken
from connectors.synthetic.definitions import LATENESS_SECONDS, RULE_INVOICE
from connectors.synthetic.facts import (
    DeadLetterFact,
    ExceptionFact,
    Facts,
    MatchFact,
    compare,
    digest,
    read_facts,
    write_facts,
)
from connectors.synthetic.records import amount_text
from connectors.synthetic.workload import NO_ERRORS, Rates, Workload, ending_before
from domain.definition_parsing import parse_definition
from domain.money import format_minor
from domain.transaction_reading import decode_transaction
from domain.transactions import Rejection, Transaction

ENDING_US = 1_770_000_000_000_000
CLOCK_US = ENDING_US + 30 * 86_400_000_000


def generated(**changes):
    workload = Workload(
        **({"seed": 3, "transactions": 12_000, "ending_at_us": ENDING_US} | changes)
    )
    facts = Facts()
    return workload, list(workload.messages(facts)), facts


@pytest.fixture(scope="module")
def load():
    return generated(rates=Rates(invalid=0.02))


def test_the_same_seed_gives_the_same_bytes_and_truth(load):
    _, messages, facts = load
    _, again, facts_again = generated(rates=Rates(invalid=0.02))
    assert messages == again
    assert facts == facts_again
    assert generated(seed=4, rates=Rates(invalid=0.02))[1] != messages


def test_it_makes_as_many_as_asked(load):
    _, messages, _ = load
    assert 12_000 <= len(messages) < 12_030


def test_every_message_is_accounted_for_in_the_truth(load):
    _, messages, facts = load
    accepted = sum(count for count, _ in facts.accepted.values())
    assert accepted + len(facts.dead_letters) + facts.redelivered.total() == len(messages)
    placed = Counter(
        (match.stream_id, side, one)
        for match in facts.matches
        for side, ids in (("source", match.source_ids), ("target", match.target_ids))
        for one in ids
    )
    placed.update((one.stream_id, one.side, one.transaction_id) for one in facts.exceptions)
    assert set(placed.values()) == {1}
    assert placed.total() == accepted


def test_dead_letters_are_exactly_what_validation_or_identity_refuses(load):
    workload, messages, facts = load
    known = {(spec.tenant_id, spec.reconciliation_id) for spec in workload.streams}
    contents = {}
    refused = []
    for side, _, value in messages:
        record = decode_transaction(value, side, CLOCK_US)
        code = record.code if isinstance(record, Rejection) else None
        if isinstance(record, Transaction):
            place = (record.tenant_id, record.reconciliation_id, side, record.transaction_id)
            if place[:2] not in known:
                code = "unknown_reconciliation"
            elif contents.setdefault(place, record.packed) != record.packed:
                code = "conflicting_duplicate"
        if code is not None:
            refused.append(
                DeadLetterFact(
                    "", ("source", "target")[side], code, record.transaction_id, digest(value)
                )
            )
    actual = Facts(facts.matches, facts.exceptions, refused)
    assert compare(facts, actual, accepted=False) == []
    assert {fact.code for fact in refused} >= {
        "invalid_json",
        "missing_field",
        "invalid_amount",
        "amount_precision",
        "unknown_currency",
        "invalid_timestamp",
        "invalid_field",
        "unknown_field",
        "too_large",
        "unknown_reconciliation",
        "conflicting_duplicate",
    }


def behind_event_time(messages):
    """How many instants of orders and charges arrive behind event time."""
    newest = [0, 0]
    behind = 0
    for side, key, value in messages:
        if not key.startswith(b"acme:orders"):
            continue
        record = decode_transaction(value, side, CLOCK_US)
        behind += record.occurred_at < min(newest) - LATENESS_SECONDS * 1_000_000
        newest[side] = max(newest[side], record.occurred_at)
    assert all(newest)
    return behind


def test_only_what_is_late_on_purpose_arrives_behind_event_time():
    rates = Rates(late=0.0, conflicting=0.0, invalid=0.0, redelivered=0.0)
    assert behind_event_time(generated(rates=rates)[1]) == 0


def test_late_records_do_arrive_behind_event_time():
    _, messages, facts = generated(rates=replace(NO_ERRORS, late=0.2))
    assert behind_event_time(messages) > 20
    assert facts.exceptions == []


def test_without_errors_everything_matches():
    _, messages, facts = generated(rates=NO_ERRORS, transactions=2_000)
    assert facts.exceptions == []
    assert facts.dead_letters == []
    members = sum(len(one.source_ids) + len(one.target_ids) for one in facts.matches)
    assert members == len(messages)


def test_every_scenario_occurs(load):
    _, _, facts = load
    assert {one.category for one in facts.exceptions} == {
        "missing_in_target",
        "missing_in_source",
        "amount_mismatch",
        "currency_mismatch",
        "date_mismatch",
        "duplicate",
    }
    assert {one.status for one in facts.matches} == {"confirmed", "suggested"}
    assert {one.rule for one in facts.matches} == {
        "order-reference",
        "invoice-number",
        "customer-and-amount",
        "payout",
    }
    assert max(len(one.source_ids) for one in facts.matches) == 6


def test_the_definitions_are_valid(load):
    workload, _, _ = load
    parsed = [parse_definition(document) for document in workload.definitions(idle_seconds=7)]
    assert [one.window.idle_us for one in parsed] == [7_000_000] * 3
    assert parsed[0].rules[0].conditions[0].unique


def test_a_workload_that_ends_early_enough_is_decided_by_now():
    ending = ending_before(CLOCK_US)
    workload = Workload(seed=1, transactions=10, ending_at_us=ending)
    assert workload.decided_at_us() < CLOCK_US - LATENESS_SECONDS * 1_000_000


@pytest.mark.parametrize("name", sorted(broken.KINDS))
def test_every_kind_of_broken_record_is_refused_with_its_code(name):
    value = msgspec.json.encode(
        {
            "tenant_id": "acme",
            "reconciliation_id": "r",
            "transaction_id": "t-1",
            "amount": "1.00",
            "currency": "EUR",
            "occurred_at": "2026-01-05T12:00:00Z",
        }
    )
    made = broken.KINDS[name](value)
    record = decode_transaction(made.value, 0, CLOCK_US)
    if made.code == "unknown_reconciliation":
        assert isinstance(record, Transaction)
        assert record.reconciliation_id == "nowhere"
        return
    assert isinstance(record, Rejection)
    assert record.code == made.code
    assert record.transaction_id == made.readable_id("t-1")


@pytest.mark.parametrize("minor", [0, 1, -1, 5, 99, 100, -100, 999, 1000, -1005, 123456])
@pytest.mark.parametrize("digits", [0, 2, 3])
def test_amounts_are_written_as_money_writes_them(minor, digits):
    assert amount_text(minor, digits) == format_minor(minor, digits)


def test_rates_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="late is 2"):
        Rates(late=2)
    with pytest.raises(ValueError, match="add up to"):
        Rates(late=0.6, invalid=0.6)


def test_facts_survive_their_files(load, tmp_path):
    _, _, facts = load
    write_facts(tmp_path / "truth", facts)
    assert read_facts(tmp_path / "truth") == facts


def test_the_truth_is_equal_to_itself(load):
    assert compare(load[2], copy.deepcopy(load[2])) == []


def _swap_partners(facts):
    pairs = [i for i, one in enumerate(facts.matches) if one.rule == RULE_INVOICE]
    first, second = facts.matches[pairs[0]], facts.matches[pairs[1]]
    facts.matches[pairs[0]] = msgspec.structs.replace(first, target_ids=second.target_ids)
    facts.matches[pairs[1]] = msgspec.structs.replace(second, target_ids=first.target_ids)


def _other_category(facts):
    facts.exceptions[5] = msgspec.structs.replace(facts.exceptions[5], category="ambiguous")


def _other_code(facts):
    facts.dead_letters[5] = msgspec.structs.replace(facts.dead_letters[5], code="too_old")


def _cent(facts):
    next(iter(facts.accepted.values()))[1] += 1


def _redelivery(facts):
    facts.redelivered["acme/orders-charges"] += 1


@pytest.mark.parametrize(
    ("corrupt", "differences"),
    [
        (lambda facts: facts.matches.pop(), 1),
        (lambda facts: facts.matches.append(facts.matches[0]), 1),
        (_swap_partners, 4),
        (lambda facts: facts.exceptions.pop(), 1),
        (_other_category, 2),
        (lambda facts: facts.dead_letters.pop(), 1),
        (_other_code, 2),
        (_cent, 2),
        (_redelivery, 2),
    ],
)
def test_a_corrupted_truth_is_seen(load, corrupt, differences):
    truth = copy.deepcopy(load[2])
    corrupt(truth)
    found = compare(truth, load[2])
    assert len(found) == differences
    assert all(str(one) for one in found)


def test_dead_letters_without_digest_are_held_by_their_ids():
    truth = Facts(dead_letters=[DeadLetterFact("a/b", "source", "too_large", "t-1", "00ff")])
    same = Facts(dead_letters=[DeadLetterFact("x/y", "source", "too_large", "t-1", None)])
    other = Facts(dead_letters=[DeadLetterFact("a/b", "source", "too_large", "t-2", None)])
    assert compare(truth, same) == []
    assert len(compare(truth, other)) == 2


def test_differences_name_what_is_missing_and_what_is_too_much():
    truth = Facts(matches=[MatchFact("a/b", "r", "confirmed", ("s",), ("t",))])
    actual = Facts(exceptions=[ExceptionFact("a/b", "source", "s", "missing_in_target")])
    assert [(one.kind, one.what) for one in compare(truth, actual)] == [
        ("match", "missing"),
        ("exception", "unexpected"),
    ]


def test_event_times_lie_in_the_period(load):
    workload, messages, _ = load
    days = set()
    for side, _, value in messages:
        record = decode_transaction(value, side, CLOCK_US)
        if isinstance(record, Transaction) and not record.is_date:
            assert record.occurred_at <= workload.ending_at_us
            days.add(datetime.fromtimestamp(record.occurred_at / 1e6).date())  # noqa: DTZ006
    assert len(days) >= workload.period_days
