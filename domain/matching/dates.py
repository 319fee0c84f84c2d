"""Whether the times of two transactions are within a rule's window, in whole numbers.

A window is up to two *spans*: one of days, one of instants. Each turns a transaction into a number,
and asks that target − source lies between two bounds, ends included.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple

from domain.definitions import DateWindow
from domain.instants import DAY_US, SECOND_US
from domain.matching.calendar import Calendar
from domain.transaction_columns import TransactionColumns
from domain.transactions import Transaction

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class Span(NamedTuple):
    """One measure of time.

    Attributes:
        measure: Gives a transaction's number; None satisfies nothing.
        measure_all: Gives the numbers of many.
        low, high: Bounds of target − source; None is unbounded.
        is_instants: Microseconds are counted, else days.
    """

    measure: Callable[[Transaction], int | None]
    measure_all: Callable[[TransactionColumns], Sequence[int | None]]
    low: int | None
    high: int | None
    is_instants: bool = False

    def allows(self, difference: int) -> bool:
        """Whether target − source is within the bounds."""
        return (self.low is None or self.low <= difference) and (
            self.high is None or difference <= self.high
        )


class LocalDays:
    """Gives transactions' days in a zone, in days since 1970-01-01."""

    def __init__(self, time_zone: str) -> None:
        self._calendar = Calendar(time_zone)

    def of(self, transaction: Transaction) -> int:
        """The day of one."""
        # A bare date is the day it names, in every zone.
        if transaction.is_date:
            return transaction.occurred_at // DAY_US
        return self._calendar.day_of(transaction.occurred_at)

    def of_all(self, records: TransactionColumns) -> list[int]:
        """The day of each."""
        days = self._calendar.days_of(records.occurred_at)
        if any(records.are_dates):
            for place, is_date in enumerate(records.are_dates):
                if is_date:
                    days[place] = records.occurred_at[place] // DAY_US
        return days


class BusinessDays:
    """Counts Monday to Friday less holidays.

    The difference of two counts is the number of business days after the one day up to the other:
    Friday to Monday is 1, Saturday to Monday too, Friday to Saturday 0.
    """

    def __init__(self, holidays: Sequence[date]) -> None:
        days = {holiday.toordinal() - _EPOCH_ORDINAL for holiday in holidays}
        # 1970-01-01 was a Thursday.
        self._holidays = sorted(day for day in days if (day + 3) % 7 < 5)

    def count(self, day: int) -> int:
        """The number of the last business day up to `day`, days since 1970-01-01."""
        weeks, rest = divmod(day + 3, 7)
        return 5 * weeks + min(rest + 1, 5) - bisect_right(self._holidays, day)


def _instant(transaction: Transaction) -> int | None:
    # A bare date has no instant to be so many seconds from another.
    return None if transaction.is_date else transaction.occurred_at


def _instants(records: TransactionColumns) -> Sequence[int | None]:
    if not any(records.are_dates):
        return records.occurred_at
    return [
        None if is_date else instant
        for instant, is_date in zip(records.occurred_at, records.are_dates, strict=True)
    ]


def spans_of(window: DateWindow | None) -> list[Span]:
    """The spans of a rule's window."""
    spans: list[Span] = []
    if window is None:
        return spans
    inside = 0 if window.inclusive else 1
    low, high = window.min_days, window.max_days
    if low is not None or high is not None:
        days = LocalDays(window.time_zone)
        measure: Callable[[Transaction], int | None] = days.of
        measure_all: Callable[[TransactionColumns], Sequence[int | None]] = days.of_all
        if window.business:
            count = BusinessDays(window.holidays).count
            measure = lambda transaction: count(days.of(transaction))  # noqa: E731 - one of two
            measure_all = lambda records: list(map(count, days.of_all(records)))  # noqa: E731
        spans.append(
            Span(
                measure,
                measure_all,
                None if low is None else low + inside,
                None if high is None else high - inside,
            )
        )
    if window.max_seconds is not None:
        most = window.max_seconds * SECOND_US - inside
        spans.append(Span(_instant, _instants, -most, most, is_instants=True))
    return spans
