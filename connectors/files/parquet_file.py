"""Parquet files: typed columns turned into the record's notation exactly, or refused by name."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from connectors.files.cells import AMOUNT_FIELDS, TIME_FIELD
from connectors.files.errors import FileUnusable
from connectors.files.rows import Cells, Record, Row, RowPlan, side_spec
from domain.definitions import Column, Definition

BATCH_ROWS = 8192

_Read = Callable[[Any], str]


def read_parquet(path: Path, side: int, definition: Definition) -> Iterator[Record]:
    """Yield a transaction or a rejection for every row; `offset` is the row's number from 1.

    Decimals and integers are exact, trailing zeros of a decimal's scale are dropped; dates are
    bare dates; timestamps with a zone are instants, without one they need the definition's
    `time_zone` for their column; finer than a microsecond is cut off.

    Raises:
        FileUnusable: Not Parquet, a needed column missing, or an amount stored as floating point.
        OSError: The file cannot be read.
    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as exc:
        raise FileUnusable(path, f"is not a readable Parquet file ({exc})") from exc
    with file:
        schema = file.schema_arrow
        header = schema.names
        typed = frozenset(item.name for item in schema if not _is_text(item.type))
        plan = RowPlan(path, header, side, definition, typed)
        mapped = {header[place]: name for name, place in plan.fields.items()}
        spec = side_spec(definition, side)
        readers = [
            _reader(path, item, mapped.get(item.name), spec.columns.get(mapped.get(item.name, "")))
            for item in schema
        ]
        rows = chain.from_iterable(_cells(path, one, readers) for one in _batches(path, file))
        yield from plan.build_all(map(Row, rows, count(1)))


def _cells(path: Path, batch: pa.RecordBatch, readers: list[_Read]) -> Iterator[Cells]:
    try:
        columns = [
            [None if value is None else read(value) for value in values]
            for read, values in zip(readers, map(_values, batch.columns), strict=True)
        ]
    except UnicodeDecodeError as exc:
        raise FileUnusable(path, f"holds text that is not UTF-8 ({exc}); write it anew") from exc
    return zip(*columns, strict=True)


def _batches(path: Path, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(BATCH_ROWS)
    except (pa.ArrowInvalid, OSError) as exc:
        raise FileUnusable(path, f"is damaged ({exc}); write it anew") from exc


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if types.is_timestamp(kind) and kind.unit == "ns":
        # Python's datetime ends at microseconds; a cut never moves an instant into the next one.
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _reader(path: Path, item: pa.Field, field: str | None, column: Column | None) -> _Read:
    """How a value of this column becomes text; `field` is ours, None for an attribute."""
    kind = item.type
    if _is_text(kind):
        return str
    if types.is_decimal(kind):
        return _plain_decimal
    if types.is_integer(kind):
        return str
    if types.is_date(kind):
        return date.isoformat
    if types.is_timestamp(kind):
        return _timestamp_reader(path, item, field, column)
    if field in AMOUNT_FIELDS and types.is_floating(kind):
        raise FileUnusable(
            path,
            f"column {item.name!r}, read as {field}, is floating point ({kind}), which cannot hold "
            "decimal amounts exactly; write it as decimal128 or as text",
        )
    if field is not None:
        raise FileUnusable(
            path, f"column {item.name!r}, read as {field}, is of type {kind}; write it as text"
        )
    return _attribute_text


def _timestamp_reader(
    path: Path, item: pa.Field, field: str | None, column: Column | None
) -> _Read:
    if item.type.tz is not None:
        return lambda value: value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if field != TIME_FIELD:
        return datetime.isoformat
    if column is None or column.time_zone is None:
        raise FileUnusable(
            path,
            f"column {item.name!r}, read as {field}, has timestamps without a time zone; name it "
            f"in the definition: columns: {{{field}: {{column: {item.name}, time_zone: ZONE}}}}",
        )
    return datetime.isoformat


def _plain_decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _attribute_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, order="deterministic").decode()
    return str(value)
