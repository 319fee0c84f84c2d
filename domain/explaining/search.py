"""Finding in the log, newest batch first, what was accepted and what is told of a transaction.

Nothing indexes the journal by transaction, for what is written with each costs every one of them.
So a reader goes back from a decision until its members have come, and says when it gave up.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from domain.events import Event, TransactionsAccepted, TransactionSuperseded
from domain.explaining.matches import Told
from domain.explaining.members import Place
from domain.explaining.standing import concerns
from domain.explaining.transactions import Accepted
from domain.transactions import Transaction, supersedes

# Beyond this many ids a record is unpacked rather than looked through for each.
_LOOKED_THROUGH_MAX = 16

Unpack = Callable[[bytes], Transaction]


class ReadBatch(NamedTuple):
    """A batch of the log as searches take it; event i has position `first_position` + i.

    `events` may be left out where only content is looked for, the whole batch was written before
    the decision, and none of its events is a `TransactionSuperseded`.
    """

    first_position: int
    at: str
    events: Sequence[Event]
    journal: Sequence[bytes]
    user_id: str | None = None

    def accepted(self, until_position: int) -> Iterator[tuple[int, bytes]]:
        """Position of its event and content of each accepted record before a position, in order."""
        if not self.events:
            yield from ((self.first_position, packed) for packed in self.journal)
            return
        place = 0
        for position, event in enumerate(self.events, self.first_position):
            if position >= until_position:
                return
            if isinstance(event, TransactionsAccepted):
                count = event.count
                for packed in self.journal[place : place + count]:
                    yield position, packed
                place += count


def _never_stood(batch: ReadBatch, transaction: Transaction) -> bool:
    """Whether a record came after the one that corrects it under its own id.

    That is told in the very batch that accepted it.
    """
    transaction_id = transaction.transaction_id
    if supersedes(transaction) == transaction_id:
        return False
    return any(
        isinstance(event, TransactionSuperseded)
        and event.late
        and event.superseded_by == event.transaction_id == transaction_id
        and event.side == transaction.side
        for event in batch.events
    )


def mentions(journal: Sequence[bytes], place: Place) -> bool:
    """Whether records of a journal may be of a place; quick, and wrong only in saying yes."""
    sought = place[1].encode()
    return any(sought in packed for packed in journal)


def _matching(
    batch: ReadBatch, until_position: int, wanted: Collection[Place], unpack: Unpack
) -> list[tuple[int, Transaction]]:
    """The wanted ones among a batch's accepted records, newest first."""
    ids = [transaction_id.encode() for _, transaction_id in wanted]
    found = []
    for position, packed in batch.accepted(until_position):
        if len(ids) <= _LOOKED_THROUGH_MAX and not any(one in packed for one in ids):
            continue
        transaction = unpack(packed)
        if (transaction.side, transaction.transaction_id) in wanted:
            found.append((position, transaction))
    return found[::-1]


class ContentSearch:
    """Finds what stood under some places when a decision was made.

    Attributes:
        found: What was found so far.
        missing: Places still to be found.

    Args:
        until_position: Of the decision; what was accepted later is not looked at.
    """

    def __init__(self, wanted: Collection[Place], until_position: int, unpack: Unpack) -> None:
        self.found: dict[Place, Transaction] = {}
        self.missing = set(wanted)
        self._until = until_position
        self._unpack = unpack

    def read(self, batch: ReadBatch) -> None:
        """Look through the next older batch."""
        for _, one in _matching(batch, self._until, self.missing, self._unpack):
            place = (one.side, one.transaction_id)
            if place in self.missing and not _never_stood(batch, one):
                self.missing.remove(place)
                self.found[place] = one


class StorySearch:
    """Finds everything told of one transaction.

    Attributes:
        accepted: What was accepted under its id and stood, newest first.
        story: The events that concern it, newest first.
        is_complete: Its first acceptance was found.
    """

    def __init__(self, place: Place, unpack: Unpack) -> None:
        self.place = place
        self.accepted: list[Accepted] = []
        self.story: list[Told] = []
        self.is_complete = False
        self._unpack = unpack

    def read(self, batch: ReadBatch) -> None:
        """Look through the next older batch."""
        told = [
            Told(event, position, batch.at, batch.user_id)
            for position, event in enumerate(batch.events, batch.first_position)
            if concerns(event, self.place)
        ]
        self.story += told[::-1]
        end = batch.first_position + len(batch.events)
        for position, one in _matching(batch, end, [self.place], self._unpack):
            if _never_stood(batch, one):
                continue
            self.accepted.append(Accepted(position, batch.at, one))
            if supersedes(one) != one.transaction_id:
                self.is_complete = True
