"""A workload to Kafka, every message confirmed by the broker."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.synthetic.facts import Facts
from connectors.synthetic.workload import Workload
from domain.errors import SettlerError

FLUSH_SECONDS = 60
TOPIC_SECONDS = 30
# As many messages as wait in the producer before it is given time to send.
POLL_EVERY = 5_000


class LoadNotSent(SettlerError):
    """The broker refused or did not confirm messages."""

    code = "synthetic.load_not_sent"


def topic_names(prefix: str) -> tuple[str, str]:
    """The topics of the source and the target side."""
    return f"{prefix}.transactions.source", f"{prefix}.transactions.target"


def create_topics(
    config: dict[str, Any], prefix: str, partitions: int, replication_factor: int = -1
) -> None:
    """Create the two topics where they are not there yet; -1 copies are what the broker likes.

    Raises:
        KafkaException: The broker cannot be reached or refuses.
    """
    admin = AdminClient(config)
    wanted = [NewTopic(name, partitions, replication_factor) for name in topic_names(prefix)]
    for future in admin.create_topics(wanted, operation_timeout=TOPIC_SECONDS).values():
        try:
            future.result(TOPIC_SECONDS)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


class LoadProducer:
    """Sends messages of a workload and counts what the broker did not take.

    Args:
        config: Of confluent-kafka, such as `Settings.kafka_config()`.
        prefix: Of the topics.
    """

    def __init__(self, config: dict[str, Any], prefix: str) -> None:
        tuned = {"linger.ms": 20, "queue.buffering.max.messages": 1_000_000, "acks": "all"}
        self._producer = Producer(tuned | config)
        self._topics = topic_names(prefix)
        self._failed: list[str] = []
        self.sent = 0

    def send(self, side: int, key: bytes, value: bytes) -> None:
        """Hand one message over; waits while the queue is full."""
        while True:
            try:
                self._producer.produce(self._topics[side], value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent += 1
        if self.sent % POLL_EVERY == 0:
            self._producer.poll(0)

    def wait(self, seconds: float) -> None:
        """Pass the time with what the broker answers."""
        self._producer.poll(seconds)

    def finish(self) -> int:
        """Wait for every confirmation and return the number of messages.

        Raises:
            LoadNotSent: Some were refused, or not confirmed within a minute.
        """
        waiting = self._producer.flush(FLUSH_SECONDS)
        if self._failed or waiting:
            first = f", the first because of {self._failed[0]}" if self._failed else ""
            raise LoadNotSent(
                f"{len(self._failed)} messages refused{first}; {waiting} not confirmed within "
                f"{FLUSH_SECONDS} s. Check the broker and generate into fresh topics"
            )
        return self.sent

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error}")


def send_workload(workload: Workload, facts: Facts, config: dict[str, Any], prefix: str) -> int:
    """Send a whole workload to topics that are there; returns the number of messages.

    Raises:
        LoadNotSent: The broker did not take everything.
    """
    producer = LoadProducer(config, prefix)
    for side, key, value in workload.messages(facts):
        producer.send(side, key, value)
    return producer.finish()
