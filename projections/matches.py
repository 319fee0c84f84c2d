"""The read model `matches`: one row a match or suggestion, written by COPY.

How fast matches become readable is how fast this module makes rows and Postgres takes them, so the
common case, a match of one and one, costs one digest and one format a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection, errors

from domain.errors import SettlerError
from domain.events import (
    Event,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    difference_of,
    match_id_of,
)
from domain.matched_pairs import MatchedPairs
from projections.copy_text import array_field, field, line, storable
from projections.log import LogBatch
from projections.queries import load_queries
from projections.read_model import ReadModel

try:
    # CPython's own, for short texts twice as fast as the one of OpenSSL that hashlib gives out.
    from _md5 import md5  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from hashlib import md5

_SQL = load_queries("matches")
_NEWEST_MS_MAX = (1 << 48) - 1
_ID_DIGITS = 32
_NO_AMOUNTS = "\\N\t\\N"


class MatchConfirmedTwice(SettlerError):
    """The log confirms one match twice; no order of writing makes that one row."""

    code = "projection.match_confirmed_twice"


class Asked(msgspec.Struct, gc=False):
    """A row of a suggestion, or of what a person made, in the fold.

    `start` and `end` are its COPY text around `status`, `amounts` the text of the columns that
    only such rows have.
    """

    start: str
    end: str
    amounts: str
    status: str
    updated_position: int | None
    reason: str | None
    command_id: str | None


class End(NamedTuple):
    """What became of a row of an earlier fold, or of one that a rule made in this one."""

    status: str
    position: int
    reason: str | None
    command_id: str | None


class MatchRows(msgspec.Struct, gc=False):
    """What a fold does to `matches`. Ids are 32 hex digits.

    `confirmed` is COPY text of what rules made, `asked` what was suggested or made by people,
    `ended` the end of other rows.
    """

    confirmed: bytes
    asked: dict[str, Asked]
    ended: dict[str, End]


def fold(batches: Sequence[LogBatch]) -> MatchRows:
    """Make the rows of some batches."""
    lines: list[str] = []
    asked: dict[str, Asked] = {}
    ended: dict[str, End] = {}
    for batch in batches:
        for index, run in batch.pairs:
            if batch.plain:
                lines += _pair_lines(batch, batch.first_position + index, run)
            else:
                lines += _escaped_lines(batch, list(enumerate(run.events(), index)))
        lines += _escaped_lines(batch, batch.matched)
        for index, event in batch.others:
            _fold_asked(batch, index, event, asked, ended)
    if asked or ended:
        # A match that was suggested before has the same id; confirmed, it takes the row over.
        for confirmed in lines:
            digits = confirmed[:_ID_DIGITS]
            asked.pop(digits, None)
            if digits in ended and ended[digits].status != "reversed":
                del ended[digits]
    return MatchRows("".join(lines).encode(), asked, ended)


def _fold_asked(
    batch: LogBatch, index: int, event: Event, asked: dict[str, Asked], ended: dict[str, End]
) -> None:
    if isinstance(event, MatchSuggested | MatchConfirmed):
        digits = _digits(batch, event)
        asked[digits] = _asked(batch, index, event, digits)
        return
    position = batch.first_position + index
    match event:
        case MatchSuperseded():
            end = End("superseded", position, event.reason, None)
        case MatchRejected():
            end = End("rejected", position, event.reason, event.command_id)
        case MatchReversed():
            end = End("reversed", position, event.reason, event.command_id)
        case _:
            return
    digits = event.match_id.replace("-", "")
    row = asked.get(digits)
    if row is None:
        ended[digits] = end
    elif row.status in ("suggested", "confirmed"):
        row.status, row.updated_position = end.status, end.position
        row.reason, row.command_id = end.reason, end.command_id


def _pair_lines(batch: LogBatch, position: int, run: MatchedPairs) -> list[str]:
    """Write matches in a row, the first at a position, whose texts need no escaping."""
    identity = f"{batch.tenant_id}\x1f{batch.reconciliation_id}\x1f{run.rule}\x1f"
    place = f"\t{batch.tenant_id}\t{batch.reconciliation_id}\t{batch.stream_hash}\t"
    made = f"\t{run.rule}\tone_to_one\tconfirmed\t"
    end = f"\t{run.definition_version}\n"
    lines = []
    for position, pair in enumerate(run.pairs, position):  # noqa: B020 - from it on
        source, target, currency, minor, above, newest_ms = pair
        text = f"{identity}{source}\x1f{target}"
        digest = md5(text.encode()).hexdigest()  # noqa: S324 - names a match, secures nothing
        if not 0 <= newest_ms <= _NEWEST_MS_MAX:
            newest_ms = min(max(newest_ms, 0), _NEWEST_MS_MAX)
        amounts = f"{minor}\t{minor + above}\t{above}" if above else f"{minor}\t{minor}\t0"
        lines.append(
            f"{newest_ms:012x}{digest[:20]}{place}{position}{made}"
            f'{{"{source}"}}\t{{"{target}"}}\t{currency}\t{amounts}{end}'
        )
    return lines


def _escaped_lines(batch: LogBatch, matched: Sequence[tuple[int, RecordMatched]]) -> list[str]:
    """Write the confirmed matches of any batch."""
    lines = []
    for index, event in matched:
        start, end = _columns(batch, index, event, _digits(batch, event))
        lines.append(f"{start}confirmed{end}\n")
    return lines


def _asked(
    batch: LogBatch, index: int, event: MatchSuggested | MatchConfirmed, digits: str
) -> Asked:
    start, end = _columns(batch, index, event, digits)
    if isinstance(event, MatchConfirmed):
        return Asked(start, end, _NO_AMOUNTS, "confirmed", None, event.reason, event.command_id)
    amounts = _NO_AMOUNTS
    if event.source_amounts:
        sides = (event.source_amounts, event.target_amounts)
        amounts = "\t".join(array_field([str(one) for one in side]) for side in sides)
    return Asked(start, end, amounts, "suggested", None, event.reason, None)


def _columns(
    batch: LogBatch,
    index: int,
    event: RecordMatched | MatchSuggested | MatchConfirmed,
    digits: str,
) -> tuple[str, str]:
    """Write the columns before `status`, with the tab after them, and those after it."""
    start = (
        f"{digits}\t{batch.tenant_id}\t{batch.reconciliation_id}\t{batch.stream_hash}\t"
        f"{batch.first_position + index}\t{field(event.rule)}\t{event.match_type}\t"
    )
    end = (
        f"\t{array_field(event.source_ids)}\t{array_field(event.target_ids)}\t{event.currency}\t"
        f"{event.source_minor}\t{event.target_minor}\t{difference_of(event)}\t"
        f"{event.definition_version}"
    )
    return start, end


def _digits(batch: LogBatch, event: RecordMatched | MatchSuggested | MatchConfirmed) -> str:
    return match_id_of(batch.tenant_id, batch.reconciliation_id, event).replace("-", "")


def write(conn: Connection[Any], rows: MatchRows, _answers: Mapping[str, Any]) -> None:
    """Write a fold.

    Raises:
        MatchConfirmedTwice: A confirmed match is in the table already.
    """
    if rows.confirmed:
        try:
            with conn.transaction():
                _copy(conn, "copy_confirmed", rows.confirmed)
        except errors.UniqueViolation:
            _replace_unconfirmed(conn, rows.confirmed)
    if rows.ended:
        _end(conn, rows.ended)
    if rows.asked:
        conn.execute(_SQL["delete_unconfirmed"], {"match_ids": list(rows.asked)})
        text = "".join(
            f"{row.start}{row.status}{row.end}\t{row.amounts}\t"
            + line((row.updated_position, row.reason, row.command_id))
            for row in rows.asked.values()
        )
        try:
            _copy(conn, "copy_asked", text.encode())
        except errors.UniqueViolation as exc:
            raise _confirmed_twice(exc) from exc


def _end(conn: Connection[Any], ended: Mapping[str, End]) -> None:
    asked = {
        "match_ids": list(ended),
        "statuses": [end.status for end in ended.values()],
        "positions": [end.position for end in ended.values()],
        "reasons": [None if end.reason is None else storable(end.reason) for end in ended.values()],
        "command_ids": [end.command_id for end in ended.values()],
    }
    conn.execute(_SQL["end"], asked)


def _replace_unconfirmed(conn: Connection[Any], confirmed: bytes) -> None:
    """Write confirmed matches some of which have the row of a suggestion, which is rare."""
    match_ids = [row[:_ID_DIGITS].decode() for row in confirmed.splitlines()]
    conn.execute(_SQL["delete_unconfirmed"], {"match_ids": match_ids})
    try:
        _copy(conn, "copy_confirmed", confirmed)
    except errors.UniqueViolation as exc:
        raise _confirmed_twice(exc) from exc


def _confirmed_twice(exc: errors.UniqueViolation) -> MatchConfirmedTwice:
    return MatchConfirmedTwice(
        f"the log confirms a match that is confirmed already ({exc.diag.message_detail}). "
        "Run `settler verify` to see where the log went wrong"
    )


def _copy(conn: Connection[Any], query: str, text: bytes) -> None:
    with conn.cursor().copy(_SQL[query]) as copy:
        copy.write(text)


MATCHES = ReadModel("matches", ("matches",), (), fold, write)
