"""Event times: RFC 3339 and bare dates, to the microsecond."""
# ruff: noqa: DTZ001 - hypothesis wants the bounds of instants without a zone

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import (
    DAY_US,
    HOUR_US,
    InstantInvalid,
    check_not_ahead,
    date_us,
    instant_text,
    parse_occurred_at,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


def microseconds(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES))
def test_every_instant_is_read_to_the_microsecond(instant):
    assert parse_occurred_at(instant.isoformat()) == (microseconds(instant), False)
    # Again, from the tables of parsed pieces.
    assert parse_occurred_at(instant.isoformat()) == (microseconds(instant), False)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    st.integers(1, 9),
    st.sampled_from("Tt "),
    st.sampled_from(["Z", "z", "+00:00", "-00:00"]),
)
def test_finer_than_a_microsecond_is_cut_off(instant, digits, separator, zone):
    fraction = f"{instant.microsecond:06d}789"[:digits]
    text = f"{instant:%Y-%m-%d}{separator}{instant:%H:%M:%S}.{fraction}{zone}"
    kept = instant.replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)
    assert parse_occurred_at(text) == (microseconds(kept), False)


@given(st.dates())
def test_a_bare_date_is_its_midnight_utc(day):
    assert parse_occurred_at(day.isoformat()) == (date_us(day), True)


@given(st.text(max_size=30).filter(lambda text: sum(c.isdigit() for c in text) < 8))
def test_any_other_text_is_refused_with_a_sentence(text):
    # None of these is a time: the shortest, a bare date, has eight digits.
    with pytest.raises(InstantInvalid):
        parse_occurred_at(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-01-05T12:33:21", "offset"),
        ("2026-01-05T12:33:21.5", "offset"),
        ("2026-02-30", "no such day"),
        ("0000-01-01", "no such day"),
        ("2026-13-01T00:00:00Z", "no such day"),
        ("2026-01-05T24:00:00Z", "time of day"),
        ("2026-01-05T12:60:00Z", "time of day"),
        ("2026-01-05T12:33:61Z", "time of day"),
        ("2026-01-05T12:33:60Z", "second 60"),
        ("2026-01-05T12:33:21+24:00", "offset"),
        ("2026-01-05T12:33:21+0100", "RFC 3339"),
        ("2026-01-05T12:33Z", "RFC 3339"),
        ("2026-01-05T12:33:21.Z", "RFC 3339"),
        ("2026-01-05T12:33:21,5Z", "RFC 3339"),
        ("2026-01-05T12:33:21.1234567890Z", "RFC 3339"),
        ("20260105T123321Z", "RFC 3339"),
        ("2026-1-5", "RFC 3339"),
        ("05.01.2026", "RFC 3339"),
        ("1767616401", "RFC 3339"),
        ("２０２６-01-05", "RFC 3339"),
        ("0001-01-01T00:00:00+05:00", "outside"),
        ("9999-12-31T23:00:00-05:00", "outside"),
        ("", "RFC 3339"),
    ],
)
def test_why_a_time_is_refused(text, why):
    with pytest.raises(InstantInvalid, match=why):
        parse_occurred_at(text)


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60.5+01:00"])
def test_a_leap_second_is_the_last_microsecond_of_its_day(text):
    assert parse_occurred_at(text) == (date_us(date(2017, 1, 1)) - 1, False)


def test_an_instant_may_be_a_day_ahead_and_not_more():
    check_not_ahead(DAY_US, False, 0)
    with pytest.raises(InstantInvalid):
        check_not_ahead(DAY_US + 1, False, 0)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    st.integers(-12, 14),
    st.integers(0, 1),
)
def test_nobodys_today_or_tomorrow_is_ahead(now, offset_hours, days):
    day = (now + timedelta(hours=offset_hours)).date() + timedelta(days=days)
    check_not_ahead(date_us(day), True, microseconds(now))


def test_tomorrow_begins_first_at_utc_plus_14():
    now_us = date_us(date(2026, 1, 5)) + 10 * HOUR_US  # Midnight of the 6th at UTC+14.
    check_not_ahead(date_us(date(2026, 1, 7)), True, now_us)
    with pytest.raises(InstantInvalid):
        check_not_ahead(date_us(date(2026, 1, 7)), True, now_us - 1)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_the_day_after_everyones_tomorrow_is_ahead(now):
    now_us = microseconds(now.replace(tzinfo=UTC))
    day = (now + timedelta(hours=14)).date() + timedelta(days=2)
    with pytest.raises(InstantInvalid):
        check_not_ahead(date_us(day), True, now_us)


def test_what_lies_outside_the_years_is_written_as_their_ends():
    assert instant_text(0) == "1970-01-01T00:00:00Z"
    assert instant_text(-(1 << 62)) == "0001-01-01T00:00:00Z"
    assert instant_text(1 << 62) == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("tail", ["21.12345xZ", "2١.123456Z", "21.123456+", "60.000000Z"])
def test_what_only_looks_like_a_microsecond_clock_is_refused(tail):
    assert parse_occurred_at("1970-01-01T00:00:21.123456Z") == (21_123_456, False)
    with pytest.raises(InstantInvalid):
        parse_occurred_at(f"1970-01-01T00:00:{tail}")
