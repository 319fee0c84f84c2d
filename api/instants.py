"""Instants as requests give them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(instant: datetime) -> datetime:
    # Postgres knows no offset of 16 hours or more; the instant is the same without one.
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 0001 to 9999 in UTC") from None


#: A time with its offset, turned to UTC.
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
