"""The text of one cell, turned from the file's notation into the transaction record's."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from connectors.files.errors import CellInvalid
from domain.definitions import Column

Convert = Callable[[str], str]

AMOUNT_FIELDS = frozenset({"amount", "fee", "base_amount", "fx_rate"})
TIME_FIELD = "occurred_at"

# The directives whose values are digits alone, as `strptime` reads them.  A format made of these
# is read by one regular expression: `strptime` takes eight times as long.
_DIGITS = {
    "Y": ("year", r"\d{4}"),
    "m": ("month", r"\d{1,2}"),
    "d": ("day", r"\d{1,2}"),
    "H": ("hour", r"\d{1,2}"),
    "M": ("minute", r"\d{1,2}"),
    "S": ("second", r"\d{1,2}"),
    "f": ("microsecond", r"\d{1,6}"),
}
# Clocks have been set at whole minutes, by whole minutes, since Liberia was the last to do
# otherwise in January 1972: a zone's offset is looked up once for a minute of local time.
OFFSETS_KEPT_FROM = 1973
OFFSETS_MAX = 65_536

_TIME_DIRECTIVE = re.compile(r"%[HIMSfpXc]")


def converter(field: str, column: Column, time_zone: str) -> Convert | None:
    """What a cell of this column has to go through, or None when it is taken as it stands.

    Args:
        field: Our name of the field.
        column: The definition's words on it.
        time_zone: The definition's zone, for a time whose column names none.
    """
    if field in AMOUNT_FIELDS:
        return _amount_converter(column)
    if field == TIME_FIELD:
        return _time_converter(column, time_zone)
    return None


def negated(text: str) -> str:
    """Turn the sign of a decimal's text."""
    return text[1:] if text.startswith("-") else f"-{text}"


def _amount_converter(column: Column) -> Convert | None:
    if column.decimal is None and column.thousands is None:
        return (lambda text: negated(text.strip())) if column.negate else None
    point = re.escape(column.decimal or ".")
    whole = r"\d+"
    if column.thousands is not None:
        # Groups of three and nothing else: "1.50" under thousands "." is not 150.
        whole = rf"\d{{1,3}}(?:{re.escape(column.thousands)}\d{{3}})+|\d+"
    notation = re.compile(rf"(-?)({whole})(?:{point}(\d+))?", re.ASCII)

    def convert(text: str) -> str:
        found = notation.fullmatch(text.strip())
        if found is None:
            separators = f"decimal {column.decimal or '.'!r}, thousands {column.thousands!r}"
            raise CellInvalid(
                "invalid_amount",
                f"column {column.column!r} holds {text[:60]!r}, which is not an amount written "
                f"with {separators}; correct it, or the column's separators in the definition",
            )
        sign, digits, fraction = found.groups()
        if column.thousands is not None:
            digits = digits.replace(column.thousands, "")
        plain = f"{sign}{digits}" if fraction is None else f"{sign}{digits}.{fraction}"
        return negated(plain) if column.negate else plain

    return convert


def _time_converter(column: Column, time_zone: str) -> Convert | None:
    if column.format is None:
        return _zoned_iso(column) if column.time_zone is not None else None
    zone = ZoneInfo(column.time_zone or time_zone)
    read = _reader(column.format)
    offsets: dict[tuple[int, int, int], timedelta] = {}
    is_date = _TIME_DIRECTIVE.search(column.format.replace("%%", "")) is None

    def convert(text: str) -> str:
        moment = read(text.strip())
        if moment is None:
            raise CellInvalid(
                "invalid_timestamp",
                f"column {column.column!r} holds {text[:60]!r}, which is not of the format "
                f"{column.format!r}; correct it, or the column's format in the definition",
            )
        if is_date:
            return moment.date().isoformat()
        if moment.tzinfo is not None or moment.year < OFFSETS_KEPT_FROM:
            return _in_utc(moment, zone, column.column)
        place = (moment.toordinal(), moment.hour, moment.minute)
        offset = offsets.get(place)
        if offset is None:
            minute = moment.replace(second=0, microsecond=0)
            offset = minute - datetime.fromisoformat(
                _in_utc(minute, zone, column.column).removesuffix("Z")
            )
            if len(offsets) >= OFFSETS_MAX:
                offsets.clear()
            offsets[place] = offset
        return (moment - offset).isoformat() + "Z"

    return convert


def _zoned_iso(column: Column) -> Convert:
    """Instants as in the record, except that those without an offset are the column's zone's."""
    zone = ZoneInfo(column.time_zone or "UTC")

    def convert(text: str) -> str:
        text = text.strip()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text  # the record's own validation says what is wrong with it
        if len(text) == 10 or moment.tzinfo is not None:
            return text
        return _in_utc(moment, zone, column.column)

    return convert


def _in_utc(moment: datetime, zone: ZoneInfo, column: str) -> str:
    """RFC 3339 of a moment; one without an offset is local to the zone.

    Of an hour that comes twice when clocks are set back the first is meant (`fold` 0).  A time in
    the hour that is skipped does not exist and is refused.
    """
    if moment.tzinfo is None:
        local = moment.replace(tzinfo=zone)
        instant = local.astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) != moment:
            raise CellInvalid(
                "invalid_timestamp",
                f"column {column!r} holds {moment.isoformat(' ')}, a time that does not exist in "
                f"{zone.key} because clocks are set forward over it; correct it",
            )
    else:
        instant = moment.astimezone(UTC)
    return instant.replace(tzinfo=None).isoformat() + "Z"


def _reader(time_format: str) -> Callable[[str], datetime | None]:
    pattern = _digit_pattern(time_format)

    def by_strptime(text: str) -> datetime | None:
        try:
            return datetime.strptime(text, time_format)  # noqa: DTZ007 - the caller sets the zone
        except ValueError:
            return None

    if pattern is None:
        return by_strptime
    names = tuple(pattern.groupindex)

    def by_pattern(text: str) -> datetime | None:
        found = pattern.fullmatch(text)
        if found is None:
            return None
        parts = dict(zip(names, map(int, found.groups()), strict=True))
        if "microsecond" in parts:
            parts["microsecond"] = int(found["microsecond"].ljust(6, "0"))
        try:
            return datetime(**parts)  # type: ignore[arg-type] # noqa: DTZ001 - as above
        except ValueError:
            return None

    return by_pattern


def _digit_pattern(time_format: str) -> re.Pattern[str] | None:
    """The format as a regular expression; None when it has anything but digits and signs."""
    pieces = []
    seen = set()
    position = 0
    while position < len(time_format):
        sign = time_format[position]
        if sign != "%":
            pieces.append(r"\s+" if sign.isspace() else re.escape(sign))
            position += 1
            continue
        directive = _DIGITS.get(time_format[position + 1 : position + 2])
        if directive is None or directive[0] in seen:
            return None
        seen.add(directive[0])
        pieces.append(f"(?P<{directive[0]}>{directive[1]})")
        position += 2
    if not {"year", "month", "day"} <= seen:
        return None
    return re.compile("".join(pieces), re.ASCII)
