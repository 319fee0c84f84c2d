"""JSONL files: a record per line, validated exactly as a Kafka message is."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from connectors.files.cells import Convert, converter
from connectors.files.errors import CellInvalid, FileUnusable
from connectors.files.rows import ATTRIBUTE, NO_CLOCK, Record, elsewhere, side_spec
from domain.definitions import Definition
from domain.transaction_reading import decode_transaction
from domain.transactions import Rejection

# Records of 64 KiB are refused as too large one by one; a line past this is no line of records.
LINE_BYTES_MAX = 1 << 24

_OPENING = re.compile(rb"\s*\{\s*(\}?)")
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_jsonl(path: Path, side: int, definition: Definition) -> Iterator[Record]:
    """Yield a transaction or a rejection for every line that is not blank.

    `offset` is the line's number. A line without tenant or reconciliation has the definition's.

    Raises:
        FileUnusable: A line of over 16 MiB.
        OSError: The file cannot be read.
    """
    columns = side_spec(definition, side).columns
    scope = msgspec.json.encode(
        {"tenant_id": definition.tenant_id, "reconciliation_id": definition.reconciliation_id}
    )
    mapping = _Mapping(definition, side) if columns else None
    with path.open("rb") as file:
        for row, line in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), 1):
            if len(line) == LINE_BYTES_MAX:
                raise FileUnusable(path, f"line {row} is over {LINE_BYTES_MAX} bytes; is it JSONL?")
            raw = line.removeprefix(b"\xef\xbb\xbf") if row == 1 else line
            raw = raw.rstrip(b"\r\n")
            if not raw.isspace() and raw:
                yield _read(raw, row, side, definition, scope, mapping)


def _read(
    raw: bytes,
    row: int,
    side: int,
    definition: Definition,
    scope: bytes,
    mapping: "_Mapping | None",
) -> Record:
    try:
        mapped = raw if mapping is None else mapping.apply(raw)
    except CellInvalid as exc:
        return Rejection(
            exc.code,
            str(exc),
            definition.tenant_id,
            definition.reconciliation_id,
            None,
            side,
            raw,
            row,
        )
    # Most files name tenant and reconciliation in every line; the look is cheaper than the splice.
    whole = b'"tenant_id"' in mapped and b'"reconciliation_id"' in mapped
    record = decode_transaction(
        mapped if whole else _with_scope(mapped, scope), side, NO_CLOCK, row
    )
    if whole and isinstance(record, Rejection) and record.code == "missing_field":
        record = decode_transaction(_with_scope(mapped, scope), side, NO_CLOCK, row)
    if isinstance(record, Rejection):
        record.raw = raw
        return record
    if record.tenant_id != definition.tenant_id or (
        record.reconciliation_id != definition.reconciliation_id
    ):
        return Rejection(
            "unknown_reconciliation",
            elsewhere(record, definition.tenant_id),
            record.tenant_id,
            record.reconciliation_id,
            record.transaction_id,
            side,
            raw,
            row,
        )
    return record


def _with_scope(raw: bytes, scope: bytes) -> bytes:
    """Put tenant and reconciliation in front; the record's own, coming later, count before them."""
    opening = _OPENING.match(raw)
    if opening is None:
        return raw
    return scope[:-1] + (b"" if opening[1] else b",") + raw[opening.end() - len(opening[1]) :]


class _Mapping:
    """The definition's columns, applied to the members of a JSON object."""

    def __init__(self, definition: Definition, side: int) -> None:
        self._columns: list[tuple[str, str, Convert | None]] = [
            (field, column.column, converter(field, column, definition.time_zone))
            for field, column in side_spec(definition, side).columns.items()
        ]
        self._used = {column for _, column, _ in self._columns}

    def apply(self, raw: bytes) -> bytes:
        """The record in our field names; what cannot be taken apart is left to validation.

        Raises:
            CellInvalid: A value is not in the notation the definition says.
        """
        try:
            members = _decode_members(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return raw
        record: dict[str, object] = {
            name: value if name in _TAKEN_AS_THEY_ARE else _text(value)
            for name, value in members.items()
            if name not in self._used
        }
        attributes = {}
        for field, column, convert in self._columns:
            text = _text(members[column]) if column in members else None
            if text is None or not text.strip():
                record.pop(field, None)
                continue
            value = text if convert is None else convert(text)
            if field.startswith(ATTRIBUTE):
                attributes[field.removeprefix(ATTRIBUTE)] = value
            else:
                record[field] = value
        if attributes:
            record["attributes"] = self._attributes(members) | attributes
        return msgspec.json.encode(record)

    def _attributes(self, members: dict[str, msgspec.Raw]) -> dict[str, object]:
        given = members.get("attributes")
        if given is None or "attributes" in self._used or bytes(given)[:1] != b"{":
            return {}
        return dict(_decode_members(given))


_TAKEN_AS_THEY_ARE = frozenset({"attributes", "amount", "fee", "base_amount", "fx_rate"})


def _text(value: msgspec.Raw) -> str | None:
    """A member as text: strings decoded, null absent, numbers and the rest as written."""
    written = bytes(value)
    if written[:1] == b'"':
        return msgspec.json.decode(written, type=str)
    return None if written == b"null" else written.decode()
