"""Foreign columns and notations, as a definition maps them."""

from datetime import UTC, datetime

import pytest

from tests.unit.connectors.file_cases import HEADER, read


@pytest.fixture
def csv_path(tmp_path):
    return tmp_path / "bank.csv"


# -- the mapping --

FOREIGN = {
    "transaction_id": "id",
    "amount": {"column": "Betrag", "decimal": ",", "thousands": "."},
    "currency": "Whg",
    "occurred_at": {"column": "Am", "format": "%d.%m.%Y %H:%M", "time_zone": "Europe/Vienna"},
    "attributes.order": "Bestellung",
}


def foreign(csv_path, amount="1.234,50", moment="05.07.2026 14:30", columns=FOREIGN, **options):
    text = f"id;Betrag;Whg;Am;Bestellung;Filiale\nx-1;{amount};EUR;{moment};ORD-9;Graz\n"
    return read(csv_path, text, columns, **options)[0]


def test_foreign_columns_are_mapped(csv_path):
    record = foreign(csv_path)
    assert (record.transaction_id, record.amount_minor, record.currency) == ("x-1", 123450, "EUR")
    assert record.occurred_at == int(datetime(2026, 7, 5, 12, 30, tzinfo=UTC).timestamp()) * 10**6
    assert record.attributes == {"order": "ORD-9", "Filiale": "Graz"}


@pytest.mark.parametrize(
    ("text", "minor"),
    [("0,05", 5), ("-1.234.567,89", -123456789), ("1234,5", 123450), ("12", 1200), (" 7,00 ", 700)],
)
def test_amounts_in_foreign_notation(csv_path, text, minor):
    assert foreign(csv_path, amount=text).amount_minor == minor


@pytest.mark.parametrize(
    "text", ["1.50", "1,234.50", "1.23.456,00", "12.3456,00", "1e3", "+1,00", "١"]
)
def test_amounts_in_another_notation_are_never_guessed_at(csv_path, text):
    record = foreign(csv_path, amount=text)
    assert record.code == "invalid_amount"
    assert "'Betrag'" in record.message


@pytest.mark.parametrize(("text", "minor"), [("12.50", -1250), ("-12.50", 1250), ("0", 0)])
def test_negate_turns_the_sign(csv_path, text, minor):
    records = read(
        csv_path,
        f"{HEADER}\nt-1,{text},EUR,2026-01-05,\n",
        {"amount": {"column": "amount", "negate": True}},
    )
    assert records[0].amount_minor == minor


def test_a_format_without_time_is_a_bare_date(csv_path):
    columns = FOREIGN | {"occurred_at": {"column": "Am", "format": "%d/%m/%y"}}
    record = foreign(csv_path, moment="05/07/26", columns=columns)
    assert record.is_date
    assert record.occurred_at == int(datetime(2026, 7, 5, tzinfo=UTC).timestamp()) * 10**6


def test_without_a_zone_of_its_own_a_column_is_in_the_definitions(csv_path):
    columns = FOREIGN | {"occurred_at": {"column": "Am", "format": "%d.%m.%Y %H:%M"}}
    record = foreign(csv_path, columns=columns, time_zone="America/New_York")
    assert record.occurred_at == int(datetime(2026, 7, 5, 18, 30, tzinfo=UTC).timestamp()) * 10**6


def test_an_iso_time_takes_the_columns_zone(csv_path):
    columns = FOREIGN | {"occurred_at": {"column": "Am", "time_zone": "Europe/Vienna"}}
    local = foreign(csv_path, moment="2026-07-05T14:30:00", columns=columns)
    given_offset = foreign(csv_path, moment="2026-07-05T14:30:00+02:00", columns=columns)
    assert local.occurred_at == given_offset.occurred_at


@pytest.mark.parametrize(
    "moment", ["2026-07-05", "31.02.2026 10:00", "05.07.2026", "05.07.2026 25:00", "5.7.26 1:00"]
)
def test_times_in_another_format_are_rejected(csv_path, moment):
    assert foreign(csv_path, moment=moment).code == "invalid_timestamp"


def test_a_time_that_clocks_skip_is_rejected_and_of_one_that_comes_twice_the_first_counts(csv_path):
    skipped = foreign(csv_path, moment="29.03.2026 02:30")
    assert skipped.code == "invalid_timestamp"
    assert "does not exist" in skipped.message
    twice = foreign(csv_path, moment="25.10.2026 02:30")
    assert twice.occurred_at == int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * 10**6
