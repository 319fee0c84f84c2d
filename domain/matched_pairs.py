"""Matches of a kind in a row, told together.

Most of what a hot reconciliation decides are matches of one and one by one rule. Told one by one
they cost more to make, to write down and to read than to find.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from domain.events import Event, RecordMatched

PAIR: Final = "one_to_one"

#: Source id, target id, currency, the source's amount, what the target's is above it, newest event
#: time: in minor units and milliseconds, as in `RecordMatched`.
Pair = tuple[str, str, str, int, int, int]


class MatchedPairs(msgspec.Struct, array_like=True, tag="MatchedPairs", frozen=True, gc=False):
    """As many `RecordMatched`: by one rule, each of one and one, compared as they are."""

    rule: str
    definition_version: int
    pairs: list[Pair]

    def events(self) -> list[RecordMatched]:
        """The events it stands for."""
        rule, version = self.rule, self.definition_version
        return [
            RecordMatched(
                rule, PAIR, version, (source,), (target,), currency,
                minor, minor + above, newest_ms,
            )
            for source, target, currency, minor, above, newest_ms in self.pairs
        ]  # fmt: skip


#: What is decided and written down: an event, or what stands for several.
Told = Event | MatchedPairs


def events_of(told: Iterable[Told]) -> list[Event]:
    """Every event by itself."""
    events: list[Event] = []
    for one in told:
        if isinstance(one, MatchedPairs):
            events += one.events()
        else:
            events.append(one)
    return events


def count_of(told: Iterable[Told]) -> int:
    """How many events there are."""
    return sum(len(one.pairs) if type(one) is MatchedPairs else 1 for one in told)
