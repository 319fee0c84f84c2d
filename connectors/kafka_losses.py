"""Where topics begin, and which messages are gone that were never read.

They are deleted by age, or lost with a leader.
"""

from collections.abc import Iterable, Mapping

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from domain.errors import SettlerError

log = structlog.get_logger(__name__)

_ANSWER_SECONDS = 5.0


class MessagesGone(SettlerError):
    """Topics no longer have messages that were to be read next."""

    code = "kafka.messages_gone"

    def __init__(self, losses: list[str]) -> None:
        super().__init__(
            f"Kafka no longer has what was to be read next: {'; '.join(losses)}. Nothing is read "
            "until somebody decides: send those records again or bring the topics back; either way "
            "`settler flow reset-offsets` then has the flow read what there is, from the start"
        )


def describe_loss(topic: str, partition: int, following: int, first: int, end: int) -> str | None:
    """Say what of a partition is gone; None if everything is there.

    Args:
        following: The next offset to read.
        first, end: Of what the partition has; the end is the offset behind its last message.
    """
    if following < first:
        return (
            f"{topic}, partition {partition}: {first - following} offsets from {following} to "
            f"{first - 1} were deleted unread"
        )
    if following > end:
        return f"{topic}, partition {partition} ends at offset {end}, before {following}"
    return None


def ask_first_offsets(
    config: Mapping[str, str], places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Ask for the first offset that the topics still have, of all partitions at once.

    A broker that does not answer is passed over, and its partitions with it: whoever reads finds
    out the same, if only for one partition.

    Args:
        config: librdkafka settings of a client.
        places: (topic, partition) of each.
    """
    admin = AdminClient({**config, "log_level": "0"})
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(*place): earliest for place in sorted(places)}
    firsts: dict[tuple[str, int], int] = {}
    problem: str | None = None
    try:
        answers = admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
    except KafkaException as exc:
        log.warning("kafka.not_checked", problem=exc.args[0].str())
        return firsts
    for place, answer in answers.items():
        try:
            offset = answer.result().offset
        except KafkaException as exc:
            problem = exc.args[0].str()
            continue
        if offset >= 0:  # below: there was nobody to be asked, which is no error to the client
            firsts[place.topic, place.partition] = offset
    if problem is not None:
        log.warning("kafka.not_checked", problem=problem)
    return firsts


def check_nothing_is_gone(
    offsets: Mapping[tuple[str, int], int], firsts: Mapping[tuple[str, int], int]
) -> None:
    """Look whether the topics still have what is to be read next.

    Args:
        offsets: (topic, partition) → next offset to read.
        firsts: (topic, partition) → the first offset there is, as far as it is known.

    Raises:
        MessagesGone: Messages were deleted before they were read.
    """
    losses = []
    for place, following in sorted(offsets.items()):
        first = firsts.get(place, following)
        # The end is left to the reader: the embedded broker does not tell it rightly.
        losses.append(describe_loss(*place, following, first, max(first, following)))
    found = [one for one in losses if one is not None]
    if found:
        raise MessagesGone(found)
