"""Event times read together are what each is by itself."""
# ruff: noqa: DTZ001 - hypothesis wants the bounds of instants without a zone

from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import instant_columns
from domain.instant_columns import read_instants
from domain.instants import InstantInvalid, parse_occurred_at

LEAST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
DIGITS = st.integers(0, 9)
ZONES = st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-23:59", "+23:59"])


def written(instant, digits, zone="Z"):
    fraction = f".{instant.microsecond:06d}789"[: digits + 1] if digits else ""
    return f"{instant.isoformat()[:19]}{fraction}{zone}"


def many_alike(seed, count, digits, zone):
    """Texts as one clock writes them."""
    chance = Random(seed)
    span = (LAST - LEAST) // timedelta(microseconds=1)
    return [
        written(LEAST + timedelta(microseconds=chance.randrange(span)), digits, zone)
        for _ in range(count)
    ]


INSTANTS = st.datetimes(LEAST, LAST)
#: Few, as many as a table takes, and so many that numpy lets other threads run meanwhile.
COUNTS = st.sampled_from([1, 79, 80, 81, 501, 1100])
ALIKE = st.builds(many_alike, st.integers(0, 1 << 30), COUNTS, DIGITS, ZONES)
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
    "9999-99-01T00:00:00.000Z",
    "9999-12-99T00:00:00.000Z",
    "2026-01-05T12:00:00.000+02:00",
    "2026-01-05T12:00:00.000-01:00",
    "2026-01-05T12:00:00.000+01:30",
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


@given(ALIKE, st.lists(st.tuples(st.integers(0, 80), ODD), max_size=4))
def test_what_stands_among_them_is_read_as_by_itself(texts, odd):
    for place, text in odd:
        texts.insert(place, text)
    assert read_together(texts) == read_each(texts)


def some_form(text):
    """Whether instants are written at this length, with a fraction of up to nine digits."""
    return len(text) in {20, *range(22, 31)} | {25, *range(27, 36)}


@pytest.mark.parametrize("count", [90, 501, 4000])
@pytest.mark.parametrize("text", [text for text in ODD_TEXTS if some_form(text)])
def test_among_those_of_its_own_length_none_is_taken_for_another(text, count):
    forms = (many_alike(1, count, digits, zone) for digits in range(10) for zone in ("Z", "+01:00"))
    among = [texts for texts in forms if len(texts[0]) == len(text)]
    assert among
    for texts in among:
        texts[count // 3] = text
        assert read_together(texts) == read_each(texts)
        texts[0] = text
        assert read_together(texts) == read_each(texts)


@given(st.lists(ODD, max_size=120))
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
        for begin in (0, 30, 100):
            texts = [line] * 100
            texts[begin:begin] = shifted
            assert read_together(texts) == read_each(texts)


@pytest.mark.parametrize("zone", ["Z", "+00:00", "-05:00"])
@pytest.mark.parametrize("digits", range(10))
def test_many_alike_are_read_as_a_table(digits, zone, monkeypatch):
    texts = many_alike(digits, 100, digits, zone)
    expected = read_each(texts)
    asked = note_what_is_read_by_itself(monkeypatch)
    assert read_together(texts) == expected
    assert set(asked) <= {f"1970-01-01T00:00:00{zone}"}  # how far a zone is off


def test_others_among_them_do_not_keep_them_from_it(monkeypatch):
    alike = ["2026-01-05T12:00:00.123Z"] * 100
    others = [
        "2026-01-05T12:00:00Z",
        "2026-01-05",
        "2026-01-05T12:00:00.5+01:00",
        "2026-02-30T12:00:00.123Z",
        "2026-01-05T12:00:00.123z",
    ]
    texts = [*others, *alike]
    expected = read_each(texts)
    asked = note_what_is_read_by_itself(monkeypatch)
    assert read_together(texts) == expected
    assert sorted(asked) == sorted(others)


def note_what_is_read_by_itself(monkeypatch):
    read_together(["2026-01-05T12:00:00.123Z"] * 100)  # the zone is known from here on
    asked = []

    def parsed(text):
        asked.append(text)
        return parse_occurred_at(text)

    monkeypatch.setattr(instant_columns, "parse_occurred_at", parsed)
    return asked
