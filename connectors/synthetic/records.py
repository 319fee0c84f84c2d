"""The text of generated records: amounts, instants and the JSON line, written by hand for speed.

`msgspec.json.encode` of a dict costs as much as everything else here together.  The values put
into the line are ours and hold nothing that JSON would escape.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

BANK_ZONE = ZoneInfo("Europe/Vienna")
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MINUTES = tuple(f"{second // 60:02d}:{second % 60:02d}" for second in range(3600))

#: Currency and fraction digits, the common one more often.
CURRENCIES = (("EUR", 2), ("EUR", 2), ("EUR", 2), ("USD", 2), ("GBP", 2), ("JPY", 0), ("KWD", 3))
TWO_DIGITS = (("EUR", 2), ("EUR", 2), ("CHF", 2), ("USD", 2))
NAMES = ("Müller & Söhne", "Nordwind AG", "Café Łódź", "Acme GmbH", "東京商事", "O'Brien Ltd.")


class Leg(msgspec.Struct, gc=False):
    """One generated transaction, its message and what the truth needs to know of it."""

    side: int
    key: bytes
    transaction_id: str
    amount_minor: int
    currency: str
    value: bytes


def amount_text(minor: int, digits: int) -> str:
    """Write minor units as a plain decimal: (-1250, 2) is "-12.50"."""
    if digits == 0:
        return str(minor)
    text = str(minor)
    if -1000 < minor < 1000:  # a zero before the point, for up to three digits behind it
        text = f"{minor:0{digits + 1 + (minor < 0)}d}"
    return f"{text[:-digits]}.{text[-digits:]}"


class Calendar:
    """Instants and business dates as text, remembering the hours that were asked for."""

    def __init__(self) -> None:
        self._hours: dict[int, str] = {}
        self._days: dict[tuple[int, int], str] = {}

    def instant(self, at_us: int) -> str:
        """RFC 3339 with milliseconds, UTC; finer parts of `at_us` are cut off."""
        hour, rest = divmod(at_us // 1000, 3_600_000)
        text = self._hours.get(hour)
        if text is None:
            text = (EPOCH + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:")
            self._hours[hour] = text
        return f"{text}{MINUTES[rest // 1000]}.{rest % 1000:03d}Z"

    def bank_date(self, at_us: int, days: int) -> str:
        """The bare date in the bank's zone of that instant, `days` later."""
        # Vienna has kept to whole hours from UTC since 1893.
        place = (at_us // HOUR_US, days)
        text = self._days.get(place)
        if text is None:
            day = (EPOCH + timedelta(hours=place[0])).astimezone(BANK_ZONE).date()
            text = self._days[place] = (day + timedelta(days=days)).isoformat()
        return text


def scattered(number: int, salt: int) -> str:
    """Eight hex digits that are different for every number below 2**32, in no visible order."""
    return f"{(number * 2654435761 + salt * 40503) & 0xFFFFFFFF:08x}"
