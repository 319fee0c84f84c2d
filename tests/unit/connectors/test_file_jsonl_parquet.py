"""JSONL lines are messages; Parquet columns are turned exactly or refused by name."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.errors import FileUnusable
from connectors.files.reading import read_records
from domain.transactions import TARGET, Transaction
from tests.unit.connectors.file_cases import HEADER, ROW, codes, definition, read

# -- JSONL --


def record_line(**changes):
    record = {
        "transaction_id": "t-1",
        "amount": "12.50",
        "currency": "EUR",
        "occurred_at": "2026-01-05",
    }
    return json.dumps(record | changes)


def test_jsonl_lines_are_messages(tmp_path):
    lines = [
        record_line(tenant_id="acme", reconciliation_id="shop", reference="a"),
        "",
        record_line(transaction_id="t-2"),
        record_line(transaction_id="t-3", description='has "tenant_id" and "reconciliation_id"'),
        "not json",
        record_line(tenant_id="acme", reconciliation_id="elsewhere"),
        "{}",
        record_line(transaction_id="t-4").replace('"12.50"', "12.50"),
    ]
    records = read(tmp_path / "a.jsonl", "\ufeff" + "\n".join(lines))
    assert codes(records) == [
        None,
        None,
        None,
        "invalid_json",
        "unknown_reconciliation",
        "missing_field",
        None,
    ]
    assert [one.offset for one in records] == [1, 3, 4, 5, 6, 7, 8]
    assert records[3].raw == b"not json"
    assert records[6].amount_minor == 1250


def test_jsonl_columns_are_mapped_with_numbers_as_written(tmp_path):
    line = (
        '{"id": 77, "Betrag": 12.50, "currency": "EUR", "occurred_at": "2026-01-05",'
        ' "n": 3, "ok": true, "list": [1, 2], "attributes": {"a": "b"}, "Filiale": "Graz"}'
    )
    columns = {"transaction_id": "id", "amount": "Betrag", "attributes.branch": "Filiale"}
    (record,) = read(tmp_path / "a.jsonl", line, columns)
    assert isinstance(record, Transaction), record
    assert (record.transaction_id, record.amount_minor) == ("77", 1250)
    assert record.attributes == {
        "a": "b",
        "branch": "Graz",
        "n": "3",
        "ok": "true",
        "list": "[1, 2]",
    }


@pytest.mark.parametrize("line", ['{"id": ', "[1]", '{"id": 1e5, "Betrag": 1e3}', "{}", '"x"'])
def test_jsonl_lines_that_cannot_be_mapped_are_rejected(tmp_path, line):
    columns = {"transaction_id": "id", "amount": "Betrag"}
    (record,) = read(tmp_path / "a.jsonl", line, columns)
    assert record.code in ("invalid_json", "missing_field")
    assert record.raw == line.encode()


# -- Parquet --


def parquet(path, columns, mapping=None, **options):
    base = {
        "transaction_id": pa.array(["t-1"]),
        "amount": pa.array([Decimal("12.5000")], pa.decimal128(18, 4)),
        "currency": pa.array(["EUR"]),
        "occurred_at": pa.array([datetime(2026, 1, 5, 12, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(base | columns), path)
    made = definition(mapping, **options)
    return next(iter(read_records(path, TARGET, made)))


@pytest.fixture
def parquet_path(tmp_path):
    return tmp_path / "a.parquet"


def test_parquet_decimals_are_exact(parquet_path):
    assert parquet(parquet_path, {}).amount_minor == 1250
    fine = {"amount": pa.array([Decimal("12.505")], pa.decimal128(18, 3))}
    assert parquet(parquet_path, fine).code == "amount_precision"


def test_parquet_integers_are_major_units(parquet_path):
    assert parquet(parquet_path, {"amount": pa.array([12])}).amount_minor == 1200


def test_parquet_floats_are_refused_by_name(parquet_path):
    with pytest.raises(FileUnusable, match=r"'amount'.*floating point.*decimal128"):
        parquet(parquet_path, {"amount": pa.array([12.5])})


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_instants_in_any_unit(parquet_path, unit):
    moment = datetime(2026, 1, 5, 12, tzinfo=UTC)
    column = pa.array([moment], pa.timestamp("us", "Asia/Tokyo")).cast(
        pa.timestamp(unit, "Asia/Tokyo")
    )
    record = parquet(parquet_path, {"occurred_at": column})
    assert record.occurred_at == int(moment.timestamp()) * 10**6
    assert not record.is_date


def test_parquet_nanoseconds_are_cut(parquet_path):
    column = pa.array([1_767_600_000_123_456_999], pa.timestamp("ns", "UTC"))
    record = parquet(parquet_path, {"occurred_at": column})
    assert record.occurred_at == 1_767_600_000_123_456


def test_parquet_dates_are_bare_dates(parquet_path):
    record = parquet(parquet_path, {"occurred_at": pa.array([date(2026, 1, 5)])})
    assert record.is_date


def test_parquet_timestamps_without_zone_need_one(parquet_path):
    column = {"occurred_at": pa.array([datetime(2026, 7, 5, 14, 30)])}  # noqa: DTZ001
    with pytest.raises(FileUnusable, match="without a time zone"):
        parquet(parquet_path, column)
    zone = {"occurred_at": {"column": "occurred_at", "time_zone": "Europe/Vienna"}}
    record = parquet(parquet_path, column, zone)
    assert record.occurred_at == int(datetime(2026, 7, 5, 12, 30, tzinfo=UTC).timestamp()) * 10**6
    skipped = {"occurred_at": pa.array([datetime(2026, 3, 29, 2, 30)])}  # noqa: DTZ001
    assert parquet(parquet_path, skipped, zone).code == "invalid_timestamp"


def test_parquet_texts_numbers_and_the_rest_become_attributes(parquet_path):
    record = parquet(
        parquet_path,
        {
            "transaction_id": pa.array([77]),
            "currency": pa.array(["EUR"]).dictionary_encode(),
            "n": pa.array([3]),
            "x": pa.array([1.5]),
            "ok": pa.array([True]),
            "bytes": pa.array([b"a\xff"]),
            "list": pa.array([["a", "b"]]),
            "none": pa.array([None], pa.string()),
        },
        {"amount": {"column": "amount", "negate": True, "decimal": ",", "thousands": "."}},
    )
    assert isinstance(record, Transaction), record
    assert record.transaction_id == "77"
    assert record.amount_minor == -1250
    assert record.attributes == {
        "n": "3",
        "x": "1.5",
        "ok": "true",
        "bytes": "a\\xff",
        "list": '["a","b"]',
    }


def test_parquet_nulls_are_absent(parquet_path):
    record = parquet(parquet_path, {"amount": pa.array([None], pa.decimal128(18, 2))})
    assert record.code == "missing_field"
    assert record.transaction_id == "t-1"


def test_what_is_not_parquet_is_refused(parquet_path):
    parquet_path.write_bytes(b"PAR1 and no more")
    with pytest.raises(FileUnusable, match="Parquet"):
        list(read_records(parquet_path, TARGET, definition()))


def test_the_format_is_seen_when_the_suffix_says_nothing(tmp_path):
    assert len(read(tmp_path / "a", f"{HEADER}\n{ROW}\n")) == 1
    assert len(read(tmp_path / "b.dat", record_line())) == 1
    pq.write_table(
        pa.table(
            {"transaction_id": ["t"], "amount": ["1"], "currency": ["EUR"], "occurred_at": [""]}
        ),
        tmp_path / "c",
    )
    assert codes(read_records(tmp_path / "c", TARGET, definition())) == ["missing_field"]


def test_rows_past_a_batch_are_numbered_on(parquet_path):
    count = 20_000
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    pq.write_table(
        pa.table(
            {
                "transaction_id": [f"t-{n}" for n in range(count)],
                "amount": ["1.00"] * count,
                "currency": ["EUR"] * count,
                "occurred_at": [(moment + timedelta(seconds=1)).isoformat()] * count,
            }
        ),
        parquet_path,
    )
    records = list(read_records(parquet_path, TARGET, definition()))
    assert [one.offset for one in records] == list(range(1, count + 1))


def test_text_that_is_not_utf_8_is_told_as_the_file_it_is_in(tmp_path):
    # As a writer leaves it that takes any bytes for text: Parquet does not look.
    ids = pa.array([b"t-1", b"caf\xe9"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "transaction_id": ids,
            "amount": ["1.00"] * 2,
            "currency": ["EUR"] * 2,
            "occurred_at": ["2026-01-05"] * 2,
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    with pytest.raises(FileUnusable, match="not UTF-8"):
        list(read_records(path, TARGET, definition()))
