"""Subset search says exactly what trying every subset says, either way it goes, in bounded work."""

import random
from itertools import combinations

import pytest

from domain.matching import subset_search, subset_sums
from domain.matching.subset_search import NODES_MAX, SubsetSearch, search
from domain.matching.subset_sums import Meeting, Places, SumLists, ways


def brute(amounts, low, high, most):
    """(size, all subsets of that size that fit), (0, []) when none does."""
    for size in range(1, min(most, len(amounts)) + 1):
        fitting = [
            chosen
            for chosen in combinations(range(len(amounts)), size)
            if low <= sum(amounts[place] for place in chosen) <= high
        ]
        if fitting:
            return size, fitting
    return 0, []


def some_search(rng):
    """Amounts of few values or many, of either sign, narrow or wide, and a range for their sum."""
    count = rng.randint(1, 11)
    values = rng.choice(
        [
            [1, 2, 3],
            [-2, -1, 1, 2, 3, 5],
            [100, 100, 250, 300],
            [0, 1, 7],
            list(range(-30, 60)),
            [rng.randint(-(10**17), 10**17) for _ in range(4)],
            [10**17 + rng.randint(0, 9) for _ in range(5)],
            [rng.randint(1, 10**6) for _ in range(20)],
        ]
    )
    amounts = [rng.choice(values) for _ in range(count)]
    most = rng.randint(1, 7)
    target = rng.choice([sum(rng.sample(amounts, rng.randint(1, count))), rng.choice(values) * 3])
    spread = rng.choice([0, 0, 0, 1, 2, 10, 1000])
    return amounts, target - rng.choice([0, spread]), target + spread, most


@pytest.fixture(params=["either", "lists", "bits", "both"])
def way(request, monkeypatch):
    """Both ways a search can go must say the same, whichever it would choose."""
    if request.param == "lists":
        monkeypatch.setattr(subset_search, "BITS_MAX", -1)
        monkeypatch.setattr(subset_sums, "_SCANS_MAX", 1)
    if request.param == "both":
        # Lists that turn out too long on the way are left for bits.
        monkeypatch.setattr(subset_search, "VECTORS_MAX", 1)
    if request.param == "bits":
        monkeypatch.setattr(Meeting, "cost", staticmethod(lambda *_: NODES_MAX))
    return request.param


@pytest.mark.parametrize("block", range(4))
def test_a_search_says_what_trying_everything_says(block, way):
    bounded = 0
    for seed in range(block * 500, block * 500 + 500):
        amounts, low, high, most = some_search(random.Random(seed))
        size, fitting = brute(amounts, low, high, most)
        one = SubsetSearch(amounts, low, high, most)
        label = f"seed={seed} search({amounts}, {low}, {high}, {most})"
        if one.found.outcome == "bound":
            assert way == "bits", label
            bounded += 1
            continue
        assert one.found.outcome == ("none", "one", "several")[min(len(fitting), 2)], label
        assert one.found.size == size, label
        assert set(one.found.members) == {place for part in fitting for place in part}, label
        assert one.lowest() == (min(fitting) if fitting else None), label
        assert one.subsets(10_000) == fitting, label
    assert bounded < 250, "bits alone must still answer most searches"


@pytest.mark.parametrize("seed", range(200))
def test_the_order_of_the_amounts_changes_nothing(seed):
    rng = random.Random(seed)
    amounts, low, high, most = some_search(rng)
    nodes_max = rng.choice([NODES_MAX, 40, 100])
    before = search(amounts, low, high, most, nodes_max)
    order = list(range(len(amounts)))
    rng.shuffle(order)
    after = search([amounts[place] for place in order], low, high, most, nodes_max)
    assert (after.outcome, after.size, after.nodes) == (
        before.outcome,
        before.size,
        before.nodes,
    )
    assert {order[place] for place in after.members} == set(before.members)


def test_a_tighter_bound_tells_that_it_was_hit_and_never_another_answer():
    outcomes = set()
    for seed in range(300):
        amounts, low, high, most = some_search(random.Random(seed))
        whole = search(amounts, low, high, most)
        for nodes_max in (12, 20, 40, 80):
            cut = search(amounts, low, high, most, nodes_max)
            assert cut.nodes <= max(nodes_max, len(amounts))
            outcomes.add(cut.outcome)
            if cut.outcome == "bound":
                assert whole.size == 0 or whole.size >= cut.size
            else:
                assert cut[:2] == whole[:2]
                assert cut.members in (whole.members, ())
    assert outcomes == {"none", "one", "several", "bound"}


def test_the_number_of_vectors_is_counted_as_they_are_made():
    rng = random.Random(1)
    for _ in range(100):
        counts = [rng.randint(1, 4) for _ in range(rng.randint(1, 8))]
        lists = SumLists([rng.randint(-9, 9) for _ in counts], counts)
        lists.grow_to(5)
        assert ways(counts, 5) == [len(sums) for sums in lists.sums]
        for size, sums in enumerate(lists.sums):
            vectors = [lists.vector(size, place) for place in range(len(sums))]
            assert len({tuple(sorted(vector)) for vector in vectors}) == len(vectors)
            assert all(sum(count for _, count in vector) == size for vector in vectors)


@pytest.mark.parametrize("width", [1, 4])
def test_sums_stand_where_looking_at_each_finds_them_however_often_one_asks(width):
    rng = random.Random(5)
    sums = [rng.randint(-20, 20) for _ in range(200)]
    places = Places(sums, width)
    for _ in range(100):
        low, before = rng.randint(-25, 25), rng.randint(0, 200)
        expected = [place for place in range(before) if low <= sums[place] < low + width]
        assert sorted(places.of(low, before)) == expected


def test_ten_thousand_twins_are_several_at_once():
    found = search([100] * 10_000, 300, 300, 8)
    assert (found.outcome, found.size, len(found.members)) == ("several", 3, 10_000)
    one = SubsetSearch([100] * 10_000, 300, 300, 8)
    assert one.lowest() == (0, 1, 2)
    assert one.subsets(1_000) is None


def test_subsets_too_many_for_either_way_are_several_and_not_told(monkeypatch):
    monkeypatch.setattr(subset_search, "VECTORS_MAX", 1)
    monkeypatch.setattr(subset_search, "BITS_MAX", -1)
    one = SubsetSearch([1, 2, 3, 4], 5, 5, 4)
    assert one.found[:3] == ("several", 2, ())
    assert (one.lowest(), one.subsets(10)) == (None, None)


def test_many_different_amounts_hit_the_bound_and_say_where():
    rng = random.Random(3)
    amounts = [rng.randrange(10**16, 10**17) for _ in range(5_000)]
    found = search(amounts, sum(amounts[:3]), sum(amounts[:3]), 8)
    assert (found.outcome, found.members) == ("bound", ())
    assert found.size == 3
    assert found.nodes <= NODES_MAX
    found = search(amounts, sum(amounts[:2]), sum(amounts[:2]), 8)
    assert (found.outcome, found.members) == ("one", (0, 1))


def test_forty_candidates_of_eighteen_digits_are_searched_whole():
    rng = random.Random(4)
    amounts = [rng.randrange(10**16, 10**17) for _ in range(40)]
    planted = sorted(rng.sample(range(40), 8))
    total = sum(amounts[place] for place in planted)
    assert search(amounts, total, total, 8)[:3] == ("one", 8, tuple(planted))
    assert search(amounts, total + 1, total + 1, 8).outcome == "none"


def test_what_cannot_be_reached_costs_nothing_but_a_look():
    amounts = [1_000 + place for place in range(500)]
    found = search(amounts, 10_000_000, 10_000_000, 8)
    assert (found.outcome, found.nodes) == ("none", 500)
    assert search([], 1, 1, 8).outcome == "none"
    assert search([1, 2], 3, 2, 8).outcome == "none"
