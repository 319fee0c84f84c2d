"""The dead letters of a stream by their place in Kafka, as the log's counts can be held against."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple


class TopicReset(NamedTuple):
    """A topic's offsets began anew after a position of the log.

    Dead letters from before stand under `letters_topic`.
    """

    topic: str
    letters_topic: str
    position: int


class LetterPlace(NamedTuple):
    """Where a dead letter came from.

    `is_certain` is false when a redrive, or a definition that came later, may have changed what
    became of the record since its batch was counted.
    """

    topic: str
    partition: int
    offset: int
    is_certain: bool


class Letters:
    """The dead letters of one stream.

    Args:
        places: In order of offset within each partition.
        resets: In order of position.
    """

    def __init__(self, places: Iterable[LetterPlace], resets: Iterable[TopicReset] = ()) -> None:
        self._resets = list(resets)
        self._every: dict[str, array[int]] = {}
        self._certain: dict[str, array[int]] = {}
        for topic, partition, offset, is_certain in places:
            place = f"{topic}/{partition}"
            self._every.setdefault(place, array("q")).append(offset)
            if is_certain:
                self._certain.setdefault(place, array("q")).append(offset)

    def between(self, place: str, first: int, stop: int, position: int) -> tuple[int, int]:
        """Count letters with first <= offset < stop that a batch at a position may have counted.

        Returns:
            The fewest and the most it can have counted.
        """
        topic, _, partition = place.rpartition("/")
        for reset in self._resets:
            if reset.topic == topic and position <= reset.position:
                place = f"{reset.letters_topic}/{partition}"
                break
        return _within(self._certain, place, first, stop), _within(self._every, place, first, stop)


def _within(offsets: dict[str, "array[int]"], place: str, first: int, stop: int) -> int:
    of_place = offsets.get(place)
    if of_place is None:
        return 0
    return bisect_left(of_place, stop) - bisect_left(of_place, first)
