"""Indexes find exactly whom trying everyone finds, and what they cost does not grow."""

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from domain.definitions import Condition, DateWindow
from domain.matching.book import Book
from domain.matching.indexes import SortedIndex
from domain.matching.legs import Leg
from domain.matching.pair_pool import PairPool
from domain.matching.text_indexes import GramIndex, TokenIndex
from domain.transactions import build_transaction
from tests.unit.domain.cases import EQUAL, some_amount, some_definition, some_window

ON_REFERENCE = Condition("reference", "reference", "exact", unique=False)
WORDS = ["invoice", "inv", "payment", "ord", "0012", "0021", "1200", "müller", "gmbh", "a", "of"]


def some_text(rng):
    text = rng.choice([" ", "-", "/"]).join(
        rng.choice(WORDS) for _ in range(rng.choice([1, 1, 2, 2, 4]))
    )
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(["", "x", "0"]) + text[place + 1 :]
    return text or "x"


def some_condition(rng):
    operator = rng.choice(["token_run", "token_set", "edit_distance", "similarity"])
    return Condition(
        "reference",
        rng.choice(["reference", "description"]),
        operator,
        unique=False,
        maximum=rng.choice([0, 1, 2, 3]) if operator == "edit_distance" else None,
        minimum=Decimal(rng.choice(["0.3", "0.6", "0.75", "0.85", "0.9", "0.95", "1"]))
        if operator == "similarity"
        else None,
    )


def some_pool(rng) -> tuple[Book, PairPool]:
    definition = some_definition(rng, lateness_us=0, unique=False)
    conditions = [some_condition(rng) for _ in range(rng.choice([0, 1, 1, 2]))]
    if rng.random() < 0.3:
        conditions.append(Condition("counterparty", "counterparty", "exact", unique=False))
    rule = replace(
        definition.rules[0],
        match_type="one_to_one",
        whole_key=None,
        conditions=tuple(conditions),
        amount=rng.choice([EQUAL, EQUAL, some_amount(rng)]),
        date=rng.choice([None, None, some_window(rng)]),
    )
    book = Book(replace(definition, rules=(rule,)))
    (pool,) = book.pools
    assert isinstance(pool, PairPool)
    return book, pool


def some_leg(rng, book, number):
    fields = {
        "tenant_id": "acme",
        "reconciliation_id": "orders",
        "transaction_id": f"{number}",
        "amount": rng.choice(["1.00"] * 9 + ["1.01", "1.05", "2.00"]),
        "currency": rng.choice(["EUR"] * 9 + ["USD"]),
        "occurred_at": f"2026-01-0{rng.randint(2, 7)}T{rng.randint(0, 23):02d}:00:00Z",
        "reference": some_text(rng),
        "description": some_text(rng),
        "counterparty": rng.choice(["Ann", "Bob"]),
    }
    return book.leg_of(build_transaction(fields, rng.randint(0, 1), None))


@pytest.mark.parametrize("block", range(6))
def test_partners_are_those_that_trying_everyone_gives(block):
    seen = Counter()
    for seed in range(block * 25, block * 25 + 25):
        rng = random.Random(seed)
        book, pool = some_pool(rng)
        (rule,) = book.rules
        filed: list[Leg] = []
        for number in range(160):
            if filed and rng.random() < 0.3:
                gone = filed.pop(rng.randrange(len(filed)))
                pool.discard(gone)
            else:
                filed.append(some_leg(rng, book, number))
                pool.add(filed[-1])
            if number % 4:
                continue
            leg = rng.choice(filed) if filed and rng.random() < 0.5 else some_leg(rng, book, "x")
            key = leg.keys[rule.slot]
            expected = {
                other
                for other in filed
                if other.side != leg.side
                and key is not None
                and other.keys[rule.slot] == key
                and (rule.admits(leg, other) if leg.side == 0 else rule.admits(other, leg))
            }
            found = pool.partners(leg)
            assert len(found) == len(set(found)), f"seed={seed}"
            assert set(found) == expected, f"seed={seed} rule={rule.rule}"
            seen["partners"] += len(found)
        for leg in filed:
            pool.discard(leg)
        assert pool.sides == ({}, {})
        assert not pool.crowds
    assert seen["partners"] > 300, "the worlds must have partners to find"


CROWD = 2_000


def crowd_of(condition, amounts, references, date=None, amount=EQUAL):
    """A book with that many targets, and a leg of the source side to ask with."""
    rng = random.Random(1)
    definition = some_definition(rng, lateness_us=0, unique=False)
    rule = replace(
        definition.rules[0], match_type="one_to_one", whole_key=None, date=date, amount=amount,
        conditions=() if condition is None else (condition,),
    )  # fmt: skip
    book = Book(replace(definition, rules=(rule,)))
    legs = []
    for number in range(CROWD):
        at = f"2026-01-05T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
        fields = {
            "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": f"{number}",
            "amount": amounts(number), "currency": "EUR", "occurred_at": at,
            "reference": references(number),
        }  # fmt: skip
        leg = book.leg_of(build_transaction(fields, 1, None))
        book.pools[0].add(leg)
        legs.append(build_transaction(fields, 0, None))
    return book, [book.leg_of(one) for one in legs]


def number_text(number):
    return f"ORD-{number * 7919 % 1_000_003:07d}"


@pytest.mark.parametrize(
    ("condition", "amounts", "date", "amount"),
    [
        (Condition("reference", "reference", "edit_distance", False, maximum=1),
         lambda _: "1.00", None, EQUAL),
        (Condition("reference", "reference", "similarity", False, minimum=Decimal("0.95")),
         lambda _: "1.00", None, EQUAL),
        (Condition("reference", "reference", "token_run", False), lambda _: "1.00", None, EQUAL),
        (None, lambda n: f"{n}.00", None,
         replace(EQUAL, kind="tolerance", absolute=Decimal("0.99"))),
        (None, lambda _: "1.00", DateWindow(None, None, "UTC", True, max_seconds=3), EQUAL),
    ],
    ids=["edit_distance", "similarity", "token_run", "tolerance", "seconds"],
)  # fmt: skip
def test_few_of_a_crowd_are_tried(condition, amounts, date, amount, monkeypatch):
    book, legs = crowd_of(condition, amounts, number_text, date, amount)
    (rule,) = book.rules
    tried = 0
    admits = rule.admits

    def counted(source, target):
        nonlocal tried
        tried += 1
        return admits(source, target)

    monkeypatch.setattr(rule, "admits", counted)
    for leg in legs[:: CROWD // 100]:
        assert book.pools[0].partners(leg)
    assert tried < 100 * CROWD * 0.03


@pytest.mark.parametrize("percent", [99, 100])
def test_a_tolerance_that_knows_no_bounds_finds_who_is_within_it(percent):
    amount = replace(EQUAL, kind="tolerance", percent=Decimal(percent), percent_of="larger")
    amounts = [number % 7 * number - CROWD for number in range(CROWD)]
    book, legs = crowd_of(None, lambda number: f"{amounts[number]}.00", number_text, None, amount)
    (pool,) = book.pools
    for number in range(0, CROWD, CROWD // 4):
        ours = amounts[number]
        assert sorted(int(one.transaction_id) for one in pool.partners(legs[number])) == [
            other
            for other, theirs in enumerate(amounts)
            if abs(theirs - ours) * 100 <= percent * max(abs(theirs), abs(ours))
        ]


@pytest.mark.parametrize(
    "fields",
    [
        {"match_type": "one_to_one"},
        {"match_type": "one_to_one", "conditions": (replace(ON_REFERENCE, unique=True),)},
        {"match_type": "one_to_many", "whole_key": "reference"},
        {"match_type": "one_to_many"},
    ],
    ids=["pairs", "unique", "whole key", "sums"],
)
def test_a_leg_without_a_key_stands_nowhere(fields):
    definition = some_definition(random.Random(1), lateness_us=0, unique=False)
    plain = {"whole_key": None, "conditions": (ON_REFERENCE,), "date": None, "amount": EQUAL}
    rule = replace(definition.rules[0], **plain | fields)
    book = Book(replace(definition, rules=(rule,)))
    (pool,) = book.pools
    with_key, without = (
        book.leg_of(
            build_transaction(
                {
                    "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": name,
                    "amount": "1.00", "currency": "EUR", "occurred_at": "2026-01-05T12:00:00Z",
                    "reference": reference,
                },
                0,
                None,
            )
        )
        for name, reference in (("s1", "R-1"), ("s2", None))
    )  # fmt: skip
    for leg in (with_key, without):
        pool.add(leg)
    assert pool.around(with_key) is not None
    assert (pool.around(without), pool.place(without)) == (None, None)
    assert [*pool.beside(without), *pool.fellows(without)] == []
    assert pool.alone([without]) == [without], "who comes with a key does not find it"
    pool.discard(without)
    assert pool.around(with_key) is not None


def test_under_a_rule_without_a_key_nobody_is_out_of_another_s_sight():
    book, legs = crowd_of(None, lambda _: "1.00", number_text)
    assert book.pools[0].alone(legs[:1]) == []


def test_an_index_says_what_it_has_before_it_is_taken():
    book, legs = crowd_of(
        Condition("reference", "reference", "token_run", False), lambda _: "1.00", number_text
    )
    (test,) = book.rules[0].texts
    (asking,) = book.pools[0].partners(legs[4])
    for index in (
        TokenIndex(test.slot),
        GramIndex(test.slot, 3, lambda _length: 2),
        SortedIndex(lambda leg: int(leg.transaction_id), lambda _: (3, 5)),
    ):
        for leg in legs:
            index.add(leg)
        search = index.search(asking)
        assert search.size >= len(list(search.legs()))
        assert legs[4] in search.legs()
        index.discard(legs[4])
        assert legs[4] not in index.search(asking).legs()
