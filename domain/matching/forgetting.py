"""Forgetting what was closed: by the day of event time that it is remembered with.

Logs and snapshots of earlier versions tell of matches that were forgotten one member after the
other. Whatever of such a match is met is forgotten as a whole: it can be reversed no more.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from domain.matching.book import Book
from domain.matching.closed import DAY_US, Closed
from domain.matching.legs import DAY_MS, Leg, Settled, Superseded
from domain.matching.sameness import is_known, makes_way
from domain.matching.unique_pool import UniquePool
from domain.transactions import Transaction


def forget_before(book: Book, instant_us: int) -> None:
    """Forget ids, spent values and rivals of days that ended before `instant_us`."""
    last_day = instant_us // DAY_US
    if last_day <= book.kept_from:
        return
    book.kept_from = last_day
    for closed in book.closed.take_before(last_day):
        _forget_pairs(book, closed)
        for side, ids in enumerate(closed.ids):
            _forget_ids(book, side, ids)
        for place, keys in enumerate(closed.spent):
            pool = book.pools[place // 2]
            if isinstance(pool, UniquePool):
                pool.forget(place % 2, keys, book.known[place % 2])
        for leg in closed.rivals:
            for rival_pool in book.rival_pools(leg):
                rival_pool.discard(leg)
            match = book.known[leg.side].get(leg.transaction_id)
            if isinstance(match, Settled):
                match.rivals = tuple(one for one in match.rivals if one is not leg)
    book.refusals.forget(book.known, book.rules)


def _forget_pairs(book: Book, closed: Closed) -> None:
    """Forget the pairs of a day gone by; those that need a closer look become ids and values."""
    pairs, pool = closed.pairs, book.pools[0]
    closed.spread_some(closed.undone | pairs.among(book.replaced))
    if not isinstance(pool, UniquePool) or pool.contests:
        closed.spread()
        return
    for side, ids in enumerate(pairs.ids):
        for table in (book.known[side], book.days[side]):
            _drop(table, ids)
    _drop(pool.table, pairs.keys)


def _drop(table: dict[Any, Any], keys: Iterable[Any]) -> None:
    """Take out what is there under some keys, in a loop of the interpreter's own."""
    if table:
        deque(map(table.pop, keys, repeat(None)), maxlen=0)


def _forget_ids(book: Book, side: int, ids: Sequence[str]) -> None:
    """Forget those of a day gone by that have not been opened or closed anew since."""
    known, days = book.known[side], book.days[side]
    kept_from, kept_ms = book.kept_from, book.kept_from * DAY_MS
    for transaction_id in ids:
        entry = known.get(transaction_id)
        if type(entry) is Settled:
            if entry.newest_ms >= kept_ms:
                continue
        elif days.get(transaction_id, kept_from) >= kept_from:
            continue
        elif isinstance(entry, bytes):
            book.no_longer_aside(side, entry)
        _forget_id(book, side, transaction_id)


def _forget_id(book: Book, side: int, transaction_id: str) -> None:
    """Forget a closed id, but for what came under it that is still young enough to be taken in."""
    entry = book.known[side].pop(transaction_id)
    book.days[side].pop(transaction_id, None)
    by, contents = transaction_id, book.replaced[side].pop(transaction_id, ())
    if isinstance(entry, Superseded):
        by, contents = entry.by, entry.contents
    last_day = max(
        (book.event_time(book.unpack(one)) // DAY_US for one in contents),
        default=book.kept_from - 1,
    )
    if last_day >= book.kept_from:
        book.known[side][transaction_id] = Superseded(by, contents)
        book.list_closed(side, transaction_id, last_day)


def forget_match(book: Book, match: Settled) -> None:
    """Forget all of a match that is still known, and the values it used up."""
    book.drop_rivals(match)
    book.closed.undo(match)
    for side in (0, 1):
        legs = [book.leg_of(book.unpack(packed)) for packed in match.packed(side)]
        for leg in legs:
            if book.known[side].get(leg.transaction_id) is match:
                _forget_id(book, side, leg.transaction_id)
        for rule, pool in zip(book.rules, book.pools, strict=True):
            if isinstance(pool, UniquePool):
                pool.forget(side, [leg.keys[rule.slot] for leg in legs], book.known[side])


def make_room(book: Book, transaction: Transaction, by: str | None) -> None:
    """Before a record is taken as its log has it: let its id stand as the log's writer knew it.

    The writer may have forgotten it. Earlier releases did so sooner.

    Args:
        by: Who had superseded it before it came, as the log tells; None: it was open then.
    """
    side, transaction_id = transaction.side, transaction.transaction_id
    known = book.known[side].get(transaction_id)
    if known is None or isinstance(known, Leg):
        return
    if not is_known(book, transaction) and makes_way(book, transaction):
        opens = isinstance(known, Superseded) and known.by == transaction_id
        if opens == (by is None):
            return
    if isinstance(known, Settled):
        forget_match(book, known)
    elif isinstance(known, bytes):
        book.no_longer_aside(side, known)
    book.known[side].pop(transaction_id, None)
    book.days[side].pop(transaction_id, None)
    book.replaced[side].pop(transaction_id, None)
    if by is not None:
        book.known[side][transaction_id] = Superseded(by)
        book.list_closed(side, transaction_id, book.event_time(transaction) // DAY_US)
