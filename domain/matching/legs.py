"""A leg: an accepted transaction for as long as a match may still need it."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from domain.events import Compared

PENDING = 0
SUGGESTED = 1
EXCEPTION = 2
MATCHED = 3
DUPLICATE = 4
SUPERSEDED = 5

DISPOSITIONS = ("pending", "suggested", "exception", "matched", "duplicate", "superseded")

DAY_MS = 86_400_000

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
        disposition: PENDING, SUGGESTED, EXCEPTION, MATCHED, DUPLICATE or SUPERSEDED.
        rule: Index of the rule that matched it, OPEN while none has.
        due: The second of event time its next look is planned for, 0 if none; `FIRST_LOOK` while
            nobody has worked the second of its first look out.
        suggestions: Ids of the suggestions it stands in.
        met: Something may have been decided about another leg with this one in sight, under a rule
            without a key; a leg that was folded from events counts as met.
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
    met: bool = False


class LegColumns(NamedTuple):
    """The fields of some legs, by the column and in the order `Leg` has them."""

    transaction_ids: tuple[str, ...]
    sides: tuple[int, ...]
    amounts_minor: tuple[int, ...]
    currencies: tuple[str, ...]
    occurred_at: tuple[int, ...]
    keys: tuple[tuple[Any, ...], ...]
    packed: tuple[bytes, ...]
    dispositions: tuple[int, ...]
    rules: tuple[int, ...]
    due: tuple[int, ...]
    suggestions: tuple[tuple[str, ...], ...]
    met: tuple[bool, ...]


def columns_of(entries: Sequence[Any]) -> LegColumns | None:
    """Take legs apart, all at once: field by field it costs more; None where one is no leg."""
    try:
        return LegColumns(*zip(*map(astuple, entries), strict=True))
    except (TypeError, ValueError):
        return None


class Settled(msgspec.Struct, gc=False, eq=False):
    """A match, kept as long as its newest member is remembered: it may have to be reversed.

    Attributes:
        rule: The rule's name; "manual" for a match by hand.
        newest_ms: Event time of its newest member when it was made, milliseconds.
        sources, targets: Packed members in id order; one alone stands without a tuple, since most
            do and a million tuples are worth saving.
        rivals: Members that earlier rules still count among their candidates.
        compared: What was compared, where that was not the amounts as they are.
    """

    rule: str
    newest_ms: int
    sources: bytes | tuple[bytes, ...]
    targets: bytes | tuple[bytes, ...]
    rivals: tuple[Leg, ...] = ()
    compared: Compared | None = None

    @property
    def day(self) -> int:
        """The day its members are forgotten with, all together, counted from the epoch."""
        return self.newest_ms // DAY_MS

    def packed(self, side: int) -> tuple[bytes, ...]:
        """The packed members of a side."""
        members = self.sources if side == 0 else self.targets
        return (members,) if isinstance(members, bytes) else members


def packed_members(legs: Sequence[Leg]) -> bytes | tuple[bytes, ...]:
    """One side's members as `Settled` keeps them."""
    return legs[0].packed if len(legs) == 1 else tuple(leg.packed for leg in legs)


class Superseded(msgspec.Struct, gc=False, eq=False):
    """An id whose record was corrected by one of another id, `by`.

    One that is its own `by` had been corrected under itself, and what stood under it is forgotten.

    Attributes:
        contents: Packed, what came under this id; empty while only its correction has come.
    """

    by: str
    contents: tuple[bytes, ...] = ()


class Suggestion(NamedTuple):
    """A standing suggestion; members in id order. `single`: all of them are one possible match."""

    rule: str
    rule_index: int
    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]
    single: bool

    def lies_within(self, members: tuple[Leg, ...]) -> bool:
        """Whether all its members are among `members`."""
        return all(leg in members for leg in (*self.sources, *self.targets))


#: What is known of an id: its leg while open, the match that took it, that it was corrected, or
#: its packed content when it was set aside as a duplicate.
Known = Leg | Settled | Superseded | bytes


def by_id(leg: Leg) -> str:
    """Order of `tie_break: lowest_id`."""
    return leg.transaction_id


#: The one order of a stream's legs that depends on nothing but their content.
by_time: Callable[[Leg], tuple[int, int, str]] = attrgetter("occurred_at", "side", "transaction_id")
