"""Kafka as a sink: messages that the broker has confirmed, in order.

Guarantee: at least once. A message follows, under its key, those given before it, also through
retries; what is sent again after an interruption is sent again from the first one on.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter

from connectors.kafka import describe_topic

log = structlog.get_logger(__name__)

ERRORS = Counter(
    "settler_kafka_send_errors_total",
    "Messages the broker refused; they are sent again",
    ["topic", "error"],
)

# What a message that we took back ourselves reports.
_PURGED = (
    KafkaError._PURGE_QUEUE,  # noqa: SLF001 - the client names its own codes so
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - the client names its own codes so
)

#: Messages that wait in the client at most: with envelopes of about 700 bytes some 70 MiB.
_QUEUED_MESSAGES = 100_000
_QUEUED_KIB = 128 * 1024
# The client's own bound, above the broker's: what is too large is for the topic to say.
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_POLL_EVERY = 1_000
_POLL_SECONDS = 0.1
_SAY_AGAIN_SECONDS = 10.0
_DELAY_FIRST_SECONDS = 0.5
_DELAY_MAX_SECONDS = 10.0


class Outgoing(NamedTuple):
    """One message to be sent."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class SendInterrupted(InterruptedError):
    """Told to stop before the broker had confirmed everything."""


class _Outcome:
    """What became of the messages of one attempt."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.waiting = 0
        self.error: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        self.waiting -= 1
        if error is not None and error.code() not in _PURGED:
            ERRORS.labels(self._topic, error.name()).inc()
            self.error = self.error or error


class ConfirmedTopic:
    """Sends to one topic; `send` returns once the broker has confirmed every message.

    An absent broker or topic is waited for, however long, with a log line now and then.

    Args:
        config: librdkafka settings of a client.
        topic: Its full name.
        stop: Set when the process is told to end.
        drain_seconds: How long after that an unfinished `send` still waits for the broker.
    """

    def __init__(
        self,
        config: dict[str, str],
        topic: str,
        stop: threading.Event,
        drain_seconds: float = 5.0,
    ) -> None:
        self.topic = topic
        self._config = config
        self._stop = stop
        self._drain_seconds = drain_seconds
        self._give_up_at: float | None = None
        self._known = False
        self._producer = Producer(
            {
                **config,
                "client.id": "settler-publish",
                "acks": "all",
                # One request at a time keeps the order through retries, and needs no broker that
                # knows idempotent producers. Requests are large, so that it costs little.
                "max.in.flight": 1,
                "message.timeout.ms": 0,  # a message that gave up alone would come out of order
                "linger.ms": 5,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",  # a key lands where Java clients would put it
                "message.max.bytes": _MESSAGE_BYTES_MAX,
                "queue.buffering.max.messages": _QUEUED_MESSAGES,
                "queue.buffering.max.kbytes": _QUEUED_KIB,
                "reconnect.backoff.max.ms": 2_000,
                "error_cb": self._report,
                "log_level": 0,  # error_cb says the same, in our own lines
            }
        )

    def send(self, messages: Callable[[], Iterable[Outgoing]]) -> int:
        """Send messages in order and wait for the broker to confirm them all.

        Args:
            messages: Makes them; called again when they have to be sent again.

        Returns:
            How many there were.

        Raises:
            SendInterrupted: Told to stop; some may have arrived, none is to be counted on.
        """
        delay = _DELAY_FIRST_SECONDS
        while True:
            self._wait_for_topic()
            sent, error = self._attempt(messages())
            if error is None:
                return sent
            log.warning(
                "kafka.refused",
                topic=self.topic,
                problem=str(error),
                hint=_hint(error),
                again_in_seconds=delay,
            )
            self._known = False
            if self._stop.wait(delay):
                raise SendInterrupted(f"told to stop while {self.topic} refuses messages")
            delay = min(delay * 2, _DELAY_MAX_SECONDS)

    def close(self) -> None:
        """Forget what was not confirmed."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _wait_for_topic(self) -> None:
        if not self._known:
            try:
                describe_topic(self._config, self.topic, self._stop.wait)
            except InterruptedError as exc:
                raise SendInterrupted(str(exc)) from exc
            self._known = True

    def _attempt(self, messages: Iterable[Outgoing]) -> tuple[int, KafkaError | None]:
        outcome = _Outcome(self.topic)
        sent = 0
        try:
            for message in messages:
                self._produce(message, outcome)
                sent += 1
                if sent % _POLL_EVERY == 0:
                    self._producer.poll(0)
                if outcome.error is not None:
                    break
            self._wait(outcome)
        except KafkaException as exc:
            error = exc.args[0]
            ERRORS.labels(self.topic, error.name()).inc()
            outcome.error = outcome.error or error
        if outcome.error is not None:
            # What follows a refused message is not to arrive before it.
            self._purge()
        return sent, outcome.error

    def _produce(self, message: Outgoing, outcome: _Outcome) -> None:
        said_at = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    self.topic,
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=outcome.on_delivery,
                )
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
                said_at = self._keep_waiting(outcome, said_at)
            else:
                outcome.waiting += 1
                return

    def _wait(self, outcome: _Outcome) -> None:
        said_at = time.monotonic()
        while outcome.waiting and outcome.error is None:
            self._producer.flush(_POLL_SECONDS)
            said_at = self._keep_waiting(outcome, said_at)

    def _keep_waiting(self, outcome: _Outcome, said_at: float) -> float:
        """Say now and then that we wait; give up some time after being told to stop."""
        now = time.monotonic()
        if self._stop.is_set() and outcome.waiting:
            self._give_up_at = self._give_up_at or now + self._drain_seconds
            if now >= self._give_up_at:
                self._purge()
                raise SendInterrupted(
                    f"told to stop while {self.topic} has not confirmed {outcome.waiting} messages"
                )
        if now - said_at < _SAY_AGAIN_SECONDS:
            return said_at
        log.warning(
            "kafka.unconfirmed",
            topic=self.topic,
            messages=outcome.waiting,
            hint="the broker has not answered yet; they stay queued",
        )
        return now

    def _purge(self) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def _report(self, error: KafkaError) -> None:
        log.warning("kafka.error", topic=self.topic, problem=str(error))


def _hint(error: KafkaError) -> str:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return "raise max.message.bytes of the topic; nothing after this message is sent before it"
    return "nothing after the refused message counts as sent before it"
