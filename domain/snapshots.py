"""The state of a reconciliation as bytes, so that recovery need not fold the whole stream.

Format 5 is a MessagePack array in the order of `_Snapshot`. Open legs and the members of matches
are their packed transactions and what matching has made of them; everything that follows from
these is built again. Format 4 is the same, from before the store compressed snapshots. Formats 2
and 3 have no pairs apart from other matches; format 2 is of a state nothing of which is frozen.
Format 1 kept too little of what was closed to undo it; such a snapshot is passed over, and the
stream folded from its start.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from domain.definition_parsing import parse_definition
from domain.events import Compared
from domain.freezing.frozen import Block
from domain.matching.book import Book
from domain.matching.closed import Pairs
from domain.matching.forgetting import forget_match
from domain.matching.legs import Leg, Settled, Suggestion, Superseded
from domain.matching.recalling import STRETCH, file_all, legs_of, plan_looks
from domain.matching.refusals import Refusal
from domain.matching.unique_pool import UniquePool
from domain.reconciliation import Reconciliation
from domain.runs import Run
from domain.transaction_columns import unpack_columns

#: What `snapshot` writes.
FORMAT = 5
#: What `restore` reads; it says so of any other.
READABLE = (2, 3, 4, FORMAT)

# A closed transaction: the place of its match in `_Snapshot.matches`; its packed content when it
# is a duplicate; who corrected it and what had come under its id.
_Reference = int | bytes | tuple[str, list[bytes]]


class _Pairs(msgspec.Struct, array_like=True, frozen=True):
    """`Closed.pairs`: most of what is closed, so it is written as fast as it can be read."""

    keys: list[Any]
    ids: tuple[list[str], list[str]]
    newest_ms: list[int]
    sources: list[bytes]
    targets: list[bytes]


class _Closed(msgspec.Struct, array_like=True):
    """What was closed of one day of event time."""

    day: int
    ids: list[list[str]]
    references: list[list[_Reference]]
    spent: list[tuple[int, list[Any], list[str]]]
    # snapshots of format 3 end here
    pairs: _Pairs | None = None


class _Snapshot(msgspec.Struct, array_like=True):
    format: int
    definition: dict[str, Any]
    definition_version: int
    version: int
    newest: list[int | None]
    watermark_us: int | None
    recorded_watermark_us: int | None
    paused: bool
    commands: list[str]
    open_legs: list[tuple[bytes, int]]
    exceptions: list[tuple[int, str, str, list[str]]]
    suggestions: list[tuple[str, str, int, list[str], list[str], bool]]
    matches: list[tuple[str, int, list[bytes], list[bytes], Compared | None]]
    closed: list[_Closed]
    rivals: list[tuple[int, bytes]]
    refusals: list[tuple[str | None, list[str], list[str]]]
    # rule, side and id of every duplicate the present rules have set aside
    duplicates: list[tuple[int, int, str]]
    replaced: list[dict[str, list[bytes]]]
    # run id and run
    runs: list[tuple[str, Run]] = []
    # no longer used
    released_us: int | None = None
    # snapshots of the first releases end here
    closed_day: int | None = None
    # the day ids are kept from, and what is frozen
    kept_from: int | None = None
    blocks: list[Block] = []


class _Head(msgspec.Struct, array_like=True):
    format: int


_newest_ms_of = attrgetter("newest_ms")
_sources_of = attrgetter("sources")
_targets_of = attrgetter("targets")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Snapshot)
_head_decoder = msgspec.msgpack.Decoder(_Head)


def snapshot(state: Reconciliation) -> bytes:
    """Write the state down; costs time in proportion to what of it is in memory."""
    book = state.book
    legs = [leg for known in book.known for leg in known.values() if type(leg) is Leg]
    matches, closed = _write_closed(state)
    return _encoder.encode(
        _Snapshot(
            FORMAT,
            state.definition.raw,
            state.definition_version,
            state.version,
            state.newest,
            state.watermark_us,
            state.recorded_watermark_us,
            state.paused,
            list(state.commands),
            [(leg.packed, book.due_second(leg)) for leg in legs],
            [
                (leg.side, leg.transaction_id, category, list(ids))
                for leg, (category, ids) in book.exceptions.items()
            ],
            [
                (
                    identity,
                    one.rule,
                    one.rule_index,
                    [leg.transaction_id for leg in one.sources],
                    [leg.transaction_id for leg in one.targets],
                    one.single,
                )
                for identity, one in book.suggestions.items()
            ],
            [
                (
                    one.rule,
                    one.newest_ms,
                    list(one.packed(0)),
                    list(one.packed(1)),
                    one.compared,
                )
                for one in matches
            ],
            closed,
            [(leg.rule, leg.packed) for leg in book.closed.rivals()],
            [(one.rule, list(one.source_ids), list(one.target_ids)) for one in book.refusals],
            list(_duplicates(state)),
            [{one: list(contents) for one, contents in side.items()} for side in book.replaced],
            list(state.runs.by_id.items()),
            None,
            state.closed_day,
            book.kept_from,
            list(state.frozen.blocks.values()),
        )
    )


def _duplicates(state: Reconciliation) -> Iterator[tuple[int, int, str]]:
    book = state.book
    for index, pool in enumerate(book.pools):
        if isinstance(pool, UniquePool):
            for side, one in pool.aside:
                if isinstance(book.known[side].get(one), bytes):
                    yield index, side, one


def _write_closed(state: Reconciliation) -> tuple[list[Settled], list[_Closed]]:
    """What is closed, by day, and the matches it speaks of that are not among the pairs."""
    book = state.book
    places: dict[Settled, int] = {}
    days = []
    _spread_listed(book)
    for day, one in sorted(book.closed.days.items()):
        pairs = one.pairs
        ids: list[list[str]] = [[], []]
        references: list[list[_Reference]] = [[], []]
        for side in (0, 1):
            known = book.known[side]
            # One that was open again in between stands here twice.
            for known_id in dict.fromkeys(one.ids[side]):
                if book.day_of(side, known_id) != day:
                    continue  # open or forgotten, or closed anew since
                entry = known[known_id]
                ids[side].append(known_id)
                if isinstance(entry, Settled):
                    references[side].append(places.setdefault(entry, len(places)))
                elif isinstance(entry, Superseded):
                    references[side].append((entry.by, list(entry.contents)))
                else:
                    assert isinstance(entry, bytes), f"{known_id} is open and has a day"
                    references[side].append(entry)
        spent = []
        for place, keys in enumerate(one.spent):
            pool = book.pools[place // 2]
            if isinstance(pool, UniquePool):
                side = place % 2
                used = [(key, pool.spent_by(side, key)) for key in dict.fromkeys(keys)]
                held = [
                    (key, holder)
                    for key, holder in used
                    if holder is not None and book.day_of(side, holder) == day
                ]
                spent.append((place, [key for key, _ in held], [holder for _, holder in held]))
        settled = pairs.settled
        columns = _Pairs(
            pairs.keys,
            pairs.ids,
            list(map(_newest_ms_of, settled)),
            list(map(_sources_of, settled)),
            list(map(_targets_of, settled)),
        )
        days.append(_Closed(day, ids, references, spent, columns))
    return list(places), days


def _spread_listed(book: Book) -> None:
    """Leave among the pairs only what is a pair and stands nowhere else: it is written once.

    One of a pair stands by its id too if it was closed before, and corrected or reopened since.
    """
    days = book.closed.days.values()
    for closed in days:
        closed.spread_undone()
    listed = {
        entry
        for closed in days
        for known, ids in zip(book.known, closed.ids, strict=True)
        for entry in map(known.get, ids)
        if type(entry) is Settled
    }
    for closed in days:
        closed.spread_some(listed)


def restore(data: bytes) -> Reconciliation:
    """Build the state back that `snapshot` wrote.

    What is frozen stays so: `Frozen.index` still lacks the fingerprints of `Frozen.blocks`.

    Raises:
        ValueError: A format this release does not know.
    """
    written = _head_decoder.decode(data).format
    if written not in READABLE:
        raise ValueError(
            f"snapshot has format {written}, this release reads {', '.join(map(str, READABLE))}; "
            "delete it to fold the stream from its start, or run the release that wrote it"
        )
    stored = _decoder.decode(data)
    state = Reconciliation(parse_definition(stored.definition), stored.definition_version)
    state.version = stored.version
    state.newest = stored.newest
    state.watermark_us = stored.watermark_us
    state.recorded_watermark_us = stored.recorded_watermark_us
    state.paused = stored.paused
    state.closed_day = stored.closed_day
    state.commands = dict.fromkeys(stored.commands)
    state.runs.by_id = dict(stored.runs)
    for rule, source_ids, target_ids in stored.refusals:
        state.book.refuse(Refusal(rule, tuple(source_ids), tuple(target_ids)))
    # What is closed comes first: a value it has used up is then not filed for an open leg.
    state.book.recalls = True
    _restore_closed(state, stored)
    _restore_open(state, stored)
    state.book.recalls = False
    state.frozen.restore(stored.blocks)
    return state


def _restore_open(state: Reconciliation, stored: _Snapshot) -> None:
    book = state.book
    filed = list(_file_open(book, stored.open_legs))
    for side, transaction_id, category, ids in stored.exceptions:
        book.open_exception(book.open_leg(side, transaction_id), category, tuple(ids))
    for identity, rule, index, source_ids, target_ids, single in stored.suggestions:
        sources = tuple(book.open_leg(0, one) for one in source_ids)
        targets = tuple(book.open_leg(1, one) for one in target_ids)
        book.suggest(identity, Suggestion(rule, index, sources, targets, single))
    for legs, dues in filed:
        plan_looks(book, legs, dues)


def _file_open(
    book: Book, open_legs: list[tuple[bytes, int]]
) -> Iterator[tuple[list[Leg], list[int]]]:
    """File open legs; yield them with the seconds their looks are planned for."""
    one = book.definition
    for begin in range(0, len(open_legs), STRETCH):
        packed, dues = zip(*open_legs[begin : begin + STRETCH], strict=True)
        place = 0
        for records in unpack_columns(packed, one.tenant_id, one.reconciliation_id):
            legs = legs_of(book, records, 0)
            file_all(book, legs)
            yield legs, list(dues[place : place + len(legs)])
            place += len(legs)


def _restore_closed(state: Reconciliation, stored: _Snapshot) -> None:
    book = state.book
    if stored.kept_from is not None:
        book.kept_from = stored.kept_from
    for side, contents in enumerate(stored.replaced):
        book.replaced[side].update({one: tuple(packed) for one, packed in contents.items()})
    members: Counter[Settled] = Counter()
    matches = [
        Settled(rule, newest_ms, _alone(sources), _alone(targets), (), compared)
        for rule, newest_ms, sources, targets, compared in stored.matches
    ]
    for of_day in stored.closed:
        members.update(_restore_ids(book, of_day, matches))
        _restore_pairs(book, book.closed.of_day(of_day.day).pairs, of_day.pairs)
    # Once all matches are known, since members have stood under days of their own.
    for of_day in stored.closed:
        _restore_spent(book, of_day)
    for match, count in members.items():
        if count < len(match.packed(0)) + len(match.packed(1)):
            forget_match(book, match)
    for index, side, duplicate in stored.duplicates:
        packed, pool = book.known[side][duplicate], book.pools[index]
        assert isinstance(packed, bytes)
        assert isinstance(pool, UniquePool)
        slot = book.rules[index].slot
        pool.set_aside(side, book.leg_of(book.unpack(packed)).keys[slot], duplicate)
    for index, packed in stored.rivals:
        leg = book.leg_of(book.unpack(packed))
        leg.rule = index
        book.put_back_rival(leg)


def _restore_ids(book: Book, of_day: _Closed, matches: list[Settled]) -> Iterator[Settled]:
    """Know what was closed on a day by its id again; yields the match of each that has one."""
    for side in (0, 1):
        known = book.known[side]
        for known_id, reference in zip(of_day.ids[side], of_day.references[side], strict=True):
            if isinstance(reference, int):
                match = known[known_id] = matches[reference]
                book.closed.of_day(match.day).ids[side].append(known_id)
                yield match
                continue
            book.list_closed(side, known_id, of_day.day)
            if isinstance(reference, bytes):
                known[known_id] = reference
            else:
                known[known_id] = Superseded(reference[0], tuple(reference[1]))


def _restore_spent(book: Book, of_day: _Closed) -> None:
    for place, keys, holders in of_day.spent:
        index, side = divmod(place, 2)
        pool = book.pools[index]
        assert isinstance(pool, UniquePool)
        for key, holder in zip(keys, holders, strict=True):
            pool.put(side, key, holder)
            day = book.day_of(side, holder)
            one = book.closed.of_day(of_day.day if day is None else day)
            one.spent[place].append(key)


def _restore_pairs(book: Book, pairs: Pairs, stored: _Pairs | None) -> None:
    if stored is None or not stored.keys:
        return
    pool, rule = book.pools[0], book.rules[0].name
    assert isinstance(pool, UniquePool), "only a unique rule pairs off"
    columns = (repeat(rule), stored.newest_ms, stored.sources, stored.targets)
    settled = list(map(Settled, *columns))
    for side, ids in enumerate(stored.ids):
        book.known[side].update(zip(ids, settled, strict=True))
    pool.spend_pairs(stored.keys, settled)
    pairs.put(Pairs(stored.keys, stored.ids, settled))


def _alone(members: list[bytes]) -> bytes | tuple[bytes, ...]:
    return members[0] if len(members) == 1 else tuple(members)
