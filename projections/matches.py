"""The read model `matches`: one row a match or suggestion, written by COPY.

How fast matches become readable is how fast this module makes rows and Postgres takes them, so the
common case, a match of one and one, costs one digest and one format a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import Connection, errors

from domain.errors import SettlerError
from domain.events import MatchSuggested, MatchSuperseded, RecordMatched, difference_of
from domain.identity import match_id
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
_MEMBER = "\x1e"


class MatchConfirmedTwice(SettlerError):
    """The log confirms one match twice; no order of writing makes that one row."""

    code = "projection.match_confirmed_twice"


class Suggestion(msgspec.Struct, gc=False):
    """A suggestion made in the fold; `start` and `end` are its COPY text around `status`."""

    start: str
    end: str
    status: str
    updated_position: int | None
    reason: str


class MatchRows(msgspec.Struct, gc=False):
    """What a fold does to `matches`. Ids are 32 hex digits.

    `confirmed` is COPY text. `superseded` maps suggestions of earlier folds to the position and
    reason of their end.
    """

    confirmed: bytes
    suggested: dict[str, Suggestion]
    superseded: dict[str, tuple[int, str]]


def fold(batches: Sequence[LogBatch]) -> MatchRows:
    """Make the rows of some batches."""
    lines: list[str] = []
    suggested: dict[str, Suggestion] = {}
    superseded: dict[str, tuple[int, str]] = {}
    for batch in batches:
        lines += _plain_lines(batch) if batch.plain else _escaped_lines(batch)
        for index, event in batch.others:
            if isinstance(event, MatchSuggested):
                digits = _digits(batch, event)
                superseded.pop(digits, None)
                suggested[digits] = _suggestion(batch, index, event, digits)
            elif isinstance(event, MatchSuperseded):
                digits = event.match_id.replace("-", "")
                position = batch.first_position + index
                made_here = suggested.get(digits)
                if made_here is None:
                    superseded[digits] = (position, event.reason)
                elif made_here.status == "suggested":
                    made_here.status = "superseded"
                    made_here.updated_position = position
                    made_here.reason = event.reason
    if suggested or superseded:
        # A match that was suggested before has the same id; confirmed, it takes the row over.
        for confirmed in lines:
            suggested.pop(confirmed[:_ID_DIGITS], None)
            superseded.pop(confirmed[:_ID_DIGITS], None)
    return MatchRows("".join(lines).encode(), suggested, superseded)


def _plain_lines(batch: LogBatch) -> list[str]:
    """Write the confirmed matches of a batch whose texts need no escaping."""
    identity = f"{batch.tenant_id}\x1f{batch.reconciliation_id}\x1f"
    place = f"\t{batch.tenant_id}\t{batch.reconciliation_id}\t{batch.stream_hash}\t"
    position = batch.first_position
    version = batch.base_version + 1
    lines = []
    for index, event in batch.matched:
        source_ids = event.source_ids
        target_ids = event.target_ids
        if len(source_ids) == 1 == len(target_ids):
            source = source_ids[0]
            target = target_ids[0]
            members = f"{source}\x1f{target}"
        else:
            members = f"{_MEMBER.join(source_ids)}\x1f{_MEMBER.join(target_ids)}"
            source = '","'.join(source_ids)
            target = '","'.join(target_ids)
        rule = event.rule
        text = f"{identity}{rule}\x1f{members}"
        digest = md5(text.encode()).hexdigest()  # noqa: S324 - names a match, secures nothing
        newest_ms = event.newest_ms
        if not 0 <= newest_ms <= _NEWEST_MS_MAX:
            newest_ms = min(max(newest_ms, 0), _NEWEST_MS_MAX)
        source_minor = event.source_minor
        target_minor = event.target_minor
        difference = target_minor - source_minor if event.compared is None else difference_of(event)
        lines.append(
            f"{newest_ms:012x}{digest[:20]}{place}{position + index}\t{version + index}\t{rule}\t"
            f'{event.match_type}\tconfirmed\t{{"{source}"}}\t{{"{target}"}}\t{event.currency}\t'
            f"{source_minor}\t{target_minor}\t{difference}\t"
            f"{event.definition_version}\n"
        )
    return lines


def _escaped_lines(batch: LogBatch) -> list[str]:
    """Write the confirmed matches of any batch."""
    lines = []
    for index, event in batch.matched:
        start, end = _columns(batch, index, event, _digits(batch, event))
        lines.append(f"{start}confirmed{end}\n")
    return lines


def _suggestion(batch: LogBatch, index: int, event: MatchSuggested, digits: str) -> Suggestion:
    start, end = _columns(batch, index, event, digits)
    return Suggestion(start, end, "suggested", None, event.reason)


def _columns(
    batch: LogBatch, index: int, event: RecordMatched | MatchSuggested, digits: str
) -> tuple[str, str]:
    """Write the columns before `status`, with the tab after them, and those after it."""
    start = (
        f"{digits}\t{batch.tenant_id}\t{batch.reconciliation_id}\t{batch.stream_hash}\t"
        f"{batch.first_position + index}\t"
        f"{batch.base_version + 1 + index}\t{field(event.rule)}\t{event.match_type}\t"
    )
    end = (
        f"\t{array_field(event.source_ids)}\t{array_field(event.target_ids)}\t{event.currency}\t"
        f"{event.source_minor}\t{event.target_minor}\t{difference_of(event)}\t"
        f"{event.definition_version}"
    )
    return start, end


def _digits(batch: LogBatch, event: RecordMatched | MatchSuggested) -> str:
    return match_id(
        batch.tenant_id,
        batch.reconciliation_id,
        event.rule,
        event.source_ids,
        event.target_ids,
        event.newest_ms,
    ).replace("-", "")


def write(conn: Connection[Any], rows: MatchRows, _answers: Mapping[str, Any]) -> None:
    """Write a fold.

    Raises:
        MatchConfirmedTwice: A confirmed match is in the table already.
    """
    if rows.superseded:
        ended = list(rows.superseded.values())
        asked = {
            "match_ids": list(rows.superseded),
            "positions": [position for position, _ in ended],
            "reasons": [storable(reason) for _, reason in ended],
        }
        conn.execute(_SQL["supersede"], asked)
    if rows.confirmed:
        try:
            with conn.transaction():
                _copy(conn, "copy_confirmed", rows.confirmed)
        except errors.UniqueViolation:
            _replace_suggestions(conn, rows.confirmed)
    if rows.suggested:
        conn.execute(_SQL["delete_unconfirmed"], {"match_ids": list(rows.suggested)})
        text = "".join(
            f"{row.start}{row.status}{row.end}\t{line((row.updated_position, row.reason))}"
            for row in rows.suggested.values()
        )
        _copy(conn, "copy_suggested", text.encode())


def _replace_suggestions(conn: Connection[Any], confirmed: bytes) -> None:
    """Write confirmed matches some of which have the row of a suggestion, which is rare."""
    match_ids = [row[:_ID_DIGITS].decode() for row in confirmed.splitlines()]
    conn.execute(_SQL["delete_unconfirmed"], {"match_ids": match_ids})
    try:
        _copy(conn, "copy_confirmed", confirmed)
    except errors.UniqueViolation as exc:
        raise MatchConfirmedTwice(
            f"the log confirms a match that is confirmed already ({exc.diag.message_detail}). "
            "Run `settler verify` to see where the log went wrong"
        ) from exc


def _copy(conn: Connection[Any], query: str, text: bytes) -> None:
    with conn.cursor().copy(_SQL[query]) as copy:
        copy.write(text)


MATCHES = ReadModel("matches", ("matches",), (), fold, write)
