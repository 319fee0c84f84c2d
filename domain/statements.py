"""The statement of a closed business day: what came, where it went, and what is still open.

A statement is a text of JSON. Its hash is SHA-256 over that text, and the text names the hash of
the statement before it, so that no day can be changed, left out or put in without every later one
showing it. Of each side and currency: opening + movements = closing, for every place; and in each
of the three, what was accepted is the sum of the places.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from domain.errors import SettlerError
from domain.money import CURRENCY_DIGITS, amount_text

#: Where an accepted transaction can stand, in the order shown.
PLACES = ("matched", "suggested", "exception", "duplicate", "superseded", "pending")
FIGURES = ("accepted", *PLACES)
RECORDS = ("consumed", "accepted", "redelivered", "rejected")
FORMAT = 1

#: place → count and sum in minor units
Figures = Mapping[str, tuple[int, int]]


class ChainBroken(SettlerError):
    """A statement is not what was hashed, or does not follow the one before it."""

    code = "statement.chain_broken"


class Statement(NamedTuple):
    """A statement as it is kept."""

    day: str
    text: str
    hash: str
    previous_hash: str | None


def hash_of(text: str) -> str:
    """Hash a statement's text: SHA-256, as hex digits."""
    return sha256(text.encode()).hexdigest()


def write_statement(
    scope: tuple[str, str],
    day: str,
    time_zone: str,
    closed: tuple[int, str],
    moved: Mapping[tuple[str, str], Figures],
    records: Mapping[str, tuple[int, int, int]],
    previous: Statement | None,
) -> Statement:
    """Write the statement of a day.

    Args:
        scope: Tenant and reconciliation.
        closed: Position of the event that closed the day, and when it was stored.
        moved: (side, currency) → what moved on that day, every place of `FIGURES`.
        records: Side → accepted, redelivered and rejected records of that day.
        previous: The statement before; None for the first.
    """
    before = {} if previous is None else closing_of(previous)
    totals = []
    for key in sorted(before.keys() | moved.keys()):
        nothing: Figures = dict.fromkeys(FIGURES, (0, 0))
        opening, movements = before.get(key, nothing), moved.get(key, nothing)
        closing = {
            name: (opening[name][0] + movements[name][0], opening[name][1] + movements[name][1])
            for name in FIGURES
        }
        totals.append(
            {
                "side": key[0],
                "currency": key[1],
                **{
                    part: {name: _plain(*figures[name], key[1]) for name in FIGURES}
                    for part, figures in (
                        ("opening", opening),
                        ("movements", movements),
                        ("closing", closing),
                    )
                },
            }
        )
    content = {
        "format": FORMAT,
        "tenant_id": scope[0],
        "reconciliation_id": scope[1],
        "day": day,
        "time_zone": time_zone,
        "position": closed[0],
        "closed_at": closed[1],
        "previous": None if previous is None else {"day": previous.day, "hash": previous.hash},
        "records": [
            {"side": side, **dict(zip(RECORDS, (sum(counts), *counts), strict=True))}
            for side, counts in sorted(records.items())
        ],
        "totals": totals,
    }
    text = msgspec.json.encode(content).decode()
    return Statement(day, text, hash_of(text), None if previous is None else previous.hash)


def read_content(text: str) -> dict[str, Any]:
    """Give a statement's text as plain values."""
    content: dict[str, Any] = msgspec.json.decode(text)
    return content


def closing_of(statement: Statement) -> dict[tuple[str, str], Figures]:
    """Give what stood where at the end of a statement's day, by side and currency."""
    return {
        (total["side"], total["currency"]): {
            name: (one["count"], _minor(one["amount"], total["currency"]))
            for name, one in total["closing"].items()
        }
        for total in read_content(statement.text)["totals"]
    }


def check_chain(statements: Sequence[Statement]) -> None:
    """Hold a run of statements, oldest first, against their hashes and against each other.

    Raises:
        ChainBroken: One is not what was hashed, names another one before it, opens otherwise than
            that closed, or does not add up.
    """
    previous: Statement | None = None
    for one in statements:
        content = read_content(one.text)
        if hash_of(one.text) != one.hash or content["day"] != one.day:
            raise ChainBroken(f"the statement of {one.day} is not the text that was hashed")
        named = content["previous"] and content["previous"]["hash"]
        if named != one.previous_hash or (previous is not None and named != previous.hash):
            raise ChainBroken(f"the statement of {one.day} does not follow the one before it")
        before = {} if previous is None else closing_of(previous)
        for total in content["totals"]:
            _check_sums(one.day, total, before if previous is not None else None)
        previous = one


def _check_sums(
    day: str, total: dict[str, Any], before: Mapping[tuple[str, str], Figures] | None
) -> None:
    key = (total["side"], total["currency"])
    parts = {
        part: {
            name: (one["count"], _minor(one["amount"], key[1])) for name, one in total[part].items()
        }
        for part in ("opening", "movements", "closing")
    }
    where = f"the statement of {day}, {key[0]} {key[1]}"
    nothing = dict.fromkeys(FIGURES, (0, 0))
    if before is not None and parts["opening"] != before.get(key, nothing):
        raise ChainBroken(f"{where}: it opens otherwise than the day before closed")
    for place in (0, 1):
        for name in FIGURES:
            opening, moved, closing = (parts[part][name][place] for part in parts)
            if opening + moved != closing:
                raise ChainBroken(f"{where}: {name} does not add up")
        for part, figures in parts.items():
            if figures["accepted"][place] != sum(figures[name][place] for name in PLACES):
                raise ChainBroken(f"{where}: the {part} of the places is not what was accepted")


def _plain(count: int, minor: int, currency: str) -> dict[str, Any]:
    return {"count": count, "amount": amount_text(minor, currency)}


def _minor(amount: str, currency: str) -> int:
    return int(Decimal(amount).scaleb(CURRENCY_DIGITS[currency]))


# For people -----------------------------------------------------------------------------------

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid}
th:first-child,td:first-child{text-align:left}
code{overflow-wrap:anywhere}
"""


def write_html(statement: Statement) -> str:
    """Write a statement as a page to read and to print; it loads nothing."""
    content = read_content(statement.text)
    previous = content["previous"]
    title = f"Control statement {content['reconciliation_id']}, {content['day']}"
    facts = (
        ("Tenant", content["tenant_id"]),
        ("Reconciliation", content["reconciliation_id"]),
        ("Business day", f"{content['day']} ({content['time_zone']})"),
        ("Closed", f"{content['closed_at']}, position {content['position']} of the log"),
        ("SHA-256 of this statement", statement.hash),
        (
            "SHA-256 of the statement before",
            "none, this is the first" if previous is None else
            f"{previous['hash']} ({previous['day']})",
        ),
    )  # fmt: skip
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1><dl>",
        *(f"<dt>{name}</dt><dd><code>{html.escape(value)}</code></dd>" for name, value in facts),
        "</dl><h2>Records</h2>",
        _table(("side", *RECORDS), ([one[name] for name in ("side", *RECORDS)]
                                    for one in content["records"])),
    ]  # fmt: skip
    for total in content["totals"]:
        parts.append(f"<h2>{html.escape(total['side'])}, {html.escape(total['currency'])}</h2>")
        rows = (
            [
                name,
                *(
                    f"{total[part][name][figure]}"
                    for part in ("opening", "movements", "closing")
                    for figure in ("count", "amount")
                ),
            ]
            for name in FIGURES
        )
        head = ("", "opening", "amount", "movements", "amount", "closing", "amount")
        parts.append(_table(head, rows))
    parts.append(
        "<p>Opening and movements add up to closing. What was accepted is the sum of the other "
        "lines. What was decided after the day was closed is posted to the first day still open."
        "</p></body></html>\n"
    )
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
