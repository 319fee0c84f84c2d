"""The state of a reconciliation as bytes, so that recovery need not fold the whole stream.

Format 1 is a MessagePack array in the order of `_Snapshot`. Open legs are their packed transaction
and what matching has made of them; everything that follows from these is built again.
"""

from typing import Any

import msgspec

from domain.definition_parsing import parse_definition
from domain.matching.book import Suggestion
from domain.matching.due import SECOND_US
from domain.matching.legs import Leg
from domain.matching.pools import UniquePool
from domain.reconciliation import Reconciliation
from domain.transactions import unpack_transaction

#: Written now; `restore` reads this one and says so of any other.
FORMAT = 1


class _Snapshot(msgspec.Struct, array_like=True):
    format: int
    definition: dict[str, Any]
    definition_version: int
    version: int
    newest: list[int | None]
    watermark_us: int | None
    recorded_watermark_us: int | None
    commands: list[str]
    open_legs: list[tuple[bytes, int]]
    exceptions: list[tuple[int, str, str, list[str]]]
    suggestions: list[tuple[str, str, int, list[str], list[str]]]
    # side → ids and content hashes of closed transactions, by day of event time
    closed: list[
        tuple[int, list[list[str]], list[list[int]], list[tuple[int, list[Any], list[str]]]]
    ]
    rivals: list[tuple[int, bytes]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Snapshot)


def snapshot(state: Reconciliation) -> bytes:
    """Write the state down; costs time in proportion to what is open and remembered."""
    book = state.book
    closed = []
    for day, one in sorted(book.closed.items()):
        one.spread(book.pools[0])
        ids = [
            [
                known_id
                for known_id in one.ids[side]
                if isinstance(book.known[side].get(known_id), int)
            ]
            for side in (0, 1)
        ]
        hashes = [
            [one for one in map(book.known[side].get, ids[side]) if isinstance(one, int)]
            for side in (0, 1)
        ]
        spent = []
        for place, keys in enumerate(one.spent):
            pool = book.pools[place // 2]
            if isinstance(pool, UniquePool):
                holders = [pool.spent_by(place % 2, key) or "" for key in keys]
                spent.append((place, keys, holders))
        closed.append((day, ids, hashes, spent))
    legs = [leg for known in book.known for leg in known.values() if isinstance(leg, Leg)]
    return _encoder.encode(
        _Snapshot(
            FORMAT,
            state.definition.raw,
            state.definition_version,
            state.version,
            state.newest,
            state.watermark_us,
            state.recorded_watermark_us,
            sorted(state.commands),
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
                )
                for identity, one in book.suggestions.items()
            ],
            closed,
            [(leg.rule, leg.packed) for one in book.closed.values() for leg in one.rivals],
        )
    )


def restore(data: bytes) -> Reconciliation:
    """Build the state back that `snapshot` wrote.

    Raises:
        ValueError: A format this release does not know.
    """
    stored = _decoder.decode(data)
    if stored.format != FORMAT:
        raise ValueError(
            f"snapshot has format {stored.format}, this release reads {FORMAT}; "
            "delete it to fold the stream from its start, or run the release that wrote it"
        )
    state = Reconciliation(parse_definition(stored.definition), stored.definition_version)
    state.version = stored.version
    state.newest = stored.newest
    state.watermark_us = stored.watermark_us
    state.recorded_watermark_us = stored.recorded_watermark_us
    state.commands = set(stored.commands)
    _restore_open(state, stored)
    _restore_closed(state, stored)
    return state


def _restore_open(state: Reconciliation, stored: _Snapshot) -> None:
    book = state.book
    tenant, reconciliation = state.tenant_id, state.reconciliation_id
    for packed, due in stored.open_legs:
        leg = book.leg_of(unpack_transaction(packed, tenant, reconciliation))
        book.put_back(leg, due)
    for side, transaction_id, category, ids in stored.exceptions:
        book.open_exception(book.open_leg(side, transaction_id), category, tuple(ids))
    for identity, rule, index, source_ids, target_ids in stored.suggestions:
        sources = tuple(book.open_leg(0, one) for one in source_ids)
        targets = tuple(book.open_leg(1, one) for one in target_ids)
        dues = [(leg, leg.due) for leg in (*sources, *targets)]
        book.suggest(identity, Suggestion(rule, index, sources, targets))
        for leg, due in dues:
            if due:
                book.due.plan(leg, (due - 1) * SECOND_US)


def _restore_closed(state: Reconciliation, stored: _Snapshot) -> None:
    book = state.book
    tenant, reconciliation = state.tenant_id, state.reconciliation_id
    for day, ids, hashes, spent in stored.closed:
        one = book.closed[day] = book.new_closed()
        for side in (0, 1):
            one.ids[side].extend(ids[side])
            book.known[side].update(zip(ids[side], hashes[side], strict=True))
        for place, keys, holders in spent:
            pool = book.pools[place // 2]
            assert isinstance(pool, UniquePool)
            pool.sides[place % 2].update(zip(keys, holders, strict=True))
            one.spent[place].extend(keys)
    for rule, packed in stored.rivals:
        leg = book.leg_of(unpack_transaction(packed, tenant, reconciliation))
        leg.rule = rule
        book.put_back_rival(leg)
