"""Event times read together are what each is by itself."""
# ruff: noqa: DTZ001 - hypothesis wants the bounds of instants without a zone

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import instant_columns
from domain.instant_columns import read_instants
from domain.instants import InstantInvalid, parse_occurred_at

LEAST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
DIGITS = st.integers(0, 9)


def written(instant, digits, zone="Z"):
    fraction = f".{instant.microsecond:06d}789"[: digits + 1] if digits else ""
    return f"{instant.isoformat()[:19]}{fraction}{zone}"


INSTANTS = st.datetimes(LEAST, LAST)
#: Many alike, as one clock writes them.
ALIKE = DIGITS.flatmap(
    lambda digits: st.lists(INSTANTS, min_size=1, max_size=40).map(
        lambda instants: [written(one, digits) for one in instants]
    )
)
#: What stands where an instant does, by itself or in place of one among many alike.
ODD_TEXTS = [
    "",
    "\n",
    "x",
    "2026-01-05",
    "2026-02-30",
    "2026-02-29T12:00:00Z",
    "2026-02-29T12:00:00.000Z",
    "2026-13-01T00:00:00.000Z",
    "2026-00-01T00:00:00.000Z",
    "2026-01-00T00:00:00.000Z",
    "2026-01-01T24:00:00.000Z",
    "2026-01-01T23:60:00.000Z",
    "2026-01-01T23:59:60.000Z",
    "2026-06-30T22:59:60.000Z",
    "0000-01-01T00:00:00.000Z",
    "0001-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
    "2026-01-05t12:00:00.000Z",
    "2026-01-05 12:00:00.000Z",
    "2026-01-05T12:00:00.000z",
    "2026-01-05T12:00:00+00:0",
    "2026-01-05T12:00+01:000Z",
    "2026-01-05T12:00:00.00 Z",
    "2026-01-05T12:00:00,000Z",
    "2026-01-05T12.00:00.000Z",
    "2026-01-05T12:00:00.0\N{ARABIC-INDIC DIGIT ONE}0Z",
    "-026-01-05T12:00:00.000Z",
    "2026-01-05T12:00:00.1234567891Z",
    "2026-01-05T12:00:00.000Z\n2026-01-05T12:00:00.000Z",
    "2026-01-05T12:00:00.000",
    "Z",
]
ODD = st.sampled_from(ODD_TEXTS) | st.builds(
    written, INSTANTS, DIGITS, st.sampled_from(["Z", "z", "+01:00", "-23:59", ""])
)


def read_each(texts):
    read = []
    for text in texts:
        try:
            read.append(parse_occurred_at(text))
        except InstantInvalid:
            read.append(None)
    return read


def read_together(texts):
    read = read_instants(texts)
    assert len(read.microseconds) == len(texts)
    assert all(type(one) is int for one in read.microseconds)
    return [
        None if place in read.unreadable else (microseconds, place in read.dates)
        for place, microseconds in enumerate(read.microseconds)
    ]


@given(ALIKE)
def test_those_written_alike_are_read_as_each(texts):
    assert read_together(texts) == read_each(texts)


@given(ALIKE, st.lists(st.tuples(st.integers(0, 40), ODD), max_size=4))
def test_what_stands_among_them_is_read_as_by_itself(texts, odd):
    for place, text in odd:
        texts.insert(place, text)
    assert read_together(texts) == read_each(texts)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_among_those_of_its_own_length_none_is_taken_for_another(text):
    instant = datetime(2026, 1, 5, 12, 30, 15, 123456)
    alike = next((one for n in range(10) if len(one := written(instant, n)) == len(text)), text)
    texts = [*[alike] * 20, text, *[alike] * 20]
    assert read_together(texts) == read_each(texts)


@given(st.lists(ODD, max_size=60))
def test_any_others_are_read_as_each(texts):
    assert read_together(texts) == read_each(texts)


@given(st.text(max_size=30), ALIKE)
def test_no_text_takes_another_for_its_own(text, texts):
    # Cut anywhere, what is left over of one and what the next lacks never make two.
    whole = "".join(texts)
    parts = [whole[: len(text)], text, whole[len(text) :], *texts]
    assert read_together(parts) == read_each(parts)


def test_what_joins_to_lines_of_the_right_length_is_not_taken_for_them():
    line = "2026-01-05T12:00:00.000Z"
    for shifted in ([line[:-1], "Z" + line], [line + "\n" + line, ""], [line + "\n", line[1:]]):
        texts = [*shifted, *[line] * 30]
        assert read_together(texts) == read_each(texts)
        assert read_together(texts[::-1]) == read_each(texts[::-1])


@pytest.mark.parametrize("digits", range(10))
def test_many_alike_are_read_as_a_table(digits, monkeypatch):
    instants = [datetime(2026, 1, 5) + timedelta(milliseconds=n * 7919) for n in range(100)]
    texts = [written(one, digits) for one in instants]
    expected = read_each(texts)
    monkeypatch.setattr(instant_columns, "parse_occurred_at", None)  # nobody asks for each
    assert read_together(texts) == expected


def test_others_among_them_do_not_keep_them_from_it(monkeypatch):
    alike = ["2026-01-05T12:00:00.123Z"] * 40
    others = ["2026-01-05T12:00:00Z", "2026-01-05", "2026-01-05T12:00:00.5+01:00"]
    expected = read_each([*others, *alike])
    asked = []

    def parsed(text):
        asked.append(text)
        return parse_occurred_at(text)

    monkeypatch.setattr(instant_columns, "parse_occurred_at", parsed)
    assert read_together([*others, *alike]) == expected
    assert sorted(asked) == sorted(others)
