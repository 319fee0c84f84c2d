"""Days and instants in a zone, cached: the same few days and quarter hours come again and again."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
        """The local day an instant falls on, in days since 1970-01-01.

        Of the years 0001 to 9999: what lies before or behind falls on the first or the last day.
        """
        quarter = instant_us // _QUARTER_US
        day = self._days.get(quarter)
        if day is None:
            day = self._find_day(quarter)
            if len(self._days) >= _CACHE_MAX:
                self._days.clear()
            self._days[quarter] = day
        return day

    def _find_day(self, quarter: int) -> int:
        try:
            moment = (_EPOCH + timedelta(microseconds=quarter * _QUARTER_US)).astimezone(self._zone)
        except OverflowError:
            return (date.max if quarter > 0 else date.min).toordinal() - _EPOCH_ORDINAL
        return moment.toordinal() - _EPOCH_ORDINAL

    def days_of(self, instants_us: Iterable[int]) -> list[int]:
        """The local day of each instant, see `day_of`."""
        if self.time_zone == "UTC":
            return [instant // _DAY_US for instant in instants_us]
        known, day_of = self._days.get, self.day_of
        return [known(instant // _QUARTER_US) or day_of(instant) for instant in instants_us]

    def sums_of_days(
        self, instants_us: Sequence[int], amounts: Sequence[int], oldest_us: int, newest_us: int
    ) -> Iterable[tuple[int, int, int]]:
        """Add amounts up by the local days of their instants.

        Args:
            oldest_us, newest_us: None of the instants lies outside; where both fall on one day, no
                other is looked at.

        Returns:
            Each day, how many there are of it, and their sum.
        """
        last_day = self.day_of(newest_us)
        if self.day_of(oldest_us) == last_day:
            return ((last_day, len(instants_us), sum(amounts)),)
        days = self.days_of(instants_us)
        counts = Counter(days)
        sums = dict.fromkeys(counts, 0)
        for day, amount in zip(days, amounts, strict=True):
            sums[day] += amount
        return ((day, count, sums[day]) for day, count in counts.items())

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
