from collections import Counter

import pytest

from domain import events as ev
from projections.suggested import Step, fold_steps


def came(name, sources, targets, source_minor=100, target_minor=100):
    event = ev.MatchSuggested(
        name, "one_to_one", 1, sources, targets, "EUR", source_minor, target_minor, 0, "several fit"
    )
    return Step("t", "r", name, event)


def went(step):
    event = ev.MatchSuperseded(
        step.match_id, step.event.rule, step.event.source_ids, step.event.target_ids, "a rival came"
    )
    return Step("t", "r", step.match_id, event)


def counted(steps):
    counts = Counter()

    def on_member(key, member, sign, _step):
        counts[key.side] += sign
        counts[f"{key.side}_minor"] += sign * member.amount_minor

    def on_suggestion(_step, sign):
        counts["suggestions"] += sign

    standing = fold_steps({}, steps, on_member, on_suggestion)
    return counts, standing


PAIR = came("pair", ("a",), ("x", "y"), 100, 201)
SAME = came("same", ("a",), ("x", "y"), 100, 201)
WIDER = came("wider", ("a", "b"), ("x", "y", "z"), 150, 271)


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ([PAIR], (1, 100, 2, 201, 1)),
        ([PAIR, SAME], (1, 100, 2, 201, 2)),
        ([PAIR, SAME, went(PAIR)], (1, 100, 2, 201, 1)),
        ([PAIR, WIDER], (2, 150, 3, 271, 2)),
        ([PAIR, WIDER, went(WIDER)], (1, 100, 2, 201, 1)),
        ([PAIR, WIDER, went(WIDER), went(PAIR)], (0, 0, 0, 0, 0)),
    ],
)
def test_a_transaction_in_several_suggestions_counts_once(steps, counts):
    found, standing = counted(steps)
    names = ("source", "source_minor", "target", "target_minor", "suggestions")
    assert tuple(found[name] for name in names) == counts
    assert len(standing) == found["source"] + found["target"]


def test_members_whose_amounts_are_told_are_counted_by_them():
    event = ev.MatchSuggested(
        "r", "one_to_one", 1, ("a", "b"), ("x",), "EUR", 70, 60, 0, "several fit", [50, 20], [60]
    )
    other = ev.MatchSuggested(
        "q", "one_to_one", 1, ("b", "c"), ("x",), "EUR", 29, 60, 0, "several fit", [20, 9], [60]
    )
    first, second = Step("t", "r", "first", event), Step("t", "r", "second", other)
    found, standing = counted([first, second, went(first)])
    assert (found["source_minor"], found["target_minor"]) == (29, 60)
    assert {key.transaction_id: member.amount_minor for key, member in standing.items()} == {
        "b": 20, "c": 9, "x": 60,
    }  # fmt: skip


def test_what_is_so_already_changes_nothing():
    once = counted([PAIR, WIDER, went(PAIR)])
    assert counted([PAIR, PAIR, WIDER, went(PAIR), went(PAIR), WIDER]) == once
    assert counted([went(SAME)]) == (Counter(), {})
