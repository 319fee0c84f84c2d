"""Applying a piece of the log to read models: fold ahead, then one database transaction.

`prepare` is pure and may run while the piece before it is being written. `apply` moves the
checkpoints first: whoever comes second, with the same piece or an older one, finds them elsewhere
and writes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from projections import checkpoints
from projections.log import LogBatch, check_order
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("applying")

#: Told before each step that changes the database, with its name: where tests let it crash.
OnStep = Callable[[str], None]


class Prepared(NamedTuple):
    """A folded piece of the log: positions after `after` up to `until`.

    `folds` is by name of read model; `changed` has the last position of every reconciliation in it.
    """

    after: int
    until: int
    stored_at: datetime
    event_count: int
    text_bytes: int
    folds: Mapping[str, Any]
    changed: Mapping[tuple[str, str], int]


def no_step(_step: str) -> None:
    """Do nothing at a step."""


def prepare(models: Sequence[ReadModel], after: int, batches: Sequence[LogBatch]) -> Prepared:
    """Fold batches for some read models; there must be at least one batch.

    Raises:
        LogBroken: The batches do not follow on from `after`.
    """
    check_order(after, batches)
    return Prepared(
        after=after,
        until=batches[-1].last_position,
        stored_at=batches[-1].created_at,
        event_count=sum(batch.event_count for batch in batches),
        text_bytes=sum(batch.text_bytes for batch in batches),
        folds={model.name: model.fold(batches) for model in models},
        changed={
            (batch.tenant_id, batch.reconciliation_id): batch.last_position for batch in batches
        },
    )


def apply(
    conn: Connection[Any],
    models: Sequence[ReadModel],
    prepared: Prepared,
    *,
    suffix: str = "",
    notify: bool = True,
    on_step: OnStep = no_step,
) -> int:
    """Write a folded piece, checkpoints and rows together.

    Args:
        conn: In autocommit, of role settler_projections.
        prepared: Is left as it is, so it can be applied again after a failure.
        on_step: Told before each step.
        models: Read models that stand at `prepared.after`, each after those it needs.
        suffix: Appended to the names of the checkpoints.
        notify: Tell `settler_read_models` which reconciliations changed.

    Returns:
        How many events spoke of an exception that never opened; the log should have none.

    Raises:
        CheckpointMoved: Another process has written this piece; nothing was written.
    """
    names = [model.name + suffix for model in models]
    answers: dict[str, Any] = {}
    with conn.transaction():
        on_step("checkpoints")
        checkpoints.move(conn, names, prepared.after, prepared.until)
        for model in models:
            on_step(model.name)
            answers[model.name] = model.write(conn, prepared.folds[model.name], answers)
        if notify:
            _notify(conn, prepared.changed)
        on_step("commit")
    on_step("committed")
    cases = answers.get("exceptions")
    return cases.orphans if cases is not None else 0


def _notify(conn: Connection[Any], changed: Mapping[tuple[str, str], int]) -> None:
    payloads = [
        msgspec.json.encode(
            {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id, "position": position}
        ).decode()
        for (tenant_id, reconciliation_id), position in changed.items()
    ]
    conn.execute(_SQL["notify_changed"], {"payloads": payloads})
