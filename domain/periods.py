"""Business days of a reconciliation: when everything of one is final, and where facts are posted.

A day is closed once event time has passed its end, in the definition's time zone, by `window.wait`
and the longest `settle`: every transaction of it has then been matched, suggested, set aside or
opened as an exception. What is decided about it later, and what comes late, is posted to the first
day still open, so that a closed day never changes.
"""

from datetime import date

from domain.definitions import Definition
from domain.instants import DAY_US
from domain.matching.calendar import Calendar

_EPOCH = date(1970, 1, 1)


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


def closes_after_us(definition: Definition, calendar: Calendar, closed_day: int) -> int:
    """Event time behind which the day after `closed_day` closes."""
    return calendar.end_of_day((closed_day + 1) * DAY_US) + _final_after_us(definition)


def last_final_day(definition: Definition, calendar: Calendar, watermark_us: int) -> int:
    """The last day of which everything is final at an event time."""
    return calendar.day_of(watermark_us - _final_after_us(definition) - 1) - 1
