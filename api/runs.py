"""Runs: a range of dates reconciled as a whole, with its totals."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.amounts import Amount, amount_text
from api.commands import submit
from api.decisions import (
    WITHOUT_NUL,
    Decide,
    check_reconciliation,
    command_operation,
    read_body,
    reconciliation_of,
)
from api.errors import not_found
from api.operations import Answer, Call, Operation
from api.pagination import Page, PageQuery, cut_page, decode_cursor
from api.parameters import POSITION_END, Side, parse_id
from domain.instants import InstantInvalid, parse_occurred_at

RunStatus = Literal["running", "completed", "failed", "cancelled"]
Bound = Annotated[
    str,
    Field(
        min_length=10,
        max_length=64,
        pattern=WITHOUT_NUL,
        examples=["2026-01-01"],
        description="RFC 3339 instant with offset, or a date: the begin of that day in the "
        "definition's time zone.",
    ),
]


class StartBody(BaseModel):
    """The range of a run, by event time."""

    model_config = ConfigDict(extra="forbid")

    from_: Bound = Field(alias="from")
    to: Annotated[Bound, Field(description="As `from`; what occurred then is not in the range.")]
    name: Annotated[str | None, Field(max_length=128, pattern=WITHOUT_NUL)] = None

    @field_validator("from_", "to")
    @classmethod
    def _is_instant(cls, text: str) -> str:
        try:
            parse_occurred_at(text)
        except InstantInvalid as problem:
            raise ValueError(str(problem)) from problem
        return text


class RunTotal(BaseModel):
    """Transactions of a run's range in one place; amounts are sums."""

    side: Side
    currency: str
    place: Literal["matched", "suggested", "exception", "duplicate", "superseded"]
    count: int
    amount: Amount


class Run(BaseModel):
    """A run over a range of event time."""

    model_config = ConfigDict(serialize_by_alias=True)

    run_id: uuid.UUID = Field(description="That of the command that started it.")
    reconciliation_id: str
    name: str | None
    from_: datetime = Field(alias="from", description="In the range.")
    to: datetime = Field(description="Not in the range.")
    status: RunStatus
    definition_version: int = Field(description="The definition it began or ended under.")
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    error: str | None = Field(description="Why it failed, a code: `definition_changed`.")
    reason: str | None = Field(description="Why it failed, or what a person said of it.")
    transactions: int | None = Field(description="In the range; null: not completed.")
    match_rate: float | None = Field(ge=0, le=1, description="Matched ÷ transactions.")
    totals: list[RunTotal] | None = Field(description="As they stood when it completed.")
    position: int


class RunsPage(Page[Run]):
    """A page of runs."""


class RunsQuery(PageQuery):
    """Filters of runs."""

    status: RunStatus | None = None


def to_run(row: dict[str, Any]) -> Run:
    """Give a row of `reconciliation_runs` its outward form."""
    totals, transactions, match_rate = row["totals"], None, None
    if totals is not None:
        transactions = sum(one["count"] for one in totals)
        matched = sum(one["count"] for one in totals if one["place"] == "matched")
        match_rate = matched / transactions if transactions else None
        totals = [
            RunTotal(amount=amount_text(one["amount_minor"], one["currency"]), **one)
            for one in totals
        ]
    shown = {name: row[name] for name in (
        "run_id", "reconciliation_id", "name", "status", "definition_version", "attempts",
        "started_at", "ended_at", "error", "reason", "position",
    )}  # fmt: skip
    return Run(
        **shown,
        **{"from": row["from_at"], "to": row["to_at"]},
        totals=totals,
        transactions=transactions,
        match_rate=match_rate,
    )


async def start_reconciliation(call: Call) -> Answer:
    """Hand the start of a run to the flow."""
    reconciliation_id = reconciliation_of(call)
    body = await call.body(StartBody)
    await check_reconciliation(call, reconciliation_id)
    payload = body.model_dump(by_alias=True)
    return await submit(call, "start_reconciliation", reconciliation_id, payload)


async def retry_reconciliation(call: Call) -> Answer:
    """Hand the retry of a run to the flow."""
    return await _ask_of_run(call, "retry_reconciliation")


async def cancel_reconciliation(call: Call) -> Answer:
    """Hand the end of a run to the flow."""
    return await _ask_of_run(call, "cancel_reconciliation")


async def _ask_of_run(call: Call, command_type: str) -> Answer:
    key = _key(call)
    body = await read_body(call, Decide)
    async with call.services.database.tenant(call.tenant_id) as session:
        if await session.row("find_run", key) is None:
            raise not_found("run", str(key["run_id"]))
    payload = {"run_id": str(key["run_id"]), **body.model_dump()}
    return await submit(call, command_type, key["reconciliation_id"], payload)


def _key(call: Call) -> dict[str, Any]:
    run_id = parse_id(call.path("run_id"), "run")
    return {
        "tenant_id": call.tenant_id,
        "reconciliation_id": reconciliation_of(call),
        "run_id": run_id,
    }


async def list_runs(call: Call) -> RunsPage:
    """List the runs of a reconciliation, newest first."""
    query = call.query(RunsQuery)
    key = {"tenant_id": call.tenant_id, "reconciliation_id": reconciliation_of(call)}
    position = decode_cursor(query.cursor, [int])[0] if query.cursor else POSITION_END
    await check_reconciliation(call, key["reconciliation_id"])
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_runs",
            {**key, "status": query.status, "position": position, "limit": query.limit + 1},
        )
    page, next_cursor = cut_page(rows, query.limit, lambda row: [row["position"]])
    return RunsPage(items=[to_run(row) for row in page], next_cursor=next_cursor)


async def read_run(call: Call) -> Run:
    """Show one run."""
    key = _key(call)
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_run", key)
    if row is None:
        raise not_found("run", str(key["run_id"]))
    return to_run(row)


_PATH = "/reconciliations/{reconciliation_id}/runs"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=_PATH,
        handler=list_runs,
        tag="reconciliations",
        summary="List the runs of a reconciliation",
        description="Newest first, by the position of the event that started it.",
        query=RunsQuery,
        answer=RunsPage,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path=f"{_PATH}/{{run_id}}",
        handler=read_run,
        tag="reconciliations",
        summary="Show a run and its totals",
        answer=Run,
        errors=("not_found",),
    ),
    command_operation(
        _PATH, start_reconciliation, "reconciliations", "Start a run over a date range",
        "It completes by itself, with its totals, once event time has passed the range and nothing "
        "in it is pending; what awaits a person counts as suggested. A new definition fails it. "
        "The outcome names the `run_id`.", StartBody,
    ),
    command_operation(
        f"{_PATH}/{{run_id}}/retry", retry_reconciliation, "reconciliations", "Retry a run",
        "Runs again what failed or was cancelled, under the definition in force.", Decide,
    ),
    command_operation(
        f"{_PATH}/{{run_id}}/cancel", cancel_reconciliation, "reconciliations", "Cancel a run",
        "Ends it without totals; the matching goes on.", Decide,
    ),
)  # fmt: skip
