"""One table for both sides, held against the obvious: a table for each."""

import random

import pytest

from domain.definition_parsing import parse_definition
from domain.matching.book import Book
from domain.matching.legs import Leg, Settled
from domain.matching.unique_pool import UniquePool
from domain.packed_content import PACKED_FORMAT, encode_packed

RULE = {"name": "reference", "match_type": "one_to_one",
        "conditions": [{"field": "reference", "operator": "exact", "unique": True}]}  # fmt: skip
VALUES = "ABC"


def make_pool():
    book = Book(
        parse_definition(
            {"tenant_id": "t", "reconciliation_id": "r", "name": "n", "rules": [RULE]}, "t", "r"
        )
    )
    (pool,) = book.pools
    assert isinstance(pool, UniquePool)
    return pool


def content(side, named, value):
    fields = (PACKED_FORMAT, side, named, 100, "EUR", 0, value, None, None, None, None)
    return encode_packed(fields)


class Tables:
    """What a pool has to give: per side, a value's legs and who used it up, and who came behind."""

    def __init__(self):
        self.legs = ({}, {})
        self.spent = ({}, {})
        self.behind = ({}, {})

    def add(self, leg, value):
        there = self.behind if value in self.spent[leg.side] else self.legs
        there[leg.side].setdefault(value, []).append(leg)

    def discard(self, leg, value):
        for there in (self.behind, self.legs):
            if leg in there[leg.side].get(value, ()):
                there[leg.side][value].remove(leg)
                return

    def spend(self, leg, value):
        waiting = self.legs[leg.side].pop(value, [])
        self.spent[leg.side][value] = leg.transaction_id
        self.behind[leg.side][value] = [one for one in waiting if one is not leg]

    def free(self, side, value):
        del self.spent[side][value]
        for leg in self.behind[side].pop(value, ()):
            self.add(leg, value)

    def pair(self, value, ids):
        for side in (0, 1):
            self.legs[side].pop(value, None)
            self.spent[side][value] = ids[side]


def check(pool, tables, legs):
    for side in (0, 1):
        assert dict(pool.spent(side)) == tables.spent[side]
        for value in VALUES:
            assert pool.spent_by(side, value) == tables.spent[side].get(value)
    for leg, value in legs.items():
        sources, targets = (
            sorted(one.transaction_id for one in tables.legs[side].get(value, ()))
            for side in (0, 1)
        )
        found = pool.around(leg)
        assert sorted(one.transaction_id for one in found.sources) == sources
        assert sorted(one.transaction_id for one in found.targets) == targets
        fellows = sorted(one.transaction_id for one in pool.fellows(leg))
        assert fellows == (sources, targets)[1 - leg.side]
        lone = (
            tables.legs[leg.side].get(value) == [leg]
            and not tables.legs[1 - leg.side].get(value)
            and value not in tables.spent[1 - leg.side]
            and not any(tables.behind[side].get(value) for side in (0, 1))
        )
        assert (pool.alone([leg]) == [leg]) == lone


@pytest.mark.parametrize("seed", range(60))
def test_both_sides_are_told_apart_whatever_comes_of_a_value(seed):
    chance = random.Random(seed)
    pool, tables = make_pool(), Tables()
    legs: dict[Leg, str] = {}
    made = 0
    for _ in range(120):
        value = chance.choice(VALUES)
        side = chance.randrange(2)
        filed = [one for one, its in legs.items() if its == value and one.side == side]
        what = chance.choice(["add", "add", "all", "discard", "spend", "free", "pair"])
        if what in ("add", "all"):
            new = []
            for one in [value] if what == "add" else chance.choices(VALUES, k=3):
                made += 1
                packed = content(side, f"id{made}", one)
                new.append(Leg(f"id{made}", side, 100, "EUR", 0, (one,), packed))
                legs[new[-1]] = one
                tables.add(new[-1], one)
            if what == "add":
                pool.add(new[0])
            else:
                pool.add_all(new)
        elif what == "discard" and filed:
            leg = chance.choice(filed)
            del legs[leg]
            pool.discard(leg)
            tables.discard(leg, value)
        elif what == "spend" and filed and value not in tables.spent[side]:
            leg = chance.choice(filed)
            del legs[leg]
            pool.spend(leg, value)
            tables.spend(leg, value)
        elif what == "free" and value in tables.spent[side]:
            pool.free(side, value, "somebody else")
            pool.free(side, value, tables.spent[side][value])
            tables.free(side, value)
        elif what == "pair" and not any(value in one for one in tables.spent):
            waiting = [tables.legs[one].get(value, []) for one in (0, 1)]
            if max(map(len, waiting)) > 1:
                continue
            for leg in (*waiting[0], *waiting[1]):
                del legs[leg]
            made += 1
            ids = f"s{made}", f"t{made}"
            packed = [content(one, ids[one], value) for one in (0, 1)]
            pool.spend_pairs([value], [Settled("reference", 0, *packed)])
            tables.pair(value, ids)
        check(pool, tables, legs)
