"""The runs of a stream: each begins, ends and is retried as it may."""

from typing import NoReturn, get_args

from domain.run_events import (
    ReconciliationCompleted,
    ReconciliationRetried,
    ReconciliationStarted,
    RunEvent,
)
from domain.transactions import SIDE_NAMES
from domain.verification.accounts import Accounts

# Event time is written down once a minute of it has passed.
_UNRECORDED_US = 60_000_000
_RUNNING, _COMPLETED = "running", "completed"

RUN_EVENTS: tuple[type[RunEvent], ...] = get_args(RunEvent)


class RunBooks:
    """Every run, by its id."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._status: dict[str, str] = {}
        self._ends_us: dict[str, int] = {}
        self._failing: set[str] = set()

    def use(self, accounts: Accounts) -> None:
        """Go on with other accounts of the same transactions."""
        self._accounts = accounts

    def redefine(self) -> None:
        """Note that a new definition came in force, which the running ones do not outlive."""
        self._failing = {one for one, status in self._status.items() if status == _RUNNING}

    def end_batch(self) -> None:
        """Check that those that a new definition ends have failed."""
        if self._failing:
            self._differs(f"run {min(self._failing)} goes on under a new definition")

    def read(self, event: RunEvent, watermark_us: int | None) -> None:
        """Book what became of a run."""
        status = self._status.get(event.run_id)
        if isinstance(event, ReconciliationStarted):
            if status is not None or event.from_us >= event.to_us:
                self._differs(f"run {event.run_id} is started twice, or over nothing")
            self._ends_us[event.run_id] = event.to_us
        elif isinstance(event, ReconciliationRetried):
            if status in (None, _RUNNING, _COMPLETED):
                self._differs(f"run {event.run_id} is retried, which is {status}")
        elif status != _RUNNING:
            self._differs(f"run {event.run_id} ends, which is {status}")
        if isinstance(event, ReconciliationCompleted):
            self._check_completed(event, watermark_us)
        self._failing.discard(event.run_id)
        self._status[event.run_id] = _status_after(event)

    def _check_completed(self, event: ReconciliationCompleted, watermark_us: int | None) -> None:
        """Check a completion against how far event time has come and what was accepted at all."""
        if watermark_us is None or watermark_us + _UNRECORDED_US < self._ends_us[event.run_id]:
            self._differs(f"run {event.run_id} is completed before event time has passed it")
        for side, currency, place, count, _ in event.totals:
            standing = self._accounts.standing(side, currency, place)
            if place == "pending" or not 0 < count <= standing:
                self._differs(
                    f"run {event.run_id} tells {count} {place} {SIDE_NAMES[side]} transactions in "
                    f"{currency}, {standing} are"
                )

    def _differs(self, problem: str) -> NoReturn:
        self._accounts.differs(problem, "log")


def _status_after(event: RunEvent) -> str:
    if isinstance(event, ReconciliationStarted | ReconciliationRetried):
        return _RUNNING
    return _COMPLETED if isinstance(event, ReconciliationCompleted) else "ended"
