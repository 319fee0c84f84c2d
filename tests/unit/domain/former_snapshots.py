"""Snapshots as releases wrote them whose snapshots ended earlier."""

import msgspec

from domain.snapshots import _Snapshot


def ending_before(field: str, written: bytes) -> bytes:
    """A snapshot without that field and all that were added after it."""
    end = _Snapshot.__struct_fields__.index(field)
    return msgspec.msgpack.encode(msgspec.msgpack.decode(written)[:end])
