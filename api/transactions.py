"""Transactions by id or reference, as they were accepted."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from api.amounts import Amount
from api.errors import ApiError
from api.explanations import REACH_BYTES_MAX, follow
from api.operations import Call, Operation
from api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from api.parameters import Side
from domain.explaining.members import show_transaction
from domain.transactions import SIDE_NAMES, Transaction
from projections.explaining import Reach, Stream
from projections.finding import Place, Wanted, find_transactions

_TEXT_MAX = 512


class AcceptedTransaction(BaseModel):
    """A transaction as it was accepted."""

    side: Side
    transaction_id: str
    amount: Amount
    currency: str
    occurred_at: str = Field(
        description="An instant or a bare date, as the record gave it.",
        examples=["2026-03-01T12:00:00Z", "2026-03-01"],
    )
    reference: str | None
    counterparty: str | None
    description: str | None
    attributes: dict[str, str]
    supersedes: str | None = Field(description="The transaction of its side that it corrects.")
    accepted_at: datetime


class AcceptedTransactions(Page[AcceptedTransaction]):
    """A page of transactions; one without items may have a next one."""


class TransactionsQuery(PageQuery):
    """Which transactions of which reconciliation."""

    reconciliation_id: Annotated[
        str, Field(pattern=r"^[a-z0-9_-]{1,64}$", description="The reconciliation they are of.")
    ]
    transaction_id: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Its whole id.")
    ] = None
    reference: Annotated[
        str | None, Field(min_length=1, max_length=_TEXT_MAX, description="Its whole reference.")
    ] = None
    side: Annotated[Side | None, Field(description="Only this side.")] = None

    @model_validator(mode="after")
    def _looks_for_something(self) -> Self:
        if self.transaction_id is None and self.reference is None:
            raise ValueError("say a transaction_id or a reference")
        return self


def to_accepted(accepted_at: str, transaction: Transaction) -> dict[str, Any]:
    """Give a transaction its outward form."""
    shown = show_transaction(transaction)
    names = AcceptedTransaction.model_fields.keys() - {"accepted_at"}
    return {name: getattr(shown, name) for name in names} | {"accepted_at": accepted_at}


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return Place()
    before_version, skip = decode_cursor(cursor, [int, int])
    if before_version < 0 or skip < 0:
        raise ApiError("invalid_cursor")
    return Place(before_version, skip)


async def list_transactions(call: Call) -> AcceptedTransactions:
    """Find transactions of a reconciliation by id or reference."""
    query = call.query(TransactionsQuery)
    side = None if query.side is None else SIDE_NAMES.index(query.side)
    wanted = Wanted(side, query.transaction_id, query.reference)
    stream = Stream(call.tenant_id, query.reconciliation_id, Reach(REACH_BYTES_MAX))
    steps = find_transactions(stream, wanted, _place(query.cursor), query.limit)
    async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
        page = await follow(session, steps)
    items = [AcceptedTransaction(**to_accepted(*find)) for find in page.finds]
    end = page.next_place
    return AcceptedTransactions(
        items=items, next_cursor=None if end is None else encode_cursor(end)
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/transactions",
        handler=list_transactions,
        tag="transactions",
        summary="Find transactions by id or reference",
        description=(
            "As they were accepted, newest first; corrections stand beside what they correct. The "
            "log is looked through as far as one request may, so a page may be short or empty "
            "though `next_cursor` says that there is more to look through. Where one stands and "
            "its story: `/transactions/{transaction_id}`."
        ),
        query=TransactionsQuery,
        answer=AcceptedTransactions,
    ),
)
