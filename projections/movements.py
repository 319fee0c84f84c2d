"""What moves between the places of a reconciliation, and to which business day it is posted.

A fact is posted to the day of its own event time: what was accepted to the day it occurred, a match
or suggestion to that of its newest member, an exception to that of its transaction. What tells no
time (a reversal, the end of a suggestion, a correction, a refused record) is posted to the latest
day that anything was posted to. Nothing is posted to a closed day; it goes to the first open. What
people do with an exception moves no transaction, so it is posted nowhere.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from domain.matching.calendar import Calendar

QUARTER_MS = 900_000
_QUARTER_US = QUARTER_MS * 1000
# Quarter hours since 1970 within the years of the calendar, so that any number has a day.
_QUARTER_MIN, _QUARTER_MAX = -62_135_510_400_000 // QUARTER_MS, 253_402_214_400_000 // QUARTER_MS

#: ISO 4217's code for "no currency": of records that could not be read or changed nothing.
NO_CURRENCY = "XXX"


class Movement(NamedTuple):
    """How many transactions came to a place, or left it, by an event at a position.

    Attributes:
        place: `accepted`, a place of an accepted transaction, `rejected` or `redelivered`.
        transactions: How many.
        minor: Their sum in minor units.
        day: Their business day, in days since 1970-01-01, where the event tells it.
        quarter: Else the quarter hour of event time, counted from 1970-01-01 UTC, it belongs to.
        is_dated: False where the event tells neither; `quarter` is then when it was stored.
    """

    position: int
    side: str
    currency: str
    place: str
    transactions: int
    minor: int
    quarter: int
    day: int | None = None
    is_dated: bool = True


class Turn(NamedTuple):
    """Where the books turn a page: another time zone, or days that close."""

    position: int
    at: datetime
    time_zone: str | None = None
    closed_day: int | None = None


def quarter_of(at: datetime) -> int:
    """Give the quarter hour of an instant."""
    return int(at.timestamp() * 1000) // QUARTER_MS


class Total(msgspec.Struct):
    """What is added to a row of totals; amounts in minor units of its currency."""

    accepted_count: int = 0
    accepted_minor: int = 0
    matched_count: int = 0
    matched_minor: int = 0
    suggested_count: int = 0
    suggested_minor: int = 0
    exception_count: int = 0
    exception_minor: int = 0
    duplicate_count: int = 0
    duplicate_minor: int = 0
    superseded_count: int = 0
    superseded_minor: int = 0


class Posting(Total):
    """What is added to a row of control totals: also the records that came to nothing."""

    rejected_count: int = 0
    redelivered_count: int = 0


#: business day, side, currency
PostingKey = tuple[int, str, str]
Postings = dict[PostingKey, Posting]


class Books:
    """The calendar of one reconciliation's books.

    Attributes:
        closed_day, latest_day: The last closed day and the latest that anything was posted to, in
            days since 1970-01-01; None before the first.
    """

    def __init__(
        self,
        time_zone: str = "UTC",
        closed_day: int | None = None,
        latest_day: int | None = None,
    ) -> None:
        self.calendar = Calendar(time_zone)
        self.closed_day = closed_day
        self.latest_day = latest_day

    def post(self, steps: Sequence[Movement | Turn]) -> Iterator[tuple[Postings, Turn | None]]:
        """Post movements in the order of the log.

        Yields:
            What is added up to each close of days, with that close; at the end the rest, with None.
        """
        postings: Postings = {}
        for step in sorted(steps, key=_order):
            if isinstance(step, Movement):
                self._add(postings, step)
                continue
            if step.time_zone is not None and step.time_zone != self.calendar.time_zone:
                self.calendar = Calendar(step.time_zone)
            if step.closed_day is not None:
                yield postings, step
                postings = {}
                self.closed_day = step.closed_day
        yield postings, None

    def _add(self, postings: Postings, movement: Movement) -> None:
        day = self._day_of(movement)
        if self.latest_day is None or day > self.latest_day:
            self.latest_day = day
        key = (day, movement.side, movement.currency)
        posting = postings.get(key)
        if posting is None:
            posting = postings[key] = Posting()
        count = f"{movement.place}_count"
        setattr(posting, count, getattr(posting, count) + movement.transactions)
        if movement.minor:
            minor = f"{movement.place}_minor"
            setattr(posting, minor, getattr(posting, minor) + movement.minor)

    def _day_of(self, movement: Movement) -> int:
        day = movement.day
        if day is None:
            if movement.is_dated or self.latest_day is None:
                quarter = min(max(movement.quarter, _QUARTER_MIN), _QUARTER_MAX)
                day = self.calendar.day_of(quarter * _QUARTER_US)
            else:
                day = self.latest_day
        if self.closed_day is not None and day <= self.closed_day:
            return self.closed_day + 1
        return day


def _order(step: Movement | Turn) -> tuple[int, int]:
    """By position; of what shares one, a turn comes first and then matches, added up together."""
    if isinstance(step, Turn):
        return step.position, 0
    return step.position, 1 if step.place == "matched" and step.is_dated else 2
