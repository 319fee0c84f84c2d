"""Explanations: why a match is one, why an exception is none, where a transaction stands."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.database import Session
from api.errors import ApiError, not_found
from api.operations import Call, Operation
from api.parameters import Side, parse_id
from domain.explaining import shown
from domain.record_json import TRANSACTION_ID_LENGTH_MAX
from domain.transactions import SIDE_NAMES
from projections.explaining import (
    QUERIES,
    Query,
    Reach,
    Row,
    Steps,
    Stream,
    exception_explanation,
    match_explanation,
    transaction_explanation,
)

#: Of the log, as it is stored, read for one answer: a million transactions, in half a second.
REACH_BYTES_MAX: Final = 64 * 2**20

Found = TypeVar("Found")


class ExplainedMatch(RootModel[shown.MatchExplanation]):
    """Why a match or suggestion is one; `sentences` say all of it in words."""


class ExplainedException(RootModel[shown.ExceptionExplanation]):
    """Why a transaction has no match, with what its nearest candidates failed first."""


class ExplainedTransaction(RootModel[shown.TransactionExplanation]):
    """Where a transaction stands and why, with its story."""


class TransactionQuery(BaseModel):
    """Which transaction: ids are unique per reconciliation and side."""

    model_config = ConfigDict(extra="forbid")

    reconciliation_id: Annotated[
        str, Field(pattern=r"^[a-z0-9_-]{1,64}$", description="The reconciliation it is of.")
    ]
    side: Annotated[Side, Field(description="The side it is on.")]


async def follow(session: Session, steps: Steps[Found]) -> Found:
    """Answer what an explanation asks; its own work is done beside the loop, for it may be long."""

    def go_on(rows: list[Row] | None) -> tuple[Query | None, Any]:
        try:
            return (next(steps) if rows is None else steps.send(rows)), None
        except StopIteration as done:
            return None, done.value

    asked, found = await asyncio.to_thread(go_on, None)
    while asked is not None:
        name, parameters = asked
        cursor = await session.connection.execute(QUERIES[name], parameters, binary=True)
        asked, found = await asyncio.to_thread(go_on, await cursor.fetchall())
    explained: Found = found
    return explained


async def _explain(
    call: Call, kind: str, explanation: Callable[[str, str, Reach], Steps[Found | None]]
) -> Found:
    """Explain the match or exception that the path names."""
    named = str(parse_id(call.path(f"{kind}_id"), kind))
    steps = explanation(call.tenant_id, named, Reach(REACH_BYTES_MAX))
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        found = await follow(session, steps)
    if found is None:
        raise not_found(kind, named)
    return found


def beyond_reach(transaction_id: str) -> ApiError:
    """Say that a transaction was not found where one request looks, which is not everywhere."""
    return ApiError(
        "not_found",
        f"Transaction '{transaction_id}' is not in the newest part of the log, which is as far "
        "as one request looks; `settler explain` reads all of it.",
    )


async def explain_match(call: Call) -> ExplainedMatch:
    """Say why a match or suggestion is one, who decided, and what became of it."""
    return ExplainedMatch(await _explain(call, "match", match_explanation))


async def explain_exception(call: Call) -> ExplainedException:
    """Say why a transaction has no match, and what each near miss failed first."""
    return ExplainedException(await _explain(call, "exception", exception_explanation))


async def explain_transaction(call: Call) -> ExplainedTransaction:
    """Say where a transaction stands and why, and tell its story."""
    query = call.query(TransactionQuery)
    transaction_id = call.path("transaction_id")
    if len(transaction_id) > TRANSACTION_ID_LENGTH_MAX:
        raise not_found("transaction", transaction_id)
    reach = Reach(REACH_BYTES_MAX)
    stream = Stream(call.tenant_id, query.reconciliation_id, reach)
    steps = transaction_explanation(stream, SIDE_NAMES.index(query.side), transaction_id)
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        found = await follow(session, steps)
    if found is None and reach.is_exhausted:
        raise beyond_reach(transaction_id)
    if found is None:
        raise not_found("transaction", transaction_id)
    return ExplainedTransaction(found)


OPERATIONS = (
    Operation(
        method="GET",
        path="/matches/{match_id}/explanation",
        handler=explain_match,
        tag="matches",
        summary="Explain a match or suggestion",
        description=(
            "Worked out on reading, by the definition's version that was in force: each condition "
            "with both sides' values, the difference and its limit, the dates and their window."
        ),
        answer=ExplainedMatch,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/exceptions/{exception_id}/explanation",
        handler=explain_exception,
        tag="exceptions",
        summary="Explain an exception",
        description="As last classified: each near miss with the first condition it failed.",
        answer=ExplainedException,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/transactions/{transaction_id}/explanation",
        handler=explain_transaction,
        tag="transactions",
        summary="Explain where a transaction stands",
        description=(
            "Its content, its standing and its story, with its match, suggestions or exception "
            "explained. One request looks through the newest part of the log."
        ),
        query=TransactionQuery,
        answer=ExplainedTransaction,
        errors=("not_found",),
    ),
)
