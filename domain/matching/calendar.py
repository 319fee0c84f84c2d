"""Days and instants in a zone, cached: the same few days and quarter hours come again and again."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
# Every zone's offset since 1972 is a whole number of quarter hours, so a quarter hour of UTC lies
# within one local day.
_QUARTER_US = 900_000_000
_CACHE_MAX = 100_000


class Calendar:
    """Local days of one IANA time zone."""

    def __init__(self, time_zone: str) -> None:
        self.time_zone = time_zone
        self._zone = ZoneInfo(time_zone)
        self._days: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    def day_of(self, instant_us: int) -> int:
        """The local day an instant falls on, in days since 1970-01-01."""
        quarter = instant_us // _QUARTER_US
        day = self._days.get(quarter)
        if day is None:
            moment = (_EPOCH + timedelta(microseconds=quarter * _QUARTER_US)).astimezone(self._zone)
            day = moment.toordinal() - _EPOCH_ORDINAL
            if len(self._days) >= _CACHE_MAX:
                self._days.clear()
            self._days[quarter] = day
        return day

    def days_of(self, instants_us: Iterable[int]) -> list[int]:
        """The local day of each instant, see `day_of`."""
        if self.time_zone == "UTC":
            return [instant // _DAY_US for instant in instants_us]
        known, day_of = self._days.get, self.day_of
        return [known(instant // _QUARTER_US) or day_of(instant) for instant in instants_us]

    def end_of_day(self, midnight_us: int) -> int:
        """The last microsecond of a local day.

        Args:
            midnight_us: The day, given as its midnight in UTC.
        """
        end = self._ends.get(midnight_us)
        if end is None:
            day = date.fromordinal(midnight_us // _DAY_US + _EPOCH_ORDINAL)
            last = datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, self._zone)
            end = (last - _EPOCH) // timedelta(microseconds=1)
            if len(self._ends) >= _CACHE_MAX:
                self._ends.clear()
            self._ends[midnight_us] = end
        return end
