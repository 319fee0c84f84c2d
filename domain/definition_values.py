"""Reading the values of a definition: every problem is collected with its path.

A `Section` is one mapping of the definition. Its methods give a value, or its default after noting
what is wrong, so that one reading finds every problem.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from domain.errors import Problem
from domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from domain.money import shown

# Far beyond any reconciliation, and far inside what a 64-bit count of microseconds can hold.
DURATION_US_MAX: Final = 36_500 * DAY_US
DURATION_EXAMPLE = "an ISO 8601 duration such as P3D, PT10M or P1DT2H"
_WHOLE_DIGITS_MAX, _FRACTION_DIGITS_MAX = 18, 9

_DURATION = re.compile(
    r"P(?:([0-9]{1,9})W|(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:\.([0-9]{1,6}))?S)?)?)"
)
_CALENDAR_DURATION = re.compile(r"P[0-9]+[YM].*|P[0-9]+Y[0-9]+M.*")
_DECIMAL = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")


def parse_duration(text: str) -> int:
    """Read an ISO 8601 duration of weeks, or of days and clock time, into microseconds.

    Raises:
        ValueError: Another form, months or years (their length varies), or over 100 years.
    """
    if text.startswith("-"):
        raise ValueError(f"{shown(text)} is negative; durations are never")
    if _CALENDAR_DURATION.fullmatch(text):
        raise ValueError(
            f"{shown(text)} counts months or years, whose length varies; count days, such as P30D"
        )
    parts = _DURATION.fullmatch(text)
    if parts is None or not any(parts.groups()):
        raise ValueError(f"{shown(text)} is not {DURATION_EXAMPLE}")
    weeks, days, hours, minutes, seconds, fraction = (part or "0" for part in parts.groups())
    duration_us = (
        (int(weeks) * 7 + int(days)) * DAY_US
        + int(hours) * HOUR_US
        + int(minutes) * MINUTE_US
        + int(seconds) * SECOND_US
        + int(fraction.ljust(6, "0"))
    )
    if duration_us > DURATION_US_MAX:
        raise ValueError(f"{shown(text)} is longer than 100 years")
    return duration_us


def format_duration(duration_us: int) -> str:
    """Write microseconds as the ISO 8601 duration that `parse_duration` reads back."""
    days, rest = divmod(duration_us, DAY_US)
    hours, rest = divmod(rest, HOUR_US)
    minutes, rest = divmod(rest, MINUTE_US)
    seconds, microseconds = divmod(rest, SECOND_US)
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if seconds or fraction:
        clock += f"{seconds}{fraction}S"
    if not days and not clock:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "")


def is_time_zone(name: str) -> bool:
    """Say whether a name is in the IANA time zone database."""
    # The file names the database uses for itself are no zones.
    if name in ("localtime", "posixrules", "Factory"):
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def kind(value: object) -> str:
    """Name the kind of a plain value for a message."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    return "nothing" if value is None else shown(str(value))


def nearest(name: str, allowed: Sequence[str]) -> str:
    """Say which of the allowed names was perhaps meant, or list them all."""
    close = difflib.get_close_matches(name, allowed, 1)
    if close:
        return f"did you mean {close[0]}?"
    return f"allowed: {', '.join(allowed)}"


class Section:
    """One mapping of a definition and where it stands."""

    def __init__(
        self, value: object, path: str, problems: list[Problem], allowed: Sequence[str]
    ) -> None:
        self.path = path
        self.problems = problems
        self.values: dict[str, object] = {}
        self.is_mapping = True
        if value is None:
            return
        if not isinstance(value, Mapping):
            self.refuse("", f"is {kind(value)}, must be a mapping with {', '.join(allowed)}")
            self.is_mapping = False
            return
        for name, inner in value.items():
            if name not in allowed:
                self.refuse(str(name), f"is not a known field; {nearest(str(name), allowed)}")
            elif inner is not None:
                self.values[name] = inner

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def at(self, name: str) -> str:
        """Give the path of a field of this section."""
        return ".".join(part for part in (self.path, name) if part)

    def refuse(self, name: str, message: str) -> None:
        """Note a problem with a field; an empty name means the section itself."""
        self.problems.append(Problem(self.at(name), message))

    def section(self, name: str, allowed: Sequence[str]) -> "Section":
        """Give a mapping inside this one; an absent one is empty."""
        return Section(self.values.get(name), self.at(name), self.problems, allowed)

    def items(self, name: str) -> list[tuple[str, object]]:
        """Give a list as (path, value) of each element; an absent one is empty."""
        value = self.values.get(name, ())
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            self.refuse(name, f"is {kind(value)}, must be a list")
            return []
        return [(f"{self.at(name)}[{place}]", inner) for place, inner in enumerate(value)]

    def text(self, name: str, length_max: int, *, required: bool = False) -> str | None:
        """Give trimmed text without control characters; None when absent or refused."""
        value = self.values.get(name)
        if value is None:
            if required:
                self.refuse(name, "is missing")
            return None
        if not isinstance(value, str):
            self.refuse(name, f"is {kind(value)}, must be text; write it in quotes")
            return None
        text = value.strip()
        if not text or len(text) > length_max or not text.isprintable():
            self.refuse(name, f"must be 1 to {length_max} printable characters")
            return None
        return text

    def choice(self, name: str, supported: Sequence[str], default: str) -> str:
        """Give one of the supported words."""
        value = self.values.get(name, default)
        if value in supported:
            return str(value)
        self.refuse(name, f"is {kind(value)}, must be one of {', '.join(supported)}")
        return default

    def flag(self, name: str, default: bool) -> bool:
        """Give true or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, f"is {kind(value)}, must be true or false")
            return default
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Give a whole number within bounds; None when absent or refused."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(name, f"is {kind(value)}, must be a whole number from {low} to {high}")
            return None
        return value

    def decimal(self, name: str) -> Decimal | None:
        """Give an exact decimal, from text or a whole number; None when absent or refused."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, float):
            self.refuse(name, f'{value} is not exact; write it in quotes, such as "0.50"')
            return None
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.refuse(name, f'is {kind(value)}, must be a decimal in quotes, such as "0.50"')
            return None
        parts = _DECIMAL.fullmatch(str(value))
        if parts is None:
            self.refuse(name, f'is {kind(value)}, must be a plain decimal such as "-0.50"')
            return None
        whole, fraction = parts.groups("")
        if len(whole) > _WHOLE_DIGITS_MAX or len(fraction) > _FRACTION_DIGITS_MAX:
            self.refuse(
                name,
                f"has too many digits; at most {_WHOLE_DIGITS_MAX} before "
                f"and {_FRACTION_DIGITS_MAX} after the point",
            )
            return None
        return Decimal(parts.group())

    def duration(self, name: str, default_us: int) -> int:
        """Give a duration in microseconds."""
        value = self.values.get(name)
        if value is None:
            return default_us
        if not isinstance(value, str):
            self.refuse(name, f"is {kind(value)}, must be {DURATION_EXAMPLE}")
            return default_us
        try:
            return parse_duration(value)
        except ValueError as problem:
            self.refuse(name, str(problem))
            return default_us

    def time_zone(self, name: str, default: str) -> str:
        """Give the name of an IANA time zone."""
        value = self.values.get(name, default)
        if not isinstance(value, str) or not is_time_zone(value):
            self.refuse(name, f"is {kind(value)}, must be an IANA time zone such as Europe/Vienna")
            return default
        return value
