"""Lists in pages: a limit, an opaque cursor, and the next one.

A cursor is the sort key of the last row given out, so a page costs the same however deep it lies,
and rows that are added meanwhile never shift a row past the reader.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.errors import ApiError

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

Item = TypeVar("Item", bound=BaseModel)

Order = Literal["newest", "oldest"]


class PageQuery(BaseModel):
    """The parameters that every list takes; unknown ones are refused, not overlooked."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="Rows of a page.")
    cursor: str | None = Field(
        None, max_length=512, description="`next_cursor` of the page before; absent: the start."
    )


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page.")


def encode_cursor(key: Sequence[int | str]) -> str:
    """Make a sort key opaque and fit for a query string."""
    text = json.dumps(list(key), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, shape: Sequence[type]) -> list[Any]:
    """Read a cursor back as a key whose parts have the types of `shape`.

    Raises:
        ApiError: `invalid_cursor`, when it is not one of this list's.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise ApiError("invalid_cursor") from error
    fits = (
        isinstance(key, list)
        and len(key) == len(shape)
        and all(type(part) is kind for part, kind in zip(key, shape, strict=True))
        and all(-(2**63) <= part < 2**63 for part in key if isinstance(part, int))
        and all("\x00" not in part for part in key if isinstance(part, str))
    )
    if not fits:
        raise ApiError("invalid_cursor")
    return list(key)


def cut_page(
    rows: Sequence[dict[str, Any]], limit: int, key: Callable[[dict[str, Any]], Sequence[int | str]]
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """Split `limit + 1` fetched rows into the page and the cursor of the next one, if any."""
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, encode_cursor(key(page[-1]))
