"""The read model `definitions`: every version of every reconciliation definition."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from domain.events import ReconciliationDefined
from projections.copy_text import json_text, storable
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("definitions")


def fold(batches: Sequence[LogBatch]) -> list[dict[str, Any]]:
    """Make a row of every definition put in force, in order."""
    return [
        {
            "tenant_id": batch.tenant_id,
            "reconciliation_id": batch.reconciliation_id,
            "version": event.definition_version,
            "definition": json_text(event.definition),
            "defined_at": batch.created_at,
            "command_id": storable(event.command_id),
            "position": batch.first_position + index,
        }
        for batch in batches
        for index, event in batch.others
        if isinstance(event, ReconciliationDefined)
    ]


def write(
    conn: Connection[Any], rows: Sequence[Mapping[str, Any]], _answers: Mapping[str, Any]
) -> None:
    """Add the rows."""
    for row in rows:
        conn.execute(_SQL["add_definition"], row)


DEFINITIONS = ReadModel("definitions", ("definitions",), (), fold, write)
