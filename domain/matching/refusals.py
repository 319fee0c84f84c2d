"""What people have kept apart: suggestions they rejected, matches they reversed."""

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from domain.matching.compiled import CompiledRule


class Refusal(NamedTuple):
    """Members, ids in order, that a rule does not bring together again; None: no rule does."""

    rule: str | None
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]


class Refusals:
    """The refusals of one reconciliation, in the order they were made."""

    def __init__(self) -> None:
        self._refusals: dict[Refusal, None] = {}

    def __iter__(self) -> Iterator[Refusal]:
        return iter(self._refusals)

    def add(self, refusal: Refusal, rules: Sequence[CompiledRule]) -> None:
        """Keep it, and tell the rules it concerns."""
        self._refusals[refusal] = None
        for rule in rules:
            if refusal.rule is None or refusal.rule == rule.name:
                members = refusal.source_ids, refusal.target_ids
                rule.refuse(members, rejected=refusal.rule is not None)

    def tell(self, rules: Sequence[CompiledRule]) -> None:
        """Tell new rules all of them; a rule is the one of before when it has its name."""
        for refusal in self._refusals:
            self.add(refusal, rules)

    def forget(
        self, known: tuple[Container[str], Container[str]], rules: Sequence[CompiledRule]
    ) -> None:
        """Drop those of which no member is known any more."""
        kept = [
            one
            for one in self._refusals
            if any(member in known[0] for member in one.source_ids)
            or any(member in known[1] for member in one.target_ids)
        ]
        if len(kept) < len(self._refusals):
            self._refusals = dict.fromkeys(kept)
            for rule in rules:
                rule.refuse_none()
            self.tell(rules)
