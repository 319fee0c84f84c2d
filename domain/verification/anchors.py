"""The snapshot that stands in for expired journals, read for verification alone.

`domain.snapshots` writes it and says what it holds. Here it is read by other means, down to the
MessagePack array: what that module wrote wrong must not look right because it also reads it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from domain.transactions import Transaction, supersedes, unpack_transaction
from domain.verification.entries import Known
from domain.verification.totals import (
    DUPLICATE,
    EXCEPTION,
    MATCHED,
    PENDING,
    SUGGESTED,
    SUPERSEDED,
)

_FORMATS = (2, 4, 5)
# Places of the array.
_VERSION, _OPEN, _EXCEPTIONS, _SUGGESTIONS, _MATCHES, _CLOSED, _REPLACED, _BLOCKS = (
    3, 9, 10, 11, 12, 13, 17, 22
)  # fmt: skip

Side = dict[str, Known]


class Anchor(NamedTuple):
    """What a stream knew at the version up to which its journals are gone.

    Attributes:
        known: Per side: transaction id → where it stood, of what was open or remembered.
        contents: Packed, every content that a redelivery could still bring.
    """

    version: int
    known: tuple[Side, Side]
    contents: list[bytes]


def read_anchor(data: bytes, tenant_id: str, reconciliation_id: str) -> Anchor:
    """Read off a snapshot where every transaction it knows stands.

    Raises:
        ValueError: A format this release does not know.
        LookupError, TypeError, msgspec.DecodeError: Damaged.
    """
    stored = _decoded(data)
    known: tuple[Side, Side] = ({}, {})
    contents: list[bytes] = []

    def unpack(packed: bytes) -> Transaction:
        return unpack_transaction(packed, tenant_id, reconciliation_id)

    def note(packed: bytes, place: str) -> None:
        one = unpack(packed)
        contents.append(packed)
        corrects_itself = supersedes(one) == one.transaction_id
        known[one.side].setdefault(
            one.transaction_id,
            Known(one.amount_minor, one.currency, one.occurred_at, place, corrects_itself),
        )

    for packed, _ in stored[_OPEN]:
        note(packed, PENDING)
    for side, identity, *_ in stored[_EXCEPTIONS]:
        known[side][identity].place = EXCEPTION
    for suggestion in stored[_SUGGESTIONS]:
        for side, ids in enumerate(suggestion[3:5]):
            for identity in ids:
                known[side][identity].place = SUGGESTED
    for packed, place in _closed(stored, unpack):
        note(packed, place)
    for of_side in stored[_REPLACED]:
        for earlier in of_side.values():
            contents.extend(earlier)
    return Anchor(stored[_VERSION], known, contents)


def _decoded(data: bytes) -> list[Any]:
    stored: list[Any] = msgspec.msgpack.decode(data)
    if stored[0] not in _FORMATS:
        verified = ", ".join(map(str, _FORMATS))
        raise ValueError(f"snapshot has format {stored[0]}, this release verifies {verified}")
    if any(stored[_BLOCKS:]):
        raise ValueError("the snapshot names frozen blocks; what stands in for journals has none")
    return stored


def _closed(
    stored: list[Any], unpack: Callable[[bytes], Transaction]
) -> Iterator[tuple[bytes, str]]:
    """Give the contents of closed transactions, each with where it stands.

    A match may have members whose ids are forgotten already; those are not given.
    """
    members: dict[tuple[int, int], dict[str, bytes]] = {}
    for closed in stored[_CLOSED]:
        ids, references = closed[1:3]
        for side in (0, 1):
            for identity, reference in zip(ids[side], references[side], strict=True):
                if isinstance(reference, int):
                    of_match = members.get((reference, side))
                    if of_match is None:
                        packed_members = stored[_MATCHES][reference][2 + side]
                        of_match = {unpack(one).transaction_id: one for one in packed_members}
                        members[reference, side] = of_match
                    yield of_match[identity], MATCHED
                elif isinstance(reference, bytes):
                    yield reference, DUPLICATE
                else:
                    for packed in reference[1]:
                        yield packed, SUPERSEDED
        # From format 4 on, matches that made pairs stand apart, by the column.
        for of_side in closed[4][3:] if len(closed) > 4 else ():
            for packed in of_side:
                yield packed, MATCHED
