"""Snapshots as releases wrote them whose snapshots ended earlier."""

import msgspec

from domain.snapshots import _Snapshot


def ending_before(field: str, written: bytes) -> bytes:
    """A snapshot without that field and all that were added after it."""
    end = _Snapshot.__struct_fields__.index(field)
    return msgspec.msgpack.encode(msgspec.msgpack.decode(written)[:end])


def without_pairs(written: bytes) -> bytes:
    """A snapshot of format 3, which lists pairs as it does other matches."""
    fields = msgspec.msgpack.decode(written)
    rule = fields[1]["rules"][0]["name"]
    matches, closed = fields[12], fields[13]
    for of_day in closed:
        keys, ids, newest_ms, sources, targets = of_day.pop()
        places = range(len(matches), len(matches) + len(keys))
        for side in (0, 1):
            of_day[1][side] += ids[side]
            of_day[2][side] += places
        for place, used, holders in of_day[3]:
            if place < 2:
                used.extend(keys)
                holders.extend(ids[place])
        for newest, source, target in zip(newest_ms, sources, targets, strict=True):
            matches.append([rule, newest, [source], [target], None])
    fields[0] = 3
    return msgspec.msgpack.encode(fields)
