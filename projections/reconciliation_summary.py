"""The read models `reconciliation_summary` and `reconciliation_totals`: where everything stands.

Every accepted transaction counts in exactly one place: pending, matched, suggested, exception,
duplicate or superseded. Pending is what the others leave over, a column the database computes.

Events of the matching say which transactions they concern and their sum per side, so everything
here is addition. Two things need memory: which transactions stand in suggestions
(`projections.suggested`), and where an exception stood before (the read model `exceptions`). A
suggested transaction has no open exception: the suggestion resolves it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from domain.events import (
    Event,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    ReconciliationPaused,
    ReconciliationResumed,
    RecordMatched,
    TransactionsAccepted,
    TransactionSuperseded,
    WatermarkAdvanced,
    match_id_of,
)
from domain.matched_pairs import MatchedPairs
from domain.period_events import PeriodClosed
from domain.periods import day_number
from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from projections import suggested
from projections.copy_text import instant, storable
from projections.exceptions import Case, CaseChange
from projections.log import LogBatch
from projections.movements import QUARTER_MS, Turn, quarter_of
from projections.queries import load_queries
from projections.read_model import ReadModel
from projections.summary_ledger import Ledger, Place, Summary, move, post_accepted

_SQL = load_queries("reconciliation_summary")

#: Quarter hour and currency → transactions and their sum in minor units, of either side.
Sums = dict[tuple[int, str], list[int]]


def fold(batches: Sequence[LogBatch]) -> Ledger:
    """Add up what the events alone tell."""
    ledger = Ledger({}, {}, [], {})
    for batch in batches:
        key = (batch.tenant_id, batch.reconciliation_id)
        at = batch.created_at
        summary = ledger.summaries.get(key)
        if summary is None:
            summary = ledger.summaries[key] = Summary(at, at, batch.last_position)
            ledger.steps[key] = []
        summary.last_event_at = at
        summary.position = batch.last_position
        stored = quarter_of(at)
        begin = 0
        for index, event in batch.others:
            place = Place(key, summary, batch.first_position + index, stored)
            _add_event(ledger, place, event)
            if type(event) is PeriodClosed:
                closed_day = day_number(event.day)
                ledger.steps[key].append(Turn(place.position, at, closed_day=closed_day))
                # What matched before goes to other days than what did after.
                matches = _matches_between(batch, begin, index)
                _add_matches(
                    ledger, place._replace(position=batch.first_position + begin), *matches
                )
                begin = index + 1
            elif type(event) is ReconciliationDefined:
                zone = event.definition.get("time_zone") or "UTC"
                ledger.steps[key].append(Turn(place.position, at, time_zone=zone))
        rest = _matches_between(batch, begin, batch.event_count)
        _add_matches(ledger, Place(key, summary, batch.first_position + begin, stored), *rest)
    return ledger


def _matches_between(
    batch: LogBatch, begin: int, end: int
) -> tuple[list[RecordMatched], list[MatchedPairs]]:
    """Matches from one event of a batch to another: by themselves, and many in a row."""
    return (
        [event for index, event in batch.matched if begin <= index < end],
        [run for index, run in batch.pairs if begin <= index < end],
    )


def _add_matches(
    ledger: Ledger,
    place: Place,
    matched: Sequence[RecordMatched],
    runs: Sequence[MatchedPairs],
) -> None:
    """Add up matches by currency and quarter hour of their newest member."""
    sums: Sums = {}
    for event in matched:
        quarter = event.newest_ms // QUARTER_MS
        for side, currency, count, sum_minor in _own_totals(event):
            _add_up(sums, quarter, currency, side, count, sum_minor)
    for run in runs:
        _add_pairs(sums, run)
    summary = place.summary
    summary.matches_confirmed += len(matched) + sum(len(run.pairs) for run in runs)
    for (quarter, currency), sides in sums.items():
        summary.transactions_matched += sides[0] + sides[2]
        for side, name in enumerate(SIDE_NAMES):
            count, sum_minor = sides[2 * side], sides[2 * side + 1]
            move(ledger, place, name, currency, "matched", count, sum_minor, quarter)


def _add_pairs(sums: Sums, run: MatchedPairs) -> None:
    """Add up matches of one and one; many in a row are of one currency and quarter hour."""
    begin_ms = end_ms = 0
    currency = ""
    count = source_minor = difference = 0
    for _, _, pair_currency, minor, above, newest_ms in run.pairs:
        if pair_currency != currency or not begin_ms <= newest_ms < end_ms:
            _add_up_pairs(sums, begin_ms, currency, count, source_minor, difference)
            count = source_minor = difference = 0
            currency, begin_ms = pair_currency, newest_ms // QUARTER_MS * QUARTER_MS
            end_ms = begin_ms + QUARTER_MS
        count += 1
        source_minor += minor
        difference += above
    _add_up_pairs(sums, begin_ms, currency, count, source_minor, difference)


def _add_up_pairs(
    sums: Sums, begin_ms: int, currency: str, count: int, source_minor: int, difference: int
) -> None:
    if count:
        quarter = begin_ms // QUARTER_MS
        _add_up(sums, quarter, currency, SOURCE, count, source_minor)
        _add_up(sums, quarter, currency, TARGET, count, source_minor + difference)


def _add_up(sums: Sums, quarter: int, currency: str, side: int, count: int, sum_minor: int) -> None:
    kept = sums.setdefault((quarter, currency), [0, 0, 0, 0])
    kept[2 * side] += count
    kept[2 * side + 1] += sum_minor


def _add_event(ledger: Ledger, place: Place, event: Event) -> None:
    key, summary = place.key, place.summary
    if isinstance(event, TransactionsAccepted):
        summary.redelivered += event.redelivered
        summary.rejected += event.rejected
        post_accepted(ledger, place, event)
        for side, currency, count, sum_minor in event.counts:
            if side == SOURCE:
                summary.accepted_source += count
            else:
                summary.accepted_target += count
            total = ledger.total(key, SIDE_NAMES[side], currency)
            total.accepted_count += count
            total.accepted_minor += sum_minor
    elif isinstance(event, WatermarkAdvanced):
        summary.watermark_at = instant(event.watermark_us)
    elif isinstance(event, ReconciliationDefined):
        name = event.definition.get("name")
        summary.name = storable(name) if isinstance(name, str) else key[1]
        summary.definition_version = event.definition_version
    elif isinstance(event, MatchSuggested):
        identity = match_id_of(*key, event)
        quarter = event.newest_ms // QUARTER_MS
        step = suggested.Step(*key, identity, event, place.position, quarter)
        ledger.suggestions.append(step)
    elif isinstance(event, MatchSuperseded | MatchRejected):
        step = suggested.Step(*key, event.match_id, event, place.position, place.stored)
        ledger.suggestions.append(step)
    elif isinstance(event, MatchConfirmed | MatchReversed):
        _add_by_people(ledger, place, event)
    elif isinstance(event, TransactionSuperseded):
        summary.superseded += 1
        move(
            ledger,
            place,
            SIDE_NAMES[event.side],
            event.currency,
            "superseded",
            1,
            event.amount_minor,
        )
    elif isinstance(event, ReconciliationPaused | ReconciliationResumed):
        summary.status = "paused" if isinstance(event, ReconciliationPaused) else "active"


def _add_by_people(ledger: Ledger, place: Place, event: MatchConfirmed | MatchReversed) -> None:
    key, summary = place.key, place.summary
    sign = 1 if isinstance(event, MatchConfirmed) else -1
    quarter = event.newest_ms // QUARTER_MS if isinstance(event, MatchConfirmed) else None
    summary.matches_confirmed += sign
    for side, currency, count, sum_minor in _own_totals(event):
        summary.transactions_matched += sign * count
        name, moved = SIDE_NAMES[side], (sign * count, sign * sum_minor)
        move(ledger, place, name, currency, "matched", *moved, quarter)
    if isinstance(event, MatchConfirmed) and event.suggestion_id is not None:
        # It has the suggestion's id when it is all of it; else another event ends that.
        identity = match_id_of(*key, event)
        step = suggested.Step(*key, identity, event, place.position, place.stored)
        ledger.suggestions.append(step)


def _own_totals(
    event: RecordMatched | MatchConfirmed | MatchReversed,
) -> list[tuple[int, str, int, int]]:
    """Side, currency, count and sum of the members' own amounts."""
    if event.compared is not None and event.compared.totals:
        return event.compared.totals
    return [
        (SOURCE, event.currency, len(event.source_ids), event.source_minor),
        (TARGET, event.currency, len(event.target_ids), event.target_minor),
    ]


def add_suggestions(
    ledger: Ledger, standing: Mapping[suggested.MemberKey, suggested.Member]
) -> dict[suggested.MemberKey, suggested.Member]:
    """Count suggestions and their members in as they come and out as they go.

    Args:
        ledger: Is added to.
        standing: The rows of `suggested_transactions` the ledger speaks of.

    Returns:
        Of all members concerned, those that stand in the end.
    """

    def on_member(
        key: suggested.MemberKey, member: suggested.Member, sign: int, step: suggested.Step
    ) -> None:
        summary = ledger.summaries[key[:2]]
        summary.transactions_suggested += sign
        place = Place(key[:2], summary, step.position, step.quarter)
        quarter = step.quarter if sign > 0 else None
        amount_minor = sign * member.amount_minor
        move(ledger, place, key.side, member.currency, "suggested", sign, amount_minor, quarter)

    def on_suggestion(step: suggested.Step, sign: int) -> None:
        ledger.summaries[step[:2]].suggestions_open += sign

    return suggested.fold_steps(standing, ledger.suggestions, on_member, on_suggestion)


def add_changes(ledger: Ledger, changes: Iterable[CaseChange]) -> None:
    """Count exceptions out of where they stood and in where they stand."""
    for before, after, _ in changes:
        _count_status(ledger, after, 1)
        if before is not None:
            _count_status(ledger, before, -1)
        if before is not None and not _is_forgotten(before, after):
            if _stands_as(before) == _stands_as(after):
                # Whoever works a case moves no transaction, and so posts nothing to any day.
                continue
            _count_case(ledger, before, -1, after.updated_position)
        _count_case(ledger, after, 1, after.updated_position)


def _is_forgotten(before: Case, after: Case) -> bool:
    """Whether the id of a duplicate came anew: the duplicate was forgotten, and goes nowhere."""
    return before.place == "duplicate" and after.position != before.position


def _count_status(ledger: Ledger, case: Case, sign: int) -> None:
    summary = ledger.summaries[case.tenant_id, case.reconciliation_id]
    if case.is_open:
        summary.exceptions_open += sign
    else:
        summary.exceptions_resolved += sign


def _stands_as(case: Case) -> tuple[str | None, str, int, datetime]:
    return case.place, case.currency, case.amount_minor, case.occurred_at


def _count_case(ledger: Ledger, case: Case, sign: int, position: int) -> None:
    if case.place is None:
        return
    key = (case.tenant_id, case.reconciliation_id)
    summary = ledger.summaries[key]
    if case.place == "duplicate":
        summary.duplicates += sign
    else:
        summary.transactions_exception += sign
    quarter = quarter_of(case.occurred_at)
    place = Place(key, summary, position, quarter)
    amount_minor = sign * case.amount_minor
    move(ledger, place, case.side, case.currency, case.place, sign, amount_minor, quarter)


def write(conn: Connection[Any], folded: Ledger, answers: Mapping[str, Any]) -> Ledger:
    """Add a fold and the steps of exceptions to the rows; answers with all that was added."""
    ledger = folded.copied()
    add_changes(ledger, answers["exceptions"].changes)
    if ledger.suggestions:
        _write_suggestions(conn, ledger)
    summaries = [
        {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id, **_fields(summary)}
        for (tenant_id, reconciliation_id), summary in ledger.summaries.items()
    ]
    totals = [
        dict(zip(("tenant_id", "reconciliation_id", "side", "currency"), key, strict=True))
        | _fields(total)
        for key, total in ledger.totals.items()
    ]
    with conn.cursor() as cursor:
        cursor.executemany(_SQL["add_summary"], summaries)
        cursor.executemany(_SQL["add_totals"], totals)
    return ledger


def _write_suggestions(conn: Connection[Any], ledger: Ledger) -> None:
    concerned = {key for step in ledger.suggestions for keys, _ in step.sides() for key in keys}
    asked = suggested.columns(list(concerned))
    before = {
        suggested.MemberKey(*row[:4]): suggested.Member(row[4], int(row[5]), tuple(row[6]))
        for row in conn.execute(_SQL["read_suggested"], asked)
    }
    after = add_suggestions(ledger, before)
    changed = [key for key, member in before.items() if after.get(key) != member]
    if changed:
        conn.execute(_SQL["delete_suggested"], suggested.columns(changed))
    rows = [
        suggested.row(key, member) for key, member in after.items() if before.get(key) != member
    ]
    with conn.cursor().copy(_SQL["copy_suggested"]) as copy:
        copy.write("".join(rows))


_fields: Callable[[Any], dict[str, Any]] = msgspec.structs.asdict

RECONCILIATION_SUMMARY = ReadModel(
    "reconciliation_summary",
    ("reconciliation_summary", "reconciliation_totals", "suggested_transactions"),
    ("exceptions",),
    fold,
    write,
)
