"""What a piece of the log adds to the figures of reconciliations, and where each addition stands.

Every change of a total is also a movement with its place in the log and in time, from which control
totals are posted to business days.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from domain.events import TransactionsAccepted
from domain.transactions import SIDE_NAMES
from projections import suggested
from projections.movements import NO_CURRENCY, Movement, Total, Turn


class Summary(msgspec.Struct):
    """What is added to a reconciliation's row; None means nothing new is said."""

    first_event_at: datetime
    last_event_at: datetime
    position: int
    name: str | None = None
    definition_version: int | None = None
    watermark_at: datetime | None = None
    accepted_source: int = 0
    accepted_target: int = 0
    redelivered: int = 0
    rejected: int = 0
    matches_confirmed: int = 0
    transactions_matched: int = 0
    suggestions_open: int = 0
    transactions_suggested: int = 0
    exceptions_open: int = 0
    exceptions_resolved: int = 0
    transactions_exception: int = 0
    duplicates: int = 0
    superseded: int = 0
    status: str | None = None


Key = tuple[str, str]
TotalKey = tuple[str, str, str, str]


class Ledger(NamedTuple):
    """A fold: what is added to both tables, and the suggestions that came and went, in order.

    `steps` says of each reconciliation the same as `totals`, with places in the log and in time.
    """

    summaries: dict[Key, Summary]
    totals: dict[TotalKey, Total]
    suggestions: list[suggested.Step]
    steps: dict[Key, list[Movement | Turn]]

    def total(self, key: Key, side: str, currency: str) -> Total:
        """Return the row of totals to add to."""
        return self.totals.setdefault((*key, side, currency), Total())

    def copied(self) -> "Ledger":
        """Return a ledger that can be added to without changing this one."""
        return Ledger(
            {key: msgspec.structs.replace(value) for key, value in self.summaries.items()},
            {key: msgspec.structs.replace(value) for key, value in self.totals.items()},
            list(self.suggestions),
            {key: list(steps) for key, steps in self.steps.items()},
        )


class Place(NamedTuple):
    """Where an event is being added: its reconciliation, position and quarter hour of storing."""

    key: Key
    summary: Summary
    position: int
    stored: int


def move(
    ledger: Ledger,
    place: Place,
    side: str,
    currency: str,
    name: str,
    count: int,
    sum_minor: int,
    quarter: int | None = None,
) -> None:
    """Count transactions in at `name`; without a quarter hour the event tells no time."""
    total = ledger.total(place.key, side, currency)
    setattr(total, f"{name}_count", getattr(total, f"{name}_count") + count)
    setattr(total, f"{name}_minor", getattr(total, f"{name}_minor") + sum_minor)
    at = place.stored if quarter is None else quarter
    is_dated = quarter is not None
    ledger.steps[place.key].append(
        Movement(place.position, side, currency, name, count, sum_minor, at, is_dated=is_dated)
    )


def post_accepted(ledger: Ledger, place: Place, event: TransactionsAccepted) -> None:
    """Post what was accepted to its business days, and what was not to no currency."""
    steps = ledger.steps[place.key]
    days: list[tuple[int, str, int | None, int, int]] = [*event.days] or [
        (side, currency, None, count, sum_minor)
        for side, currency, count, sum_minor in event.counts
    ]
    for number, currency, day, count, sum_minor in days:
        side = SIDE_NAMES[number]
        steps.append(
            Movement(
                place.position, side, currency, "accepted", count, sum_minor, place.stored, day
            )
        )
    for name, count in (("rejected", event.rejected), ("redelivered", event.redelivered)):
        if count:
            steps.append(
                Movement(
                    place.position, _side_of(event), NO_CURRENCY, name, count, 0, place.stored,
                    is_dated=False,
                )
            )  # fmt: skip


def _side_of(event: TransactionsAccepted) -> str:
    """Which side a chunk was of; what was redriven and refused again does not say."""
    for topic_and_partition in event.offsets:
        for side in SIDE_NAMES:
            if topic_and_partition.rpartition("/")[0].endswith(f".{side}"):
                return side
    return SIDE_NAMES[event.counts[0][0]] if event.counts else "unknown"
