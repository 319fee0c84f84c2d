"""Instants of requests come out in UTC, whatever offset they came with."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from api.instants import Instant

READ = TypeAdapter(Instant).validate_python


def test_an_offset_that_postgres_does_not_know_is_turned_to_utc():
    read = READ("0071-09-18T08:06:06.243792-18:44")
    assert (read.isoformat(), read.tzinfo) == ("0071-09-19T02:50:06.243792+00:00", UTC)
    assert READ("2026-01-05T12:00:00+01:00") == datetime(2026, 1, 5, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("9999-12-31T23:00:00-02:00", "outside the years"),
        ("0001-01-01T01:00:00+02:00", "outside the years"),
        ("2026-01-05T12:00:00", "timezone"),
    ],
)
def test_what_is_no_instant_of_utc_is_refused(text, says):
    with pytest.raises(ValidationError, match=says):
        READ(text)
