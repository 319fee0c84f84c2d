"""The short way of what was recorded back into a book: many transactions and matches at once.

What is done in short here is what folding does at length, one by one. A restart takes millions of
them up again before it commits anything, and whoever waits for that counts seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter

from domain.events import Event, RecordMatched
from domain.matching.book import Book
from domain.matching.closed import Members
from domain.matching.due import FIRST_LOOK, SECOND_US
from domain.matching.forgetting import make_room
from domain.matching.legs import MATCHED, OPEN, PENDING, Leg
from domain.matching.unique_pool import UniquePool
from domain.transaction_columns import TransactionColumns, unpack_columns

#: Transactions taken up at once; also how many of them share an entry in the queue of looks.
STRETCH = 4_096

_id_of = attrgetter("transaction_id")
_packed_of = attrgetter("packed")
_instant_of = attrgetter("occurred_at")
_keys_of = attrgetter("keys")


def legs_of(book: Book, records: TransactionColumns, due: int) -> list[Leg]:
    """New legs for recorded transactions, not filed yet; `due` is theirs."""
    return list(
        map(
            Leg,
            records.transaction_ids,
            repeat(records.side),
            records.amounts_minor,
            records.currencies,
            book.event_times(records),
            book.key_rows(records),
            records.packed,
            repeat(PENDING),
            repeat(OPEN),
            repeat(due),
            repeat(()),
            repeat(True),  # see `Leg.met`
        )
    )


#: Side, id, amount and currency of a record that came after what had corrected it → the id of that.
Late = Mapping[tuple[int, str, int, str], str]


def take_up(book: Book, packed: Sequence[bytes], late: Callable[[], Late]) -> list[tuple[int, int]]:
    """File accepted transactions, in the order of the journal.

    Args:
        late: Asked once corrections, or ids that are known, are among them.

    Returns:
        Pairs of a side and the newest event time of it among them.
    """
    newest = []
    scope = book.definition.tenant_id, book.definition.reconciliation_id
    for begin in range(0, len(packed), STRETCH):
        stretch = packed[begin : begin + STRETCH]
        for records in unpack_columns(stretch, *scope):
            newest.append((records.side, max(book.event_times(records))))
            if _are_new(book, records):
                legs = legs_of(book, records, FIRST_LOOK)
                file_all(book, legs)
                book.due.plan_first(legs, min(map(_instant_of, legs)), book.looks[0])
            else:
                told = late()
                for one in records:
                    content = (one.side, one.transaction_id, one.amount_minor, one.currency)
                    make_room(book, one, told.get(content))
                    book.take(one)
    return newest


def _are_new(book: Book, records: TransactionColumns) -> bool:
    """Whether none is a correction, and no id is known or among them twice."""
    ids = records.transaction_ids
    if any(records.extras) and any(extra is not None and extra[5] for extra in records.extras):
        return False
    return len(set(ids)) == len(ids) and book.known[records.side].keys().isdisjoint(ids)


def file_all(book: Book, legs: Sequence[Leg]) -> None:
    """File open legs of one side, without planning looks."""
    book.known[legs[0].side].update(zip(map(_id_of, legs), legs, strict=True))
    for rule, pool in zip(book.rules, book.pools, strict=True):
        if rule.has_key:
            pool.add_all(legs)
        else:
            for leg in legs:
                pool.add(leg)


def plan_looks(book: Book, legs: Sequence[Leg], seconds: Sequence[int]) -> None:
    """Plan looks at legs for seconds as `Book.due_second` told them; 0 plans none."""
    first_look = book.looks[0]
    first = [
        leg
        for leg, second in zip(legs, seconds, strict=True)
        if second == (leg.occurred_at + first_look) // SECOND_US + 1
    ]
    for leg in first:
        leg.due = FIRST_LOOK
    if first:
        book.due.plan_first(first, min(map(_instant_of, first)), first_look)
    if len(first) < len(legs):
        for leg, second in zip(legs, seconds, strict=True):
            if second and not leg.due:
                book.due.plan(leg, (second - 1) * SECOND_US)


def run_of_matches(events: Sequence[Event], begin: int) -> int:
    """How many events from place `begin` on are matches, one to one, by one rule."""
    first = events[begin]
    assert isinstance(first, RecordMatched)
    end = begin
    while end < len(events):
        event = events[end]
        if (
            type(event) is not RecordMatched
            or event.rule != first.rule
            or event.match_type != "one_to_one"
            or event.compared is not None
        ):
            break
        end += 1
    return end - begin


def _members(ids: list[str], legs: list[Leg]) -> Members:
    return Members(ids, list(map(_instant_of, legs)), list(map(_packed_of, legs)))


def pair_off_again(book: Book, events: Sequence[RecordMatched]) -> list[Leg]:
    """Close the members of recorded matches, see `run_of_matches`.

    Returns:
        The members; none, and nothing is changed, unless a unique first rule made the matches of
        legs that stand under their keys and in nothing else.
    """
    rule, pool = book.rules[0], book.pools[0]
    if not isinstance(pool, UniquePool) or events[0].rule != rule.name:
        return []
    sides = []
    for side, ids in enumerate(
        ([one.source_ids[0] for one in events], [one.target_ids[0] for one in events])
    ):
        found = map(book.known[side].get, ids)
        legs = [one for one in found if isinstance(one, Leg) and one.disposition == PENDING]
        if len(legs) < len(ids):
            return []
        keys = [leg_keys[rule.slot] for leg_keys in map(_keys_of, legs)]
        sides.append((ids, legs, keys))
    (source_ids, sources, source_keys), (target_ids, targets, target_keys) = sides
    waiting = list(map(list, zip(sources, targets, strict=True)))
    if source_keys != target_keys or list(map(pool.table.get, source_keys)) != waiting:
        return []
    planned = book.pair_off(
        1,
        target_keys,
        _members(target_ids, targets),
        _members(source_ids, sources),
        sources,
        [one.newest_ms for one in events],
    )
    planned += sum(1 for leg in targets if leg.due)
    for leg in targets:
        leg.due = 0
        leg.rule, leg.disposition, leg.packed = 0, MATCHED, b""
    for later in book.pools[1:]:
        for leg in targets:
            later.discard(leg)
    book.due.forgotten(planned)
    return [*sources, *targets]
