"""Forgetting what was closed: by the day of event time that it is remembered with."""

from collections.abc import Sequence

from domain.matching.book import Book
from domain.matching.closed import DAY_US
from domain.matching.legs import DAY_MS, Settled
from domain.matching.pools import UniquePool


def forget_before(book: Book, instant_us: int) -> None:
    """Forget ids, spent values and rivals of days that ended before `instant_us`."""
    last_day = instant_us // DAY_US
    if not book.closed.days or last_day <= book.kept_from:
        return
    book.kept_from = last_day
    for closed in book.closed.take_before(last_day):
        closed.spread()
        for side, ids in enumerate(closed.ids):
            _forget_ids(book, side, ids)
        for place, keys in enumerate(closed.spent):
            pool = book.pools[place // 2]
            if isinstance(pool, UniquePool):
                pool.forget(place % 2, keys, book.known[place % 2])
        for leg in closed.rivals:
            for rival_pool in book.rival_pools(leg):
                rival_pool.discard(leg)
    book.refusals.forget(book.known, book.rules)


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
