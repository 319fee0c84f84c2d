"""How long exceptions have been open: counts and sums by age."""

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.amounts import Amount, CurrencyFilter, amount_text
from api.operations import Call, Operation
from api.parameters import ReconciliationFilter, filters

#: Ages in days at which a bucket ends and the next begins; the last has no end.
BOUNDS_DAYS = (1, 3, 7, 30)


class AgeingQuery(BaseModel):
    """Which exceptions are counted."""

    model_config = ConfigDict(extra="forbid")

    reconciliation_id: ReconciliationFilter = None
    currency: CurrencyFilter = None
    assignee: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Who works on it.")
    ] = None


class SeverityCounts(BaseModel):
    """Exceptions by severity."""

    low: int
    medium: int
    high: int
    critical: int


class AgeingAmount(BaseModel):
    """Exceptions in one currency."""

    currency: str
    count: int
    amount: Amount = Field(
        description="Sum of absolute amounts, so that debits and credits do not hide each other."
    )


class AgeingBucket(BaseModel):
    """Open exceptions of an age."""

    from_days: int = Field(description="Included.")
    to_days: int | None = Field(description="Not included; null: however old.")
    count: int
    assigned: int = Field(description="Those that somebody works on.")
    overdue: int = Field(description="Those that were due before; see `due_at` of an exception.")
    by_severity: SeverityCounts
    amounts: list[AgeingAmount]


class Ageing(BaseModel):
    """Open exceptions by age, youngest first; every bucket is there."""

    as_of: datetime
    count: int
    overdue: int
    buckets: list[AgeingBucket]


def to_buckets(rows: list[dict[str, Any]]) -> list[AgeingBucket]:
    """Put counted groups of exceptions into their buckets."""
    bounds = (0, *BOUNDS_DAYS, None)
    buckets = []
    for number, (begin, end) in enumerate(pairwise(bounds)):
        own = [row for row in rows if row["bucket"] == number]
        severities = dict.fromkeys(SeverityCounts.model_fields, 0)
        currencies: dict[str, tuple[int, int]] = {}
        for row in own:
            severities[row["severity"]] += row["count"]
            count, total = currencies.get(row["currency"], (0, 0))
            currencies[row["currency"]] = (count + row["count"], total + int(row["amount_minor"]))
        buckets.append(
            AgeingBucket(
                from_days=begin or 0,
                to_days=end,
                count=sum(row["count"] for row in own),
                assigned=sum(row["assigned"] for row in own),
                overdue=sum(row["overdue"] for row in own),
                by_severity=SeverityCounts(**severities),
                amounts=[
                    AgeingAmount(
                        currency=currency, count=count, amount=amount_text(total, currency)
                    )
                    for currency, (count, total) in sorted(currencies.items())
                ],
            )
        )
    return buckets


async def read_ageing(call: Call) -> Ageing:
    """Count the tenant's open exceptions by age."""
    query = call.query(AgeingQuery)
    asked = {"tenant_id": call.tenant_id, "bounds_days": list(BOUNDS_DAYS)}
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        rows = await session.rows(
            "count_ageing",
            {**filters(query, "reconciliation_id", "currency", "assignee"), **asked},
        )
        now = await session.row("read_clock", {})
    assert now is not None
    buckets = to_buckets(rows)
    return Ageing(
        as_of=now["now"],
        count=sum(one.count for one in buckets),
        overdue=sum(one.overdue for one in buckets),
        buckets=buckets,
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/exceptions/ageing",
        handler=read_ageing,
        tag="exceptions",
        summary="Count open exceptions by age",
        description=(
            "Age is the time since an exception opened, or opened again. `/exceptions` lists those "
            "of a bucket by `from_time` and `to_time`, and by `overdue` those that were due."
        ),
        query=AgeingQuery,
        answer=Ageing,
    ),
)
