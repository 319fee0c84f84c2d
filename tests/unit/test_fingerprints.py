"""Both indexes find every frozen entry that shares a fingerprint with what comes in."""

import random

import pytest

from connectors.fingerprints import SortedIndex
from domain.freezing.fingerprints import (
    BLOCK_BITS,
    ENTRY_BITS,
    SLOTS,
    PlainIndex,
    of_ids,
    of_keys,
    packed,
)


@pytest.fixture(params=[PlainIndex, SortedIndex])
def index(request):
    return request.param()


def test_each_entry_is_found_by_each_of_its_fingerprints(index):
    rng = random.Random(1)
    entries, slots = {}, set()
    for _ in range(60):
        slot = rng.randrange(40)
        if slot in slots:
            slots.remove(slot)
            index.drop(slot)
            entries = {place: one for place, one in entries.items() if place >> BLOCK_BITS != slot}
            continue
        slots.add(slot)
        rows = [[rng.getrandbits(64) for _ in range(3)] for _ in range(rng.randint(1, 200))]
        index.add(slot, packed(rows))
        entries |= {slot << BLOCK_BITS | number: row for number, row in enumerate(rows)}
    for place, row in entries.items():
        for one in row:
            assert place in index.find([rng.getrandbits(64), one])
    asked = rng.sample(sorted(entries), 50)
    found = index.find([entries[one][1] for one in asked])
    assert set(asked) <= set(found)
    assert len(found) < 60, "and hardly any other"


def test_what_many_share_is_found_of_all(index):
    for slot in range(5):
        index.add(slot, packed([[7 << ENTRY_BITS], [8 << ENTRY_BITS], [7 << ENTRY_BITS]]))
    assert len(index.find([7 << ENTRY_BITS | 5])) == 10
    assert index.find([9 << ENTRY_BITS]) == []


def test_what_is_dropped_goes_in_time():
    index = SortedIndex()
    for number in range(4 * SLOTS):
        slot = number % SLOTS
        index.add(slot, packed([[number << ENTRY_BITS]]))
        if number >= 3:
            index.drop((number - 3) % SLOTS)
    assert len(index) < SLOTS // 4


def test_ids_of_sides_and_keys_of_rules_are_told_apart():
    prints = [of_ids(0, ["a"]), of_ids(1, ["a"]), of_keys(0, ["a"]), of_keys(1, ["a"])]
    prints += [of_keys(0, [("a", "b")]), of_keys(0, [("b", "a")])]
    assert len({one for (one,) in prints}) == 6
    assert of_keys(0, [None, "a", None]) == prints[2]
