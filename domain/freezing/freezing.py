"""Freezing: taking what is old out of memory, and putting back what an input may touch.

Both change nothing that anybody can tell: a step decides the same with everything in memory.
"""

from typing import TYPE_CHECKING

from domain.freezing.fingerprints import BLOCK_ENTRIES, packed
from domain.freezing.frozen import (
    NEVER,
    Block,
    Entries,
    FrozenLeg,
    FrozenMatch,
    NewBlock,
    decode_entries,
    encode_pages,
)
from domain.freezing.selecting import Chosen, Held, Matches, is_held, take_legs, take_pairs
from domain.matching.book import Book
from domain.matching.due import SECOND_US
from domain.matching.legs import Settled
from domain.matching.unique_pool import UniquePool

# Matched transactions frozen at once, as a multiple of what has to go: each block more is one more
# to ask, and to look through what is closed costs the same for many as for few.
_MATCHED = 4
#: Pairs need no looking through: a block at once, so that nobody waits for long.
PAIRED_MAX = 2 * BLOCK_ENTRIES

if TYPE_CHECKING:
    from domain.reconciliation import Reconciliation


def freeze(state: "Reconciliation", fence: int, count: int) -> list[NewBlock]:
    """Take about so many transactions out of memory, the oldest open ones last.

    Of matched ones, which hardly ever come back, several times as many go if there are so many;
    of pairs that were closed together a block, to be asked again soon. Fewer where fewer may go;
    nothing while a step has left something to be looked at.

    Args:
        fence: What this process holds the stream by; it numbers the blocks.

    Returns:
        What has to be in the store before any of it can be thawed.
    """
    book, frozen = state.book, state.frozen
    if book.again or book.gone:
        return []
    frozen.drop_before(book.kept_from)
    held = state.runs.held_days()
    before = sum(map(len, book.known))
    blocks: list[NewBlock] = []

    def gone() -> int:
        return before - sum(map(len, book.known))

    of_pairs = min(_MATCHED * count, PAIRED_MAX)
    for day in sorted(book.closed.days):
        closed = book.closed.days[day]
        wanted = of_pairs - gone()
        # What is left behind the better half waits for the next time: it would be a small block.
        if 2 * wanted > of_pairs and closed.pairs.keys and _may_go(book, day, held):
            pairs = take_pairs(book, day, closed, (wanted + 1) // 2)
            blocks += _write(state, fence, pairs, of_pairs=True)
    if 2 * gone() >= of_pairs:
        return blocks
    wanted = _MATCHED * count - gone()
    if wanted > 0 and any(one.ids[0] for one in book.closed.days.values()):
        matches = Matches(book, held).take((wanted + 1) // 2)
        blocks += _write(state, fence, matches)
    if gone() < count:
        legs = take_legs(book, held, count - gone())
        blocks += _write(state, fence, legs, of_legs=True)
    return blocks


def _may_go(book: Book, day: int, held: Held) -> bool:
    return day >= book.kept_from and not is_held(day, held)


def _write(
    state: "Reconciliation",
    fence: int,
    chosen: Chosen,
    *,
    of_legs: bool = False,
    of_pairs: bool = False,
) -> list[NewBlock]:
    written = []
    for begin in range(0, len(chosen.entries), BLOCK_ENTRIES):
        part = chosen.between(begin, begin + BLOCK_ENTRIES)
        frozen = state.frozen
        slot = frozen.free_slot()
        assert slot is not None, "whoever freezes asks for room first"
        frozen.written += 1
        number = frozen.number(fence)
        dues = [due for due in part.dues if due]
        block = Block(
            number,
            slot,
            of_legs,
            len(part.entries),
            True,
            min(dues, default=NEVER),
            *part.days,
            of_pairs=of_pairs,
        )
        new = NewBlock(number, packed(part.fingerprints), encode_pages(part.entries))
        frozen.add(block, new.fingerprints)
        written.append(new)
    return written


def thaw(state: "Reconciliation", entries: Entries, pages: dict[tuple[int, int], bytes]) -> None:
    """Put entries back where they were.

    Args:
        pages: By block number and page number, at least those `pages_of` names.
    """
    for slot, numbers in entries.items():
        block = state.frozen.blocks[slot]
        for entry, one in zip(numbers, decode_entries(block, numbers, pages), strict=True):
            block.bury(entry)
            if isinstance(one, FrozenLeg):
                _put_leg_back(state.book, one)
            else:
                _put_match_back(state.book, one, with_spent=block.current)
        if not block.alive:
            state.frozen.drop(slot)


def _put_leg_back(book: Book, one: FrozenLeg) -> None:
    leg = book.leg_of(book.unpack(one.packed))
    leg.met = one.met
    book.file(leg)
    if one.category is not None:
        book.open_exception(leg, one.category, ())
    if one.due:
        book.due.plan(leg, (one.due - 1) * SECOND_US)


def _put_match_back(book: Book, one: FrozenMatch, *, with_spent: bool) -> None:
    members = [(book.unpack(member.packed), member) for member in one.members]
    contents: tuple[list[bytes], list[bytes]] = ([], [])
    for transaction, member in members:
        contents[transaction.side].append(member.packed)
    sources, targets = (side[0] if len(side) == 1 else tuple(side) for side in contents)
    settled = Settled(one.rule, one.newest_ms, sources, targets, (), one.compared)
    if settled.day < book.kept_from:
        return  # forgotten meanwhile
    closed = book.closed.of_match(one.newest_ms)
    for transaction, member in members:
        side, named = transaction.side, transaction.transaction_id
        assert named not in book.known[side], f"{named} is in memory and frozen"
        book.known[side][named] = settled
        closed.ids[side].append(named)
        for index, key in member.spent if with_spent else ():
            pool = book.pools[index]
            assert isinstance(pool, UniquePool)
            assert pool.on(side, key) is None, f"{key} is in memory and frozen"
            pool.put(side, key, named)
            closed.spent[2 * index + side].append(key)
