"""Parameters that several lists share, and what an identifier in a path must look like."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field

from api.errors import not_found

ReconciliationFilter = Annotated[
    str | None,
    Field(pattern=r"^[a-z0-9_-]{1,64}$", description="Only this reconciliation."),
]
RuleFilter = Annotated[
    str | None, Field(min_length=1, max_length=128, description="Only this rule, by its name.")
]
Side = Literal["source", "target"]

#: Beyond every position: where a list that starts with the newest begins.
POSITION_END = 2**63 - 1

ORDER_DESCRIPTION = (
    "`newest` first or `oldest` first, by the position of the event that made the row. Rows added "
    "while paging never move others: newest first shows what was there when paging began, oldest "
    "first meets the added ones at the end."
)


def parse_id(text: str, what: str) -> uuid.UUID:
    """Read the UUID of a thing.

    Raises:
        ApiError: `not_found`; a text that cannot be an id names nothing.
    """
    try:
        parsed = uuid.UUID(text)
    except ValueError as error:
        raise not_found(what, text) from error
    if str(parsed) != text.lower():
        raise not_found(what, text)
    return parsed


def filters(query: Any, *names: str) -> dict[str, Any]:
    """Give the named fields of a query as parameters of a statement."""
    return {name: getattr(query, name) for name in names}
