"""What becomes of sets of groups that are more than is looked at, with bounds made small."""

import pytest

from domain.events import MatchSuggested
from domain.matching import groups, groups_of_both, selection, subset_search
from domain.matching.anchored_search import AnchoredSearch
from domain.matching.subset_search import NODES_MAX, SubsetSearch
from domain.matching.subset_sums import Meeting
from domain.reconciliation import Chunk, Reconciliation
from tests.unit.domain.test_groups import PAIRS, definition, end_of, members, reasons, record

CROWDED = "no group was searched: the bound was hit by"
WHOLE = {"group": {"whole_key": "attributes.batch"}}
BOTH = {"match_type": "many_to_many"}
LOWEST = {"selection": {"tie_break": "lowest_id"}}
ANCHORED = {"date": {"min_days": -1, "max_days": 1, "anchor": "source_member"}}


# -- searches with an anchor --


def anchored_search(total, amounts, nodes_max=NODES_MAX):
    """For a target of day 6: a source of day 5 and others of days 4 and 6, in cents."""
    state = Reconciliation(definition(match_type="many_to_one", **ANCHORED))
    records = [record("s0", f"0.{amounts[0]:02d}", day=5), record("t", f"0.{total:02d}", day=6)]
    for place, amount in enumerate(amounts[1:], 1):
        records.append(record(f"s{place}", f"0.{amount:02d}", day=4 + 2 * (place % 2)))
    state.advance(Chunk(records, caught_up=True))
    legs = {leg.transaction_id: leg for leg in state.book.open_legs()}
    sources = [legs[f"s{place}"] for place in range(len(amounts))]
    return AnchoredSearch(
        state.book.rules[0], sources, legs["t"], total, total, len(amounts), nodes_max
    )


def test_an_anchored_search_tells_at_which_size_it_hit_its_bound():
    search = anchored_search(9, [1, 2, 7, 3, 6], nodes_max=1)
    assert (search.found.outcome, search.found.size) == ("bound", 3)
    assert search.subsets(10) == []
    assert search.lowest() is None


def test_members_of_an_anchored_search_that_are_too_many_to_tell(monkeypatch):
    monkeypatch.setattr(subset_search, "VECTORS_MAX", 1)
    monkeypatch.setattr(subset_search, "BITS_MAX", -1)
    search = anchored_search(10, [1, 2, 7, 3, 6])
    assert search.found[:3] == ("several", 3, ())
    assert search.lowest() is None
    assert search.subsets(10) is None


def test_an_anchored_search_writes_out_no_more_than_asked():
    search = anchored_search(2, [1, 1, 1, 1])
    assert search.found.members == (0, 1, 2, 3)
    pairs = search.subsets(10)
    assert pairs is not None
    assert {(0, 1), (0, 2), (0, 3)} <= set(pairs)
    assert len(pairs) > 3
    assert search.subsets(3) is None  # of one anchor, but not of all
    assert search.subsets(1) is None  # not even of one


def test_the_lowest_of_too_many_bits_is_not_told(monkeypatch):
    monkeypatch.setattr(Meeting, "cost", staticmethod(lambda *_: NODES_MAX))
    anchored = anchored_search(10, [1, 2, 7, 3, 6])
    alone = SubsetSearch([2, 7, 3, 6], 9, 9, 4)
    assert (anchored.lowest(), alone.lowest()) == ((0, 1, 2), (0, 1))
    monkeypatch.setattr(subset_search, "BITS_MAX", -1)
    assert (anchored.lowest(), alone.lowest()) == (None, None)


# -- sets that are more than is judged --


@pytest.mark.parametrize("rule", [{}, WHOLE, BOTH, BOTH | WHOLE])
def test_more_pairs_of_profiles_than_are_judged(rule, monkeypatch):
    records = [record("s", "3.00"), record("t1", "1.00"), record("t2", "2.00")]
    assert members(end_of(rule, *records))
    monkeypatch.setattr(groups, "_PAIRS_MAX", 0)
    told = reasons(end_of(rule, *records))
    assert told["s"][1].startswith(f"{CROWDED} 1 source and 2")


def test_more_singles_of_a_whole_group_than_are_ranked(monkeypatch):
    rule = WHOLE | LOWEST
    records = [record("s1", "3.00"), record("s2", "3.00"), record("t1", "1.00"), record("t2", "2")]
    assert members(end_of(rule, *records)) == {("s1", "t1", "t2")}
    monkeypatch.setattr(groups, "_RANKED_MEMBERS_MAX", 3)
    assert reasons(end_of(rule, *records))["s1"][1].startswith(f"{CROWDED} 2 source and 2")


def test_more_sets_that_fit_together_than_are_searched(monkeypatch):
    rule = BOTH | {"date": {"min_days": 0, "max_days": 1}}
    records = [record("s1", "5", day=5), record("s2", "7", day=6)]
    records += [record("t1", "4", day=6), record("t2", "8", day=6), record("t3", "9", day=7)]
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1", "t2")}
    monkeypatch.setattr(groups_of_both, "_BLOCKS_MAX", 1)
    assert reasons(end_of(rule, *records))["s1"][1].startswith(CROWDED)


def test_more_anchors_than_are_searched(monkeypatch):
    rule = BOTH | ANCHORED
    records = [record("s1", "1", day=4), record("s2", "2", day=5)]
    records += [record("t1", "3", day=6), record("s3", "2", day=7)]
    assert members(end_of(rule, *records)) == {("s1", "s2", "t1")}
    monkeypatch.setattr(groups_of_both, "_ANCHORS_MAX", 0)
    assert reasons(end_of(rule, *records))["t1"][1].startswith(CROWDED)


def test_more_groups_of_both_sides_than_are_written_out(monkeypatch):
    records = [record("s1", "1"), record("s2", "4"), record("t1", "2"), record("t2", "3")]
    assert members(end_of(BOTH, *records)) == {("s1", "s2", "t1", "t2")}
    monkeypatch.setattr(groups_of_both, "VECTORS_MAX", 0)
    assert reasons(end_of(BOTH, *records))["s1"][1].startswith(
        "the search hit its bound: groups of 4 or more among 2 source and 2 target"
    )


def test_more_groups_of_both_sides_than_are_compared(monkeypatch):
    rule = BOTH | LOWEST
    records = [record("s1", "2"), *(record(f"t{n}", "1") for n in range(4))]
    assert members(end_of(rule, *records)) == {("s1", "t0", "t1")}
    monkeypatch.setattr(groups_of_both, "_RANKED_MAX", 2)
    told = reasons(end_of(rule, *records))
    assert told["s1"][1].startswith("more than 2 groups of 3 fit, too many to compare")


def test_more_pairs_than_a_rule_that_prefers_compares(monkeypatch):
    rule = {
        "match_type": "one_to_one",
        "amount": {"tolerance": {"absolute": "0.05"}},
        "selection": {"prefer": ["closest_amount"]},
    }
    records = [record("s", "1.00"), record("t1", "1.01"), record("t2", "1.02")]
    assert members(end_of(rule, *records)) == {("s", "t1")}
    monkeypatch.setattr(selection, "_RANKED_MAX", 1)
    events = end_of(rule, *records)
    assert members(events) == set()
    assert "s" in reasons(events)


# -- what later rules leave of a set --


def test_a_single_that_a_later_rule_took_leaves_the_whole_group_to_the_other():
    records = [record("s1", "3.00"), record("s2", "3.00", reference="R")]
    records += [record("t1", "1.00"), record("t2", "2.00")]
    events = end_of(WHOLE, *records, later=[PAIRS])
    assert members(events, MatchSuggested) == {("s1", "s2", "t1", "t2")}
    taker = record("t9", "3.00", batch="z", reference="R")
    events = end_of(WHOLE, *records, taker, later=[PAIRS])
    assert members(events) == {("s2", "t9")}
    (left,) = (event for event in events if isinstance(event, MatchSuggested))
    assert (left.source_ids, left.target_ids, left.single) == (("s1",), ("t1", "t2"), True)


def test_what_a_later_rule_leaves_of_groups_of_both_sides():
    """Groups of the smallest size stay candidates, and none of a larger one becomes one."""
    records = [record("s1", "3.00"), *(record(f"t{n}", "1.00") for n in range(4))]
    records.append(record("t4", "2.00", reference="R"))
    taker = record("s9", "2.00", batch="z", reference="R")
    rule = BOTH | {"group": {"max_size": 4}}
    events = end_of(rule, *records, later=[PAIRS])
    assert members(events, MatchSuggested) == {("s1", "t0", "t1", "t2", "t3", "t4")}
    events = end_of(rule, *records, taker, later=[PAIRS])
    assert members(events) == {("s9", "t4")}
    # Three of 1.00 fit as well, yet they never were a candidate.
    assert members(events, MatchSuggested) == set()
    events = end_of(rule, *records, taker, record("t5", "2.00"), later=[PAIRS])
    assert members(events, MatchSuggested) == {("s1", "t0", "t1", "t2", "t3", "t5")}


def test_nothing_is_left_of_groups_of_both_sides_that_cannot_be_searched_again(monkeypatch):
    records = [record("s1", "2.00"), *(record(f"t{n}", "1.00") for n in range(3))]
    records.append(record("t3", "1.00", reference="R"))
    taker = record("s9", "1.00", batch="z", reference="R")
    events = end_of(BOTH, *records, taker, later=[PAIRS])
    assert members(events, MatchSuggested) == {("s1", "t0", "t1", "t2")}
    searched = groups_of_both.groups_left

    def bounded(*given):
        monkeypatch.setattr(groups_of_both, "NODES_MAX", 0)
        yield from searched(*given)
        monkeypatch.setattr(groups_of_both, "NODES_MAX", NODES_MAX)

    monkeypatch.setattr(groups, "groups_left", bounded)
    events = end_of(BOTH, *records, taker, later=[PAIRS])
    assert members(events, MatchSuggested) == set()
