"""Explanations read from a stored log say what the log's own engine knows."""

import random

import pytest

from connectors.postgres.journal import encode_journal
from domain.events import MatchConfirmed, MatchReversed, MatchSuggested, RecordMatched, match_id_of
from domain.identity import exception_id
from domain.matching.legs import Superseded
from projections import explaining
from projections.explaining import (
    Reach,
    Stream,
    exception_explanation,
    follow,
    match_explanation,
    transaction_explanation,
)
from tests.unit.domain.logs import engine_log
from tests.unit.domain.test_explaining_properties import alike_log, disposition_of
from tests.unit.projections.histories import BEGIN, Row


def stored(world, log) -> None:
    rows, version = [], 0
    for row in log.rows:
        journal = encode_journal(row.journal) if row.journal else None
        rows.append(Row("acme", "orders", version, row.events, BEGIN, journal))
        version += len(row.events)
    world.store(rows)
    world.feed()


def whole_stream() -> Stream:
    return Stream("acme", "orders", Reach(None))


def log_with(make, *dispositions):
    """The first of the worlds that ends with transactions in all these places."""
    for seed in range(400):
        log, state = make(seed)
        found = {disposition_of(one) for side in state.book.known for one in side.values()}
        if found.issuperset(dispositions) and sum(map(len, state.book.known)) > 5:
            return log, state
    raise AssertionError(f"no world has {dispositions}")


@pytest.mark.parametrize(
    ("make", "dispositions"),
    [
        (alike_log, ("matched", "suggested", "exception")),
        (alike_log, ("matched", "pending")),
        (alike_log, ("duplicate", "exception")),
        (engine_log, ("matched", "superseded", "exception")),
        (engine_log, ("matched", "duplicate", "exception")),
    ],
)
def test_everything_of_a_world_is_explained(world, make, dispositions):
    log, state = log_with(make, *dispositions)
    stored(world, log)
    connection, explained = world.owner, 0
    for side, known in enumerate(state.book.known):
        for transaction_id, one in known.items():
            if isinstance(one, Superseded) and not one.contents:
                continue
            steps = transaction_explanation(whole_stream(), side, transaction_id)
            shown = follow(connection, steps)
            assert shown.standing == disposition_of(one)
            inner = (shown.match, *shown.suggestions, shown.exception)
            assert not any(each.missing for each in inner if each is not None)
            assert (shown.match is not None) == (shown.standing == "matched")
            assert bool(shown.suggestions) == (shown.standing == "suggested")
            assert (shown.exception is not None) == (shown.standing in ("exception", "duplicate"))
            if shown.exception is not None:
                named = exception_id("acme", "orders", ("source", "target")[side], transaction_id)
                again = follow(connection, exception_explanation("acme", named, Reach(None)))
                assert again == shown.exception
            explained += 1
    assert explained > 4, "a world with little in it"


def test_matches_are_explained_with_what_became_of_them(world):
    log, _ = next(
        made
        for seed in range(400)
        if (made := alike_log(seed))[0].has(MatchReversed, RecordMatched)
    )
    stored(world, log)
    statuses = set()
    for row in log.rows:
        for event in row.events:
            if not isinstance(event, RecordMatched | MatchConfirmed | MatchSuggested):
                continue
            named = match_id_of("acme", "orders", event)
            shown = follow(world.owner, match_explanation("acme", named, Reach(None)))
            (status,) = world.owner.execute(
                "SELECT status FROM matches WHERE match_id = %s", (named,)
            ).fetchone()
            assert shown.status == status
            assert (shown.ended is not None) == (status not in ("confirmed", "suggested"))
            assert not shown.missing
            statuses.add(status)
    assert "reversed" in statuses


def test_a_match_is_explained_by_the_definition_of_its_time(world):
    """By the one that followed, these matches would be none."""
    log, _ = engine_log(92)
    stored(world, log)
    explained = 0
    for row in log.rows:
        for event in row.events:
            if isinstance(event, RecordMatched):
                named = match_id_of("acme", "orders", event)
                shown = follow(world.owner, match_explanation("acme", named, Reach(None)))
                assert shown.evidence.holds
                assert shown.definition_version == event.definition_version == 1
                explained += 1
    assert explained > 2


def test_what_is_not_there_is_not_explained(world):
    stored(world, engine_log(3)[0])
    nothing = "00000000-0000-0000-0000-000000000000"
    assert follow(world.owner, match_explanation("acme", nothing, Reach(None))) is None
    assert follow(world.owner, exception_explanation("acme", nothing, Reach(None))) is None
    assert follow(world.owner, transaction_explanation(whole_stream(), 0, "nobody")) is None


def test_a_short_reach_says_what_it_did_not_find(world, monkeypatch):
    """Of many small batches only the newest are read."""
    monkeypatch.setattr(explaining, "_PAGE", 1)
    log, state = engine_log(9)
    stored(world, log)
    reach = Reach(0)
    stream = Stream("acme", "orders", reach)
    oldest = random.Random(1).choice(sorted(state.book.known[0]))
    shown = follow(world.owner, transaction_explanation(stream, 0, oldest))
    assert reach.is_exhausted
    assert shown is None or any("further back" in one for one in shown.sentences)


def test_a_definition_that_is_not_readable_yet_is_said_to_be_so(world):
    log, state = log_with(alike_log, "matched", "exception")
    stored(world, log)
    world.owner.execute("UPDATE projection_checkpoints SET position = 0 WHERE name = 'definitions'")
    kinds = set()
    for side, known in enumerate(state.book.known):
        for one in known:
            shown = follow(world.owner, transaction_explanation(whole_stream(), side, one))
            for inner in (shown.match, *shown.suggestions, shown.exception):
                if inner is not None and inner.rule != "manual":
                    assert "cannot be read yet" in inner.missing[-1]
                    kinds.add(type(inner).__name__)
    assert kinds == {"MatchExplanation", "ExceptionExplanation"}
