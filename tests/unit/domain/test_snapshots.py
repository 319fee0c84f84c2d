"""What a snapshot keeps of what was closed, above all of pairs by a unique rule."""

import msgspec
import pytest

from domain.commands import ReverseMatch
from domain.freezing import freezing
from domain.freezing.freezing import freeze
from domain.identity import match_id
from domain.matching.legs import Leg, Settled
from domain.snapshots import FORMAT, restore, snapshot
from domain.verification.anchors import read_anchor
from domain.verification.totals import MATCHED
from tests.unit.domain.former_snapshots import without_pairs
from tests.unit.domain.test_runs import DAY, HOUR, START, World

RULE = {
    "name": "reference",
    "match_type": "one_to_one",
    "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
}


def world_with_pairs(count: int = 5) -> World:
    """Pairs of two days, one whose legs are of different days, and a duplicate."""
    world = World(rules=[RULE])
    for number in range(count):
        at = START + number % 2 * DAY
        world.send((f"s{number}", f"R{number}", at), (f"t{number}", f"R{number}", at + HOUR))
    world.send(("s-late", "L", START), ("t-late", "L", START + DAY))
    world.send(("s-again", "R1", START + DAY))
    return world


def pairs_of(state):
    return [
        (day, key, *ids)
        for day, closed in sorted(state.book.closed.days.items())
        for key, *ids in zip(closed.pairs.keys, *closed.pairs.ids, strict=True)
    ]


def known(state):
    """What is known of every id, and with whom it shares its match."""
    of_match = {}
    for side, ids in enumerate(state.book.known):
        for one, entry in ids.items():
            of_match.setdefault(id(entry), []).append((side, one))
    return [
        {
            one: (type(entry), getattr(entry, "sources", entry), of_match[id(entry)])
            for one, entry in ids.items()
            if not isinstance(entry, Leg)
        }
        for ids in state.book.known
    ]


def all_that_follows(state, decide) -> list[str]:
    """What a state decides next, in words."""
    return [repr(event) for event in decide(state)]


def reversing(state):
    """Reverse a pair, and let the time run out."""
    newest_ms = state.book.known[0]["s1"].newest_ms
    match = match_id("acme", "orders", "reference", ["s1"], ["t1"], newest_ms)
    events = state.decide(ReverseMatch(match, ["s1"], ["t1"]), "c1").events
    return [*events, *state.finish().events]


def test_pairs_are_pairs_again_and_can_be_reversed():
    world = world_with_pairs()
    assert len(pairs_of(world.state)) == 5
    written = snapshot(world.state)
    again = restore(written)
    assert pairs_of(again) == pairs_of(world.state)
    assert known(again) == known(world.state)
    assert snapshot(again) == written == snapshot(world.state)
    assert all_that_follows(again, reversing) == all_that_follows(world.state, reversing)


def test_who_verifies_finds_every_pair():
    state = world_with_pairs().state
    anchor = read_anchor(snapshot(state), "acme", "orders")
    for side in (0, 1):
        found = {one: entry.place for one, entry in anchor.known[side].items()}
        matched = {one for one, place in found.items() if place == MATCHED}
        known_ids = state.book.known[side]
        assert matched == {one for one, entry in known_ids.items() if isinstance(entry, Settled)}
        assert set(found) == set(known_ids)
    assert len(anchor.contents) == sum(map(len, state.book.known))


def test_snapshots_of_the_former_format_are_read():
    world = world_with_pairs()
    former = restore(without_pairs(snapshot(world.state)))
    assert pairs_of(former) == []
    assert known(former) == known(world.state)
    assert all_that_follows(former, reversing) == all_that_follows(world.state, reversing)
    fields = msgspec.msgpack.decode(snapshot(world.state))
    assert fields[0] == FORMAT == 5, "another format needs another test of this kind"
    of_format_4 = restore(msgspec.msgpack.encode([4, *fields[1:]]))
    assert known(of_format_4) == known(world.state)
    assert pairs_of(of_format_4) == pairs_of(world.state)


def test_a_match_that_was_reopened_is_no_pair_any_more():
    world = world_with_pairs()
    reversing(world.state)
    again = restore(snapshot(world.state))
    assert "R1" not in [key for _, key, *_ in pairs_of(again)]
    assert known(again) == known(world.state)


def test_a_pair_one_of_which_was_closed_on_another_day_before_is_written_once():
    world = world_with_pairs()
    world.send(("s3", "N", START + 2 * HOUR), more={"supersedes": "s3"})
    world.send(("t-new", "N", START + 2 * HOUR))
    assert "N" in [key for _, key, *_ in pairs_of(world.state)]
    again = restore(snapshot(world.state))
    assert again.book.known[0]["s3"] is again.book.known[1]["t-new"]
    assert known(again) == known(world.state)
    assert all_that_follows(again, reversing) == all_that_follows(world.state, reversing)


@pytest.mark.parametrize("first", ["s", "t"])
@pytest.mark.parametrize("numbers", ["123", "23"])
def test_pairs_of_several_days_that_close_together_stand_on_theirs(first, numbers):
    world = World(rules=[RULE])
    other = {"s": "t", "t": "s"}[first]
    times = {"1": START, "2": START + DAY, "3": START}
    at = {number: times[number] for number in numbers}
    world.send(*((f"{first}{number}", f"R{number}", at[number]) for number in at))
    at["3"] += DAY
    world.send(*((f"{other}{number}", f"R{number}", at[number]) for number in at))
    day = START // (24 * HOUR)
    pairs = [(day, "R1", "s1", "t1"), (day + 1, "R2", "s2", "t2")]
    assert pairs_of(world.state) == pairs[-len(numbers) + 1 :]
    assert known(restore(snapshot(world.state))) == known(world.state)


def test_an_id_corrected_to_another_day_is_remembered_with_that_one():
    world = World(rules=[RULE])
    world.send(("s1", "A", START))
    world.send(("s1", "K", START + 2 * DAY), more={"supersedes": "s1"})
    world.send(("t1", "K", START + 2 * DAY), ("s9", "Z", START + 2 * DAY))
    for days, remembered in ((8.5, {"s1", "t1"}), (10.5, set())):
        world.until(START + round(days * DAY))
        for state in (world.state, restore(snapshot(world.state))):
            assert set(state.book.known[0]) | set(state.book.known[1]) == remembered | {"s9"}
            assert bool(state.book.replaced[0]) is bool(remembered)


def test_a_pair_that_was_frozen_by_its_id_is_no_pair_any_more():
    by_name = {
        "name": "name",
        "match_type": "one_to_one",
        "settle": "immediate",
        "conditions": [{"field": "counterparty", "operator": "exact"}],
    }
    world = World(rules=[RULE, by_name])

    def send(name: str, reference: str, counterparty: str, **more: str) -> None:
        world.send((name, reference, START), more={"counterparty": counterparty, **more})

    for number in "12":  # two pairs that stay, for somebody has brought their values again
        for name in (f"s{number}", f"t{number}", f"s{number}-again"):
            send(name, f"R{number}", name)
    send("sA", "K", "x")
    send("tX", "Z", "x")
    send("sY", "W", "y")
    send("tB", "K", "y")
    send("tX2", "Z2", "q", supersedes="tX")
    send("sY2", "W2", "r", supersedes="sY")
    state = world.folded()
    assert ("K", "sA", "tB") in [(key, *ids) for _, key, *ids in pairs_of(state)]
    freeze(state, 1, 1)
    assert "sA" not in state.book.known[0]
    freeze(state, 1, 8)
    again = restore(snapshot(state))
    assert "sA" not in again.book.known[0]
    assert again.frozen.entries == state.frozen.entries


def test_one_pair_that_stays_does_not_have_open_legs_frozen(monkeypatch):
    monkeypatch.setattr(freezing, "PAIRED_MAX", 8)
    world = world_with_pairs(40)
    world.send(*((f"s-open{number}", f"O{number}", START) for number in range(20)))
    freeze(world.state, 1, 16)
    blocks = world.state.frozen.blocks.values()
    assert [(one.of_pairs, one.of_legs) for one in blocks] == [(True, False)]


def test_pairs_are_frozen_from_the_oldest_day_on():
    world = world_with_pairs(8)
    before = pairs_of(world.state)
    (block,) = freeze(world.state, 1, 1)
    assert len(block.pages) == 1
    left = pairs_of(world.state)
    assert left == before[len(before) - len(left) :]
    assert 0 < len(left) < len(before)
