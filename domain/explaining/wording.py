"""Numbers, instants and lists as the sentences of explanations have them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PIECES = ((DAY_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute"), (SECOND_US, "second"))
# How many ids or values a sentence names before it only counts.
_NAMED_MAX = 5


def whom(command_id: str | None, user_id: str | None) -> str:
    """Who did something, as far as it is on record: their credential, and their command."""
    user = "" if user_id is None else f"{user_id}, "
    return f"({user}command {command_id})"


def plain(value: Fraction) -> str:
    """A fraction whose decimals end, written out; percentages of minor units do."""
    with localcontext(prec=100):
        text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def day_text(day: int) -> str:
    """A day, counted from 1970-01-01."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def duration_text(duration_us: int) -> str:
    """A length of time in words: 3 days, 1 hour 30 minutes."""
    words = []
    for size, name in _PIECES:
        count, duration_us = divmod(duration_us, size)
        if count:
            words.append(counted(count, name))
    return " ".join(words) or "no time"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 day, 2 days."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a list in a sentence; long ones end in a count."""
    shown = list(words[:_NAMED_MAX])
    if len(words) > len(shown):
        shown.append(f"{len(words) - len(shown)} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def quoted(values: Sequence[str | None]) -> str:
    """Values of a field in a sentence."""
    return listed(["nothing" if value is None else f"'{value}'" for value in values])
