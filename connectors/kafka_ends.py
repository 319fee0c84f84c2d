"""Where partitions end, asked again and again by a process that lives longer than their leaders."""

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

_ANSWER_SECONDS = 10.0


class EndOffsets:
    """Asks for the end offsets of partitions; not for several threads at a time.

    Args:
        config: librdkafka settings of a client.
    """

    def __init__(self, config: Mapping[str, str]) -> None:
        self._admin = AdminClient(dict(config))

    def read(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Give (topic, partition) → the offset behind the last message, committed or not.

        Raises:
            KafkaException: The brokers do not answer, or not for every partition.
        """
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*place): latest for place in places}
        try:
            answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
            return {
                (place.topic, place.partition): _known(place, answer.result().offset)
                for place, answer in answers.items()
            }
        except KafkaException:
            self._look_anew({topic for topic, _ in places})
            raise

    def _look_anew(self, topics: set[str]) -> None:
        """Have the client ask who leads.

        By itself it asks on with the epoch of the leader it once saw, which another leader refuses
        (FENCED_LEADER_EPOCH) until the client's metadata grow old, after many minutes.
        """
        for topic in topics:
            self._admin.list_topics(topic, timeout=_ANSWER_SECONDS)


def _known(place: TopicPartition, offset: int) -> int:
    # What nobody could be asked about comes as a negative offset and without an error. Taken for an
    # end, it would have a flow that has lost a broker count as caught up.
    if offset < 0:
        problem = f"nobody says where {place.topic}/{place.partition} ends"
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, problem))
    return offset
