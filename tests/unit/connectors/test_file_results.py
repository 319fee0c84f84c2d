"""Result files appear whole; the summary notices what is not accounted for; definitions as text."""

from decimal import Decimal

import msgspec
import pytest

from connectors.files.definition_file import read_definition
from connectors.files.errors import FileUnusable
from connectors.files.results import Results
from connectors.files.summary import summarise
from connectors.files.writing import json_lines, write_files
from domain.events import RecordMatched, RecordUnmatched, TransactionsAccepted
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import SOURCE, TARGET, build_transaction
from tests.unit.connectors.file_cases import definition

RECORD = {
    "tenant_id": "acme",
    "reconciliation_id": "shop",
    "amount": "12.50",
    "currency": "EUR",
    "occurred_at": "2026-01-05T12:00:00Z",
    "reference": "ORD-1",
}
ACCEPTED = [(SOURCE, "EUR", 1, 1250), (TARGET, "EUR", 1, 1250)]


def matched(source="s", target="t"):
    return RecordMatched(
        "reference", "one_to_one", 1, (source,), (target,), "EUR", 1250, 1250, 1_767_614_400_000
    )


def unmatched(side, transaction_id):
    return RecordUnmatched(
        side, transaction_id, "missing_in_target", "low", 1250, "EUR", 1, None, "why", [], 1
    )


def results(*events, counts=ACCEPTED):
    made = Results(definition())
    for side, name in ((SOURCE, "s"), (TARGET, "t")):
        made.note_read(side, [build_transaction(RECORD | {"transaction_id": name}, side, None)])
    made.fold([TransactionsAccepted(counts, {}, 0, 0), *events])
    return made


def test_a_match_is_explained_by_its_values():
    (row,) = results(matched()).match_rows()
    assert (row["source_amount"], row["difference"], row["status"]) == (
        "12.50",
        "0.00",
        "confirmed",
    )
    (condition,) = row["explanation"]["conditions"]
    assert condition["source_values"] == condition["target_values"] == ["ORD-1"]
    assert row["explanation"]["amount"] == {"kind": "equal", "difference": "0.00"}


def test_everything_in_one_place_is_conserved():
    summary = summarise(results(matched()))
    assert summary["conserved"] is True
    assert summary["accuracy"] == 1
    assert summary["amounts"]["EUR"]["source"]["matched"] == "12.50"


def test_corrections_are_counted_as_superseded_and_what_they_undo_is_undone():
    """By another id, and under the own one, read before and after what it corrects."""
    records = [
        RECORD | {"transaction_id": "s"},
        RECORD | {"transaction_id": "k", "supersedes": "s", "reference": "ORD-2"},
        RECORD | {"transaction_id": "u", "supersedes": "u", "amount": "3.00"},
        RECORD | {"transaction_id": "u", "amount": "4.00"},
        RECORD | {"transaction_id": "u", "amount": "4.00"},
    ]
    made, state = Results(definition()), Reconciliation(definition())
    for side, rows in ((TARGET, [RECORD | {"transaction_id": "t"}]), (SOURCE, records)):
        chunk = made.note_read(side, [build_transaction(row, side, None) for row in rows])
        made.fold(state.advance(Chunk(chunk)).events)
    made.fold(state.finish().events)
    assert not list(made.match_rows())
    summary = summarise(made)
    assert summary["conserved"] is True, summary
    assert summary["counts"]["redelivered"] == 1
    assert summary["counts"]["transactions"]["source"]["superseded"] == 2
    assert summary["amounts"]["EUR"]["source"]["superseded"] == "16.50"
    assert [row["transaction_id"] for row in made.exception_rows()] == ["k", "u", "t"]


@pytest.mark.parametrize(
    "broken",
    [
        results,
        lambda: results(unmatched(SOURCE, "s")),
        lambda: results(matched(), unmatched(SOURCE, "s")),
        lambda: results(matched(), counts=[*ACCEPTED[:1], (TARGET, "EUR", 1, 1249)]),
        lambda: results(matched(), counts=ACCEPTED[:1]),
    ],
    ids=["pending", "one pending", "in two places", "a cent", "a record"],
)
def test_what_is_not_accounted_for_is_not_conserved(broken):
    assert summarise(broken())["conserved"] is False


def test_files_appear_together_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    write_files(out, {"a": b"1", "b": b"2"})
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    with pytest.raises(FileUnusable, match="cannot be written"):
        write_files(out, {"a": b"new", "no/such/folder": b"x"})
    assert (out / "a").read_bytes() == b"1"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_json_lines_end_each_row():
    lines = json_lines([{"b": 1, "a": "ü"}, {}])
    assert lines == '{"b":1,"a":"ü"}\n{}\n'.encode()
    assert msgspec.json.Decoder().decode_lines(lines) == [{"b": 1, "a": "ü"}, {}]
    assert json_lines([]) == b""


def test_decimals_of_a_definition_are_taken_as_written(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(
        """
        tenant_id: acme
        reconciliation_id: shop
        rules:
          - name: r
            match_type: one_to_one
            conditions: [{field: reference, operator: exact}]
            amount: {tolerance: {absolute: 0.10}}
        """
    )
    absolute = read_definition(path).rules[0].amount.absolute
    assert absolute == Decimal("0.10")
    assert read_definition(path).rules[0].amount.kind == "tolerance"
