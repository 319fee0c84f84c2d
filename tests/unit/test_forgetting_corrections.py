"""What was corrected is forgotten, in a log of any release, and nothing is taken in twice."""

import msgspec
import pytest

from connectors.postgres.journal import decode_journal
from domain.matching.forgetting import forget_before
from domain.matching.legs import Leg, Superseded
from domain.snapshots import restore, snapshot
from domain.verification.anchors import read_anchor
from domain.verification.letters import Letters
from domain.verification.stream import StreamAudit
from tests.unit.domain.cases import DAY, START
from tests.unit.domain.logs import audit, log_of
from tests.unit.domain.test_runs import World
from tests.unit.test_forgetting import UNIQUE, known_ids

LATER = START + 5 * DAY


@pytest.mark.parametrize("closed", ["a pair", "a duplicate"])
@pytest.mark.parametrize("by", ["s0", "s1"])
def test_what_was_corrected_to_an_earlier_day_is_remembered_for_its_own(closed, by):
    """Else it would be taken in once more, after what had corrected it is forgotten."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    if closed == "a duplicate":
        world.send(("s9", "B", START), ("t9", "B", START))
    if by == "s0":
        world.send(("s0", "A", LATER), ("t0", "A", START))
    world.send((by, "B", START), more={"supersedes": "s0"})
    if by == "s1":
        world.send(("s0", "A", LATER), ("t0", "A", START))
    if closed == "a pair":
        world.send(("t2", "B", START))
    world.until(START + 8 * DAY)
    for state in (world.state, world.folded(), restore(snapshot(world.state))):
        assert known_ids(state) == [["s0"], ["t0"]]
        assert isinstance(state.book.known[0]["s0"], Superseded)
    again = world.send(("s0", "A", LATER))
    assert not world.decisions[-1].journal
    assert not world.decisions[-1].rejections
    assert again == []
    world.send(("s0", "C", LATER))
    assert [one.code for one in world.decisions[-1].rejections] == ["conflicting_duplicate"]
    world.until(LATER + 8 * DAY)
    assert known_ids(world.state) == [[], ["t0"]]


def of_itself(*contents: tuple[str, int], matched: bool = True) -> World:
    """Corrections of s1 by itself, the last of which a target meets; then that one is forgotten."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    for reference, at in contents:
        world.send(("s1", reference, at), more={"supersedes": "s1"})
    if matched:
        world.send(("t1", *contents[-1]))
    world.until(START + 9 * DAY)
    return world


def test_a_log_says_whether_what_it_accepted_was_late():
    """An earlier release had forgotten s1 altogether, and matched what came under it anew."""
    world = of_itself(("A", LATER), ("B", START))
    state = world.folded()
    assert isinstance(state.book.known[0]["s1"], Superseded)
    anew = World(rules=[UNIQUE])
    anew.send(("s1", "D", LATER), ("t2", "D", LATER))
    state.evolve_all(anew.decisions[-1].events, anew.decisions[-1].journal)
    assert known_ids(state) == [["s1"], ["t2"]]
    assert state.book.known[0]["s1"] is state.book.known[1]["t2"]


def test_a_log_says_who_had_superseded_what_came_late():
    """An earlier release had forgotten that s1 was a duplicate before s2 corrected it."""
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s9", "A", START), ("t9", "A", START), ("s1", "A", START))
    state = world.folded()
    assert isinstance(state.book.known[0]["s1"], bytes)
    later = World(rules=[UNIQUE], time_zone="UTC")
    later.send(("s2", "B", LATER), more={"supersedes": "s1"})
    later.send(("s1", "C", LATER))
    for decision in later.decisions[-2:]:
        state.evolve_all(decision.events, decision.journal)
    assert state.book.known[0]["s1"].by == "s2"
    assert [leg.transaction_id for leg in state.book.open_legs()] == ["s2"]


def test_what_is_left_of_a_forgotten_record_can_be_corrected_by_another():
    world = of_itself(("A", LATER), ("B", START))
    world.send(("s2", "C", START + 8 * DAY), more={"supersedes": "s1"})
    world.send(("s1", "D", START + 8 * DAY), more={"supersedes": "s1"})
    for state in (world.state, world.folded()):
        assert isinstance(state.book.known[0]["s1"], Superseded)
        assert state.book.known[0]["s1"].by == "s2"
        assert [leg.transaction_id for leg in state.book.open_legs()] == ["s2"]
    audit(log_of(world.decisions))


def test_what_is_left_of_a_forgotten_record_can_be_corrected_by_itself():
    world = of_itself(("A", LATER), ("B", START))
    world.send(("s1", "D", START + 8 * DAY), more={"supersedes": "s1"})
    for state in (world.state, world.folded()):
        assert isinstance(state.book.known[0]["s1"], Leg)
        assert len(state.book.replaced[0]["s1"]) == 1
    audit(log_of(world.decisions))


def test_what_two_corrections_supersede_is_remembered_with_the_later():
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "A", START), ("t1", "A", START), more={"supersedes": "x0"})
    world.send(("s2", "B", LATER), more={"supersedes": "x0"})
    world.until(START + 8 * DAY)
    assert "x0" in world.state.book.known[0]


def test_other_content_stays_refused_while_anything_is_left_of_what_was_corrected():
    world = of_itself(("A", LATER), ("B", START))
    world.send(("s1", "D", LATER))
    assert [one.code for one in world.decisions[-1].rejections] == ["conflicting_duplicate"]


def test_a_correction_may_be_forgotten_before_what_comes_late_behind_an_expired_journal():
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s9", "A", START), more={"supersedes": "s0"})
    world.send(("t1", "A", START))
    world.send(("s0", "X", LATER), more={"supersedes": "s0"})
    world.until(START + 9 * DAY)
    anchor = read_anchor(snapshot(world.state), "acme", "orders")
    world.send(("s0", "Y", LATER + DAY))
    assert world.decisions[-1].journal
    log = log_of(world.decisions)
    audit(log)
    of_stream = StreamAudit("acme", "orders", decode_journal, Letters([]), anchor=anchor)
    for batch in log.batches():
        expired = batch.base_version < anchor.version
        of_stream.read(batch._replace(journal=None) if expired else batch)
    assert of_stream.end(of_stream.version, {}).version == of_stream.version


def test_a_snapshot_that_knows_a_match_in_part_leaves_what_it_had_replaced():
    world = World(rules=[UNIQUE], time_zone="UTC")
    world.send(("s1", "Z", START + DAY))
    world.send(("s1", "A", START), more={"supersedes": "s1"})
    world.send(("t1", "A", START + 2 * DAY))
    fields = msgspec.msgpack.decode(snapshot(world.state))
    (of_day,) = [one for one in fields[13] if one[1][1]]
    of_day[1][1].clear()
    of_day[2][1].clear()
    of_day[3] = [[place, *([] for _ in used)] if place == 1 else [place, *used]
                 for place, *used in of_day[3]]  # fmt: skip
    world.state = restore(msgspec.msgpack.encode(fields))
    assert known_ids(world.state) == [["s1"], []]
    world.send(("s1", "Z", START + DAY))
    assert not world.decisions[-1].journal
    forget_before(world.state.book, START + 30 * DAY)
    assert known_ids(world.state) == [[], []]
    assert world.state.book.replaced == ({}, {})
