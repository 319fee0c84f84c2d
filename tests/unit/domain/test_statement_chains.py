"""A chain of statements whose hashes follow on says nothing yet about its sums; they are held."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from domain.statements import (
    FIGURES,
    ChainBroken,
    Statement,
    check_chain,
    hash_of,
    read_content,
    write_statement,
)

KEY = ("source", "EUR")


def chain() -> list[Statement]:
    """Two days: three accepted on the first, of which the second day matches one."""
    nothing = dict.fromkeys(FIGURES, (0, 0))
    moves = [
        nothing | {"accepted": (3, 300), "pending": (3, 300)},
        nothing | {"matched": (1, 100), "pending": (-1, -100)},
    ]
    statements: list[Statement] = []
    for day, moved in enumerate(moves, 5):
        closed = (day, f"2026-01-0{day + 1}T00:00:00Z")
        previous = statements[-1] if statements else None
        statements.append(
            write_statement(
                ("acme", "orders"),
                f"2026-01-0{day}",
                "UTC",
                closed,
                {KEY: moved},
                {},
                previous,
            )
        )
    return statements


def rewritten(one: Statement, change: Callable[[dict[str, Any]], None]) -> Statement:
    """A statement with other figures, hashed as if it had always had them."""
    content = read_content(one.text)
    change(content["totals"][0])
    text = msgspec.json.encode(content).decode()
    return one._replace(text=text, hash=hash_of(text))


def move_of_opening(total: dict[str, Any]) -> None:
    for part in ("opening", "closing"):
        for name in ("accepted", "pending"):
            total[part][name]["count"] += 1


def move_of_closing(total: dict[str, Any]) -> None:
    total["closing"]["matched"]["count"] += 1


def move_of_places(total: dict[str, Any]) -> None:
    for part in ("movements", "closing"):
        total[part]["duplicate"]["amount"] = "1.00"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (move_of_opening, "it opens otherwise than the day before closed"),
        (move_of_closing, "matched does not add up"),
        (move_of_places, "the movements of the places is not what was accepted"),
    ],
)
def test_a_rewritten_statement_with_a_hash_of_its_own_does_not_add_up(change, problem):
    first, second = chain()
    check_chain([first, second])
    with pytest.raises(ChainBroken, match=f"2026-01-06, source EUR: {problem}"):
        check_chain([first, rewritten(second, change)])
