"""What verification finds wrong: one sentence, its place, and what to do about it."""

from typing import NamedTuple

from domain.errors import SettlerError

RESTORE_LOG = (
    "The log was changed after it was committed, or restored in part: restore event_store, streams "
    "and log_head together from one backup, then rebuild the projections."
)
KEEP_AND_REPORT = (
    "Each part of the log can be read, yet it contradicts itself: stop the flow, keep the database "
    "as it is, and compare it with a backup from before this position."
)


class Where(NamedTuple):
    """A place in the log; None where it is not the matter of one stream or one event."""

    stream_id: str | None = None
    stream_version: int | None = None
    global_position: int | None = None

    def __str__(self) -> str:
        parts = [] if self.stream_id is None else [self.stream_id]
        if self.stream_version is not None:
            parts.append(f"version {self.stream_version}")
        if self.global_position is not None:
            parts.append(f"position {self.global_position}")
        return ", ".join(parts)


class Difference(SettlerError):
    """What is stored does not add up.

    Attributes:
        kind: What is concerned: log, journal, conservation, dead_letters, read_models or kafka.
        problem: What is wrong, as a sentence.
        hint: What to do about it.
    """

    code = "verify.difference"

    def __init__(self, kind: str, problem: str, where: Where, hint: str = RESTORE_LOG) -> None:
        self.kind = kind
        self.problem = problem
        self.where = where
        self.hint = hint
        place = str(where)
        super().__init__(f"{place}: {problem}. {hint}" if place else f"{problem}. {hint}")
