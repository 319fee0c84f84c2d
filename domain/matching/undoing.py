"""Undoing: reversing a match, and letting a record give way to the one that corrects it."""

from domain.events import Compared, ExceptionResolved, MatchReversed, TransactionSuperseded
from domain.matching.book import Book
from domain.matching.legs import EXCEPTION, Leg, Settled
from domain.matching.refusals import Refusal
from domain.matching.selection import ids_of, total_of
from domain.matching.settling import Settling
from domain.matching.unique_pool import UniquePool
from domain.transactions import Transaction, supersedes


def reverse(
    settling: Settling, settled: Settled, reason: str | None, command_id: str | None
) -> None:
    """Undo a match: its members are pending again, and have a look planned.

    Args:
        command_id: The person's command; then the rules keep these members apart from now on.
    """
    book = settling.book
    sources, targets = book.reopen(settled)
    source_ids, target_ids = ids_of(sources), ids_of(targets)
    settling.events.append(
        MatchReversed(
            settling.identity(settled.rule, source_ids, target_ids, settled.newest_ms),
            settled.rule,
            source_ids,
            target_ids,
            *_sums(settled.compared, sources, targets),
            reason,
            command_id,
            settled.compared,
        )
    )
    if command_id is not None:
        book.refuse(Refusal(None, tuple(source_ids), tuple(target_ids)))
    for leg in (*sources, *targets):
        book.stood_beside(leg, 0)


def _sums(
    compared: Compared | None, sources: tuple[Leg, ...], targets: tuple[Leg, ...]
) -> tuple[str, int, int]:
    """Currency and sums of a match as its own event stated them, see `selection.stated`."""
    if compared is not None and compared.totals:
        return compared.currency, compared.source_minor, compared.target_minor
    return sources[0].currency, total_of(sources), total_of(targets)


def supersede(settling: Settling, correction: Transaction) -> None:
    """Let the record that a correction names give way, before the correction itself is put in.

    A match of it is reversed, suggestions and an exception of it end, and duplicates of what it
    brought first are looked at anew.
    """
    book = settling.book
    side, named = correction.side, supersedes(correction)
    assert named is not None
    known = book.known[side].get(named)
    by = correction.transaction_id
    if isinstance(known, Settled):
        reverse(settling, known, f"{named} was corrected by {by}", None)
        known = book.known[side][named]
    if isinstance(known, Leg):
        _give_way(settling, known, by)
    elif isinstance(known, bytes):
        duplicate = book.unpack(known)
        settling.events.append(ExceptionResolved(side, named, "superseded", None))
        book.set_superseded(side, named, by)
        settling.events.append(_superseded(duplicate, by))


def _give_way(settling: Settling, leg: Leg, by: str) -> None:
    book = settling.book
    side, named = leg.side, leg.transaction_id
    standing = leg.suggestions
    stale = settling.cases.naming((leg,))
    if leg.disposition == EXCEPTION:
        settling.events.append(ExceptionResolved(side, named, "superseded", None))
    transaction = book.unpack(leg.packed)
    for suggestion_id in standing:
        settling.withdraw(suggestion_id, f"{named} was corrected by {by}")
    book.set_superseded(side, named, by)
    settling.events.append(_superseded(transaction, by))
    book.stood_beside(leg, 0)
    for duplicate in _duplicates_of(book, leg):
        settling.events.append(ExceptionResolved(side, duplicate, "first_corrected", None))
        book.release(side, duplicate)
    settling.cases.reclassify(stale)


def _duplicates_of(book: Book, leg: Leg) -> list[str]:
    """Ids of the duplicates of a closed leg's values that nobody holds any more."""
    found: list[str] = []
    for rule, pool in zip(book.rules, book.pools, strict=True):
        if isinstance(pool, UniquePool):
            found += pool.aside_from(leg.side, leg.keys[rule.slot])
    return [one for one in found if isinstance(book.known[leg.side].get(one), bytes)]


def note_late(settling: Settling, late: Transaction, by: str) -> None:
    """Tell of a record that came after the one that corrects it."""
    settling.events.append(_superseded(late, by, late=True))


def _superseded(transaction: Transaction, by: str, *, late: bool = False) -> TransactionSuperseded:
    return TransactionSuperseded(
        transaction.side,
        transaction.transaction_id,
        by,
        transaction.amount_minor,
        transaction.currency,
        late,
    )
