"""What a tenant used, and where its exceptions come from."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from api.amounts import Amount, CurrencyFilter, amount_text
from api.errors import ApiError
from api.exceptions import Category
from api.operations import Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import ReconciliationFilter, RuleFilter, filters

FromDate = Annotated[date | None, Field(description="First UTC day, included.")]
ToDate = Annotated[date | None, Field(description="Last UTC day, included.")]


class UsageDay(BaseModel):
    """What a tenant used on one UTC day, by time of storing."""

    usage_date: date
    transactions: int
    matches: int
    exceptions: int = Field(description="Exceptions opened that day.")
    rejected: int
    redelivered: int
    events: int
    journal_bytes: int


class Usage(Page[UsageDay]):
    """A page of days."""


class UsageQuery(PageQuery):
    """Which days."""

    from_date: FromDate = None
    to_date: ToDate = None


class Hotspot(BaseModel):
    """Exceptions of one kind that opened on one UTC day."""

    reconciliation_id: str
    day: date
    category: str
    rule: str = Field(description="The rule that came nearest; empty: none.")
    currency: str
    exception_count: int
    open_count: int
    amount: Amount = Field(description="Sum of absolute amounts.")
    open_amount: Amount
    last_seen_at: datetime


class Hotspots(Page[Hotspot]):
    """A page of hotspots."""


class HotspotsQuery(UsageQuery):
    """Filters of hotspots."""

    reconciliation_id: ReconciliationFilter = None
    category: Category | None = None
    rule: RuleFilter = None
    currency: CurrencyFilter = None


def _cursor_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ApiError("invalid_cursor") from error


async def list_usage(call: Call) -> Usage:
    """List what the tenant used, a row a day."""
    query = call.query(UsageQuery)
    before = date.max
    if query.cursor:
        before = _cursor_date(decode_cursor(query.cursor, [str])[0])
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_usage",
            {
                **filters(query, "from_date", "to_date"),
                "tenant_id": call.tenant_id,
                "before": before,
                "limit": query.limit + 1,
            },
        )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["usage_date"].isoformat()])
    return Usage(items=[UsageDay(**row) for row in page], next_cursor=next_cursor)


async def list_hotspots(call: Call) -> Hotspots:
    """List where exceptions come from, a row a day and kind."""
    query = call.query(HotspotsQuery)
    # Beyond every row: the last day, so that the other parts of the key do not matter.
    day, reconciliation_id, category, rule, currency = date.max, "", "", "", ""
    if query.cursor:
        key = decode_cursor(query.cursor, [str] * 5)
        day, (reconciliation_id, category, rule, currency) = _cursor_date(key[0]), key[1:]
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_hotspots",
            {
                **filters(
                    query, "reconciliation_id", "category", "rule", "currency", "from_date",
                    "to_date",
                ),
                "tenant_id": call.tenant_id,
                "day": day,
                "last_reconciliation_id": reconciliation_id,
                "last_category": category,
                "last_rule": rule,
                "last_currency": currency,
                "limit": query.limit + 1,
            },
        )  # fmt: skip
    names = ("reconciliation_id", "category", "rule", "currency")
    page, next_cursor = cut_page(
        rows, query.limit, lambda row: [row["day"].isoformat(), *(row[name] for name in names)]
    )
    items = []
    for row in page:
        amount = amount_text(row.pop("amount_minor"), row["currency"])
        open_amount = amount_text(row.pop("open_amount_minor"), row["currency"])
        items.append(Hotspot(**row, amount=amount, open_amount=open_amount))
    return Hotspots(items=items, next_cursor=next_cursor)


OPERATIONS = (
    Operation(
        method="GET",
        path="/usage",
        handler=list_usage,
        tag="usage",
        summary="List what the tenant used",
        description="A row a UTC day, newest first.",
        query=UsageQuery,
        answer=Usage,
    ),
    Operation(
        method="GET",
        path="/hotspots",
        handler=list_hotspots,
        tag="usage",
        summary="List where exceptions come from",
        description=(
            "A row a UTC day, reconciliation, category, rule and currency; newest day first, then "
            "by the other parts of the key, descending."
        ),
        query=HotspotsQuery,
        answer=Hotspots,
    ),
)
