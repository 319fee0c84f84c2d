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
#: `Leg.rule` of a leg that a person's match has taken; larger than any rule's number.
PERSON = 1 << 30


class Leg(msgspec.Struct, gc=False, eq=False):
    """One transaction, reduced to what matching touches; compared by identity.

    Attributes:
        occurred_at: Event time, microseconds since the epoch, UTC; a bare date stands for the end
            of that day in the definition's zone.
        keys: What the rules look it up by; `CompiledRule` knows which place is whose.
        packed: The whole record (`domain.transactions.pack`), for whoever needs the rest.
        disposition: PENDING, SUGGESTED, EXCEPTION, MATCHED or DUPLICATE.
        rule: Index of the rule that matched it, OPEN while none has.
        due: The second of event time its next look is planned for, 0 if none.
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


class Settled(msgspec.Struct, gc=False, eq=False):
    """A match, kept for as long as its members are remembered: it may have to be reversed.

    Attributes:
        rule: The rule's name; "manual" for a match by hand.
        newest_ms: Event time of its newest member when it was made, milliseconds.
        sources, targets: Packed members in id order; one alone stands without a tuple, since most
            do and a million tuples are worth saving.
        rivals: Members that earlier rules still count among their candidates.
    """

    rule: str
    newest_ms: int
    sources: bytes | tuple[bytes, ...]
    targets: bytes | tuple[bytes, ...]
    rivals: tuple[Leg, ...] = ()

    def packed(self, side: int) -> tuple[bytes, ...]:
        """The packed members of a side."""
        members = self.sources if side == 0 else self.targets
        return (members,) if isinstance(members, bytes) else members


#: What is known of an id: its leg while open, the match that took it, its packed content when it
#: was set aside, or a 64-bit hash of that where an earlier release kept no more.
Known = Leg | Settled | bytes | int


def by_id(leg: Leg) -> str:
    """Order of `tie_break: lowest_id`."""
    return leg.transaction_id


def by_time(leg: Leg) -> tuple[int, int, str]:
    """The one order of a stream's legs that depends on nothing but their content."""
    return leg.occurred_at, leg.side, leg.transaction_id
