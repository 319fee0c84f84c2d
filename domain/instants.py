"""Event times: RFC 3339 instants and bare dates, as integer microseconds since the epoch, UTC.

Read from RFC 3339 section 5.6 with these decisions:

- The offset is required; `Z`, `z` and `-00:00` are UTC. `T`, `t` or one space separates date and
  time.
- One to nine fraction digits; what is finer than a microsecond is cut off, never rounded, so that
  an instant never moves into the next second.
- A leap second, 23:59:60 in UTC, counts as the last microsecond before it: order is kept and no
  instant falls on the next day.
- Years 0001 to 9999, in UTC too.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from domain.errors import SettlerError

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

# The first and the last instant of the years 0001 to 9999.
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
FIRST_US = (date.min.toordinal() - _EPOCH_ORDINAL) * DAY_US
LAST_US = (date.max.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_US - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_MINUTE = re.compile(_DATE.pattern + r"[Tt ]([0-9]{2}):([0-9]{2}):")
_TAIL = re.compile(r"([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))")
_MINUTE_LENGTH = len("2026-01-05T12:33:")
DATE_LENGTH = len("2026-01-05")

# The newest date somewhere on earth is that of UTC+14, and tomorrow there is still not "more than
# a day ahead": no zone's today or tomorrow is ever refused.
_DATE_AHEAD_US = DAY_US + 14 * HOUR_US

# Parsed pieces.  A stream of events shares minutes, days and millisecond tails; finer tails would
# only fill the table.  Full tables are emptied: results never depend on what is in them.
_MINUTES_MAX, _DATES_MAX, _TAILS_MAX = 4_096, 4_096, 65_536
_MINUTES: Final[dict[str, int]] = {}
_TAILS: Final[dict[str, int]] = {}
_DATES: Final[dict[str, int]] = {}


class InstantInvalid(SettlerError):
    """A text is neither an instant nor a date. The message is a sentence without subject."""

    code = "invalid_timestamp"


def parse_occurred_at(text: str) -> tuple[int, bool]:
    """Read an event time.

    Returns:
        Microseconds since the epoch, UTC, and whether it was a bare date; a bare date gives its
        midnight UTC.

    Raises:
        InstantInvalid: Neither form, no offset, or no such day or time.
    """
    if len(text) == DATE_LENGTH:
        return _parse_date(text), True
    minute_text, tail_text = text[:_MINUTE_LENGTH], text[_MINUTE_LENGTH:]
    minute_us = _MINUTES.get(minute_text)
    if minute_us is None:
        minute_us = _parse_minute(minute_text)
    tail_us = _TAILS.get(tail_text)
    if tail_us is None:
        tail_us = _parse_tail(tail_text)
    if tail_text.startswith("60") and (minute_us + tail_us + 1) % DAY_US:
        raise InstantInvalid("has second 60, which only 23:59:60 UTC has")
    occurred_us = minute_us + tail_us
    if not FIRST_US <= occurred_us <= LAST_US:
        raise InstantInvalid("lies outside the years 0001 to 9999 in UTC")
    return occurred_us, False


def _fine_tail_us(tail_text: str) -> int | None:
    """Read the common form of a microsecond clock, such as "21.123456Z"; None for any other."""
    if len(tail_text) != 10 or tail_text[2] != "." or tail_text[9] != "Z":
        return None
    digits = tail_text[:2] + tail_text[3:9]
    if not digits.isdigit() or not digits.isascii():
        return None
    tail_us = int(digits)
    return tail_us if tail_us < MINUTE_US else None


def check_not_ahead(occurred_us: int, is_date: bool, now_us: int) -> None:
    """Refuse an event time more than a day ahead of the clock.

    A bare date is ahead only when it lies after tomorrow everywhere on earth.

    Raises:
        InstantInvalid: It is ahead.
    """
    if occurred_us > now_us + (_DATE_AHEAD_US if is_date else DAY_US):
        raise InstantInvalid("lies more than a day ahead of the clock")


def instant_text(instant_us: int) -> str:
    """Write an instant in RFC 3339, UTC, without superfluous fractions.

    None is before the year 0001 or after 9999.
    """
    moment = _EPOCH + timedelta(microseconds=max(FIRST_US, min(instant_us, LAST_US)))
    return moment.isoformat().replace("+00:00", "Z")


def date_us(day: date) -> int:
    """Give the midnight UTC of a date, in microseconds since the epoch."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_US


def _parse_date(text: str) -> int:
    known = _DATES.get(text)
    if known is not None:
        return known
    parts = _DATE.fullmatch(text)
    if parts is None:
        raise InstantInvalid(_expected())
    midnight_us = _day_us(*parts.groups())
    _remember(_DATES, _DATES_MAX, text, midnight_us)
    return midnight_us


def _parse_minute(minute_text: str) -> int:
    parts = _MINUTE.fullmatch(minute_text)
    if parts is None:
        raise InstantInvalid(_expected())
    year, month, day, hour, minute = parts.groups()
    if int(hour) > 23 or int(minute) > 59:
        raise InstantInvalid("has no such time of day")
    minute_us = _day_us(year, month, day) + int(hour) * HOUR_US + int(minute) * MINUTE_US
    # At the ends of the calendar an offset can lead out of it: those are checked every time.
    if "0001" < year < "9999":
        _remember(_MINUTES, _MINUTES_MAX, minute_text, minute_us)
    return minute_us


def _parse_tail(tail_text: str) -> int:
    """Read what follows the minute: microseconds to add, the offset already taken off."""
    tail_us = _fine_tail_us(tail_text)
    if tail_us is not None:
        return tail_us
    parts = _TAIL.fullmatch(tail_text)
    if parts is None:
        if re.fullmatch(r"[0-9]{2}(\.[0-9]{1,9})?", tail_text):
            raise InstantInvalid("has no offset; add Z or +hh:mm")
        raise InstantInvalid(_expected())
    second, fraction, sign, offset_hours, offset_minutes = parts.groups("")
    tail_us = int(second) * SECOND_US + int(fraction.ljust(6, "0")[:6])
    if second == "60":
        tail_us = MINUTE_US - 1
    elif int(second) > 59:
        raise InstantInvalid("has no such time of day")
    if sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise InstantInvalid("has no such offset")
        offset_us = int(offset_hours) * HOUR_US + int(offset_minutes) * MINUTE_US
        tail_us += offset_us if sign == "-" else -offset_us
    if len(fraction) <= 3 and second != "60":
        _remember(_TAILS, _TAILS_MAX, tail_text, tail_us)
    return tail_us


def _day_us(year: str, month: str, day: str) -> int:
    try:
        return date_us(date(int(year), int(month), int(day)))
    except ValueError:
        raise InstantInvalid("has no such day") from None


def _remember(table: dict[str, int], entries_max: int, text: str, value: int) -> None:
    if len(table) >= entries_max:
        table.clear()
    table[text] = value


def _expected() -> str:
    return (
        "is neither an RFC 3339 instant with offset, such as 2026-01-05T12:33:21Z, "
        "nor a date, such as 2026-01-05"
    )
