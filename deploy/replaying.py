"""A reconciliation rebuilt as it stood at a moment of the log: its state, and its figures.

Two ways lead there and are held against each other: the state is folded from a snapshot, journals
and events, as the flow does it; the figures come from the events alone, as the projector does it.
"""

from typing import Any

from psycopg import Connection

from connectors.postgres.reading import read_head
from connectors.postgres.replaying import Place, find_place, read_events, rebuild_at
from connectors.postgres.verification import snapshot
from domain.errors import SettlerError
from domain.identity import stream_id
from domain.money import amount_text
from domain.reconciliation import Reconciliation
from domain.replay import AsOf, open_tallies, show_state
from projections.as_of import FiguresAsOf
from projections.log import decode_batch

_OPEN = ("pending", "suggested", "exception")
PLACES = (*_OPEN, "matched", "duplicate", "superseded")
_COUNTS = (
    "redelivered", "rejected", "matches_confirmed", "suggestions_open", "exceptions_open",
    "exceptions_resolved",
)  # fmt: skip


class ReplayDiffers(SettlerError):
    """State and figures of one moment do not say the same."""

    code = "replay.differs"


def replay(
    conn: Connection[Any],
    tenant_id: str,
    reconciliation_id: str,
    as_of: AsOf | None = None,
    *,
    limit: int | None = None,
    snapshots: bool = True,
) -> dict[str, Any]:
    """Rebuild a reconciliation at a moment, as plain values; the same moment gives the same.

    Args:
        conn: Of role settler_operator, in autocommit.
        as_of: None means the end of the log.
        limit: Open transactions, exceptions and suggestions shown at most, each; None shows all.
        snapshots: False folds from the stream's start, where that is still possible.

    Raises:
        NothingThen: The reconciliation has no event at or before then.
        StillToCome: The moment is in the future.
        PastNotKept: The journals it would take have expired.
        ReplayDiffers: State and figures contradict each other.
    """
    with snapshot(conn):
        head = read_head(conn)
        asked = AsOf(position=head) if as_of is None else as_of
        place = find_place(conn, stream_id(tenant_id, reconciliation_id), asked, head)
        state = rebuild_at(conn, place, snapshots=snapshots)
        figures = _figures(conn, place, asked)
    totals = figures.totals()
    _check_agreement(state, totals)
    shown = show_state(state, limit)
    summary = figures.summary()
    return {
        "tenant_id": tenant_id,
        "reconciliation_id": reconciliation_id,
        "position": place.position,
        "version": place.version,
        "stored_at": place.stored_at.isoformat().replace("+00:00", "Z"),
        **{
            name: shown.pop(name)
            for name in ("status", "definition_version", "event_time", "newest")
        },
        "accepted": summary["accepted_source"] + summary["accepted_target"],
        **{name: summary[name] for name in _COUNTS},
        "totals": [_in_major_units(row) for row in totals],
        **shown,
    }


def _figures(conn: Connection[Any], place: Place, as_of: AsOf) -> FiguresAsOf:
    figures = FiguresAsOf()
    for row in read_events(conn, place, as_of):
        figures.read([decode_batch(*row)])
    return figures


def _check_agreement(state: Reconciliation, totals: list[dict[str, Any]]) -> None:
    """Hold what is open in the state against what the figures say is open.

    Raises:
        ReplayDiffers: One of them is wrong.
    """
    found = open_tallies(state)
    told = {(row["side"], row["currency"]): row for row in totals}
    for key in sorted(found.keys() | told.keys()):
        for place in _OPEN:
            count, _ = found.get(key, {}).get(place, (0, 0))
            expected = told[key][f"{place}_count"] if key in told else 0
            if count != expected:
                raise ReplayDiffers(
                    f"{state.stream_id}, version {state.version}: {count} {key[0]} {key[1]} "
                    f"transactions are {place} in the state, {expected} by the events. Keep the "
                    "database as it is and run `settler verify`"
                )


def _in_major_units(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "side": row["side"],
        "currency": row["currency"],
        **{
            place: {
                "count": row[f"{place}_count"],
                "amount": amount_text(int(row[f"{place}_minor"]), row["currency"]),
            }
            for place in ("accepted", *PLACES)
        },
    }
