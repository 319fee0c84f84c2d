"""The text operators: what their words mean, one example each way."""

import time
from decimal import Decimal

import pytest

from domain.definitions import EQUALITY_OPERATORS, Condition
from domain.matching.texts import (
    form_of,
    pair_test,
    score,
    similarity_distance,
)
from domain.patterns import PatternRefused, compile_pattern


def holds(operator, source, target, **bounds):
    condition = Condition("reference", "description", operator, unique=False, **bounds)
    forms = []
    for side, value in enumerate((source, target)):
        form = form_of(condition, side)
        forms.append(form(value) if form else value)
    if None in forms:
        return False
    if operator in EQUALITY_OPERATORS:
        return forms[0] == forms[1]
    return pair_test(condition)(*forms)


@pytest.mark.parametrize(
    ("operator", "source", "target", "bounds", "agree"),
    [
        ("exact", "A-1", "a-1", {}, False),
        ("casefold", "STRASSE", "straße", {}, True),
        ("alphanumeric", "INV-00 1", "inv/001", {}, True),
        ("alphanumeric", "--", "!!", {}, False),
        ("digits", "INV-001", "ref 001", {}, True),
        ("digits", "none", "either", {}, False),
        ("token_run", "inv 12", "Paid INV-12/b", {}, True),
        ("token_run", "inv 1", "Paid INV-12", {}, False),
        ("token_run", "12 inv", "Paid INV-12", {}, False),
        ("token_set", "12 inv", "Paid INV-12", {}, True),
        ("token_set", "12 inv x", "Paid INV-12", {}, False),
        ("token_set", "...", "Paid", {}, False),
        ("edit_distance", "Ref-1", "rfe-1", {"maximum": 2}, True),
        ("edit_distance", "Ref-1", "rfe-1", {"maximum": 1}, False),
        ("edit_distance", "abc", "ABC", {"maximum": 0}, True),
        ("similarity", "Müller GmbH", "muller gmbh", {"minimum": Decimal("0.9")}, True),
        ("similarity", "abcd", "abce", {"minimum": Decimal("0.75")}, True),
        ("similarity", "abcd", "abce", {"minimum": Decimal("0.750000001")}, False),
        ("regex_extract", "ORD-1", "for ORD-1, ORD-2", {"pattern": r"\b(ORD-\d+)\b"}, True),
        ("regex_extract", "ORD-2", "for ORD-1, ORD-2", {"pattern": r"\b(ORD-\d+)\b"}, False),
        ("regex_extract", "ORD-1", "none", {"pattern": r"(ORD-\d+)"}, False),
        ("regex_extract", "x", "y", {"pattern": r"(x)?y"}, False),
    ],
)
def test_an_operator_means_what_it_says(operator, source, target, bounds, agree):
    assert holds(operator, source, target, **bounds) is agree


def test_a_pattern_cannot_run_away():
    condition = Condition("reference", "description", "regex_extract", False, pattern=r"^((a+)+)$")
    extract = form_of(condition, 1)
    begin = time.perf_counter()
    assert extract("a" * 50_000 + "b") is None
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("pattern", ["(", "a", r"(a)\1", "(?<=a)(b)", "(a{9999})"])
def test_a_pattern_that_says_nothing_is_refused(pattern):
    with pytest.raises(PatternRefused):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("minimum", "length", "most"),
    [("1", 10, 0), ("0.8", 10, 2), ("0.85", 20, 3), ("0.99", 200, 2), ("0.995", 199, 0)],
)
def test_the_limit_of_a_similarity_is_a_whole_number(minimum, length, most):
    assert similarity_distance(Decimal(minimum), length) == most


def test_scores_are_whole_numbers():
    similar = Condition("a", "b", "similarity", False, minimum=Decimal("0.1"))
    near = Condition("a", "b", "edit_distance", False, maximum=3)
    assert score(similar, "A-bcd", "abce") == 7_500
    assert score(near, "abcd", "ABCE") == 7_500
    assert score(Condition("a", "b", "exact", False), "x", "x") == 10_000
