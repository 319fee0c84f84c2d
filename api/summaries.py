"""Where a reconciliation's transactions stand, in counts and in sums."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.amounts import Amount, amount_text
from api.as_of import AsOfQuery, figures_as_of
from api.errors import not_found
from api.operations import Call, Operation
from api.parameters import Side
from domain.replay import parse_as_of

_PLACES = ("pending", "matched", "suggested", "exception", "duplicate", "superseded")


class TransactionCounts(BaseModel):
    """Every accepted transaction is in exactly one of the six places."""

    accepted: int
    accepted_source: int
    accepted_target: int
    pending: int
    matched: int
    suggested: int
    exception: int
    duplicate: int
    superseded: int


class Summary(BaseModel):
    """A reconciliation and its figures."""

    reconciliation_id: str
    name: str | None
    status: str = Field(examples=["active"])
    definition_version: int
    position: int = Field(description="Position in the log up to which the figures count.")
    transactions: TransactionCounts
    match_rate: float | None = Field(
        ge=0, le=1, description="Matched ÷ accepted transactions; null before the first."
    )
    matches_confirmed: int
    suggestions_open: int
    exceptions_open: int = Field(description="What people see as open, duplicates among them.")
    exceptions_resolved: int
    redelivered: int
    rejected: int
    event_time: datetime | None = Field(description="How far event time has come.")
    first_event_at: datetime
    last_event_at: datetime


class Place(BaseModel):
    """How many transactions stand in one place, and their sum."""

    count: int
    amount: Amount


class Totals(BaseModel):
    """One side and currency; the six places add up to `accepted`."""

    side: Side
    currency: str
    accepted: Place
    pending: Place
    matched: Place
    suggested: Place
    exception: Place
    duplicate: Place
    superseded: Place


class SummaryWithTotals(Summary):
    """A reconciliation's figures with sums per side and currency."""

    totals: list[Totals]


_COPIED = (
    "reconciliation_id", "name", "status", "definition_version", "position", "matches_confirmed",
    "suggestions_open", "exceptions_open", "exceptions_resolved", "redelivered", "rejected",
    "first_event_at", "last_event_at",
)  # fmt: skip


def to_summary(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of `reconciliation_summary` its outward form."""
    accepted = row["accepted_source"] + row["accepted_target"]
    matched = row["transactions_matched"]
    return {
        **{name: row[name] for name in _COPIED},
        "event_time": row["watermark_at"],
        "match_rate": round(matched / accepted, 6) if accepted else None,
        "transactions": TransactionCounts(
            accepted=accepted,
            accepted_source=row["accepted_source"],
            accepted_target=row["accepted_target"],
            pending=row["pending"],
            matched=matched,
            suggested=row["transactions_suggested"],
            exception=row["transactions_exception"],
            duplicate=row["duplicates"],
            superseded=row["superseded"],
        ),
    }


def _to_totals(row: dict[str, Any]) -> Totals:
    places = {
        place: Place(
            count=row[f"{place}_count"], amount=amount_text(row[f"{place}_minor"], row["currency"])
        )
        for place in ("accepted", *_PLACES)
    }
    return Totals(side=row["side"], currency=row["currency"], **places)


async def _show_summary(call: Call) -> SummaryWithTotals:
    reconciliation_id = call.path("reconciliation_id")
    query = call.query(AsOfQuery)
    if "\x00" in reconciliation_id:
        raise not_found("reconciliation", "…")
    key = {"tenant_id": call.tenant_id, "reconciliation_id": reconciliation_id}
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        if query.as_of is not None:
            turn, as_of = call.services.past_turn, parse_as_of(query.as_of)
            return _to_answer(*await figures_as_of(session, turn, reconciliation_id, as_of))
        row = await session.row("read_reconciliation", key)
        totals = await session.rows("read_totals", key)
    if row is None:
        raise not_found("reconciliation", reconciliation_id)
    return _to_answer(row, totals)


def _to_answer(row: dict[str, Any], totals: list[dict[str, Any]]) -> SummaryWithTotals:
    return SummaryWithTotals(**to_summary(row), totals=[_to_totals(total) for total in totals])


read_summary = Operation(
    method="GET",
    path="/reconciliations/{reconciliation_id}/summary",
    handler=_show_summary,
    name="read_summary",
    tag="reconciliations",
    summary="Show where a reconciliation's transactions stand, with sums",
    description=(
        "Kept for some seconds at most, and never once newer figures are known. With `as_of` the "
        "figures of a moment of the past are folded anew from the events, always the same."
    ),
    query=AsOfQuery,
    answer=SummaryWithTotals,
    errors=("not_found", "as_of_too_large"),
    # Of a past moment too: what lies beyond the log's end is refused, never answered and kept, and
    # what a commit under way adds to an instant just gone moves the read models.
    kept_for="reconciliation",
)
