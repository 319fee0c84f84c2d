"""What a new definition leaves as it was: with the same rules, all that they have used up."""

import pytest

from domain.definition_parsing import parse_definition
from domain.events import DuplicateDetected
from domain.reconciliation import Reconciliation
from domain.snapshots import restore, snapshot
from tests.unit.domain.test_runs import DAY, DEFINITION, HOUR, START, World


def rule(**more: object) -> dict[str, object]:
    condition = {"field": "reference", "operator": "exact", "unique": True}
    return {"name": "reference", "match_type": "one_to_one", "conditions": [condition], **more}


def redefined(**more: object) -> World:
    """A pair used a value up, then another definition came in force."""
    world = World(rules=[rule()])
    world.send(("s1", "A", START), ("t1", "A", START))
    other = parse_definition({**DEFINITION, "rules": [rule()], **more})
    assert other != world.definition
    world.kept(world.state.define(other, "define-2"))
    return world


def duplicates(world: World, state: Reconciliation) -> list[str]:
    """Who is one once another has brought the value, and its wait is over."""
    world.state = state
    told = world.send(("s2", "A", START + HOUR)) + world.until(START + 3 * DAY)
    return [one.transaction_id for one in told if isinstance(one, DuplicateDetected)]


@pytest.mark.parametrize("way", ["live", "folded", "restored"])
@pytest.mark.parametrize(
    ("more", "is_one"),
    [
        ({"name": "Shop orders"}, True),
        ({"window": {**DEFINITION["window"], "wait": "PT2H"}}, True),
        ({"window": {**DEFINITION["window"], "remember": "P9D"}}, True),
        ({"rules": [rule(amount={"tolerance": {"absolute": "0.10"}})]}, False),
        ({"time_zone": "UTC"}, False),
    ],
)
def test_a_value_stays_used_up_under_the_same_rules(way, more, is_one):
    world = redefined(**more)
    states = {
        "live": lambda: world.state,
        "folded": world.folded,
        "restored": lambda: restore(snapshot(world.state)),
    }
    assert duplicates(world, states[way]()) == (["s2"] if is_one else [])


def test_a_duplicate_is_still_set_free_by_a_correction_of_the_first():
    world = World(rules=[rule()])
    world.send(("s1", "A", START), ("s2", "A", START + HOUR), ("t9", "Z", START))
    world.until(START + 3 * DAY)
    window = {**DEFINITION["window"], "wait": "PT2H"}
    other = parse_definition({**DEFINITION, "rules": [rule()], "window": window})
    world.kept(world.state.define(other, "define-2"))
    world.send(("s3", "B", START), more={"supersedes": "s1"})
    assert {leg.transaction_id for leg in world.state.book.open_legs()} == {"s2", "s3", "t9"}
