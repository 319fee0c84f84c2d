"""Business days of a reconciliation: when everything of one is final, and where facts are posted.

A day is closed once event time has passed its end, in the definition's time zone, by `window.wait`
and the longest `settle`: every transaction of it has then been matched, suggested, set aside or
opened as an exception. What is decided about it later, and what comes late, is posted to the first
day still open, so that a closed day never changes.
"""

from collections.abc import Iterable
from datetime import date

from domain.definitions import Definition
from domain.instants import DAY_US
from domain.matching.calendar import Calendar

_EPOCH = date(1970, 1, 1)
_FIRST_DAY = date.min.toordinal() - _EPOCH.toordinal()
# 9999-12-31: behind it the calendar has no days, and no day closes when time runs out.
_END_US = (date.max.toordinal() - _EPOCH.toordinal()) * DAY_US


def day_text(day: int) -> str:
    """Write a day, given in days since 1970-01-01, as an ISO date."""
    return _EPOCH.fromordinal(_EPOCH.toordinal() + day).isoformat()


def day_number(text: str) -> int:
    """Read an ISO date as days since 1970-01-01."""
    return date.fromisoformat(text).toordinal() - _EPOCH.toordinal()


def _final_after_us(definition: Definition) -> int:
    """How long after its end a day stays open, microseconds of event time."""
    longest = max((rule.settle_us for rule in definition.rules), default=0)
    return definition.window.wait_us + longest


def _closes_after_us(definition: Definition, calendar: Calendar, closed_day: int) -> int:
    """Event time behind which the day after `closed_day` closes."""
    return calendar.end_of_day((closed_day + 1) * DAY_US) + _final_after_us(definition)


def day_to_close(
    definition: Definition, calendar: Calendar, closed_day: int | None, watermark_us: int
) -> int | None:
    """The last day that closes at an event time; None if none does.

    At first, when none is closed, that is the last of all that lie behind.
    """
    if watermark_us >= _END_US:
        return None
    if closed_day is not None and watermark_us <= _closes_after_us(
        definition, calendar, closed_day
    ):
        return None
    last = calendar.day_of(watermark_us - _final_after_us(definition) - 1) - 1
    if closed_day is None:
        return None if last < _FIRST_DAY else last
    # The time zone may have changed.
    return None if last <= closed_day else last


def next_close_us(
    definition: Definition,
    calendar: Calendar,
    closed_day: int | None,
    newest: Iterable[int | None],
) -> int | None:
    """Event time at which the next day closes; None once that of what is newest is closed."""
    newest_us = max((one for one in newest if one is not None), default=None)
    if newest_us is None or closed_day is None or calendar.day_of(newest_us) <= closed_day:
        return None
    return _closes_after_us(definition, calendar, closed_day) + 1
