"""What a reconciliation decides about an input."""

import msgspec

from domain.events import Event
from domain.matched_pairs import Told, events_of
from domain.transactions import Rejection


class Decision(msgspec.Struct):
    """What came of an input: nothing at all if every part is empty.

    Attributes:
        told: The events, matches of a kind in a row together.
        journal: The packed transactions that were accepted, in order.
        rejections: Records that could not be used after all, such as a conflicting duplicate.
    """

    told: list[Told]
    journal: list[bytes] = []
    rejections: list[Rejection] = []

    @property
    def events(self) -> list[Event]:
        """Every event by itself."""
        return events_of(self.told)
