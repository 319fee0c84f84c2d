"""The journal column: the accepted transactions of a batch, packed and compressed.

Layout: one format byte, then a compressed MessagePack array with one binary element per
transaction, each as `domain.transactions` packed it. Format 1 is a zlib stream (RFC 1950), format 2
a frame of `connectors.postgres.frames`.
"""

import zlib
from collections.abc import Sequence

import msgspec

from connectors.postgres.frames import from_frame, to_frame

_ZLIB, _FRAME = 1, 2

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


def encode_journal(packed: Sequence[bytes]) -> bytes:
    """Write the packed transactions of a batch down, in order."""
    return bytes((_FRAME,)) + to_frame(_encoder.encode(packed))


def decode_journal(journal: bytes) -> list[bytes]:
    """Give the packed transactions of a batch back, in order.

    Raises:
        ValueError: The journal is of a format this release does not know, or damaged.
        OSError: It cannot be decompressed.
    """
    content = memoryview(journal)[1:]
    if journal[0] == _FRAME:
        try:
            plain = from_frame(content)
        except ValueError as problem:
            raise ValueError(f"journal is damaged: {problem}") from None
        return _decoder.decode(plain)
    if journal[0] == _ZLIB:
        return _decoder.decode(zlib.decompress(content))
    raise ValueError(
        f"journal has format {journal[0]}, this release reads {_ZLIB} and {_FRAME}; "
        "run the release that wrote it or a newer one"
    )
