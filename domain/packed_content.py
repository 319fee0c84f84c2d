"""The canonical content of a transaction as bytes: equal content is equal bytes.

Journals hold these bytes for years. The order of the fields is a storage format: another order or
meaning needs another format number.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

# What few records carry, in this order: the fee, the base amount and its currency, the exchange
# rate and the currency it leads to, and the record this one corrects.
Extra = tuple[int | None, int | None, str | None, str | None, str | None, str | None]

PACKED_FORMAT: Final = 1
DATE_FLAG: Final = 2


class PackedContent(msgspec.Struct, array_like=True, gc=False):
    """The canonical content as a MessagePack array.

    `flags` is the side plus 2 for a bare date. Tenant, reconciliation and offset are left out:
    they belong to the stream and the log, not to what the record says.
    """

    format: int
    flags: int
    transaction_id: str
    amount_minor: int
    currency: str
    occurred_at: int
    reference: str | None
    counterparty: str | None
    description: str | None
    attributes: dict[str, str] | None
    extra: Extra | None


encode_packed: Final = msgspec.msgpack.Encoder().encode
decode_packed: Final = msgspec.msgpack.Decoder(PackedContent).decode


# `PackedContent` as a tuple, with the attributes as they are packed: most are equal to others'.
PackedFields = tuple[
    int,
    int,
    str,
    int,
    str,
    int,
    str | None,
    str | None,
    str | None,
    msgspec.Raw,
    Extra | None,
]

decode_packed_attributes: Final = msgspec.msgpack.Decoder(dict[str, str] | None).decode
_decode_array: Final = msgspec.msgpack.Decoder(list[PackedFields]).decode
_ARRAY_32 = b"\xdd"


def decode_all_packed(packed: Sequence[bytes]) -> list[PackedFields]:
    """Decode many at once: behind the head of an array they are one MessagePack text."""
    return _decode_array(b"".join((_ARRAY_32, len(packed).to_bytes(4, "big"), *packed)))
