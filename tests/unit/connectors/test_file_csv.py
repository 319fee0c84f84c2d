"""CSV files in every bad shape: transactions, rejections with their row, or a clear refusal."""

import json
from datetime import UTC, datetime

import pytest

from connectors.files import csv_file
from connectors.files.errors import FileUnusable
from connectors.files.reading import read_records
from domain.transactions import SOURCE, TARGET, Transaction
from tests.unit.connectors.file_cases import HEADER, ROW, codes, definition, read


@pytest.fixture
def csv_path(tmp_path):
    return tmp_path / "bank.csv"


# -- CSV --


def test_csv_rows_are_transactions(csv_path):
    (record,) = read(csv_path, f"{HEADER}\n{ROW}\n")
    assert isinstance(record, Transaction)
    assert (record.tenant_id, record.reconciliation_id, record.side) == ("acme", "shop", TARGET)
    assert (record.transaction_id, record.amount_minor, record.currency) == ("t-1", 1250, "EUR")
    assert record.reference == "ORD-1"
    assert record.occurred_at == int(datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()) * 1_000_000
    assert record.offset == 2


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_marks_line_ends_and_delimiters_are_found(csv_path, mark, end, delimiter):
    text = mark + f"{HEADER}{end}{ROW}{end}".replace(",", delimiter)
    (record,) = read(csv_path, text)
    assert record.transaction_id == "t-1"


def test_a_delimiter_can_be_said(csv_path):
    text = f"{HEADER}\n{ROW}\n".replace(",", "~")
    assert len(read(csv_path, text, delimiter="~")) == 1


def test_an_empty_file_has_no_header(csv_path):
    with pytest.raises(FileUnusable, match="needs a header"):
        read(csv_path, "")


@pytest.mark.parametrize("text", [HEADER, HEADER + "\n", HEADER + "\n\n\r\n"])
def test_a_header_alone_is_no_record(csv_path, text):
    assert read(csv_path, text) == []


def test_a_missing_required_column_is_named(csv_path):
    with pytest.raises(FileUnusable, match=r"bank\.csv.*'currency'.*'amount'.*columns"):
        read(csv_path, "transaction_id,amount,occurred_at\n")


def test_a_missing_mapped_column_is_named(csv_path):
    with pytest.raises(FileUnusable, match="no column 'Buchung', which the definition maps to ref"):
        read(csv_path, f"{HEADER}\n{ROW}\n", {"reference": "Buchung"})


def test_a_used_column_that_stands_twice_is_refused(csv_path):
    with pytest.raises(FileUnusable, match="2 columns named 'amount'"):
        read(csv_path, f"{HEADER},amount\n{ROW},1.00\n")


def test_other_columns_that_stand_twice_are_told_apart(csv_path):
    (record,) = read(csv_path, f"{HEADER},note,note,\n{ROW},a,b,c\n")
    assert record.attributes == {"note": "a", "note (2)": "b", "column 8": "c"}


def test_ragged_rows_are_rejected_and_the_rest_goes_on(csv_path):
    text = f"{HEADER}\nt-0,1.00\n{ROW}\n{ROW},more,cells\n{ROW.replace('t-1', 't-2')}\n"
    records = read(csv_path, text)
    assert codes(records) == ["ragged_row", None, "ragged_row", None]
    assert [one.offset for one in records] == [2, 3, 4, 5]
    assert records[0].transaction_id == "t-0"
    assert json.loads(records[0].raw) == {"transaction_id": "t-0", "amount": "1.00"}
    assert "line 2 has 2 cells, the header has 5" in records[0].message
    assert "more | cells" in json.loads(records[2].raw).values()


def test_empty_cells_past_the_end_are_harmless(csv_path):
    assert codes(read(csv_path, f"{HEADER}\n{ROW},,\n")) == [None]


def test_quotes_delimiters_and_line_ends_inside_cells(csv_path):
    quoted = '"said ""yes, sir""\nand left"'
    text = f"{HEADER},description\n{ROW},{quoted}\n{ROW.replace('t-1', 't-2')},x\n"
    first, second = read(csv_path, text)
    assert first.description == 'said "yes, sir"\nand left'
    assert (first.offset, second.offset) == (2, 4)


def test_foreign_bytes_cost_their_row_alone(csv_path):
    text = f"{HEADER}\n".encode() + b"t-9,1.00,EUR,2026-01-05,M\xfcller\n" + f"{ROW}\n".encode()
    records = read(csv_path, text)
    assert codes(records) == ["invalid_encoding", None]
    assert records[0].transaction_id == "t-9"
    assert b"M\\\\xfcller" in records[0].raw


def test_a_foreign_header_is_refused(csv_path):
    with pytest.raises(FileUnusable, match="save it as UTF-8"):
        read(csv_path, HEADER.encode() + b",W\xe4hrung\n")


def test_utf16_is_named(csv_path):
    with pytest.raises(FileUnusable, match="UTF-16"):
        read(csv_path, f"{HEADER}\n{ROW}\n".encode("utf-16"))


def test_a_huge_cell_is_one_rejection(csv_path):
    huge = "x" * (csv_file.CELL_CHARACTERS_MAX + 10)
    records = read(csv_path, f"{HEADER}\n{ROW},\n{ROW}{huge}\n{ROW.replace('t-1', 't-2')}\n")
    assert codes(records) == [None, "too_large", None]
    assert records[1].offset == 3


def test_a_quote_never_closed_is_told_with_its_lines(csv_path):
    rows = "".join(f"{ROW.replace('t-1', f't-{n}')}\n" for n in range(5_000))
    records = read(csv_path, f'{HEADER}\nt-x,1.00,EUR,2026-01-05,"open\n{rows}')
    assert records[0].code == "too_large"
    assert "line 2" in records[0].message
    assert all(one is None for one in codes(records)[2:])
    assert len(records) > 1_000


def test_a_file_without_lines_is_refused(csv_path, monkeypatch):
    monkeypatch.setattr(csv_file, "LINE_CHARACTERS_MAX", 1_000)
    with pytest.raises(FileUnusable, match="is it text"):
        read(csv_path, f"{HEADER}\n{'y' * 2_000}\n")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileUnusable, match="does not exist"):
        list(read_records(tmp_path / "no.csv", SOURCE, definition()))


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(FileUnusable, match="cannot be read"):
        list(read_records(tmp_path, SOURCE, definition()))


def test_records_of_another_reconciliation_are_rejected(csv_path):
    records = read(
        csv_path,
        f"{HEADER},tenant_id,reconciliation_id\n{ROW},acme,shop\n{ROW},acme,other\n{ROW},,\n"
        f"{ROW},globex,shop\n",
    )
    assert codes(records) == [None, "unknown_reconciliation", None, "unknown_reconciliation"]
    assert "globex" in records[3].message


def test_invalid_rows_keep_their_raw_form_and_code(csv_path):
    text = f"{HEADER}\nt-1,12.345,EUR,2026-01-05,\n,1.00,EUR,2026-01-05,\nt-3,1,EUR,today,\n"
    records = read(csv_path, text)
    assert codes(records) == ["amount_precision", "missing_field", "invalid_timestamp"]
    assert json.loads(records[0].raw)["amount"] == "12.345"
    assert [one.transaction_id for one in records] == ["t-1", None, "t-3"]


def test_wide_files_keep_what_rules_name(csv_path):
    names = [f"extra{n}" for n in range(80)]
    rules = [
        {
            "name": "r",
            "match_type": "one_to_one",
            "conditions": [{"field": "attributes.extra79", "operator": "exact"}],
        }
    ]
    text = f"{HEADER},{','.join(names)}\n{ROW},{','.join(names)}\n"
    (record,) = read(csv_path, text, rules=rules)
    assert isinstance(record, Transaction)
    assert len(record.attributes) == 64
    assert record.attributes["extra79"] == "extra79"
