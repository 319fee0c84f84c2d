"""Verification holds for every log the engine makes, and for none in which one thing is changed."""

import random
import typing
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.journal import decode_journal, encode_journal
from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.event_batches import encode_plain
from domain.events import (
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    WatermarkAdvanced,
)
from domain.transactions import unpack_transaction
from domain.verification.difference import Difference
from domain.verification.ledger import Ledger
from domain.verification.letters import LetterPlace, Letters, TopicReset
from domain.verification.stream import StoredBatch, StreamAudit
from tests.unit.domain.logs import PLACE, Log, Row, audit, engine_log


@pytest.mark.parametrize("block", range(6))
def test_every_log_of_the_engine_holds_and_counts_what_its_state_does(block):
    for seed in range(block * 100, block * 100 + 100):
        log, state = engine_log(seed)
        totals = audit(log)
        assert totals.version == state.version, f"seed={seed}"
        assert totals.accepted() == sum(len(row.journal) for row in log.rows), f"seed={seed}"
        book = state.book
        assert totals.matched("suggested") == len(book.suggestions), f"seed={seed}"
        assert totals.standing("exception") == len(book.exceptions), f"seed={seed}"


@given(st.integers(600, 100_000))
def test_any_log_of_the_engine_holds(seed):
    audit(engine_log(seed)[0])


# What people do with exceptions stands in streams of its own.
CASEWORK = {ExceptionAssigned, ExceptionCommented, ExceptionReopened}


def test_the_worlds_show_every_event_so_that_none_is_verified_by_hearsay():
    kinds: set[type] = set()
    wanted = set(typing.get_args(Event)) - CASEWORK
    for seed in range(6_000):
        kinds |= {type(event) for row in engine_log(seed)[0].rows for event in row.events}
        if seed >= 600 and kinds == wanted:
            break
    assert kinds == wanted


def test_the_ledger_knows_every_event_but_the_journal_s_and_casework():
    known = {*Ledger.books_by_type, TransactionsAccepted}
    assert known == set(typing.get_args(Event)) - CASEWORK


# One thing changed ------------------------------------------------------------------------------


def log_with(*kinds: type) -> Log:
    """The first small world in which all of these happened."""
    for seed in range(4_000):
        log, _ = engine_log(seed)
        if log.has(*kinds):
            return log
    raise AssertionError(f"no world has {kinds}")


def change(log: Log, kind: type, **fields) -> None:
    row, place = log.at(kind)
    row.events[place] = msgspec.structs.replace(row.events[place], **fields)


def drop(log: Log, kind: type) -> None:
    row, place = log.at(kind)
    del row.events[place]


def of(log: Log, kind: type):
    row, place = log.at(kind)
    return row.events[place]


def twice(log: Log, kind: type) -> None:
    row, place = log.at(kind)
    row.events.insert(place + 1, row.events[place])


def first_journal(log: Log) -> list[bytes]:
    return next(row.journal for row in log.rows if row.journal)


def repeat_a_transaction(log: Log) -> None:
    """As if a dead letter had been taken up again, right behind the chunk that has it already."""
    place = next(place for place, row in enumerate(log.rows) if row.journal)
    packed = log.rows[place].journal[-1]
    one = unpack_transaction(packed, "acme", "orders")
    entry = (one.side, one.currency, 1, one.amount_minor)
    log.rows.insert(place + 1, Row([TransactionsAccepted([entry], {}, 0, 0)], [packed]))


def count_one_more(log: Log) -> None:
    (side, currency, count, total), *others = of(log, TransactionsAccepted).counts
    change(log, TransactionsAccepted, counts=[(side, currency, count, total + 1), *others])


def take_offsets_again(log: Log) -> None:
    log.add([TransactionsAccepted([], {PLACE: (0, log.next_offset)}, 0, 0)])


def plus(name: str) -> Callable[[Log, type], None]:
    return lambda log, kind: change(log, kind, **{name: getattr(of(log, kind), name) + 1})


CHANGES = [
    ("journal_short", [], lambda log: first_journal(log).pop(), "journal holds"),
    ("journal_more", [], lambda log: log.rows[0].journal.append(first_journal(log)[0]), "journal"),
    ("accepted_twice", [], repeat_a_transaction, "was accepted twice"),
    ("count", [], count_one_more, "the log counts"),
    ("offsets_again", [], take_offsets_again, "were taken in, after those up to"),
    ("definition", [], lambda log: plus("definition_version")(log, ReconciliationDefined),
     "definition version 2 follows on 0"),
    ("no_definition", [], lambda log: drop(log, ReconciliationDefined), "begin with its defini"),
    ("match_twice", [RecordMatched], lambda log: twice(log, RecordMatched), "is matched already"),
    ("match_amount", [RecordMatched],
     lambda log: plus("source_minor")(log, RecordMatched), "tells a source sum"),
    ("match_target_amount", [RecordMatched],
     lambda log: plus("target_minor")(log, RecordMatched), "tells a target sum"),
    ("match_currency", [RecordMatched],
     lambda log: change(log, RecordMatched, currency="JPY"), "in JPY"),
    ("match_stranger", [RecordMatched],
     lambda log: change(log, RecordMatched, source_ids=["stranger"]), "was never accepted"),
    ("match_one_sided", [RecordMatched],
     lambda log: change(log, RecordMatched, target_ids=[]), "has no target transaction"),
    ("suggestion_twice", [MatchSuggested],
     lambda log: twice(log, MatchSuggested), "was made twice"),
    ("suggestion_amount", [MatchSuggested],
     lambda log: plus("target_minor")(log, MatchSuggested), "tells a target sum"),
    ("suggestion_stays", [MatchSuperseded],
     lambda log: twice(log, MatchSuperseded), "no such suggestion stands"),
    ("suggestion_members", [MatchSuperseded],
     lambda log: change(log, MatchSuperseded, source_ids=["other"]), "with other members"),
    ("exception_twice", [RecordUnmatched],
     lambda log: twice(log, RecordUnmatched), "opened twice"),
    ("exception_amount", [RecordUnmatched],
     lambda log: plus("amount_minor")(log, RecordUnmatched), "RecordUnmatched tells"),
    ("exception_stranger", [RecordUnmatched],
     lambda log: change(log, RecordUnmatched, transaction_id="stranger"), "never accepted"),
    ("exception_of_no_side", [RecordUnmatched],
     lambda log: change(log, RecordUnmatched, side=2), "never accepted"),
    ("reclassified_closed", [ExceptionReclassified],
     lambda log: change(log, ExceptionReclassified, category="duplicate"), "of category duplicate"),
    ("resolved_by_stranger", [ExceptionResolved],
     lambda log: change(log, ExceptionResolved, match_id="0"), "which did not take it"),
    ("resolved_twice", [ExceptionResolved],
     lambda log: twice(log, ExceptionResolved), "no exception is open"),
    ("not_resolved", [ExceptionResolved],
     lambda log: drop(log, ExceptionResolved), "which was not resolved"),
    ("duplicate_twice", [DuplicateDetected],
     lambda log: twice(log, DuplicateDetected), "is duplicate already"),
    ("duplicate_of_nobody", [DuplicateDetected],
     lambda log: change(log, DuplicateDetected, first_transaction_id="nobody"), "never accepted"),
    ("by_people_twice", [MatchConfirmed],
     lambda log: twice(log, MatchConfirmed), "is matched already"),
    ("by_people_amount", [MatchConfirmed],
     lambda log: plus("source_minor")(log, MatchConfirmed), "tells a source sum"),
    ("rejected_twice", [MatchRejected],
     lambda log: twice(log, MatchRejected), "is rejected, but no such suggestion stands"),
    ("rejected_members", [MatchRejected],
     lambda log: change(log, MatchRejected, target_ids=["other"]), "rejected with other members"),
    ("reversed_twice", [MatchReversed],
     lambda log: twice(log, MatchReversed), "yet a match of it is reversed"),
    ("reversed_amount", [MatchReversed],
     lambda log: plus("target_minor")(log, MatchReversed), "tells a target sum"),
    ("reversed_stranger", [MatchReversed],
     lambda log: change(log, MatchReversed, source_ids=["stranger"]), "was never accepted"),
    ("superseded_twice", [TransactionSuperseded],
     lambda log: twice(log, TransactionSuperseded), "is superseded, yet gives way"),
    ("superseded_amount", [TransactionSuperseded],
     lambda log: plus("amount_minor")(log, TransactionSuperseded), "TransactionSuperseded tells"),
    ("superseded_by_nobody", [TransactionSuperseded],
     lambda log: change(log, TransactionSuperseded, superseded_by="nobody"),
     "which was not accepted|was never accepted"),
    ("paused_twice", [ReconciliationPaused],
     lambda log: twice(log, ReconciliationPaused), "paused twice"),
    ("resumed_twice", [ReconciliationResumed],
     lambda log: twice(log, ReconciliationResumed), "resumed twice"),
    ("time_goes_back", [WatermarkAdvanced],
     lambda log: twice(log, WatermarkAdvanced), "which is not forward"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "alter", "problem"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES]
)
def test_one_thing_changed_is_noticed_and_named(kinds, alter, problem):
    log = log_with(*kinds)
    audit(log)
    alter(log)
    with pytest.raises(Difference, match=problem) as found:
        audit(log)
    assert found.value.where.stream_id == "acme/orders"
    assert found.value.where.stream_version is not None
    assert found.value.hint


def test_a_lost_duplicate_exception_is_noticed():
    log = log_with(DuplicateDetected)
    for row in log.rows:
        for event in [e for e in row.events if isinstance(e, RecordUnmatched)]:
            if event.category == "duplicate":
                row.events.remove(event)
    with pytest.raises(Difference, match="a duplicate that no exception shows"):
        audit(log)


def test_a_suggestion_that_outlives_its_member_is_noticed():
    log = log_with(MatchSuggested)
    suggested = of(log, MatchSuggested)
    amounts = {
        (one.side, one.transaction_id): one.amount_minor
        for row in log.rows
        for one in (unpack_transaction(packed, "acme", "orders") for packed in row.journal)
    }
    source, target = suggested.source_ids[0], suggested.target_ids[0]
    matched = RecordMatched(
        "another-rule",
        "one_to_one",
        1,
        (source,),
        (target,),
        suggested.currency,
        amounts[0, source],
        amounts[1, target],
        suggested.newest_ms,
    )
    log.rows.insert(log.rows.index(log.at(MatchSuggested)[0]) + 1, Row([matched], []))
    with pytest.raises(Difference, match=r"lost a member and was not superseded"):
        audit(log)


@pytest.mark.parametrize("seed", range(150))
def test_no_event_can_go_missing_unnoticed(seed):
    """What is left may make sense by itself, but never up to the version the stream is at."""
    log, state = engine_log(seed)
    rng = random.Random(seed)
    row = rng.choice(log.rows)
    row.events.pop(rng.randrange(len(row.events)))
    with pytest.raises(Difference):
        audit(log, version=state.version)


# The log's own form -----------------------------------------------------------------------------


def batches_of(seed: int = 3) -> tuple[Log, list[StoredBatch]]:
    log, _ = engine_log(seed)
    return log, log.batches()


@pytest.mark.parametrize(
    ("fields", "kind", "problem"),
    [
        ({"base_version": 7_000}, "log", "was to follow"),
        ({"event_count": 9_000}, "log", "events have the positions"),
        ({"first_position": -5, "last_position": -5}, "log", "have the positions|not behind"),
        ({"events": "[["}, "log", "the events cannot be read"),
        ({"events": '[["NoSuchEvent",1]]'}, "log", "the events cannot be read"),
        ({"format": 99}, "log", "newer one"),
        ({"journal": b"\x01damaged"}, "journal", "the journal cannot be read"),
        ({"journal": b""}, "journal", "the journal cannot be read"),
        ({"journal": b"\x09"}, "journal", "has format 9"),
        ({"journal": encode_journal([b"\x00"])}, "journal", "the journal cannot be read"),
    ],
)
def test_a_damaged_batch_is_named(fields, kind, problem):
    log, batches = batches_of()
    batches[1] = batches[1]._replace(**fields)
    with pytest.raises(Difference, match=problem) as found:
        audit(log, batches)
    assert found.value.kind == kind


def test_a_count_of_events_that_is_not_theirs_is_named():
    log, batches = batches_of()
    one = batches[-1]
    batches[-1] = one._replace(event_count=one.event_count + 1, last_position=one.last_position + 1)
    with pytest.raises(Difference, match=r"the batch says \d+ events and holds \d+"):
        audit(log, batches)


def test_every_bit_of_a_journal_counts():
    log, batches = batches_of()
    at = next(place for place, batch in enumerate(batches) if batch.journal)
    journal = batches[at].journal
    noticed = 0
    for bit in range(8 * len(journal)):
        damaged = bytearray(journal)
        damaged[bit // 8] ^= 1 << bit % 8
        changed = [*batches]
        changed[at] = batches[at]._replace(journal=bytes(damaged))
        try:
            audit(log, changed)
        except Difference:
            noticed += 1
        else:  # bits of a frame's header that mean nothing
            assert decode_journal(bytes(damaged)) == decode_journal(journal)
    assert noticed > 7.5 * len(journal)


def test_the_end_of_the_log_is_the_stream_s_row():
    log, state = engine_log(3)
    of_stream = StreamAudit("acme", "orders", decode_journal, Letters([]))
    for batch in log.batches():
        of_stream.read(batch)
    with pytest.raises(Difference, match="the row of streams is at version"):
        of_stream.end(state.version + 1, {})
    with pytest.raises(Difference, match=r"has read .* up to offset 900"):
        of_stream.end(state.version, {PLACE: 900})


# Dead letters, resets, forgotten ids ------------------------------------------------------------


AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def rejecting(first: int, following: int, rejected: int, position: int = 2) -> StoredBatch:
    event = TransactionsAccepted([], {PLACE: (first, following)}, 0, rejected)
    events = encode_plain([event]).decode()
    return StoredBatch(position, position, position - 1, 1, 1, events, None, AT)


def audit_letters(letters: Letters, batches: list[StoredBatch], resets=()) -> None:
    log, _ = engine_log(3)
    of_stream = StreamAudit("acme", "orders", decode_journal, letters, resets)
    of_stream.read(log.batches()[0]._replace(events=_defined(log), event_count=1, last_position=1))
    for batch in batches:
        of_stream.read(batch)


def _defined(log: Log) -> str:
    return encode_plain([of(log, ReconciliationDefined)]).decode()


TOPIC = PLACE.partition("/")[0]


def test_what_was_rejected_is_among_the_dead_letters():
    certain = [LetterPlace(TOPIC, 0, offset, True) for offset in (3, 5, 9)]
    audit_letters(Letters(certain), [rejecting(2, 9, 2)])
    with pytest.raises(Difference, match=r"2 records .* were rejected, the dead letters hold 1"):
        audit_letters(Letters(certain[1:]), [rejecting(2, 9, 2)])
    with pytest.raises(Difference, match=r"1 records .* were rejected, the dead letters hold 2"):
        audit_letters(Letters(certain), [rejecting(2, 9, 1)])
    redriven = [*certain[1:], LetterPlace(TOPIC, 0, 4, False)]
    audit_letters(Letters(sorted(redriven)), [rejecting(2, 9, 2)])
    audit_letters(Letters(sorted(redriven)), [rejecting(2, 9, 1)])


def test_a_topic_that_began_anew_may_have_old_offsets_again():
    aside = [LetterPlace(f"{TOPIC}@then", 0, 3, True), LetterPlace(TOPIC, 0, 4, True)]
    batches = [rejecting(0, 9, 1, 2), rejecting(0, 5, 1, 3)]
    resets = [TopicReset(TOPIC, f"{TOPIC}@then", 2)]
    audit_letters(Letters(sorted(aside), resets), batches, resets)
    with pytest.raises(Difference, match="were taken in, after those up to 8"):
        audit_letters(Letters(sorted(aside), resets), batches)


def test_an_id_may_come_again_once_it_was_forgotten():
    """`window.remember` bounds what a redelivery is told by; beyond it an id is a new one."""
    logs = (engine_log(seed, people=False)[0] for seed in range(4_000))
    # What the end of time brings is cut off below.
    log = next(
        log
        for log in logs
        if log.has(RecordMatched) and log.at(RecordMatched)[0] is not log.rows[-1]
    )
    matched = of(log, RecordMatched)
    repeated = next(
        packed
        for row in log.rows
        for packed in row.journal
        if unpack_transaction(packed, "acme", "orders").transaction_id == matched.source_ids[0]
    )
    one = unpack_transaction(repeated, "acme", "orders")

    def again(watermark_us: int) -> Log:
        later = Log(rows=[*log.rows], next_offset=log.next_offset)
        later.rows = [r for r in later.rows if r is not log.rows[-1]]
        entry = (one.side, one.currency, 1, one.amount_minor)
        later.add([WatermarkAdvanced(watermark_us)])
        later.add([TransactionsAccepted([entry], {}, 0, 0)], [repeated])
        return later

    # A bare date counts from the end of its day, wherever that is.
    days = 86_400_000_000
    with pytest.raises(Difference, match="was accepted twice"):
        audit(again(one.occurred_at + 13 * days))
    assert audit(again(one.occurred_at + 17 * days)).accepted() > 0
