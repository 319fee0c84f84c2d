"""The events of runs, see `domain.runs`; how they are written down `domain.events` says."""

import msgspec


class ReconciliationStarted(
    msgspec.Struct, array_like=True, tag="ReconciliationStarted", frozen=True, gc=False
):
    """A run over a range of event time began; microseconds since the epoch, `to_us` not in it.

    Its id is that of the command that started it.
    """

    run_id: str
    name: str | None
    from_us: int
    to_us: int
    definition_version: int
    command_id: str


class ReconciliationRetried(
    msgspec.Struct, array_like=True, tag="ReconciliationRetried", frozen=True, gc=False
):
    """A run that failed or was cancelled runs again."""

    run_id: str
    definition_version: int
    reason: str | None
    command_id: str


class ReconciliationCancelled(
    msgspec.Struct, array_like=True, tag="ReconciliationCancelled", frozen=True, gc=False
):
    """A person ended a run."""

    run_id: str
    reason: str | None
    command_id: str


class ReconciliationCompleted(
    msgspec.Struct, array_like=True, tag="ReconciliationCompleted", frozen=True, gc=False
):
    """Event time has passed a run's range, and nothing in it is pending.

    `totals` has `[side, currency, place, count, sum_minor]` of the transactions in the range, as
    they stood then; in order, without what is nothing.
    """

    run_id: str
    definition_version: int
    totals: list[tuple[int, str, str, int, int]]


class ReconciliationFailed(
    msgspec.Struct, array_like=True, tag="ReconciliationFailed", frozen=True, gc=False
):
    """A run ended without its totals; `code` is stable, `message` a sentence."""

    run_id: str
    code: str
    message: str


RunEvent = (
    ReconciliationStarted
    | ReconciliationRetried
    | ReconciliationCancelled
    | ReconciliationCompleted
    | ReconciliationFailed
)
