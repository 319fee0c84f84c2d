"""Event times of many records, read all together.

Whoever writes records writes most event times alike, in UTC and to as many digits. Those are taken
in as one table of characters, at a third of what reading each costs. See `domain.instants` for what
is read, and how everything else is.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.instants import FIRST_US, InstantInvalid, parse_occurred_at

_Bytes: TypeAlias = NDArray[np.uint8]

# Below so many, setting up the table costs more than it saves.
_TOGETHER_MIN: Final = 16
_SECONDS: Final = "0000-00-00T00:00:00"
# Up to microseconds; what is finer is cut off.
_KEPT_MAX: Final = len(_SECONDS) + len(".000000")


class Instants(NamedTuple):
    """Event times, as `parse_occurred_at` gives them.

    Attributes:
        microseconds: Since the epoch, UTC, one a text; 0 where it cannot be read.
        dates: Places of the bare dates.
        unreadable: Places of what is neither an instant nor a date.
    """

    microseconds: list[int]
    dates: list[int]
    unreadable: list[int]


class _Form:
    """A way to write an instant; behind each is a line feed, so that none runs into the next.

    Args:
        text: The least of it: 0 for every digit.
    """

    def __init__(self, text: str) -> None:
        line = text + "\n"
        self.least: _Bytes = np.frombuffer(line.encode(), np.uint8)
        self.above: _Bytes = np.array([9 if one == "0" else 0 for one in line], np.uint8)
        kept = min(len(text) - len("Z"), _KEPT_MAX)
        self.line = np.dtype([("instant", f"S{kept}"), ("rest", f"S{len(line) - kept}")])


#: By the length of the text: RFC 3339 in UTC, with no fraction or one of up to nine digits.
_FORMS: Final = {
    len(text): _Form(text)
    for text in (f"{_SECONDS}Z", *(f"{_SECONDS}.{'0' * digits}Z" for digits in range(1, 10)))
}


def read_instants(texts: Sequence[str]) -> Instants:
    """Read event times, see `parse_occurred_at`."""
    together = _read_alike(texts)
    if together is not None:
        return Instants(together, [], [])
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
        else:
            for place, microseconds in zip(places, some, strict=True):
                read.microseconds[place] = microseconds
    return read


def _read_each(texts: Sequence[str], places: Sequence[int], into: Instants) -> None:
    for place in places:
        try:
            into.microseconds[place], is_date = parse_occurred_at(texts[place])
        except InstantInvalid:
            into.unreadable.append(place)
        else:
            if is_date:
                into.dates.append(place)


def _read_alike(texts: Sequence[str]) -> list[int] | None:
    """Read texts of one form; None where they are not, or one has no such day or time."""
    form = _FORMS.get(len(texts[0])) if len(texts) >= _TOGETHER_MIN else None
    if form is None:
        return None
    lines = "\n".join([*texts, ""])
    if len(lines) != len(form.least) * len(texts) or not lines.isascii():
        return None
    characters: _Bytes = np.frombuffer(lines.encode(), np.uint8)
    # A line feed stands at the end of each line and nowhere else, so that each line is one text.
    if (characters.reshape(len(texts), -1) - form.least > form.above).any():
        return None
    try:
        instants = characters.view(form.line)["instant"].astype("M8[us]").astype(np.int64)
    except ValueError:
        return None
    return instants.tolist() if instants.min() >= FIRST_US else None
