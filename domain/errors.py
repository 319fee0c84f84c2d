"""The base of every error this project raises on purpose, and the refusal of a definition."""

from collections.abc import Sequence
from dataclasses import dataclass


class SettlerError(Exception):
    """An operating failure or refusal that a person can act on.

    Each subclass lives in the module of its concern and sets `code`, a stable dotted or plain
    name that logs, the API and the command line show beside the sentence.
    """

    code = "settler.error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a definition.

    Attributes:
        path: Where, such as `rules[0].amount.tolerance.percent`; empty for the whole.
        message: A sentence without subject that says what is allowed.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class DefinitionInvalid(SettlerError):
    """A reconciliation definition cannot mean anything; `problems` names all that was found."""

    code = "definition_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = list(problems)
