"""Business days of a reconciliation: their control totals, and the statements of those closed."""

from base64 import b64encode
from datetime import date, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.amounts import Amount, amount_text
from api.errors import ApiError, not_found
from api.operations import Answer, Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from domain.statements import STYLE, Statement, write_html
from projections.control_totals import figures_of
from projections.movements import NO_CURRENCY, Total

# The page's own style is let through by its hash, and nothing else.
_STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
_END = date(9999, 12, 31)
# A page of days is shown with all their sides and currencies.
_DAYS_MAX = 100


class Figure(BaseModel):
    """How many transactions, and their sum."""

    count: int
    amount: Amount


class PeriodTotals(BaseModel):
    """What was posted to a day, of one side and currency; the places add up to `accepted`.

    A count is negative where more left a place than came.
    """

    side: Literal["source", "target"]
    currency: str
    accepted: Figure
    matched: Figure
    suggested: Figure
    exception: Figure
    duplicate: Figure
    superseded: Figure
    pending: Figure


class PeriodRecords(BaseModel):
    """The records of a day and side; `unknown` are redriven ones that were refused again."""

    side: Literal["source", "target", "unknown"]
    consumed: int
    accepted: int
    redelivered: int
    rejected: int


class Period(BaseModel):
    """A business day in the definition's time zone."""

    day: date
    status: Literal["open", "closed"]
    closed_at: datetime | None = Field(description="When it was closed; null while it is open.")
    position: int | None = Field(description="Of the event that closed it.")
    hash: str | None = Field(description="SHA-256 of its statement, hex digits.")
    previous_hash: str | None = Field(description="Of the statement before; null for the first.")
    records: list[PeriodRecords]
    totals: list[PeriodTotals]


class Periods(Page[Period]):
    """A page of business days."""


class StatementPart(BaseModel):
    """Figures of every place."""

    accepted: Figure
    matched: Figure
    suggested: Figure
    exception: Figure
    duplicate: Figure
    superseded: Figure
    pending: Figure


class StatementTotals(BaseModel):
    """Of one side and currency: opening + movements = closing."""

    side: Literal["source", "target"]
    currency: str
    opening: StatementPart
    movements: StatementPart
    closing: StatementPart


class PreviousStatement(BaseModel):
    """The statement before."""

    day: date
    hash: str


class StatementContent(BaseModel):
    """The statement of a closed day. Its hash is SHA-256 over this very answer, byte for byte."""

    model_config = ConfigDict(title="Statement")

    format: int
    tenant_id: str
    reconciliation_id: str
    day: date
    time_zone: str
    position: int
    closed_at: datetime
    previous: PreviousStatement | None
    records: list[PeriodRecords]
    totals: list[StatementTotals]


class PeriodsQuery(PageQuery):
    """How many days."""

    limit: Annotated[int, Field(ge=1, le=_DAYS_MAX)] = 31


def _scope(call: Call) -> dict[str, Any]:
    reconciliation_id = call.path("reconciliation_id")
    if "\x00" in reconciliation_id:
        raise not_found("reconciliation", "…")
    return {"tenant_id": call.tenant_id, "reconciliation_id": reconciliation_id}


async def list_periods(call: Call) -> Periods:
    """List business days with what was posted to each."""
    scope, query = _scope(call), call.query(PeriodsQuery)
    before = _END
    if query.cursor:
        try:
            before = date.fromisoformat(decode_cursor(query.cursor, [str])[0])
        except ValueError as error:
            raise ApiError("invalid_cursor") from error
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        if await session.row("read_reconciliation", scope) is None:
            raise not_found("reconciliation", scope["reconciliation_id"])
        asked = scope | {"before": before, "limit": query.limit + 1}
        rows = await session.rows("list_periods", asked)
        page, next_cursor = cut_page(rows, query.limit, lambda row: [row["day"].isoformat()])
        days = [row["day"] for row in page]
        posted = await session.rows("read_period_totals", scope | {"days": days})
    of_days: dict[date, list[dict[str, Any]]] = {}
    for row in posted:
        of_days.setdefault(row["day"], []).append(row)
    return Periods(
        items=[_period(row, of_days.get(row["day"], [])) for row in page], next_cursor=next_cursor
    )


def _period(row: dict[str, Any], posted: list[dict[str, Any]]) -> Period:
    return Period(
        day=row["day"],
        status="open" if row["hash"] is None else "closed",
        **{name: row[name] for name in ("closed_at", "position", "hash", "previous_hash")},
        records=_records(posted),
        totals=[_totals(one) for one in posted if one["currency"] != NO_CURRENCY],
    )


def _records(posted: list[dict[str, Any]]) -> list[PeriodRecords]:
    sides: dict[str, list[int]] = {}
    for one in posted:
        counts = sides.setdefault(one["side"], [0, 0, 0])
        for place, name in enumerate(("accepted", "redelivered", "rejected")):
            counts[place] += one[f"{name}_count"]
    return [
        PeriodRecords.model_validate(
            {
                "side": side,
                "consumed": sum(counts),
                "accepted": counts[0],
                "redelivered": counts[1],
                "rejected": counts[2],
            }
        )
        for side, counts in sorted(sides.items())
    ]


def _totals(row: dict[str, Any]) -> PeriodTotals:
    total = Total(**{name: int(row[name]) for name in Total.__struct_fields__})
    shown = {
        name: Figure(count=count, amount=amount_text(minor, row["currency"]))
        for name, (count, minor) in figures_of(total).items()
    }
    return PeriodTotals(side=row["side"], currency=row["currency"], **shown)


async def _statement(call: Call) -> Statement:
    scope, text = _scope(call), call.path("day")
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise not_found("statement", text) from error
    if day.isoformat() != text:
        raise not_found("statement", text)
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_statement", scope | {"day": day})
    if row is None:
        raise not_found("statement", text)
    return Statement(row["day"], row["text"], row["hash"], row["previous_hash"])


async def read_statement(call: Call) -> Answer:
    """Give the statement of a closed day, as the text that was hashed."""
    statement = await _statement(call)
    return Answer(statement.text.encode(), headers={"X-Statement-SHA256": statement.hash})


async def read_statement_page(call: Call) -> Response:
    """Give the statement of a closed day as a page."""
    statement = await _statement(call)
    return Response(
        write_html(statement),
        media_type="text/html",
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'",
            "X-Statement-SHA256": statement.hash,
        },
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/periods",
        handler=list_periods,
        tag="reconciliations",
        summary="List business days with their control totals",
        description=(
            "Newest first. A day closes once everything of it is final; what comes or is decided "
            "later is posted to the first day still open."
        ),
        query=PeriodsQuery,
        answer=Periods,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/periods/{day}",
        handler=read_statement,
        tag="reconciliations",
        summary="Show the statement of a closed business day",
        description=(
            "The very text its hash is of, which `X-Statement-SHA256` names; it names the hash of "
            "the statement before."
        ),
        answer=StatementContent,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/periods/{day}/page",
        handler=read_statement_page,
        tag="reconciliations",
        summary="Show the statement of a closed business day as a page to print",
        answer=None,
        page=True,
        example="<!doctype html><title>orders, 2026-03-01</title>",
        errors=("not_found",),
    ),
)
