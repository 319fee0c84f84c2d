"""A leg: an accepted transaction for as long as a match may still need it."""

from typing import Any

import msgspec

PENDING = 0
SUGGESTED = 1
EXCEPTION = 2
MATCHED = 3
DUPLICATE = 4

DISPOSITIONS = ("pending", "suggested", "exception", "matched", "duplicate")

#: `Leg.rule` of a leg that no match has taken.
OPEN = -1


class Leg(msgspec.Struct, gc=False, eq=False):
    """One transaction, reduced to what matching touches; compared by identity.

    Attributes:
        occurred_at: Event time, microseconds since the epoch, UTC; a bare date stands for the end
            of that day in the definition's zone.
        keys: What the rules look it up by; `CompiledRule` knows which place is whose.
        packed: The whole record (`domain.transactions.pack`), for whoever needs the rest.
        disposition: PENDING, SUGGESTED, EXCEPTION, MATCHED or DUPLICATE.
        rule: Index of the rule that matched it, OPEN while none has.
        due: The second of event time its next look is planned for, 0 if none; `FIRST_LOOK` while
            nobody has worked the second of its first look out.
        suggestions: Ids of the suggestions it stands in.
    """

    transaction_id: str
    side: int
    amount_minor: int
    currency: str
    occurred_at: int
    keys: tuple[Any, ...]
    packed: bytes
    disposition: int = PENDING
    rule: int = OPEN
    due: int = 0
    suggestions: tuple[str, ...] = ()


def by_id(leg: Leg) -> str:
    """Order of `tie_break: lowest_id`."""
    return leg.transaction_id


def by_time(leg: Leg) -> tuple[int, int, str]:
    """The one order of a stream's legs that depends on nothing but their content."""
    return leg.occurred_at, leg.side, leg.transaction_id
