"""A rule that linting calls unreachable never matches anything, in any world."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from domain.definitions import AmountRule, Condition, DateWindow, Rule
from domain.events import MatchSuggested, RecordMatched
from domain.linting.containment import (
    Contained,
    amounts_contained,
    conditions_contained,
    dates_contained,
)
from domain.linting.lint import lint_definition
from domain.linting.order import unreachable
from domain.matching.amounts import limits_of
from domain.matching.dates import spans_of
from domain.matching.texts import form_of, pair_test
from domain.reconciliation import Chunk, Reconciliation
from tests.unit.domain.cases import (
    EQUAL,
    MINUTE,
    some_amount,
    some_definition,
    some_limits,
    some_rule,
    some_transactions,
    some_window,
)
from tests.unit.domain.test_reconciliation_properties import in_chunks

pytestmark = pytest.mark.usefixtures("few")

TEXT_CONDITIONS = [
    *(Condition("reference", "description", name, False) for name in
      ("exact", "casefold", "alphanumeric", "digits", "token_run", "token_set")),
    *(Condition("reference", "description", "edit_distance", False, maximum=n) for n in (0, 1, 3)),
    *(Condition("reference", "description", "similarity", False, minimum=Decimal(n))
      for n in ("0.5", "0.8", "1")),
    Condition("reference", "description", "regex_extract", False, pattern=r"(\w+)"),
]  # fmt: skip


def stricter(rng: random.Random, rule: Rule) -> Rule:
    """A rule that asks at least as much, often by a detour that linting may or may not see."""
    conditions = list(rule.conditions)
    if rng.random() < 0.4:
        field = rng.choice(["counterparty", "description"])
        conditions.append(Condition(field, field, "casefold", unique=False))
    for place, one in enumerate(conditions):
        if one.operator in ("casefold", "edit_distance") and rng.random() < 0.5:
            conditions[place] = Condition(one.source_field, one.target_field, "exact", one.unique)
    amount = rule.amount
    if rng.random() < 0.4:
        amount = replace(
            amount, kind="equal", absolute=None, percent=None, low=None, high=None,
            percent_of=EQUAL.percent_of, inclusive=True,
        )  # fmt: skip
    return replace(
        rule,
        name="stricter",
        conditions=tuple(replace(one, unique=False) for one in conditions),
        amount=amount,
        date=rule.date or rng.choice([None, some_window(rng)]),
        selection=rng.choice(["suggest", "leave_unmatched", "lowest_id"]),
        prefer=(),
        settle_us=rng.choice([0, 5 * MINUTE]),
        immediate=rng.random() < 0.3,
    )


def test_a_rule_called_unreachable_never_matches_anything():
    called = matched_without = 0
    for seed in range(1200):
        rng = random.Random(seed)
        base = some_definition(rng, lateness_us=rng.choice([0, 5 * MINUTE]))
        earlier = some_rule(rng, 0, unique=rng.random() < 0.3)
        later = stricter(rng, earlier) if rng.random() < 0.8 else some_rule(rng, 1, unique=False)
        later = replace(later, name="later")
        if not unreachable(earlier, later):
            continue
        called += 1
        between = (
            (replace(some_rule(rng, 2, unique=False), name="between"),)
            if rng.random() < 0.3
            else ()
        )
        definition = replace(base, rules=(earlier, *between, later))
        codes = {one.code for one in lint_definition(definition) if one.rule == "later"}
        assert "unreachable_rule" in codes
        transactions = some_transactions(rng, rng.randint(8, 30))
        rng.shuffle(transactions)
        assert not named(run(definition, transactions, rng), "later"), seed
        matched_without += bool(
            named(run(replace(base, rules=(later,)), transactions, rng), "later")
        )
    # The worlds have something to match, were it not for the earlier rule.
    assert called > 150
    assert matched_without > 40


def run(definition, transactions, rng):
    state = Reconciliation(definition)
    events = []
    for chunk in in_chunks(rng, transactions):
        events += state.advance(Chunk(chunk, caught_up=rng.random() < 0.7)).events
    return events + state.finish().events


def named(events, rule):
    return [
        one for one in events
        if isinstance(one, RecordMatched | MatchSuggested) and one.rule == rule
    ]  # fmt: skip


def test_what_is_contained_in_text_holds_for_every_text():
    rng = random.Random(1)
    texts = ["R-1", "r1", "R 1", "1", "!?", "a R-1 b", "ab", "AB", "Straße", "STRASSE", "R-12", "-"]
    proved = 0
    for inner in TEXT_CONDITIONS:
        for outer in TEXT_CONDITIONS:
            contained = conditions_contained((inner,), (outer,))
            proved += contained != Contained.NO
            if contained == Contained.NO:
                continue
            for _ in range(300):
                source, target = rng.choice(texts), rng.choice(texts)
                signs_only = contained == Contained.BUT_FOR_SIGNS and not any(
                    c.isalnum() for c in source
                )
                if holds(inner, source, target) and not signs_only:
                    assert holds(outer, source, target), (inner, outer, source, target)
    assert proved > 2 * len(TEXT_CONDITIONS)


def holds(condition, source, target):
    forms = []
    for side, text in enumerate((source, target)):
        form = form_of(condition, side)
        forms.append(text if form is None else form(text))
    if None in forms:
        return False
    if condition.operator in ("token_run", "token_set", "edit_distance", "similarity"):
        return pair_test(condition)(*forms)
    return forms[0] == forms[1]


def test_what_is_contained_in_amount_holds_for_every_amount():
    proved = 0
    for seed in range(3_000):
        rng = random.Random(seed)
        make = rng.choice([some_limits, some_limits, some_amount])
        inner, outer = make(rng), make(rng)
        if inner == outer or not amounts_contained(inner, outer):
            continue
        proved += 1
        scale = rng.choice([0, 2, 3])
        within, without = limits_of(inner, scale).agree, limits_of(outer, scale).agree
        for _ in range(100):
            source = rng.choice([0, 0, 1, -1, 99, 100, -100, 12_345])
            target = source + rng.randint(-8, 8)
            assert not within(source, target) or without(source, target), (seed, source, target)
    assert proved > 200


def test_what_is_contained_in_dates_holds_for_every_date():
    proved = 0
    for seed in range(6_000):
        rng = random.Random(seed)
        inner = some_window(rng) if rng.random() < 0.9 else None
        outer = some_window(rng)
        if inner == outer or not dates_contained(inner, outer):
            continue
        proved += 1
        legs = some_transactions(rng, 8)
        for source in legs:
            for target in legs:
                assert not in_window(inner, source, target) or in_window(outer, source, target)
    assert proved > 100


def in_window(window: DateWindow, source, target):
    for span in spans_of(window):
        begin, end = span.measure(source), span.measure(target)
        if begin is None or end is None or not span.allows(end - begin):
            return False
    return True


def test_limits_of_another_measure_prove_nothing():
    net = AmountRule("equal", None, None, "larger", "larger", None, None, True, source_basis="net")
    assert amounts_contained(EQUAL, EQUAL)
    assert not amounts_contained(EQUAL, net)
    assert not amounts_contained(net, EQUAL)
