"""Verification reads what people did with exceptions between what the matching did."""

from datetime import UTC, datetime

import pytest

from connectors.postgres.journal import decode_journal
from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.event_batches import encode_plain
from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionResolved,
    RecordUnmatched,
    WatermarkAdvanced,
)
from domain.identity import casework_stream_id, exception_id
from domain.verification.difference import Difference
from domain.verification.letters import Letters
from domain.verification.stream import StoredBatch, StreamAudit
from domain.verification.totals import Totals
from tests.unit.domain.logs import PLACE, Log, engine_log

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


class World:
    """A log of the engine with one exception that somebody works."""

    def __init__(self, log: Log, closed: bool) -> None:
        self.log = log
        opened = [event for row in log.rows for event in row.events
                  if isinstance(event, RecordUnmatched)]  # fmt: skip
        gone = {(event.side, event.transaction_id) for row in log.rows for event in row.events
                if isinstance(event, ExceptionResolved)}  # fmt: skip
        self.exception = next(
            one for one in opened if ((one.side, one.transaction_id) in gone) == closed
        )
        self.where = (self.exception.side, self.exception.transaction_id)
        side = ("source", "target")[self.exception.side]
        identity = exception_id(log.tenant_id, log.reconciliation_id, side, self.where[1])
        self.stream_id = casework_stream_id(log.tenant_id, identity)
        self.audit = StreamAudit(log.tenant_id, log.reconciliation_id, decode_journal, Letters([]))
        for batch in log.batches():
            self.audit.read(batch)
        self.position = sum(len(row.events) for row in log.rows)
        self.version = 0

    def work(self, *events: Event, stream_id: str | None = None, version: int | None = None):
        for event in events:
            self.position += 1
            base = self.version if version is None else version
            self.audit.read_casework(
                stream_id or self.stream_id,
                StoredBatch(self.position, self.position, base, 1, 1,
                            encode_plain([event]).decode(), None, AT),
            )  # fmt: skip
            self.version += 1

    def totals(self) -> Totals:
        return self.audit.end(self.audit.version, {PLACE: self.log.next_offset})


def world(closed: bool = False) -> World:
    for seed in range(3_000):
        log, _ = engine_log(seed, people=False)
        try:
            return World(log, closed)
        except StopIteration:
            continue
    raise AssertionError("no world has such an exception")


def test_a_person_closes_and_reopens_what_is_open_and_its_place_stays():
    one = world()
    before = one.totals()
    one.work(ExceptionResolved(*one.where, "write_off", None, "a fee", "cmd-1"))
    closed = one.totals()
    assert (closed.cases_open, closed.cases_closed) == (
        before.cases_open - 1, before.cases_closed + 1,
    )  # fmt: skip
    assert closed.places == before.places
    one.work(ExceptionReopened(*one.where, None, "cmd-2"))
    again = one.totals()
    assert (again.cases_open, again.cases_closed) == (before.cases_open, before.cases_closed)


def test_what_is_assigned_and_said_is_counted():
    one = world()
    one.work(
        ExceptionAssigned(*one.where, "ann", "cmd-1"),
        ExceptionCommented(*one.where, "hm", "cmd-2"),
        ExceptionCommented(*one.where, "well", "cmd-3"),
    )
    totals = one.totals()
    assert (totals.cases_in_progress, totals.comments) == (1, 2)
    one.work(ExceptionResolved(*one.where, "dismissed", None, None, "cmd-4"))
    assert one.totals().cases_in_progress == 0
    one.work(ExceptionReopened(*one.where, None, "cmd-5"))
    assert one.totals().cases_in_progress == 1
    one.work(ExceptionAssigned(*one.where, None, "cmd-6"))
    assert one.totals().cases_in_progress == 0


def test_what_comes_behind_a_match_changes_no_count():
    one = world(closed=True)
    before = one.totals()
    one.work(
        ExceptionResolved(*one.where, "write_off", None, "a fee", "cmd-1"),
        ExceptionReopened(*one.where, None, "cmd-2"),
        ExceptionAssigned(*one.where, "ann", "cmd-3"),
    )
    assert one.totals() == before


WRONG = {
    "stranger": (lambda _: ExceptionCommented(0, "nobody", "hm", "c"), {}, "no exception ever"),
    "not_casework": (lambda _: WatermarkAdvanced(5), {}, "nothing a person does"),
    "of_matching": (
        lambda one: ExceptionResolved(*one.where, "late_match", "id"), {}, "nothing a person does",
    ),
    "duplicate": (
        lambda one: DuplicateDetected(*one.where, "x", "r", "v", 1, "EUR"), {},
        "nothing a person does",
    ),
    "other_stream": (
        lambda one: ExceptionCommented(*one.where, "hm", "c"),
        {"stream_id": "acme/exception/0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11"},
        "whose stream this is not",
    ),
    "gap": (lambda one: ExceptionCommented(*one.where, "hm", "c"), {"version": 3},
            "version 1 was to follow"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_casework_that_cannot_be_is_named(name):
    make, options, problem = WRONG[name]
    one = world()
    with pytest.raises(Difference, match=problem) as raised:
        one.work(make(one), **options)
    assert raised.value.where.stream_id == options.get("stream_id", one.stream_id)


def test_casework_that_holds_more_than_it_says_is_named():
    one = world()
    events = [ExceptionCommented(*one.where, "hm", "c")] * 2
    batch = StoredBatch(one.position + 1, one.position + 1, 0, 1, 1,
                        encode_plain(events).decode(), None, AT)  # fmt: skip
    with pytest.raises(Difference, match="something else than it says"):
        one.audit.read_casework(one.stream_id, batch)
