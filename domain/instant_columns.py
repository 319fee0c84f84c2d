"""Event times of many records, read all together.

Whoever writes records writes most event times alike: to as many digits, and with the same offset.
Those are taken in as one table of characters, at a fifth of what reading each costs. What is not
written like the others, or is no such day or time, is read by itself. See `domain.instants` for
what can be read.

Numpy does nothing here but whole numbers: its own reading of dates ends the process where one of
more than 500 cannot be read (release 2.4.6).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.instants import FIRST_US, LAST_US, InstantInvalid, parse_occurred_at

_Bytes: TypeAlias = NDArray[np.uint8]
_Integers: TypeAlias = NDArray[np.int64]

# Below so many, setting up the table costs more than it saves.
_TOGETHER_MIN: Final = 80
_SECONDS: Final = "0000-00-00T00:00:00"
# Where two digits begin that belong together: century, year, month, day, hour, minute, second.
_TENS: Final = np.array([0, 2, 5, 8, 11, 14, 17])
_TEN: Final = np.uint8(10)
_LINE_FEED: Final = np.uint8(ord("\n"))
# The least that month, day, hour, minute and second are, and by how much they may be more.
_LEAST: Final[_Bytes] = np.array([[1], [1], [0], [0], [0]], np.uint8)
_ABOVE: Final[_Bytes] = np.array([[11], [30], [23], [59], [59]], np.uint8)
_FRACTION: Final = len(_SECONDS) + len(".")
_FRACTION_DIGITS_MAX: Final = 9
_MICROSECOND_DIGITS: Final = 6
_YEARS: Final = 10_000


class Instants(NamedTuple):
    """Event times, as `parse_occurred_at` gives them.

    Attributes:
        microseconds: Since the epoch, UTC, one a text; no matter what where it cannot be read.
        dates: Places of the bare dates.
        unreadable: Places of what is neither an instant nor a date.
    """

    microseconds: list[int]
    dates: list[int]
    unreadable: list[int]


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to write an instant; behind each stands a line feed.

    Attributes:
        least: The characters of the least instant, 0 for every digit.
        above: By how much each may be more.
        digits: Of the fraction, those that are kept; what is finer than a microsecond is cut off.
        shift_us: From the time written to UTC.
    """

    least: _Bytes
    above: _Bytes
    digits: int
    shift_us: int


def read_instants(texts: Sequence[str]) -> Instants:
    """Read event times, see `parse_occurred_at`."""
    read = _read_alike(texts)
    if read is not None:
        return read
    read = Instants([0] * len(texts), [], [])
    if len(texts) < _TOGETHER_MIN:
        _read_each(texts, range(len(texts)), read)
        return read
    by_length: dict[int, list[int]] = {}
    for place, text in enumerate(texts):
        by_length.setdefault(len(text), []).append(place)
    for places in by_length.values():
        # A clock that leaves zeros at the end out writes nine of ten alike.
        some = _read_alike([texts[place] for place in places]) if len(by_length) > 1 else None
        if some is None:
            _read_each(texts, places, read)
            continue
        for place, microseconds in zip(places, some.microseconds, strict=True):
            read.microseconds[place] = microseconds
        # No date is as long as an instant.
        read.unreadable.extend(places[at] for at in some.unreadable)
    return read


def _read_each(texts: Sequence[str], places: Iterable[int], into: Instants) -> None:
    for place in places:
        try:
            into.microseconds[place], is_date = parse_occurred_at(texts[place])
        except InstantInvalid:
            into.unreadable.append(place)
        else:
            if is_date:
                into.dates.append(place)


def _read_alike(texts: Sequence[str]) -> Instants | None:
    """Read texts of one length, most of them of the form of the first; None if there is none."""
    if len(texts) < _TOGETHER_MIN:
        return None
    first = texts[0]
    form = _form(len(first), first[-1:] if first.endswith("Z") else first[-len("+00:00") :])
    lines = "\n".join([*texts, ""])
    if form is None or len(lines) != len(form.least) * len(texts) or not lines.isascii():
        return None
    table: _Bytes = np.frombuffer(lines.encode(), np.uint8).reshape(len(texts), -1)
    ends = table == _LINE_FEED
    # A line feed ends each line and there is no other: each line is one text.
    if not ends[:, -1].all() or np.count_nonzero(ends) != len(texts):
        return None
    microseconds, odd = _read_table(table, form)
    read = Instants(microseconds.tolist(), [], [])
    _read_each(texts, odd.tolist(), read)
    return read


def _read_table(table: _Bytes, form: _Form) -> tuple[_Integers, NDArray[np.intp]]:
    """Give microseconds since the epoch a line, and the places of the lines not of that form."""
    figures = table - form.least
    beyond = figures > form.above
    if beyond.any():
        figures[beyond.any(axis=1)] = 0  # of month 0, which there is not
    columns = np.ascontiguousarray(figures.T)
    pairs = columns[_TENS] * _TEN + columns[_TENS + 1]
    odd = (pairs[2:] - _LEAST > _ABOVE).any(axis=0)
    century, year, month, day, hour, minute, second = pairs.astype(np.int64)
    months = (century * 100 + year) * 12 + month - 1
    if odd.any():
        months[odd] = 0
    first_days = _FIRST_DAYS[months]
    odd |= day > _FIRST_DAYS[months + 1] - first_days
    instants = (((first_days + day - 1) * 24 + hour) * 60 + minute) * 60 + second
    for figure in columns[_FRACTION : _FRACTION + form.digits]:
        instants = instants * 10 + figure
    instants = instants * 10 ** (_MICROSECOND_DIGITS - form.digits) + form.shift_us
    odd |= (instants < FIRST_US) | (instants > LAST_US)
    return instants, np.flatnonzero(odd)


@lru_cache(maxsize=256)
def _form(length: int, zone: str) -> _Form | None:
    """The form of instants so long whose zone is written so; None where there is none."""
    digits = length - _FRACTION - len(zone)
    if digits not in (-1, *range(1, _FRACTION_DIGITS_MAX + 1)):
        return None
    try:
        shift_us, _ = parse_occurred_at(f"1970-01-01T00:00:00{zone}")
    except InstantInvalid:
        return None
    time = _SECONDS if digits < 0 else f"{_SECONDS}.{'0' * digits}"
    above = [9 if one == "0" else 0 for one in time] + [0] * len(f"{zone}\n")
    return _Form(
        np.frombuffer(f"{time}{zone}\n".encode(), np.uint8),
        np.array(above, np.uint8),
        max(0, min(digits, _MICROSECOND_DIGITS)),
        shift_us,
    )


def _first_days() -> _Integers:
    """The first day of each month, in days since the epoch, at 12 x year + month - 1."""
    years = np.arange(_YEARS)
    lengths = np.tile([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], (_YEARS, 1))
    lengths[(years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0)), 1] = 29
    days: _Integers = np.concatenate(([0], lengths.ravel().cumsum()))
    days -= days[12 * 1970]
    return days


_FIRST_DAYS: Final = _first_days()
