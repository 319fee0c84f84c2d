"""The demo's load: sent from a thread of its own, while the result is watched."""

import threading
import time
from typing import Any

from connectors.synthetic.facts import ExceptionFact, Facts
from connectors.synthetic.topics import LoadProducer
from connectors.synthetic.workload import Workload, ending_before

IDLE_SECONDS = 4
"""Event time follows the clock after this long without input: what still waits then is decided.
Far longer than any pause in the load, which would make what follows late."""


def make_workload(transactions: int, seed: int) -> Workload:
    """Make the workload: its last wait runs out before now, by event time."""
    return Workload(
        seed=seed,
        transactions=transactions,
        ending_at_us=ending_before(time.time_ns() // 1000),
    )


def corrupt(truth: Facts) -> None:
    """Falsify a truth in two places: a match that should be there, an exception that should not."""
    truth.matches.pop()
    first = truth.exceptions[0] if truth.exceptions else None
    stream = first.stream_id if first else truth.matches[0].stream_id
    truth.exceptions.append(ExceptionFact(stream, "source", "never-sent", "missing_in_target"))


class Load:
    """Sends a workload; `truth` is whole once `finish` has returned."""

    def __init__(self, workload: Workload, config: dict[str, Any], prefix: str) -> None:
        self._workload = workload
        self._producer = LoadProducer(config, prefix)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.truth = Facts()

    @property
    def sent(self) -> int:
        """Messages handed over so far."""
        return self._producer.sent

    @property
    def done(self) -> bool:
        """Whether everything is sent and confirmed, or has failed."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        self._thread.join()

    def finish(self) -> int:
        """Wait for the end; returns the number of messages, every one confirmed.

        Raises:
            LoadNotSent: The broker did not take everything.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.sent

    def _run(self) -> None:
        try:
            for block in self._workload.blocks(self.truth):
                for side, key, value in block:
                    self._producer.send(side, key, value)
                if self._stopped.is_set():
                    return
            self._producer.finish()
        except BaseException as exc:  # noqa: BLE001 - raised in `finish`, on the caller's thread
            self._error = exc
