"""The read model `reconciliation_runs`: every run over a date range, and what it came to."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from psycopg import Connection

from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
    RunEvent,
)
from domain.transactions import SIDE_NAMES
from projections.copy_text import instant, json_text, storable
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("reconciliation_runs")
_RUN_EVENTS = get_args(RunEvent)


class Step(NamedTuple):
    """A statement of this read model's, and what it is given."""

    name: str
    parameters: dict[str, Any]


def fold(batches: Sequence[LogBatch]) -> list[Step]:
    """Make a statement of every event of a run, in order."""
    return [
        _step(
            event,
            {
                "tenant_id": batch.tenant_id,
                "reconciliation_id": batch.reconciliation_id,
                "run_id": storable(event.run_id),
                "at": batch.created_at,
                "position": batch.first_position + index,
            },
        )
        for batch in batches
        for index, event in batch.others
        if isinstance(event, _RUN_EVENTS)
    ]


def _step(event: RunEvent, where: dict[str, Any]) -> Step:
    match event:
        case ReconciliationStarted():
            begun = {
                "name": _maybe(event.name),
                "from_at": instant(event.from_us),
                "to_at": instant(event.to_us),
                "definition_version": event.definition_version,
            }
            return Step("add_run", where | begun)
        case ReconciliationRetried():
            again = {
                "definition_version": event.definition_version,
                "reason": _maybe(event.reason),
            }
            return Step("retry_run", where | again)
        case ReconciliationCompleted():
            return _end(where, "completed", totals=json_text(_name_totals(event)))
        case ReconciliationFailed():
            return _end(where, "failed", error=event.code, reason=event.message)
        case ReconciliationCancelled():
            return _end(where, "cancelled", reason=_maybe(event.reason))


def _end(where: dict[str, Any], status: str, **told: str | None) -> Step:
    nothing = {"error": None, "reason": None, "totals": None}
    return Step("end_run", where | {"status": status} | nothing | told)


def _maybe(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _name_totals(event: ReconciliationCompleted) -> list[dict[str, Any]]:
    return [
        {
            "side": SIDE_NAMES[side],
            "currency": currency,
            "place": place,
            "count": count,
            "amount_minor": sum_minor,
        }
        for side, currency, place, count, sum_minor in event.totals
    ]


def write(conn: Connection[Any], steps: Sequence[Step], _answers: Mapping[str, Any]) -> None:
    """Run the statements, in order."""
    for step in steps:
        conn.execute(_SQL[step.name], step.parameters)


RECONCILIATION_RUNS = ReadModel("reconciliation_runs", ("reconciliation_runs",), (), fold, write)
