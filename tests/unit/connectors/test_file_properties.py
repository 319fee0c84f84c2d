"""Readers, whatever is in the file."""

import csv
import io
import json
import tracemalloc
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.errors import FileUnusable
from connectors.files.reading import read_records
from domain.transactions import TARGET, Rejection, Transaction
from tests.unit.connectors.file_cases import HEADER, ROW, definition, read

EARLIEST, LATEST = datetime(1990, 1, 1), datetime(2080, 1, 1)  # noqa: DTZ001


@pytest.fixture
def csv_path(tmp_path):
    return tmp_path / "bank.csv"


@given(moment=st.datetimes(EARLIEST, LATEST))
def test_the_quick_reading_of_formats_is_strptimes(moment):
    from connectors.files.cells import _reader

    for form in ("%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%Y%m%d", "%d %b %Y"):
        text = moment.strftime(form)
        assert _reader(form)(text) == datetime.strptime(text, form)  # noqa: DTZ007


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=20))
def test_every_row_comes_out_once_whatever_is_in_it(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(HEADER.split(","))
    writer.writerows(rows)
    records = read(path, buffer.getvalue())
    assert len(records) == len(rows)
    for record, row in zip(records, rows, strict=True):
        if isinstance(record, Rejection):
            assert list(json.loads(record.raw).values()) == row
        else:
            assert record.transaction_id == row[0].strip()


@given(data=st.binary(max_size=400))
def test_any_bytes_end_in_records_or_in_a_clear_refusal(data, tmp_path_factory):
    for suffix in (".csv", ".jsonl", ".parquet", ""):
        path = tmp_path_factory.mktemp("any") / f"file{suffix}"
        try:
            records = read(path, f"{HEADER}\n".encode() + data if suffix == ".csv" else data)
        except FileUnusable as exc:
            outcome = [str(path) in str(exc)]
        else:
            outcome = [isinstance(one, Rejection | Transaction) for one in records]
        assert all(outcome)


@given(
    values=st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True),
            st.integers(-(10**15), 10**15),
            st.datetimes(EARLIEST, LATEST),
        ),
        max_size=10,
    )
)
def test_the_three_formats_say_the_same(values, tmp_path_factory):
    place = tmp_path_factory.mktemp("formats")
    rows = [
        {
            "transaction_id": name,
            "amount": f"{Decimal(minor) / 100:.2f}",
            "currency": "EUR",
            "occurred_at": moment.isoformat() + "Z",
        }
        for name, minor, moment in values
    ]
    names = ["transaction_id", "amount", "currency", "occurred_at"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    (place / "a.csv").write_text(text.getvalue(), encoding="utf-8")
    (place / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = pa.table(
        {
            "transaction_id": pa.array([one[0] for one in values], pa.string()),
            "amount": pa.array([Decimal(one[1]) / 100 for one in values], pa.decimal128(20, 4)),
            "currency": pa.array(["EUR"] * len(values), pa.string()),
            "occurred_at": pa.array([one[2] for one in values], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, place / "a.parquet")
    contents = [
        [one.packed for one in read_records(place / f"a.{suffix}", TARGET, definition())]
        for suffix in ("csv", "jsonl", "parquet")
    ]
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == len(values)


def test_memory_does_not_grow_with_the_file(csv_path):
    peaks = []
    for count in (2_000, 20_000):
        csv_path.write_text(HEADER + "\n" + f"{ROW}\n" * count)
        tracemalloc.start()
        assert sum(1 for _ in read_records(csv_path, TARGET, definition())) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 2 + 500_000
