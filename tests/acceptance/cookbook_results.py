"""What a recipe expects, and what an engine made of it, in one form that can be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from domain.definitions import Definition

LIMIT = 200


@dataclass(frozen=True)
class Found:
    """The end state: (status, rule, source ids, target ids, difference); (side, id, category)."""

    matches: list[tuple[str, str, list[str], list[str], str]]
    exceptions: list[tuple[str, str, str]]

    @property
    def transactions(self) -> int:
        """How many transactions it accounts for."""
        matched = sum(len(sources) + len(targets) for _, _, sources, targets, _ in self.matches)
        return matched + len(self.exceptions)


def _found(matches: Iterable[dict[str, Any]], exceptions: Iterable[dict[str, Any]]) -> Found:
    names = ("status", "rule", "source_ids", "target_ids", "difference")
    return Found(
        sorted(tuple(one[name] for name in names) for one in matches),
        sorted((one["side"], one["transaction_id"], one["category"]) for one in exceptions),
    )


def expected_of(recipe: Path) -> Found:
    """What the recipe says it comes to; a match without `status` is confirmed."""
    expected = msgspec.json.decode((recipe / "expected.json").read_bytes())
    assert set(expected) == {"matches", "exceptions"}
    matches = [{"status": "confirmed", "difference": "0.00"} | one for one in expected["matches"]]
    return _found(matches, expected["exceptions"])


def found_in(directory: Path) -> Found:
    """What `settler reconcile` wrote."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    matches, exceptions = (
        decoder.decode_lines((directory / name).read_bytes())
        for name in ("matches.jsonl", "exceptions.jsonl")
    )
    return _found(matches, exceptions)


def served_by(client: httpx.Client, definition: Definition) -> Found:
    """What the API says of a reconciliation."""
    matches, exceptions = [], []
    for path, status, into in (
        ("matches", {"status": "confirmed"}, matches),
        ("matches", {"status": "suggested"}, matches),
        ("exceptions", {"status": "open"}, exceptions),
    ):
        answer = client.get(
            f"/api/v1/{path}",
            params={"reconciliation_id": definition.reconciliation_id, "limit": LIMIT, **status},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["next_cursor"] is None
        into.extend(answer.json()["items"])
    return _found(matches, exceptions)
