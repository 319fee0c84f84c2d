"""Telling a redelivery from a correction and from a contradiction, by what is known of an id.

Taking in asks it of what comes, folding of what a log has: so that both mean the same by it.
"""

from domain.matching.book import Book
from domain.matching.legs import Known, Leg, Settled, Superseded
from domain.transactions import Transaction, supersedes


def is_known(book: Book, transaction: Transaction) -> bool:
    """Whether this very content came before, under an id that is known."""
    side, named = transaction.side, transaction.transaction_id
    earlier = book.replaced[side].get(named, ())
    return transaction.packed in (*_contents(book.known[side][named], side), *earlier)


def makes_way(book: Book, transaction: Transaction) -> bool:
    """Whether other content under a known id is a correction, or what one has corrected."""
    side, named = transaction.side, transaction.transaction_id
    if supersedes(transaction) == named:
        return True
    known = book.known[side][named]
    if named in book.replaced[side] or (isinstance(known, Superseded) and known.by == named):
        return False
    contents = map(book.unpack, _contents(known, side))
    return all(supersedes(one) == named for one in contents if one.transaction_id == named)


def _contents(known: Known, side: int) -> tuple[bytes, ...]:
    """What stands under an id, a match with its whole side; or what another has superseded."""
    match known:
        case Leg():
            return (known.packed,)
        case Settled():
            return known.packed(side)
        case Superseded():
            return known.contents
    return (known,)
