"""Finding transactions in the log by their id or reference, newest first and page by page.

Nothing indexes the journal by what its records hold, for that would cost every one of them. A page
therefore says how far it looked, and the next one goes on from there.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.transactions import Transaction
from projections.explaining import Row, Steps, Stream, accepted_records

# Where a search begins: above every version of a stream.
NEWEST: Final = 2**62


class Wanted(NamedTuple):
    """What is looked for; whatever is None may be anything.

    At least one of `transaction_id` and `reference` is a text.
    """

    side: int | None
    transaction_id: str | None
    reference: str | None

    def admits(self, one: Transaction) -> bool:
        """Say whether a transaction is one of them."""
        return (
            self.side in (None, one.side)
            and self.transaction_id in (None, one.transaction_id)
            and self.reference in (None, one.reference)
        )

    def may_be(self, packed: bytes) -> bool:
        """Say so of a packed one: quickly, and wrong only in saying yes."""
        texts = (self.transaction_id, self.reference)
        return all(text is None or text.encode() in packed for text in texts)


class Place(NamedTuple):
    """How far a search has come: batches of `base_version` and above are done.

    The first `skip` finds of the batch right below are given out already.
    """

    before_version: int = NEWEST
    skip: int = 0


class Find(NamedTuple):
    """A transaction, and when it was accepted."""

    accepted_at: str
    transaction: Transaction


class FoundPage(NamedTuple):
    """Some finds, newest first; `next_place` is None once the whole log has been looked through."""

    finds: Sequence[Find]
    next_place: Place | None


def find_transactions(stream: Stream, wanted: Wanted, place: Place, limit: int) -> Steps[FoundPage]:
    """Look through the journal of a reconciliation for as long as its reach goes.

    Args:
        stream: Whose journal; its `reach` bounds what one page reads.
        wanted: What is looked for.
        place: Where the page before ended.
        limit: Finds a page.
    """
    finds: list[Find] = []
    while not stream.reach.is_exhausted:
        asked = {"position": NEWEST, "before_version": place.before_version}
        rows = yield "journals_before", stream.parameters | asked
        if not rows:
            return FoundPage(finds, None)
        stream.reach.spend(rows)
        for row in rows:
            own = _finds_in(stream, row, wanted)[place.skip :]
            room = limit - len(finds)
            finds += own[:room]
            if len(own) > room:
                return FoundPage(finds, Place(place.before_version, place.skip + room))
            place = Place(row["base_version"])
    return FoundPage(finds, place)


def _finds_in(stream: Stream, row: Row, wanted: Wanted) -> list[Find]:
    at, packed = accepted_records(row)
    ones = (stream.unpack(one) for one in packed if wanted.may_be(one))
    return [Find(at, one) for one in ones if wanted.admits(one)][::-1]
