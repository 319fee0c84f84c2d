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
from typing import Any, NamedTuple

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
from domain.transactions import SIDE_NAMES, SOURCE, TARGET
from projections import suggested
from projections.copy_text import instant, storable
from projections.exceptions import Case, CaseChange
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("reconciliation_summary")


class Summary(msgspec.Struct):
    """What is added to a reconciliation's row; None means nothing new is said."""

    first_event_at: datetime
    last_event_at: datetime
    position: int
    name: str | None = None
    definition_version: int | None = None
    watermark_at: datetime | None = None
    accepted_source: int = 0
    accepted_target: int = 0
    redelivered: int = 0
    rejected: int = 0
    matches_confirmed: int = 0
    transactions_matched: int = 0
    suggestions_open: int = 0
    transactions_suggested: int = 0
    exceptions_open: int = 0
    exceptions_resolved: int = 0
    transactions_exception: int = 0
    duplicates: int = 0
    superseded: int = 0
    status: str | None = None


class Total(msgspec.Struct):
    """What is added to a row of totals; amounts in minor units of its currency."""

    accepted_count: int = 0
    accepted_minor: int = 0
    matched_count: int = 0
    matched_minor: int = 0
    suggested_count: int = 0
    suggested_minor: int = 0
    exception_count: int = 0
    exception_minor: int = 0
    duplicate_count: int = 0
    duplicate_minor: int = 0
    superseded_count: int = 0
    superseded_minor: int = 0


Key = tuple[str, str]
TotalKey = tuple[str, str, str, str]


class Ledger(NamedTuple):
    """A fold: what is added to both tables, and the suggestions that came and went, in order."""

    summaries: dict[Key, Summary]
    totals: dict[TotalKey, Total]
    suggestions: list[suggested.Step]

    def total(self, key: Key, side: str, currency: str) -> Total:
        """Return the row of totals to add to."""
        return self.totals.setdefault((*key, side, currency), Total())

    def copied(self) -> "Ledger":
        """Return a ledger that can be added to without changing this one."""
        return Ledger(
            {key: msgspec.structs.replace(value) for key, value in self.summaries.items()},
            {key: msgspec.structs.replace(value) for key, value in self.totals.items()},
            list(self.suggestions),
        )


def fold(batches: Sequence[LogBatch]) -> Ledger:
    """Add up what the events alone tell."""
    ledger = Ledger({}, {}, [])
    for batch in batches:
        key = (batch.tenant_id, batch.reconciliation_id)
        at = batch.created_at
        summary = ledger.summaries.get(key)
        if summary is None:
            summary = ledger.summaries[key] = Summary(at, at, batch.last_position)
        summary.last_event_at = at
        summary.position = batch.last_position
        _add_matches(ledger, key, summary, batch.matched)
        for _, event in batch.others:
            _add_event(ledger, key, summary, event)
    return ledger


def _add_matches(
    ledger: Ledger, key: Key, summary: Summary, matched: Sequence[tuple[int, RecordMatched]]
) -> None:
    sums: dict[str, list[int]] = {}
    for _, event in matched:
        if event.compared is not None and event.compared.totals:
            for side, currency, count, sum_minor in event.compared.totals:
                own = sums.setdefault(currency, [0, 0, 0, 0])
                own[2 * side] += count
                own[2 * side + 1] += sum_minor
            continue
        kept = sums.get(event.currency)
        if kept is None:
            kept = sums[event.currency] = [0, 0, 0, 0]
        kept[0] += len(event.source_ids)
        kept[1] += event.source_minor
        kept[2] += len(event.target_ids)
        kept[3] += event.target_minor
    summary.matches_confirmed += len(matched)
    for currency, (source_count, source_minor, target_count, target_minor) in sums.items():
        summary.transactions_matched += source_count + target_count
        source = ledger.total(key, "source", currency)
        source.matched_count += source_count
        source.matched_minor += source_minor
        target = ledger.total(key, "target", currency)
        target.matched_count += target_count
        target.matched_minor += target_minor


def _add_event(ledger: Ledger, key: Key, summary: Summary, event: Event) -> None:
    if isinstance(event, TransactionsAccepted):
        summary.redelivered += event.redelivered
        summary.rejected += event.rejected
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
        ledger.suggestions.append(suggested.Step(*key, identity, event))
    elif isinstance(event, MatchSuperseded | MatchRejected):
        ledger.suggestions.append(suggested.Step(*key, event.match_id, event))
    elif isinstance(event, MatchConfirmed | MatchReversed):
        _add_by_people(ledger, key, summary, event)
    elif isinstance(event, TransactionSuperseded):
        summary.superseded += 1
        total = ledger.total(key, SIDE_NAMES[event.side], event.currency)
        total.superseded_count += 1
        total.superseded_minor += event.amount_minor
    elif isinstance(event, ReconciliationPaused | ReconciliationResumed):
        summary.status = "paused" if isinstance(event, ReconciliationPaused) else "active"


def _add_by_people(
    ledger: Ledger, key: Key, summary: Summary, event: MatchConfirmed | MatchReversed
) -> None:
    sign = 1 if isinstance(event, MatchConfirmed) else -1
    summary.matches_confirmed += sign
    for side, currency, count, sum_minor in _own_totals(event):
        summary.transactions_matched += sign * count
        total = ledger.total(key, SIDE_NAMES[side], currency)
        total.matched_count += sign * count
        total.matched_minor += sign * sum_minor
    if isinstance(event, MatchConfirmed) and event.suggestion_id is not None:
        # It has the suggestion's id when it is all of it; else another event ends that.
        identity = match_id_of(*key, event)
        ledger.suggestions.append(suggested.Step(*key, identity, event))


def _own_totals(event: MatchConfirmed | MatchReversed) -> list[tuple[int, str, int, int]]:
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

    def on_member(key: suggested.MemberKey, member: suggested.Member, sign: int) -> None:
        ledger.summaries[key[:2]].transactions_suggested += sign
        total = ledger.total(key[:2], key.side, member.currency)
        total.suggested_count += sign
        total.suggested_minor += sign * member.amount_minor

    def on_suggestion(step: suggested.Step, sign: int) -> None:
        ledger.summaries[step[:2]].suggestions_open += sign

    return suggested.fold_steps(standing, ledger.suggestions, on_member, on_suggestion)


def add_changes(ledger: Ledger, changes: Iterable[CaseChange]) -> None:
    """Count exceptions out of where they stood and in where they stand."""
    for before, after, _ in changes:
        if before is not None:
            _count_case(ledger, before, -1)
        _count_case(ledger, after, 1)


def _count_case(ledger: Ledger, case: Case, sign: int) -> None:
    key = (case.tenant_id, case.reconciliation_id)
    summary = ledger.summaries[key]
    if case.is_open:
        summary.exceptions_open += sign
    else:
        summary.exceptions_resolved += sign
    total = ledger.total(key, case.side, case.currency)
    if case.place == "duplicate":
        summary.duplicates += sign
        total.duplicate_count += sign
        total.duplicate_minor += sign * case.amount_minor
    elif case.place == "exception":
        summary.transactions_exception += sign
        total.exception_count += sign
        total.exception_minor += sign * case.amount_minor


def write(conn: Connection[Any], folded: Ledger, answers: Mapping[str, Any]) -> None:
    """Add a fold and the steps of exceptions to the rows."""
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
