"""A reconciliation's figures at a moment of the past, folded anew from its events.

Events are never deleted, so every moment can be asked about. The work is bounded: one question at a
time, over so many events at most; for more there is `settler replay`.
"""

import asyncio
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from api.database import Session
from api.errors import ApiError, ErrorDetail, not_found
from connectors.postgres.replaying import StillToCome, check_past
from domain.identity import stream_id
from domain.replay import AsOf, AsOfInvalid, parse_as_of
from projections.as_of import FiguresAsOf
from projections.log import decode_batch

#: Events folded for one answer, at most: about half a second of one core.
EVENTS_MAX = 500_000
#: Text of events held at once, at most, unless a single batch is larger; and read for one answer.
PIECE_BYTES = 4 * 1024 * 1024
BYTES_MAX = 256 * 1024 * 1024


def _moment(text: str) -> str:
    try:
        parse_as_of(text)
    except AsOfInvalid as problem:
        raise ValueError(str(problem)) from problem
    return text


class AsOfQuery(BaseModel):
    """At which moment."""

    model_config = {"extra": "forbid"}

    as_of: Annotated[
        str | None,
        AfterValidator(_moment),
        Field(
            max_length=64,
            description=(
                "A position of the log, or an instant of RFC 3339 with its offset: the figures as "
                "they were committed with the event of that position, or by that instant. "
                "Default: now."
            ),
            examples=["2026-03-02T18:00:00Z", "184467"],
        ),
    ] = None


async def figures_as_of(
    session: Session, turn: asyncio.Semaphore, reconciliation_id: str, as_of: AsOf
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give the rows that `read_reconciliation` and `read_totals` would have given then.

    Raises:
        ApiError: `not_found` where there was nothing yet, `invalid_parameter` for the future,
            `as_of_too_large` where too many events lie before it.
    """
    stream = stream_id(session.tenant_id, reconciliation_id)
    found = await session.row(
        "find_moment",
        {"stream_id": stream, "position": as_of.position, "instant": as_of.instant},
    )
    assert found is not None, "log_head has its one row"
    if found["version"] is None:
        raise not_found("reconciliation", f"{reconciliation_id}' as of '{as_of}")
    try:
        check_past(as_of, found["head"], found["now"])
    except StillToCome as problem:
        detail = ErrorDetail(path="as_of", message=str(problem))
        raise ApiError("invalid_parameter", f"as_of: {problem}.", [detail]) from problem
    until = found["version"]
    if until > EVENTS_MAX:
        raise ApiError("as_of_too_large")
    figures = FiguresAsOf()
    asked = {
        "stream_id": stream,
        "tenant_id": session.tenant_id,
        "reconciliation_id": reconciliation_id,
        "from_version": 0,
        "after": 0,
        "until": until,
        "position": as_of.position,
        "instant": as_of.instant,
        "bytes_max": PIECE_BYTES,
    }
    async with turn:
        read, events = 0, until
        while rows := await session.rows("read_events_until", asked):
            read += sum(len(row["events"]) for row in rows)
            events += sum(not row["is_own"] for row in rows)
            if read > BYTES_MAX or events > EVENTS_MAX:
                raise ApiError("as_of_too_large")
            version = await asyncio.to_thread(_fold, figures, rows)
            asked["from_version"] = max(asked["from_version"], version)
            asked["after"] = rows[-1]["last_position"]
    return figures.summary() | {"reconciliation_id": reconciliation_id}, figures.totals()


def _fold(figures: FiguresAsOf, rows: list[dict[str, Any]]) -> int:
    """Fold rows of the log; returns the version of the reconciliation's own stream they lead to."""
    own = [row.pop("is_own") for row in rows]
    batches = [decode_batch(*row.values()) for row in rows]
    figures.read(batches)
    return max(
        (
            batch.base_version + batch.event_count
            for batch, is_own in zip(batches, own, strict=True)
            if is_own
        ),
        default=0,
    )
