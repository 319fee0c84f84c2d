"""Which transactions stand in suggestions: the memory behind the places `pending` and `suggested`.

A transaction may stand in suggestions of several rules and counts as suggested once, from the first
to the last. Events tell the sum of a side, not its members' amounts: a member that is new takes its
share of what the members known already leave of that sum. So sums are exact as long as the sides of
suggestions are single, the same or one within the other, and what a share misses returns to pending
with the last of its side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from domain.events import MatchConfirmed, MatchRejected, MatchSuggested, MatchSuperseded
from domain.transactions import SIDE_NAMES
from projections.copy_text import array_field, line, storable


class MemberKey(NamedTuple):
    """A transaction; `side` is "source" or "target"."""

    tenant_id: str
    reconciliation_id: str
    side: str
    transaction_id: str


class Member(msgspec.Struct, frozen=True, gc=False):
    """A row of `suggested_transactions` beside its key."""

    currency: str
    amount_minor: int
    suggestion_ids: tuple[str, ...]


class Step(NamedTuple):
    """A suggestion that came or went, at a position; `quarter` is as in `movements.Movement`."""

    tenant_id: str
    reconciliation_id: str
    match_id: str
    event: MatchSuggested | MatchSuperseded | MatchRejected | MatchConfirmed
    position: int = 0
    quarter: int = 0

    def sides(self) -> Iterator[tuple[list[MemberKey], int]]:
        """Give the members of each side and their sum, 0 for a suggestion that went."""
        event = self.event
        sums = (0, 0)
        if isinstance(event, MatchSuggested):
            sums = (event.source_minor, event.target_minor)
        for side, ids, sum_minor in zip(
            SIDE_NAMES, (event.source_ids, event.target_ids), sums, strict=True
        ):
            place = (self.tenant_id, self.reconciliation_id, side)
            yield [MemberKey(*place, storable(member)) for member in ids], sum_minor

    def amounts(self) -> Iterator[list[int]]:
        """Give the amounts of the members of each side, empty where they are not told."""
        event = self.event
        assert isinstance(event, MatchSuggested)
        yield event.source_amounts
        yield event.target_amounts


#: Told of each transaction that becomes suggested (1) or no longer is (-1), and by which step.
OnMember = Callable[[MemberKey, Member, int, Step], None]
#: Told of each suggestion that comes (1) or goes (-1).
OnSuggestion = Callable[[Step, int], None]


def fold_steps(
    standing: Mapping[MemberKey, Member],
    steps: Sequence[Step],
    on_member: OnMember,
    on_suggestion: OnSuggestion,
) -> dict[MemberKey, Member]:
    """Apply steps in order, and return the members that stand in the end.

    Args:
        standing: The rows of all members the steps speak of that have one.
        steps: In the order of the log; one that repeats what is so already changes nothing.
        on_member: Counts transactions.
        on_suggestion: Counts suggestions.
    """
    now = dict(standing)
    for step in steps:
        if isinstance(step.event, MatchSuggested):
            _come(now, step, step.event.currency, on_member, on_suggestion)
        else:
            _go(now, step, on_member, on_suggestion)
    return now


def _come(
    now: dict[MemberKey, Member],
    step: Step,
    currency: str,
    on_member: OnMember,
    on_suggestion: OnSuggestion,
) -> None:
    sides = list(step.sides())
    if any(_stands_in(now, key, step) for keys, _ in sides for key in keys):
        return
    on_suggestion(step, 1)
    for (keys, sum_minor), told in zip(sides, step.amounts(), strict=True):
        known = [now[key].amount_minor for key in keys if key in now]
        shares = _shares(sum_minor - sum(known), len(keys) - len(known))
        for place, key in enumerate(keys):
            member = now.get(key)
            if member is None:
                amount = told[place] if told else next(shares)
                now[key] = Member(currency, amount, (step.match_id,))
                on_member(key, now[key], 1, step)
            else:
                now[key] = msgspec.structs.replace(
                    member, suggestion_ids=(*member.suggestion_ids, step.match_id)
                )


def _go(
    now: dict[MemberKey, Member], step: Step, on_member: OnMember, on_suggestion: OnSuggestion
) -> None:
    held = [key for keys, _ in step.sides() for key in keys if _stands_in(now, key, step)]
    for key in held:
        member = now.pop(key)
        others = tuple(one for one in member.suggestion_ids if one != step.match_id)
        if others:
            now[key] = msgspec.structs.replace(member, suggestion_ids=others)
        else:
            on_member(key, member, -1, step)
    if held:
        on_suggestion(step, -1)


def _stands_in(now: Mapping[MemberKey, Member], key: MemberKey, step: Step) -> bool:
    return key in now and step.match_id in now[key].suggestion_ids


def _shares(sum_minor: int, count: int) -> Iterator[int]:
    """Split a sum into whole parts as equal as can be."""
    each, rest = divmod(sum_minor, count) if count else (0, 0)
    return (each + (place < rest) for place in range(count))


def row(key: MemberKey, member: Member) -> str:
    """Write a row as COPY takes it."""
    start = line((*key, member.currency, member.amount_minor)).rstrip("\n")
    return f"{start}\t{array_field(member.suggestion_ids)}\n"


def columns(keys: Sequence[MemberKey]) -> dict[str, list[str]]:
    """Write keys as the arrays that the queries take."""
    return {f"{name}s": [getattr(key, name) for key in keys] for name in MemberKey._fields}
