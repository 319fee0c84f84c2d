"""Stories found in a stored log say where its own engine has each transaction, of both sides."""

import pytest

from domain.explaining.standing import ended_matches
from domain.matching.legs import Superseded
from projections import explaining
from projections.explaining import Reach, Stream, find_stories, follow
from tests.integration.projections.test_explaining import log_with, stored, whole_stream
from tests.unit.domain.logs import engine_log
from tests.unit.domain.test_explaining_properties import alike_log, disposition_of


@pytest.mark.parametrize(
    ("make", "dispositions"),
    [
        (alike_log, ("matched", "suggested", "exception")),
        (alike_log, ("duplicate", "exception")),
        (engine_log, ("matched", "superseded", "exception")),
        (engine_log, ("matched", "duplicate", "exception")),
    ],
)
def test_everything_of_a_world_has_its_story(world, make, dispositions):
    log, state = log_with(make, *dispositions)
    stored(world, log)
    named = {transaction_id for known in state.book.known for transaction_id in known}
    told = 0
    for transaction_id in named:
        both = follow(world.owner, find_stories(whole_stream(), transaction_id, (0, 1)))
        for side, found in enumerate(both):
            assert found.is_whole
            one = state.book.known[side].get(transaction_id)
            if one is None:
                assert not found.accepted
                assert not found.story
                continue
            if isinstance(one, Superseded) and not one.contents:
                continue
            (alone,) = follow(world.owner, find_stories(whole_stream(), transaction_id, (side,)))
            assert alone == found
            assert found.standing.disposition == disposition_of(one)
            assert found.accepted[-1].transaction.transaction_id == transaction_id
            positions = [each.position for each in found.story]
            assert positions == sorted(set(positions))
            current = found.standing.match[:1] if found.standing.match else ()
            assert statuses(world, side, transaction_id) == {
                **dict.fromkeys(current, "confirmed"),
                **dict.fromkeys(found.standing.suggestions, "suggested"),
                **dict.fromkeys(ended_matches(found.standing, found.story), "ended"),
            }
            told += 1
    assert told > 4, "a world with little in it"


def statuses(world, side: int, transaction_id: str) -> dict[str, str]:
    """Matches that the read model has a transaction in."""
    rows = world.owner.execute(
        "SELECT match_id::text, CASE WHEN status IN ('confirmed', 'suggested') THEN status"
        " ELSE 'ended' END FROM matches WHERE %s = ANY (CASE %s WHEN 0 THEN source_ids"
        " ELSE target_ids END)",
        (transaction_id, side),
    )
    return dict(rows.fetchall())


def test_a_short_reach_says_that_there_may_be_more(world, monkeypatch):
    monkeypatch.setattr(explaining, "_PAGE", 1)
    log, state = engine_log(9)
    stored(world, log)
    reach = Reach(0)
    oldest = min(state.book.known[0])
    found = follow(world.owner, find_stories(Stream("acme", "orders", reach), oldest, (0, 1)))
    assert not any(one.is_whole for one in found)
    assert reach.is_exhausted
    (size,) = world.owner.execute(
        "SELECT octet_length(events) + coalesce(octet_length(journal), 0) FROM event_store"
        " ORDER BY last_position DESC LIMIT 1"
    ).fetchone()
    assert reach.spent == size
    whole = Reach(None)
    found = follow(world.owner, find_stories(Stream("acme", "orders", whole), "nobody", (0, 1)))
    assert [(one.is_whole, one.accepted, one.story) for one in found] == [(True, [], [])] * 2
