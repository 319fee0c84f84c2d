"""Matches and suggestions."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.amounts import Amount, CurrencyFilter, amount_text
from api.errors import not_found
from api.operations import Call, Operation
from api.pagination import Order, Page, PageQuery, cut_page, decode_cursor
from api.parameters import (
    ORDER_DESCRIPTION,
    POSITION_END,
    ReconciliationFilter,
    RuleFilter,
    filters,
    parse_id,
)

MatchStatus = Literal["confirmed", "suggested", "superseded", "rejected", "reversed"]


class Match(BaseModel):
    """A set of transactions of both sides that a rule brought together."""

    match_id: uuid.UUID
    reconciliation_id: str
    position: int = Field(description="Position in the log of the event that made it.")
    status: MatchStatus
    rule: str
    match_type: str
    definition_version: int = Field(description="The version of the definition it was made by.")
    source_ids: list[str]
    target_ids: list[str]
    currency: str
    source_amount: Amount
    target_amount: Amount
    difference: Amount = Field(description="target − source")
    source_amounts: list[Amount] | None = Field(
        description="Of a suggestion, the amounts of `source_ids`, in their order."
    )
    target_amounts: list[Amount] | None = Field(description="As `source_amounts`.")
    reason: str | None = Field(
        description="Why it is only suggested or no longer stands, or what a person said of it; "
        "null on a match that a rule made."
    )
    command_id: str | None = Field(
        description="The command that last changed it; null: a rule or a correction did."
    )
    matched_at: datetime


class MatchDetail(Match):
    """One match with the rule that made it, as it stood then."""

    rule_definition: dict[str, Any] | None = Field(
        description="The rule in the definition's version that made the match."
    )


class Matches(Page[Match]):
    """A page of matches."""


class SuggestionFilters(BaseModel):
    """Which suggestions."""

    model_config = ConfigDict(extra="forbid")

    reconciliation_id: ReconciliationFilter = None
    rule: RuleFilter = None
    currency: CurrencyFilter = None


class SuggestionsQuery(PageQuery, SuggestionFilters):
    """Filters of suggestions."""


class MatchFilters(SuggestionFilters):
    """Which matches."""

    status: Annotated[
        Literal["confirmed", "suggested", "superseded", "rejected", "reversed", "any"],
        Field(description="Where the match stands; `any` shows all."),
    ] = "confirmed"
    match_type: Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many"] | None = None


class MatchesQuery(PageQuery, MatchFilters):
    """Filters of matches."""

    order: Annotated[Order, Field(description=ORDER_DESCRIPTION)] = "newest"


def to_match(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of `matches` its outward form."""
    currency = row["currency"]
    return {
        **{name: row[name] for name in _COPIED},
        "source_amount": amount_text(row["source_minor"], currency),
        "target_amount": amount_text(row["target_minor"], currency),
        "difference": amount_text(row["difference_minor"], currency),
        "source_amounts": _amounts(row["source_amounts"], currency),
        "target_amounts": _amounts(row["target_amounts"], currency),
    }


def _amounts(minors: list[Any] | None, currency: str) -> list[str] | None:
    return None if minors is None else [amount_text(minor, currency) for minor in minors]


_COPIED = (
    "match_id", "reconciliation_id", "position", "status", "rule", "match_type",
    "definition_version", "source_ids", "target_ids", "currency", "reason", "command_id",
    "matched_at",
)  # fmt: skip


def _page(rows: list[dict[str, Any]], limit: int) -> Matches:
    page, next_cursor = cut_page(rows, limit, lambda row: [row["position"]])
    items = [Match(**to_match(row)) for row in page]
    return Matches(items=items, next_cursor=next_cursor)


def matches_parameters(query: MatchFilters) -> dict[str, Any]:
    """Give the filters as parameters of the statements."""
    return {
        **filters(query, "reconciliation_id", "rule", "currency", "match_type"),
        "status": None if query.status == "any" else query.status,
    }


async def list_matches(call: Call) -> Matches:
    """List the tenant's matches."""
    query = call.query(MatchesQuery)
    start = POSITION_END if query.order == "newest" else -1
    position = decode_cursor(query.cursor, [int])[0] if query.cursor else start
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            f"list_matches_{query.order}",
            {
                **matches_parameters(query),
                "tenant_id": call.tenant_id,
                "position": position,
                "limit": query.limit + 1,
            },
        )
    return _page(rows, query.limit)


async def list_suggestions(call: Call) -> Matches:
    """List what waits for a person's decision."""
    query = call.query(SuggestionsQuery)
    position = decode_cursor(query.cursor, [int])[0] if query.cursor else POSITION_END
    async with call.services.database.tenant(call.tenant_id) as session:
        rows = await session.rows(
            "list_suggestions",
            {
                **filters(query, "reconciliation_id", "rule", "currency"),
                "tenant_id": call.tenant_id,
                "position": position,
                "limit": query.limit + 1,
            },
        )
    return _page(rows, query.limit)


async def read_match(call: Call) -> MatchDetail:
    """Show one match and the rule that made it."""
    match_id = parse_id(call.path("match_id"), "match")
    async with call.services.database.tenant(call.tenant_id) as session:
        row = await session.row("read_match", {"tenant_id": call.tenant_id, "match_id": match_id})
        if row is None:
            raise not_found("match", str(match_id))
        definition = await session.row(
            "read_definition",
            {
                "tenant_id": call.tenant_id,
                "reconciliation_id": row["reconciliation_id"],
                "version": row["definition_version"],
            },
        )
    rules = definition["definition"].get("rules", []) if definition else []
    rule = next((rule for rule in rules if rule.get("name") == row["rule"]), None)
    return MatchDetail(**to_match(row), rule_definition=rule)


OPERATIONS = (
    Operation(
        method="GET",
        path="/matches",
        handler=list_matches,
        tag="matches",
        summary="List matches",
        description=f"Sorted by position. {ORDER_DESCRIPTION}",
        query=MatchesQuery,
        answer=Matches,
    ),
    Operation(
        method="GET",
        path="/matches/{match_id}",
        handler=read_match,
        tag="matches",
        summary="Show a match and why it was made",
        answer=MatchDetail,
        errors=("not_found",),
    ),
    Operation(
        method="GET",
        path="/suggestions",
        handler=list_suggestions,
        tag="matches",
        summary="List suggestions that stand",
        description="Newest first, by position.",
        query=SuggestionsQuery,
        answer=Matches,
    ),
)
