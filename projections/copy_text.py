"""COPY's text format and what goes into its fields.

The format is PostgreSQL's, section "COPY", "Text Format"; arrays are written as its section "Array
Input and Output Syntax" says.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

#: Stands in read models for NUL, which no text of Postgres holds; the log keeps the original.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x00": _REPLACEMENT}
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def field(value: str | int | datetime | None) -> str:
    """Write one value as a field."""
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return str(value)


def array_field(values: Iterable[str]) -> str:
    r"""Write texts as a field of type text[]: every element quoted, so that none is special."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return field('{"' + '","'.join(quoted) + '"}')


def line(values: Sequence[str | int | datetime | None]) -> str:
    """Write one row."""
    return "\t".join(map(field, values)) + "\n"


def storable(text: str) -> str:
    """Return a text that a text column takes."""
    return text.replace("\x00", _REPLACEMENT)


def json_text(value: Any) -> str:
    """Write a value as JSON that jsonb takes."""
    text = msgspec.json.encode(value).decode()
    if "\\u0000" in text:
        text = msgspec.json.encode(_without_nul(msgspec.to_builtins(value))).decode()
    return text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _without_nul(item) for key, item in value.items()}
    return value


def instant(microseconds: int) -> datetime:
    """Turn microseconds since the epoch into UTC; outside years 1 to 9999 the nearest end."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _EARLIEST if microseconds < 0 else _LATEST
