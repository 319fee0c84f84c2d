"""How far a reconciliation's figures and its event time trail behind."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.errors import not_found
from api.operations import Call, Operation
from domain.identity import stream_id


class Lag(BaseModel):
    """What is committed and not shown yet, and how old event time is."""

    reconciliation_id: str
    position: int = Field(description="Position in the log up to which the figures count.")
    committed_position: int = Field(
        description="Position of the newest committed event of the reconciliation."
    )
    committed_at: datetime
    batches_behind: int = Field(
        le=1000, description="Committed batches that the figures do not hold; a thousand at most."
    )
    lag_seconds: float = Field(
        ge=0, description="Age of the oldest of them; 0: the figures hold everything."
    )
    event_time: datetime | None = Field(description="How far event time has come.")
    event_time_trails_seconds: float | None = Field(
        ge=0, description="How far event time trails the clock; null before the first transaction."
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def to_lag(reconciliation_id: str, row: dict[str, Any]) -> Lag:
    """Give what was read its outward form."""
    return Lag(
        reconciliation_id=reconciliation_id,
        position=row["position"],
        committed_position=row["committed_position"],
        committed_at=row["committed_at"],
        batches_behind=row["batches_behind"],
        lag_seconds=_rounded(row["lag_seconds"]) or 0.0,
        event_time=row["watermark_at"],
        event_time_trails_seconds=_rounded(row["event_time_trails_seconds"]),
    )


async def read_lag(call: Call) -> Lag:
    """Tell how far the figures of a reconciliation trail what is committed."""
    reconciliation_id = call.path("reconciliation_id")
    if "\x00" in reconciliation_id:
        raise not_found("reconciliation", "…")
    asked = {
        "tenant_id": call.tenant_id,
        "reconciliation_id": reconciliation_id,
        "stream_id": stream_id(call.tenant_id, reconciliation_id),
    }
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        row = await session.row("read_lag", asked)
    if row is None:
        raise not_found("reconciliation", reconciliation_id)
    return to_lag(reconciliation_id, row)


OPERATIONS = (
    Operation(
        method="GET",
        path="/reconciliations/{reconciliation_id}/lag",
        handler=read_lag,
        tag="reconciliations",
        summary="Tell how far a reconciliation's figures trail what is committed",
        answer=Lag,
        errors=("not_found",),
    ),
)
