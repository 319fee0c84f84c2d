"""The flow's offsets as those of a consumer group, for the tools that show a group's lag.

Guarantee: none. The offsets that count are in Postgres; what stands here is written after them and
never read back, so that nothing depends on what anybody makes of it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

log = structlog.get_logger(__name__)

#: Between two requests at least; with nothing new so long that a group is neither forgotten
#: (`offsets.retention.minutes`) nor taken for dead.
TELL_EVERY_SECONDS = 1.0
TELL_AGAIN_SECONDS = 60.0
# A request of which nothing is heard for so long is given up.
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.05
# What a process waits at its end for a broker that is away.
_LAST_WAIT_MS = 1_000


class GroupOffsets:
    """Writes offsets to a consumer group that has no members.

    By a consumer that subscribes to nothing. The admin client could do it too, but a coordinator
    that went away in the middle of it had its library end the process (librdkafka 2.16: assertion
    `eonce->refcnt > 0`).

    Args:
        config: librdkafka settings of a client.
        group: The group's id.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        group: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group = group
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, int], int] = {}
        self._told_at: float | None = None
        self._waiting = False
        self._problem: str | None = None
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # There is no session; but the library lets nobody go before it has waited for an
                # answer as long as one may last, 45 s unless told otherwise.
                "session.timeout.ms": _LAST_WAIT_MS,
                "heartbeat.interval.ms": _LAST_WAIT_MS // 2,
                "on_commit": self._on_commit,
                "error_cb": lambda _error: None,  # the readers say the same
                "log_level": 0,
            }
        )

    def tell(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Send offsets when it is time; returns at once, and what fails is only logged.

        Args:
            offsets: (topic, partition) → next offset to read, everything below it committed.
        """
        with self._lock:
            self._consumer.poll(0)
            if self._is_due(offsets):
                self._send(offsets)

    def tell_last(self, offsets: Mapping[tuple[str, int], int], seconds: float) -> None:
        """Send the offsets a flow ends with, and wait a moment for the broker to have them."""
        with self._lock:
            if not offsets:
                return
            self._send(offsets)
            until = time.monotonic() + seconds
            while self._waiting and time.monotonic() < until:
                self._consumer.poll(_POLL_SECONDS)
            if self._waiting:
                self._say("no answer in time")

    def _is_due(self, offsets: Mapping[tuple[str, int], int]) -> bool:
        if not offsets:
            return False
        if self._told_at is None:
            return True
        since = self._clock() - self._told_at
        if self._waiting:
            return since >= _ANSWER_SECONDS
        return since >= (TELL_AGAIN_SECONDS if offsets == self._told else TELL_EVERY_SECONDS)

    def _send(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self._told, self._told_at = dict(offsets), self._clock()
        places = [TopicPartition(*place, offset) for place, offset in sorted(offsets.items())]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as exc:
            self._on_commit(exc.args[0], [])
        else:
            self._waiting = True

    def _on_commit(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """Called within `poll`; what failed is sent again, and said once while it is the same."""
        self._waiting = False
        errors = [error, *(place.error for place in places)]
        problem = next((one.str() for one in errors if one is not None), None)
        if problem is None:
            self._problem = None
            return
        self._told = {}
        self._say(problem)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning(
                "kafka.group_not_told",
                group=self.group,
                problem=problem,
                hint="only tools that show this group's lag miss it; the flow does not read it",
            )
        self._problem = problem
