"""The read model `exceptions`: one row a transaction that did not match, and what became of it.

What a person calls an exception is a `Case` here, never a raised error.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from domain.casework import CaseworkEvent, Standing, open_status
from domain.casework import evolve as evolve_standing
from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.events import Candidate, ExceptionReclassified, ExceptionResolved, RecordUnmatched
from domain.identity import exception_id
from domain.transactions import SIDE_NAMES
from projections.copy_text import instant, json_text, line
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("exceptions")
# Resolutions that took the transaction elsewhere: into a match or suggestion, out of all as
# superseded, or, no duplicate any more, back to pending.
_GONE_BY = ("late_match", "manual_match", "superseded", "first_corrected")
CaseEvent = RecordUnmatched | ExceptionReclassified | CaseworkEvent
_CASE_EVENTS = (
    RecordUnmatched,
    ExceptionReclassified,
    ExceptionResolved,
    ExceptionAssigned,
    ExceptionCommented,
    ExceptionReopened,
)


class Case(msgspec.Struct, frozen=True, gc=False):
    """A row of `exceptions`, its columns in the order of `exceptions.sql`."""

    exception_id: str
    tenant_id: str
    reconciliation_id: str
    position: int
    side: str
    transaction_id: str
    category: str
    severity: str
    status: str
    resolution: str | None
    amount_minor: int
    currency: str
    occurred_at: datetime
    rule: str | None
    reason: str
    candidates: str
    match_id: str | None
    assignee: str | None
    definition_version: int
    opened_at: datetime
    updated_at: datetime
    updated_position: int
    first_position: int | None
    version: int
    comments: int
    resolution_reason: str | None

    @property
    def is_open(self) -> bool:
        """Whether a person still sees it as something to do."""
        return self.status in ("open", "in_progress")

    @property
    def place(self) -> str | None:
        """Where its transaction counts: `exception`, `duplicate`, or None: it went elsewhere."""
        if self.resolution in _GONE_BY:
            return None
        return "duplicate" if self.category == "duplicate" else "exception"


class Happening(NamedTuple):
    """An event of a case with where and when it was stored."""

    exception_id: str
    tenant_id: str
    reconciliation_id: str
    position: int
    at: datetime
    event: CaseEvent


class CaseChange(NamedTuple):
    """One step of one case; `before` is None when it is new."""

    before: Case | None
    after: Case
    at: datetime


class Answer(NamedTuple):
    """What other read models learn: every step in order, and how many events had no case."""

    changes: list[CaseChange]
    orphans: int


def fold(batches: Sequence[LogBatch]) -> list[Happening]:
    """Pick the events of cases, in order."""
    return [
        Happening(
            exception_id(
                batch.tenant_id,
                batch.reconciliation_id,
                SIDE_NAMES[event.side],
                event.transaction_id,
            ),
            batch.tenant_id,
            batch.reconciliation_id,
            batch.first_position + index,
            batch.created_at,
            event,
        )
        for batch in batches
        for index, event in batch.others
        if isinstance(event, _CASE_EVENTS)
    ]


def evolve(case: Case | None, happening: Happening) -> Case | None:
    """Apply one event to a case; None when it speaks of a case that never opened."""
    event = happening.event
    if isinstance(event, RecordUnmatched):
        return _opened(case, happening, event)
    if case is None:
        return None
    if isinstance(event, ExceptionReclassified):
        return msgspec.structs.replace(
            case,
            category=event.category,
            rule=event.rule,
            reason=event.reason,
            candidates=_candidates(event.candidates),
            updated_at=happening.at,
            updated_position=happening.position,
        )
    if isinstance(event, ExceptionResolved) and event.command_id is None:
        return msgspec.structs.replace(
            case,
            status="resolved",
            resolution=event.resolution,
            resolution_reason=None,
            match_id=event.match_id,
            updated_at=happening.at,
            updated_position=happening.position,
        )
    return _worked(case, happening, event)


def _worked(case: Case, happening: Happening, event: CaseworkEvent) -> Case:
    """Apply what a person did."""
    before = Standing(case.status, case.resolution, case.assignee)
    after = evolve_standing(before, event)
    reason = case.resolution_reason
    if after.resolution != before.resolution:
        reason = event.reason if isinstance(event, ExceptionResolved) else None
    return msgspec.structs.replace(
        case,
        status=after.status,
        resolution=after.resolution,
        resolution_reason=reason,
        assignee=after.assignee,
        comments=case.comments + isinstance(event, ExceptionCommented),
        version=case.version + 1,
        updated_at=happening.at,
        updated_position=happening.position,
    )


def _opened(case: Case | None, happening: Happening, event: RecordUnmatched) -> Case:
    """Open a case, or open it again: then only what people did with it is kept."""
    assignee = case.assignee if case else None
    return Case(
        exception_id=happening.exception_id,
        tenant_id=happening.tenant_id,
        reconciliation_id=happening.reconciliation_id,
        position=happening.position,
        side=SIDE_NAMES[event.side],
        transaction_id=event.transaction_id,
        category=event.category,
        severity=event.severity,
        status=open_status(assignee),
        resolution=None,
        amount_minor=event.amount_minor,
        currency=event.currency,
        occurred_at=instant(event.occurred_ms * 1000),
        rule=event.rule,
        reason=event.reason,
        candidates=_candidates(event.candidates),
        match_id=None,
        assignee=assignee,
        definition_version=event.definition_version,
        opened_at=happening.at,
        updated_at=happening.at,
        updated_position=happening.position,
        first_position=(case.first_position or case.position) if case else happening.position,
        version=case.version if case else 0,
        comments=case.comments if case else 0,
        resolution_reason=None,
    )


def _candidates(candidates: Iterable[Candidate]) -> str:
    named = [
        {**msgspec.structs.asdict(candidate), "side": SIDE_NAMES[candidate.side]}
        for candidate in candidates
    ]
    return json_text(named)


def fold_cases(
    cases: Mapping[str, Case], happenings: Sequence[Happening]
) -> tuple[dict[str, Case], Answer]:
    """Apply events to the cases they speak of.

    Args:
        cases: The rows as they stand, by id; those that do not exist yet are missing.
        happenings: In the order of the log.

    Returns:
        The rows that changed, and the steps between.
    """
    changed: dict[str, Case] = {}
    changes: list[CaseChange] = []
    orphans = 0
    for happening in happenings:
        before = changed.get(happening.exception_id) or cases.get(happening.exception_id)
        after = evolve(before, happening)
        if after is None:
            orphans += 1
            continue
        changed[happening.exception_id] = after
        changes.append(CaseChange(before, after, happening.at))
    return changed, Answer(changes, orphans)


def write(
    conn: Connection[Any], happenings: Sequence[Happening], _answers: Mapping[str, Any]
) -> Answer:
    """Read the cases concerned, fold, and write the rows that changed."""
    if not happenings:
        return Answer([], 0)
    asked = {"exception_ids": list({happening.exception_id for happening in happenings})}
    rows = conn.execute(_SQL["read_cases"], asked, binary=True).fetchall()
    cases = {row[0]: _case(row) for row in rows}
    changed, answer = fold_cases(cases, happenings)
    replaced = [case_id for case_id in changed if case_id in cases]
    if replaced:
        conn.execute(_SQL["delete_cases"], {"exception_ids": replaced})
    with conn.cursor().copy(_SQL["copy_cases"]) as copy:
        copy.write("".join(line(msgspec.structs.astuple(case)) for case in changed.values()))
    return answer


def _case(row: tuple[Any, ...]) -> Case:
    case = Case(*row)
    return msgspec.structs.replace(case, amount_minor=int(case.amount_minor))


EXCEPTIONS = ReadModel("exceptions", ("exceptions",), (), fold, write)
