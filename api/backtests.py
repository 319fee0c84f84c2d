"""Backtests: a changed definition over the recorded history; nothing is stored.

The history is read batch by batch in one read-only transaction, and the engine runs beside the
event loop, one backtest at a time in a process.
"""

import asyncio
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.errors import ApiError, not_found
from api.operations import Call, Operation
from api.reconciliations import MEDIA_TYPES, DefinitionDocument, definition_in_body
from connectors.postgres.journal import decode_journal
from domain.backtesting.backtest import Backtest, HistoryExpired
from domain.backtesting.report import report
from domain.errors import SettlerError
from domain.event_batches import decode_events
from domain.instants import parse_occurred_at

# Some 200,000 transactions: what fits an answer's time and this process's memory.
EVENTS_MAX = 500_000
JOURNAL_BYTES_MAX = 8 * 1024 * 1024
SECONDS_MAX = 30.0
CONTRADICTIONS_MAX = 1_000
_WAIT_FOR_ENGINE = b"SET LOCAL idle_in_transaction_session_timeout = '60s'"

_ONE_AT_A_TIME = asyncio.Semaphore(1)

Amounts = Annotated[dict[str, str], Field(description="Sum of absolute amounts by currency.")]
Examples = Annotated[list[dict[str, Any]], Field(description="The first ones, by id.")]


class BacktestQuery(BaseModel):
    """Which part of the history."""

    model_config = {"extra": "forbid"}

    since: Annotated[
        str | None,
        Field(alias="from", max_length=40, description="Only what occurred from here on."),
    ] = None
    until: Annotated[
        str | None, Field(alias="to", max_length=40, description="Only what occurred before.")
    ] = None
    examples: Annotated[int, Field(ge=0, le=100, description="How many of each kind.")] = 5


class BacktestMatchKind(BaseModel):
    """Matches that one side has; examples say where their members stand on the other."""

    count: int
    amounts: Amounts
    by_rule: dict[str, int]
    examples: Examples


class BacktestSuggestionKind(BaseModel):
    """Standing suggestions that one side has."""

    count: int
    amounts: Amounts
    examples: Examples


class BacktestChanges(BaseModel):
    """What has other members, or another rule."""

    count: int
    by_rule_only: int
    amounts: Amounts
    examples: Examples


class BacktestMatches(BaseModel):
    """Confirmed matches, recorded and with the candidate."""

    recorded: int
    candidate: int
    unchanged: int
    gained: BacktestMatchKind
    lost: BacktestMatchKind
    changed: BacktestChanges


class BacktestMade(BaseModel):
    """What became of the matches that people made."""

    count: int
    by_rules: int = Field(description="A rule makes them by itself.")
    by_people: int = Field(description="People make them, as they did.")
    contradicted: int = Field(description="They are not made.")


class BacktestRefused(BaseModel):
    """What became of the suggestions and matches that people undid."""

    count: int
    avoided: int = Field(description="They never come up.")
    repeated: int = Field(description="They come up, and people undo them as they did.")
    asked_again: int = Field(description="People are asked about the same members anew.")
    contradicted: int = Field(description="Rules make them, and they stand.")


class BacktestPeople(BaseModel):
    """Decisions of people that stand: the last one on the same members."""

    confirmed: BacktestMade
    by_hand: BacktestMade
    rejected: BacktestRefused
    reversed: BacktestRefused


class BacktestOpposed(BaseModel):
    """A match that stands against a decision."""

    rule: str
    source_ids: list[str]
    target_ids: list[str]
    currency: str
    source_amount: str
    target_amount: str


class BacktestContradiction(BaseModel):
    """A decision of a person, and what the candidate makes of its members."""

    decision: Literal["confirmed", "by_hand", "rejected", "reversed"]
    reason: str | None = Field(description="The person's.")
    rule: str = Field(description="Of what was decided on; `manual` for a match by hand.")
    source_ids: list[str]
    target_ids: list[str]
    candidate: list[BacktestOpposed] = Field(description="Its matches of these members.")
    now: dict[str, str] = Field(description="Where the other members stand.")


class BacktestContradictions(BaseModel):
    """Decisions of people that the candidate goes against."""

    count: int
    by_decision: dict[str, int]
    named: list[BacktestContradiction] = Field(
        description=f"By decision and ids, at most {CONTRADICTIONS_MAX:,}."
    )


class BacktestSuggestions(BaseModel):
    """Standing suggestions, recorded and with the candidate."""

    recorded: int
    candidate: int
    unchanged: int
    gained: BacktestSuggestionKind
    lost: BacktestSuggestionKind
    changed: BacktestChanges


class BacktestCategory(BaseModel):
    """Exceptions of one category."""

    count: int
    amounts: Amounts


class BacktestExceptionKind(BaseModel):
    """Open exceptions that one side has."""

    count: int
    by_category: dict[str, BacktestCategory]
    examples: Examples


class BacktestRecategorised(BaseModel):
    """Open exceptions of both sides with another category."""

    count: int
    by_category: dict[str, int]
    examples: Examples


class BacktestExceptions(BaseModel):
    """Open exceptions, recorded and with the candidate."""

    recorded: int
    candidate: int
    gained: BacktestExceptionKind
    lost: BacktestExceptionKind
    recategorised: BacktestRecategorised


class BacktestAccuracy(BaseModel):
    """Matched ÷ accepted transactions; null where there are none."""

    recorded: float | None
    candidate: float | None


class BacktestReport(BaseModel):
    """What a changed definition would have made of the recorded history."""

    reconciliation_id: str
    recorded_definition_version: int
    transactions: int
    refused: int = Field(description="Accepted then, and refused by the candidate.")
    straddling: int = Field(description="Recorded matches that the range cuts through, left out.")
    accuracy: BacktestAccuracy
    matches: BacktestMatches
    people: BacktestPeople
    contradictions: BacktestContradictions
    suggestions: BacktestSuggestions
    exceptions: BacktestExceptions


async def backtest(call: Call) -> BacktestReport:
    """Run the definition in the body over the history of the reconciliation in the path."""
    query = call.query(BacktestQuery)
    span = _instant("from", query.since), _instant("to", query.until)
    definition = await definition_in_body(call)
    reconciliation_id = call.path("reconciliation_id")
    if definition.reconciliation_id != reconciliation_id:
        raise ApiError(
            "definition_invalid",
            f"The definition is for '{definition.reconciliation_id}', not for the reconciliation "
            "in the path.",
        )
    if _ONE_AT_A_TIME.locked():
        raise ApiError("backtest_busy")
    async with _ONE_AT_A_TIME:
        run = Backtest(definition, *span)
        await _read_history(call, run)
        found = await asyncio.to_thread(report, run, query.examples, CONTRADICTIONS_MAX)
    return BacktestReport(**found)


async def _read_history(call: Call, run: Backtest) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    name = run.definition.reconciliation_id
    key = {"tenant_id": call.tenant_id, "stream_id": f"{call.tenant_id}/{name}"}
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        size = await session.row("backtest_size", key)
        assert size is not None
        if not size["events"]:
            raise not_found("reconciliation", name)
        if size["events"] > EVENTS_MAX or size["journal_bytes"] > JOURNAL_BYTES_MAX:
            raise ApiError("backtest_too_large")
        # The transaction is idle while the engine works on a batch.
        await session.connection.execute(_WAIT_FOR_ENGINE)
        version = 0
        while row := await session.row("backtest_batches", {**key, "version": version}):
            version = row["version"]
            try:
                await asyncio.to_thread(_read_batch, run, row)
            except HistoryExpired as expired:
                raise ApiError("backtest_history_expired") from expired
            if time.monotonic() > deadline:
                raise ApiError("backtest_too_large")
    await asyncio.to_thread(run.end)


def _read_batch(run: Backtest, row: dict[str, Any]) -> None:
    journal = [] if row["journal"] is None else decode_journal(row["journal"])
    run.read(decode_events(row["events"], row["format"]), journal)


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_occurred_at(text)[0]
    except SettlerError as error:
        raise ApiError("invalid_parameter", f"{name} {error}.") from error


OPERATIONS = (
    Operation(
        method="POST",
        path="/reconciliations/{reconciliation_id}/backtest",
        handler=backtest,
        name="backtest_definition",
        tag="reconciliations",
        # It changes nothing.
        scope="reconciliations:read",
        summary="Run a changed definition over the recorded history",
        description=(
            "Records come in the order they came in then, and event time passes when it passed "
            "then; people's decisions are met where they were made, and those that the definition "
            "goes against are named. Nothing is stored. One at a time, of histories of up to some "
            "200,000 transactions; `settler definitions backtest` takes any."
        ),
        query=BacktestQuery,
        body=DefinitionDocument,
        body_media_types=MEDIA_TYPES,
        answer=BacktestReport,
        errors=("definition_invalid", "not_found", "backtest_busy", "backtest_too_large",
                "backtest_history_expired", "cross_site_request"),
    ),
)  # fmt: skip
