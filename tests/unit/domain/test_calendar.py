"""Days and their ends in a time zone: at the ends of time, and with bounded memory of them."""

import pytest

from domain.matching import calendar
from domain.matching.calendar import Calendar

DAY_US = 86_400_000_000


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_what_lies_beyond_all_years_falls_on_the_first_or_last_day(zone):
    days = Calendar(zone)
    first, last = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
    assert days.day_of((first - 2) * DAY_US) == first
    assert days.day_of((last + 2) * DAY_US) == last
    assert days.day_of((last - 2) * DAY_US) in (last - 3, last - 2, last - 1)


def test_what_is_kept_of_days_stays_bounded_and_changes_no_answer(monkeypatch):
    instants = [number * DAY_US for number in range(20_000, 20_050)]
    fresh = [Calendar("Europe/Vienna") for _ in instants]
    monkeypatch.setattr(calendar, "_CACHE_MAX", 7)
    days = Calendar("Europe/Vienna")
    for _ in range(2):
        for own, instant in zip(fresh, instants, strict=True):
            assert days.day_of(instant) == own.day_of(instant)
            assert days.end_of_day(instant) == own.end_of_day(instant)
            assert len(days._days) <= 7
            assert len(days._ends) <= 7
