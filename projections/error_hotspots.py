"""The read model `error_hotspots_view`: where exceptions come from.

One row per reconciliation, UTC day of opening, category, rule and currency. An exception counts
under the category it has now: reclassified, it moves. Records that were refused have no place here;
their codes stand in `dead_letter_queue`, which is not part of the log, and only their number is.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from projections.copy_text import storable
from projections.exceptions import Case, CaseChange
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

_SQL = load_queries("error_hotspots")


class Spot(NamedTuple):
    """Key of a row."""

    tenant_id: str
    reconciliation_id: str
    day: date
    category: str
    rule: str
    currency: str


class Heat(msgspec.Struct):
    """What is added to a row. Amounts are absolute, in minor units of the row's currency."""

    last_seen_at: datetime
    exception_count: int = 0
    open_count: int = 0
    amount_minor: int = 0
    open_amount_minor: int = 0

    def add(self, case: Case, sign: int, at: datetime) -> None:
        """Count a case in (`sign` 1) or out again (-1)."""
        amount = sign * abs(case.amount_minor)
        self.exception_count += sign
        self.amount_minor += amount
        if case.is_open:
            self.open_count += sign
            self.open_amount_minor += amount
        self.last_seen_at = max(self.last_seen_at, at)


def spot(case: Case) -> Spot:
    """Say where a case counts."""
    return Spot(
        case.tenant_id,
        case.reconciliation_id,
        case.opened_at.date(),
        storable(case.category),
        storable(case.rule or ""),
        case.currency,
    )


def fold_changes(changes: Iterable[CaseChange]) -> dict[Spot, Heat]:
    """Add up steps of cases by row."""
    heats: dict[Spot, Heat] = {}
    for before, after, at in changes:
        if before is not None:
            # Leaving a row is no sighting there.
            left = heats.setdefault(spot(before), Heat(before.opened_at))
            left.add(before, -1, before.opened_at)
        seen_at = at if after.is_open else after.opened_at
        heats.setdefault(spot(after), Heat(seen_at)).add(after, 1, seen_at)
    return heats


def fold(_batches: Sequence[LogBatch]) -> None:
    """Fold nothing ahead: all it counts comes from the steps of cases."""


def write(conn: Connection[Any], _fold: None, answers: Mapping[str, Any]) -> None:
    """Add the steps of cases to the rows."""
    heats = fold_changes(answers["exceptions"].changes)
    rows = [{**key._asdict(), **msgspec.structs.asdict(heat)} for key, heat in heats.items()]
    if rows:
        with conn.cursor() as cursor:
            cursor.executemany(_SQL["add_hotspot"], rows)


ERROR_HOTSPOTS = ReadModel(
    "error_hotspots_view", ("error_hotspots_view",), ("exceptions",), fold, write
)
