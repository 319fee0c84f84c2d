"""Rows as the bytes of a CSV or Parquet file, piece by piece, so that no file is ever whole here.

CSV is RFC 4180 in UTF-8: amounts as exact decimals, instants as RFC 3339 in UTC, lists as JSON. A
text that a spreadsheet would take for a formula has an apostrophe put before it. Parquet has
amounts as `decimal128`, instants as timestamps in UTC, and a group of rows for each piece.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

Kind = Literal["text", "whole", "amount", "amounts", "instant", "truth", "texts", "json"]
Row = Mapping[str, Any]

# ISO 4217 has currencies of four fraction digits; `Amount` takes 18 digits, and a sum some more.
AMOUNT_TYPE: Final = pa.decimal128(38, 4)

# What begins a formula in one spreadsheet or another (OWASP, "CSV Injection").
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_PARQUET_TYPES: Final[Mapping[Kind, pa.DataType]] = {
    "text": pa.string(),
    "json": pa.string(),
    "texts": pa.list_(pa.string()),
    "whole": pa.int64(),
    "truth": pa.bool_(),
    "amount": AMOUNT_TYPE,
    "amounts": pa.list_(AMOUNT_TYPE),
    "instant": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export: its name in the file and in a row, and what it holds."""

    name: str
    kind: Kind = "text"


class FileWriter(Protocol):
    """Turns rows into the next bytes of a file."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Give the bytes of some more rows; with the first ones comes the file's head."""

    def end(self) -> bytes:
        """Give what ends the file, and its head if it has no rows."""


def harmless(text: str) -> str:
    """Keep a text from being a formula; one apostrophe less gives back what it was."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _csv_cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    match kind:
        case "text":
            return harmless(str(value))
        case "instant":
            return str(value.isoformat().replace("+00:00", "Z"))
        case "truth":
            return "true" if value else "false"
        case "texts" | "amounts" | "json":
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


class CsvWriter:
    """Writes CSV with a line of names first."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._has_begun = False

    def write(self, rows: Sequence[Row]) -> bytes:
        """Give the lines of some more rows."""
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\r\n")
        if not self._has_begun:
            self._has_begun = True
            lines.writerow([column.name for column in self._columns])
        columns = self._columns
        lines.writerows([_csv_cell(row[one.name], one.kind) for one in columns] for row in rows)
        return text.getvalue().encode()

    def end(self) -> bytes:
        """Give the line of names if there was no row; a CSV file needs no end."""
        return b"" if self._has_begun else self.write(())


class _Pieces(io.RawIOBase):
    """Where pyarrow writes a file that nobody holds as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Take the next bytes."""
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        """Tell how much was written."""
        return self._position

    def take(self) -> bytes:
        """Give what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _parquet_value(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    match kind:
        case "text":
            return str(value)
        case "json":
            return msgspec.json.encode(value).decode()
        case "amount":
            return Decimal(value)
        case "amounts":
            return [Decimal(one) for one in value]
        case _:
            return value


class ParquetWriter:
    """Writes Parquet, a group of rows a piece."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._pieces = _Pieces()
        fields = [pa.field(column.name, _PARQUET_TYPES[column.kind]) for column in columns]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(self._pieces, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> bytes:
        """Give the bytes of one more group of rows."""
        arrays = [
            pa.array(
                [_parquet_value(row[column.name], column.kind) for row in rows],
                _PARQUET_TYPES[column.kind],
            )
            for column in self._columns
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        return self._pieces.take()

    def end(self) -> bytes:
        """Give the footer, which says where the groups are."""
        self._writer.close()
        return self._pieces.take()


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: what it is called, and what writes it."""

    media_type: str
    suffix: str
    writer: Callable[[Sequence[Column]], FileWriter]


FORMATS: Final[Mapping[str, Format]] = {
    "csv": Format("text/csv", "csv", CsvWriter),
    "parquet": Format("application/vnd.apache.parquet", "parquet", ParquetWriter),
}
