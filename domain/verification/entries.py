"""The entries a ledger keeps: of a transaction, a suggestion, an exception."""

from collections.abc import Sequence

import msgspec

from domain.transactions import SIDE_NAMES
from domain.verification.totals import EXCEPTION, PENDING, PLACES, SUGGESTED, Tally

#: Where a transaction may still be matched from.
OPEN = (PENDING, SUGGESTED, EXCEPTION)

#: side and transaction id
Member = tuple[int, str]


class Known(msgspec.Struct, gc=False):
    """An accepted transaction and where it stands; it may correct an earlier one of its own id."""

    amount_minor: int
    currency: str
    occurred_at: int
    place: str = PENDING
    corrects_itself: bool = False


class Suggestion(msgspec.Struct, gc=False):
    """A row of `matches` that began as a suggestion; `status` is None once a match has it."""

    currency: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    source_minor: int
    target_minor: int
    stands: bool = True
    status: str | None = "suggested"


class Case(msgspec.Struct, gc=False):
    """The exception of a transaction.

    `is_open`: matching has not closed it. `set_aside`: a person has.
    """

    category: str
    is_open: bool = True
    set_aside: bool = False
    assigned: bool = False
    comments: int = 0

    @property
    def is_to_do(self) -> bool:
        """Whether people see it as open."""
        return self.is_open and not self.set_aside


def no_tallies() -> dict[str, Tally]:
    """Give a tally of nothing for every place."""
    return {place: Tally() for place in PLACES}


def members_of(source_ids: Sequence[str], target_ids: Sequence[str]) -> list[Member]:
    """Give the members of a match."""
    return [(0, one) for one in source_ids] + [(1, one) for one in target_ids]


def named(*members: Member) -> str:
    """Name the first of some transactions."""
    side, transaction_id = min(members)
    return f"{SIDE_NAMES[side] if side in (0, 1) else side} transaction {transaction_id}"
