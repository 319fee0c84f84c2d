"""The comparison with the reference: some worlds of it, and that it would see what is wrong.

`make reference CASES=20000` compares as many as one likes.
"""

from collections import Counter

import pytest

from domain.definitions import EQUALITY_OPERATORS
from domain.matching import amounts
from tests.unit.domain import comparison, reference

WORLDS = 400


@pytest.mark.parametrize("block", range(4))
def test_the_engine_ends_as_the_reference_does(block):
    size = WORLDS // 4
    counted, failed = comparison.compare(range(block * size, block * size + size))
    assert not failed, comparison.told(comparison.shrunk(failed[0]))
    for order in comparison.ORDERS:
        assert counted[order] > 0.9 * size, "most worlds must be ones that are promised to agree"


def features(world):  # noqa: C901 - one line a word of the language
    """What of the language a world asks for."""
    for rule in world.definition.rules:
        yield rule.match_type
        yield f"selection {rule.selection}"
        yield f"outcome {rule.outcome}"
        yield from rule.prefer
        for one in rule.conditions:
            yield one.operator
            yield "unique" if one.unique else "not unique"
            if one.operator in EQUALITY_OPERATORS and one.source_field != one.target_field:
                yield "another field"
        amount = rule.amount
        yield amount.kind
        yield f"source {amount.source_basis}"
        yield f"target {amount.target_basis}"
        yield "inclusive" if amount.inclusive else "exclusive"
        if amount.percent is not None:
            yield f"percent of {amount.percent_of}"
        if amount.percent is not None and amount.absolute is not None:
            yield f"combine {amount.combine}"
        if amount.round is not None:
            yield amount.round.mode
        if amount.schedule is not None:
            yield amount.schedule.order
        if amount.opposite:
            yield "opposite"
        if rule.date is not None:
            yield "days" if rule.date.max_seconds is None else "seconds"
            if rule.date.business:
                yield "business"
            if rule.date.holidays:
                yield "holidays"
            if rule.date.anchored:
                yield "anchored"
        if rule.whole_key is not None:
            yield f"whole {rule.match_type}"
        if rule.max_size is not None:
            yield f"subset {rule.match_type}"
        if rule.settle_us:
            yield "settle"
    for one in world.transactions:
        yield one.currency
        if abs(one.amount_minor) > 9 * 10**17:
            yield "eighteen digits"
        if one.is_date:
            yield "a bare date"
        if one.extra is not None and one.extra[5] is not None:
            yield "supersedes"


WANTED = {
    "one_to_one", "one_to_many", "many_to_one", "many_to_many", "selection suggest",
    "selection leave_unmatched", "selection lowest_id", "selection prefer", "outcome confirm",
    "outcome suggest", "fewest_members", "closest_amount", "closest_date", "oldest", "newest",
    "exact", "casefold", "alphanumeric", "digits", "regex_extract", "token_run", "token_set",
    "edit_distance", "similarity", "unique", "not unique", "another field", "equal", "tolerance",
    "bounds", "inclusive", "exclusive", "half_up", "half_even", "parallel", "cascading",
    "opposite", "days", "seconds", "business", "holidays", "anchored", "settle", "EUR", "USD",
    "JPY", "KWD", "UYW", "eighteen digits", "a bare date", "supersedes",
    *(f"{side} {basis}" for side in ("source", "target")
      for basis in ("amount", "net", "gross", "fx", "base", "schedule")),
    *(f"percent of {of}" for of in ("source", "target", "larger", "smaller", "average")),
    *(f"combine {of}" for of in ("larger", "smaller")),
    *(f"{kind} {match_type}" for kind in ("whole", "subset")
      for match_type in ("one_to_many", "many_to_one", "many_to_many")),
}  # fmt: skip


def test_the_worlds_ask_for_the_whole_language_and_find_something():
    asked, found = Counter(), Counter()
    for seed in range(WORLDS):
        world = comparison.some_world(seed)
        asked.update(set(features(world)))
        outcome = reference.run(world.definition, reference.standing([*world.transactions]))
        found.update(name for name in ("confirmed", "suggested", "duplicates")
                     if getattr(outcome, name))  # fmt: skip
        found.update(["groups"] * any(len(s) + len(t) > 2 for _, s, t in outcome.confirmed))
    assert not {name for name in WANTED if asked[name] < 3}
    assert found["confirmed"] > WORLDS // 6
    assert found["suggested"] > WORLDS // 20
    assert found["duplicates"] > WORLDS // 40
    assert found["groups"] > 2


def test_a_wrong_engine_is_seen_and_shown_in_its_smallest_world(monkeypatch):
    right = amounts._absolute
    monkeypatch.setattr(
        amounts,
        "_absolute",
        lambda rule, scale: None if rule.absolute is None else right(rule, scale) + 1,
    )
    _, failed = comparison.compare(range(60))
    assert failed
    smallest = min(
        (comparison.shrunk(world) for world in failed[:3]), key=lambda w: len(w.transactions)
    )
    assert len(smallest.transactions) <= 4
    assert len(smallest.definition.rules) == 1
    said = comparison.told(smallest)
    assert f"seed {smallest.seed}" in said
    assert "only the engine has" in said or "only the reference has" in said
