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
from domain.matching.legs import DAY_MS, Settled
from domain.matching.pools import UniquePool
from domain.transactions import Transaction, supersedes


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
    closed.spread_some(pairs.dead(book.known, pool))
    if not isinstance(pool, UniquePool) or pool.contests:
        closed.spread()
        return
    for side, ids in enumerate(pairs.ids):
        for table in (book.known[side], book.replaced[side], book.days[side]):
            _drop(table, ids)
        _drop(pool.sides[side], pairs.keys)


def _drop(table: dict[Any, Any], keys: Iterable[Any]) -> None:
    """Take out what is there under some keys, in a loop of the interpreter's own."""
    if table:
        deque(map(table.pop, keys, repeat(None)), maxlen=0)


def _forget_ids(book: Book, side: int, ids: Sequence[str]) -> None:
    """Forget those of a day gone by that have not been opened or closed anew since."""
    known, replaced, days = book.known[side], book.replaced[side], book.days[side]
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
        del known[transaction_id]
        replaced.pop(transaction_id, None)
        days.pop(transaction_id, None)


def forget_match(book: Book, match: Settled) -> None:
    """Forget all of a match that is still known, and the values it used up."""
    book.drop_rivals(match)
    for side in (0, 1):
        legs = [book.leg_of(book.unpack(packed)) for packed in match.packed(side)]
        for leg in legs:
            if book.known[side].get(leg.transaction_id) is match:
                del book.known[side][leg.transaction_id]
                book.replaced[side].pop(leg.transaction_id, None)
        for rule, pool in zip(book.rules, book.pools, strict=True):
            if isinstance(pool, UniquePool):
                pool.forget(side, [leg.keys[rule.slot] for leg in legs], book.known[side])


def forget_anew(book: Book, transaction: Transaction) -> None:
    """Forget a closed id under which a log has another record accepted: it had been forgotten.

    Not where that corrects what stands, nor where what stands had corrected it before it came.
    """
    side, transaction_id = transaction.side, transaction.transaction_id
    known = book.known[side].get(transaction_id)
    if not isinstance(known, Settled | bytes):
        return
    members = [known] if isinstance(known, bytes) else known.packed(side)
    standing = [one for one in map(book.unpack, members) if one.transaction_id == transaction_id]
    if any(supersedes(one) == transaction_id for one in (transaction, *standing)):
        return
    if isinstance(known, Settled):
        forget_match(book, known)
        return
    book.no_longer_aside(side, known)
    del book.known[side][transaction_id], book.days[side][transaction_id]
    book.replaced[side].pop(transaction_id, None)
