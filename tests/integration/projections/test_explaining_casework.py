"""Explanations of exceptions that people work agree with the read model, and tell what they did."""

import random

import pytest

from connectors.postgres.journal import encode_journal
from domain.casework import (
    Assign,
    Case,
    Comment,
    Dismiss,
    Reopen,
    Resolve,
    decide,
    evolve,
    is_casework,
)
from domain.casework import Standing as CaseStanding
from domain.commands import CannotBeDone
from domain.events import ExceptionResolved, RecordUnmatched
from domain.identity import exception_id
from domain.run_events import ReconciliationStarted
from projections.explaining import (
    Reach,
    Stream,
    exception_explanation,
    follow,
    transaction_explanation,
)
from tests.unit.domain.logs import Log, engine_log
from tests.unit.domain.test_explaining_properties import alike_log
from tests.unit.projections.histories import BEGIN, Row

SIDES = ("source", "target")
COMMANDS = (
    Assign("ann"), Assign(None), Comment("is it\nthe fee?"), Resolve("write_off", "a fee"),
    Resolve("timing_difference", "next month"), Dismiss(), Dismiss("seen"), Reopen("not so"),
)  # fmt: skip


class Desk:
    """People who work what the matching leaves, at times a little behind it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"desk {seed}")
        self.seen: dict[tuple[int, str], CaseStanding] = {}
        self.done: dict[tuple[int, str], list] = {}

    def see(self, events) -> None:
        for event in events:
            if isinstance(event, RecordUnmatched | ExceptionResolved):
                place = event.side, event.transaction_id
                known = self.seen.get(place, CaseStanding("open", None, None))
                self.seen[place] = evolve(known, event)

    def work(self) -> list[Row]:
        rows = []
        for place in self.rng.sample(sorted(self.seen), k=min(2, len(self.seen))):
            done = self.done.setdefault(place, [])
            named = exception_id("acme", "orders", SIDES[place[0]], place[1])
            standing = self.seen[place]
            try:
                event = decide(
                    Case(named, *place, len(done), standing),
                    self.rng.choice(COMMANDS),
                    f"{named[:4]}-{len(done)}",
                )
            except CannotBeDone:
                continue
            self.seen[place] = evolve(standing, event)
            done.append(event)
            rows.append(Row("acme", "orders", len(done) - 1, [event], BEGIN, None, named))
        return rows


def worked(world, log: Log, seed: int) -> Desk:
    """Store a log with casework between its batches."""
    desk, version = Desk(seed), 0
    for row in log.rows:
        journal = encode_journal(row.journal) if row.journal else None
        world.store([Row("acme", "orders", version, row.events, BEGIN, journal)])
        version += len(row.events)
        behind = desk.rng.random() < 0.3
        if not behind:
            desk.see(row.events)
        rows = desk.work()
        if behind:
            desk.see(row.events)
        rows += desk.work()
        if rows:
            world.store(rows)
    world.feed()
    return desk


def shown_in_read_model(world):
    return world.owner.execute(
        "SELECT exception_id::text, side, transaction_id, status, resolution, resolution_reason,"
        " assignee, match_id::text, version, comments FROM exceptions"
    ).fetchall()


@pytest.mark.parametrize(
    ("make", "seed"), [(alike_log, 118), (alike_log, 195), (engine_log, 92), (engine_log, 179)]
)
def test_an_explanation_says_what_the_read_model_says(world, make, seed):
    log, _ = make(seed)
    desk = worked(world, log, seed)
    told: list[str] = []
    for named, side, transaction_id, *row in shown_in_read_model(world):
        shown = follow(world.owner, exception_explanation("acme", named, Reach(None)))
        comments = [one for one in shown.work if one.event_type == "ExceptionCommented"]
        assert row == [
            shown.status, shown.resolution, shown.resolution_reason, shown.assignee,
            shown.match_id, len(shown.work), len(comments),
        ]  # fmt: skip
        place = SIDES.index(side), transaction_id
        done = desk.done.get(place, [])
        assert [one.command_id for one in shown.work] == [one.command_id for one in done]
        assert all(one.sentence in "\n".join(shown.sentences) for one in shown.work)
        told += shown.sentences
        says_open = not any("It is resolved" in one or "It is dismissed" in one
                            for one in shown.sentences)  # fmt: skip
        assert says_open == (shown.status in ("open", "in_progress"))

        stream = Stream("acme", "orders", Reach(None))
        whole = follow(world.owner, transaction_explanation(stream, *place))
        if whole.exception is not None:
            assert whole.exception == shown
        in_story = [one.sentence for one in whole.story]
        assert [one for one in in_story if one in [w.sentence for w in shown.work]] == [
            one.sentence for one in shown.work
        ]
        assert [one.position for one in whole.story] == sorted(one.position for one in whole.story)
    assert desk.done, "nobody worked"
    if seed == 92:
        # Its exceptions are closed by both, opened again, and worked behind the matching's back.
        for words in ("by a person; that closes it", "It is resolved: ", "That changed nothing"):
            assert words in "\n".join(told)


def test_runs_in_a_stream_are_no_part_of_any_explanation(world):
    log, state = next(
        made for seed in range(100) if (made := engine_log(seed))[0].has(ReconciliationStarted)
    )
    worked(world, log, 1)
    explained = 0
    for side, known in enumerate(state.book.known):
        for transaction_id in known:
            stream = Stream("acme", "orders", Reach(None))
            steps = transaction_explanation(stream, side, transaction_id)
            shown = follow(world.owner, steps)
            if shown is not None:
                assert not any(one.event_type.startswith("Reconciliation") for one in shown.story)
                explained += 1
    assert explained > 2


def test_casework_beyond_what_the_read_model_shows_is_not_told_yet(world):
    """An exception's explanation is of one moment, that of its row."""
    log, _ = alike_log(118)
    worked(world, log, 2)
    named, side, transaction_id, *_, version, _ = shown_in_read_model(world)[0]
    event = decide(
        Case(named, SIDES.index(side), transaction_id, version, CaseStanding("open", None, None)),
        Comment("later"),
        "later-1",
    )
    assert is_casework(event)
    world.store([Row("acme", "orders", version, [event], BEGIN, None, named)])
    shown = follow(world.owner, exception_explanation("acme", named, Reach(None)))
    assert len(shown.work) == version
    world.feed()
    shown = follow(world.owner, exception_explanation("acme", named, Reach(None)))
    assert "later" in shown.work[-1].sentence
