"""What of a reconciliation is frozen: which blocks there are, and what in them is still alive.

A block is written once and never changed; an entry that is thawed is dead in its block from then
on. What memory keeps of a block is this, and its fingerprints in the index.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from domain.events import Compared
from domain.freezing.fingerprints import BLOCK_BITS, BLOCK_ENTRIES, SLOTS, Index, PlainIndex
from domain.matching.due import SECOND_US

#: Entries of one page, the unit a block is read by.
PAGE_ENTRIES = 16
#: `Block.first_due` of a block none of whose legs has a look planned.
NEVER = 1 << 62
# More blocks than one freeze makes.
_BLOCKS_OF_A_FREEZE = 1 << 10


class FrozenLeg(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An open leg that stands alone.

    Attributes:
        due: As `Book.due_second` tells it.
        category: Of its exception, if it has one.
        met: See `Leg.met`.
    """

    packed: bytes
    due: int
    category: str | None
    met: bool


class Member(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A member of a frozen match: the day of its event time; values it used up, by rule."""

    packed: bytes
    day: int
    spent: list[tuple[int, str]]


class FrozenMatch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A confirmed match, see `Settled`."""

    rule: str
    newest_ms: int
    compared: Compared | None
    members: list[Member]


class _FrozenPair(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A match of one transaction a side by a unique first rule, both of the block's one day.

    Written by itself since most matches are such, and this takes a fifth of the time.
    """

    rule: str
    newest_ms: int
    source: bytes
    target: bytes
    key: str

    def as_match(self, day: int) -> FrozenMatch:
        spent = [(0, self.key)]
        members = [Member(self.source, day, spent), Member(self.target, day, spent)]
        return FrozenMatch(self.rule, self.newest_ms, None, members)


class Block(msgspec.Struct, array_like=True):
    """What memory keeps of a block.

    Attributes:
        number: Its name in the store.
        slot: Its place in the index.
        of_legs: It holds open legs, else matches.
        count: Its entries.
        current: Values used up by its matches belong to the rules in force.
        first_due: The first second a leg of it is due in.
        first_day, last_day: Days of event time of its transactions.
        dead: A bit an entry, least significant first; empty while all are alive.
        of_pairs: Its matches are written as `_FrozenPair`.
    """

    number: int
    slot: int
    of_legs: bool
    count: int
    current: bool
    first_due: int
    first_day: int
    last_day: int
    dead: bytearray = bytearray()
    alive: int = -1
    of_pairs: bool = False

    def __post_init__(self) -> None:
        if self.alive < 0:
            self.alive = self.count

    def is_alive(self, entry: int) -> bool:
        """Whether an entry has not been thawed yet."""
        return not self.dead or not self.dead[entry >> 3] >> (entry & 7) & 1

    def bury(self, entry: int) -> None:
        """Note that an entry is thawed."""
        if not self.dead:
            self.dead = bytearray((self.count + 7) // 8)
        self.dead[entry >> 3] |= 1 << (entry & 7)
        self.alive -= 1

    def living(self) -> list[int]:
        """Numbers of the entries that have not been thawed yet."""
        return [entry for entry in range(self.count) if self.is_alive(entry)]


class NewBlock(msgspec.Struct):
    """A block to be written, before any of it is read and before a snapshot names it."""

    number: int
    fingerprints: bytes
    pages: list[bytes]


class Touched(msgspec.Struct):
    """What an input may touch of what is frozen.

    Attributes:
        fingerprints: Of its ids, and of the values the rules look its transactions up by.
        until_us: Event time may reach this instant; None: it stays.
        open_legs: Every open leg.
        days: First and last days of event time of which everything is needed.
        named: Side and id of what it may put back as pending.
    """

    fingerprints: list[int] = []
    until_us: int | None = None
    open_legs: bool = False
    days: list[tuple[int, int]] = []
    named: list[tuple[int, str]] = []


#: Slot of a block → numbers of entries in it.
Entries = dict[int, list[int]]


class Frozen:
    """The blocks of one reconciliation.

    Attributes:
        index: Knows the fingerprints; may be replaced while there is no block.
        blocks: By slot.
        written: How many blocks this process has made of this state.
    """

    def __init__(self, index: Index | None = None) -> None:
        self.index: Index = PlainIndex() if index is None else index
        self.blocks: dict[int, Block] = {}
        self.written = 0
        self._next_slot = 0
        self._first_due = NEVER

    @property
    def numbers(self) -> list[int]:
        """The numbers of the blocks."""
        return [block.number for block in self.blocks.values()]

    @property
    def entries(self) -> int:
        """Matches and open legs that are frozen."""
        return sum(block.alive for block in self.blocks.values())

    @property
    def has_legs(self) -> bool:
        """Whether an open leg is frozen."""
        return any(block.of_legs for block in self.blocks.values())

    @property
    def has_room(self) -> bool:
        """Whether a freeze of any size may be taken in."""
        return len(self.blocks) < SLOTS - _BLOCKS_OF_A_FREEZE

    def number(self, fence: int) -> int:
        """The number of the block made last by who holds the stream by a fence.

        All made before, by this or a former holder, have lower ones.
        """
        return fence << 32 | self.written

    def first_due_us(self) -> int | None:
        """The event time at which a frozen leg may be due, None if none ever is."""
        return None if self._first_due == NEVER else self._first_due * SECOND_US

    def free_slot(self) -> int | None:
        """A slot for another block, that one used longest ago; None when there are too many."""
        for step in range(SLOTS):
            slot = (self._next_slot + step) % SLOTS
            if slot not in self.blocks:
                self._next_slot = (slot + 1) % SLOTS
                return slot
        return None

    def add(self, block: Block, fingerprints: bytes) -> None:
        """Take a block in."""
        self.blocks[block.slot] = block
        self._first_due = min(self._first_due, block.first_due)
        self.index.add(block.slot, fingerprints)

    def restore(self, blocks: list[Block]) -> None:
        """Take back the blocks a snapshot names; their fingerprints are to be read."""
        self.blocks = {block.slot: block for block in blocks}
        self._first_due = min((block.first_due for block in blocks), default=NEVER)

    def drop(self, slot: int) -> None:
        """Let go of a block that nothing in is needed any more."""
        block = self.blocks.pop(slot)
        self.index.drop(slot)
        if block.first_due == self._first_due:
            dues = (one.first_due for one in self.blocks.values())
            self._first_due = min(dues, default=NEVER)

    def drop_before(self, day: int) -> None:
        """Let go of matches all of whose transactions are of days before one."""
        old = [one for one in self.blocks.values() if not one.of_legs and one.last_day < day]
        for block in old:
            self.drop(block.slot)

    def change_rules(self) -> None:
        """Go on under other rules: the values that matches used up are new again."""
        assert not self.has_legs, "open legs are thawed before the rules change"
        for block in self.blocks.values():
            block.current = False

    def found(self, touched: Touched) -> Entries:
        """The entries that are to be thawed for an input."""
        wanted: dict[int, set[int]] = {}
        until = touched.until_us
        due = until is not None and self._first_due <= until // SECOND_US
        if due or touched.open_legs or touched.days:
            whole = [block for block in self.blocks.values() if _wholly(block, touched)]
            wanted = {block.slot: set(block.living()) for block in whole}
        for place in self.index.find(touched.fingerprints) if touched.fingerprints else ():
            slot, entry = place >> BLOCK_BITS, place & (BLOCK_ENTRIES - 1)
            block = self.blocks.get(slot)
            if block is not None and entry < block.count and block.is_alive(entry):
                wanted.setdefault(slot, set()).add(entry)
        return {slot: sorted(wanted[slot]) for slot in sorted(wanted)}

    def sparse(self) -> Entries:
        """The entries of a block few of which are alive; thawed, they may be frozen together."""
        for block in self.blocks.values():
            if block.alive * 8 < block.count:
                return {block.slot: block.living()}
        return {}


def _wholly(block: Block, touched: Touched) -> bool:
    if block.of_legs and touched.open_legs:
        return True
    until = touched.until_us
    if until is not None and block.first_due <= until // SECOND_US:
        return True
    return any(block.first_day <= last and first <= block.last_day for first, last in touched.days)


_encoder = msgspec.msgpack.Encoder()
_pages = msgspec.msgpack.Decoder(list[msgspec.Raw])
_legs = msgspec.msgpack.Decoder(FrozenLeg)
_matches = msgspec.msgpack.Decoder(FrozenMatch)
_pairs = msgspec.msgpack.Decoder(_FrozenPair)


def encode_pages(entries: list[Any]) -> list[bytes]:
    """Write entries down, `PAGE_ENTRIES` a page; each is a MessagePack array of them."""
    return [
        _encoder.encode(entries[begin : begin + PAGE_ENTRIES])
        for begin in range(0, len(entries), PAGE_ENTRIES)
    ]


def decode_entries(
    block: Block, entries: list[int], pages: dict[tuple[int, int], bytes]
) -> Iterator[FrozenLeg | FrozenMatch]:
    """Read entries of a block from its pages, by block number and page number."""
    decode: Callable[[msgspec.Raw], FrozenLeg | FrozenMatch]
    if block.of_pairs:
        day = block.first_day

        def decode(entry: msgspec.Raw) -> FrozenMatch:
            return _pairs.decode(entry).as_match(day)
    else:
        decode = (_legs if block.of_legs else _matches).decode
    at, page = -1, list[msgspec.Raw]()
    for entry in entries:
        number, place = divmod(entry, PAGE_ENTRIES)
        if number != at:
            at, page = number, _pages.decode(pages[block.number, number])
        yield decode(page[place])


def pages_of(frozen: Frozen, entries: Entries) -> list[tuple[int, int]]:
    """Block number and page number of the pages that entries stand on."""
    return [
        (frozen.blocks[slot].number, page)
        for slot, numbers in entries.items()
        for page in sorted({one // PAGE_ENTRIES for one in numbers})
    ]
