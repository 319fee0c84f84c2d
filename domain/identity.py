"""Identifiers that are functions of what they name: never of positions, chance or the machine.

Each is a UUID-shaped text made from an MD5 digest, which Postgres computes alike, so that the view
`events` and Python agree. MD5 names things here; nothing rests on it being hard to forge.
"""

from collections.abc import Sequence
from hashlib import md5

_FIELD = "\x1f"
_MEMBER = "\x1e"
_NEWEST_MS_MAX = (1 << 48) - 1


def _uuid_text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def match_id(
    tenant_id: str,
    reconciliation_id: str,
    rule: str,
    source_ids: Sequence[str],
    target_ids: Sequence[str],
    newest_ms: int,
) -> str:
    """Name a match by its rule and members.

    The first 48 bits are the newest member's event time, so that matches made one after another
    stand beside each other in an index; a B-tree takes such keys nearly twice as fast as random
    ones. The time is a fact of the members, so the id still depends on nothing else.

    Args:
        source_ids, target_ids: Member ids, already sorted.
        newest_ms: Event time of the newest member, milliseconds since the epoch, UTC.
    """
    text = (
        f"{tenant_id}{_FIELD}{reconciliation_id}{_FIELD}{rule}{_FIELD}"
        f"{_MEMBER.join(source_ids)}{_FIELD}{_MEMBER.join(target_ids)}"
    )
    digest = md5(text.encode(), usedforsecurity=False).hexdigest()
    time_part = min(max(newest_ms, 0), _NEWEST_MS_MAX)
    return _uuid_text(f"{time_part:012x}{digest[:20]}")


def exception_id(tenant_id: str, reconciliation_id: str, side: str, transaction_id: str) -> str:
    """Name the one exception a transaction can have; `side` is "source" or "target"."""
    text = _FIELD.join((tenant_id, reconciliation_id, "exception", side, transaction_id))
    return _uuid_text(md5(text.encode(), usedforsecurity=False).hexdigest())


def event_id(stream_id: str, stream_version: int) -> str:
    """Name an event by its place in its stream."""
    text = f"{stream_id}:{stream_version}"
    return _uuid_text(md5(text.encode(), usedforsecurity=False).hexdigest())


def stream_id(tenant_id: str, reconciliation_id: str) -> str:
    """Name a reconciliation's stream; neither part can hold the slash."""
    return f"{tenant_id}/{reconciliation_id}"


def casework_stream_id(tenant_id: str, exception_id: str) -> str:
    """Name the stream of what people do with an exception.

    It has two slashes and a reconciliation's has one, so none is ever the other's, whatever a
    tenant or a reconciliation is called.
    """
    return f"{tenant_id}/exception/{exception_id}"
