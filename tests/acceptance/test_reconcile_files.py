"""`settler reconcile` as a user runs it: large foreign files, the same bytes again, exactly."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from connectors.synthetic.facts import compare, read_facts
from connectors.synthetic.outputs import read_outputs
from deploy.cli.main import app

ROWS = 100_000
OUTPUTS = ("matches.jsonl", "exceptions.jsonl", "rejected.jsonl", "summary.json")
STREAMS = ("acme/orders-charges", "acme/ledger-bank", "globex/payouts")

DEFINITION = """
tenant_id: acme
reconciliation_id: shop-bank
name: Shop orders against bank entries
time_zone: Europe/Vienna
source:
  system: shop
  columns:
    transaction_id: Order No.
    amount: {column: Gross, decimal: ",", thousands: "."}
    currency: Cur
    occurred_at: {column: Placed, format: "%d.%m.%Y %H:%M"}
    reference: Order Ref
target:
  system: bank
  columns:
    transaction_id: id
    amount: {column: Amount, negate: true}
    currency: Currency
    occurred_at: {column: Created (UTC), format: "%Y-%m-%d %H:%M:%S", time_zone: UTC}
    reference: Memo
rules:
  - name: order-reference
    match_type: one_to_one
    conditions: [{field: reference, operator: exact}]
    amount: {tolerance: {absolute: 0.10}}
    date: {min_days: 0, max_days: 2}
    selection: {tie_break: lowest_id}
"""


def settler(*arguments: object, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", *map(str, arguments)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def german(minor: int) -> str:
    return f"{minor // 100:,}".replace(",", ".") + f",{minor % 100:02d}"


def write_foreign_files(place: Path) -> None:
    """Two exports with a few rows wrong, by their number modulo 1000."""
    (place / "shop-bank.yaml").write_text(DEFINITION, encoding="utf-8")
    orders = ["Order No.;Gross;Cur;Placed;Order Ref;Country"]
    entries = ["id,Amount,Currency,Created (UTC),Memo"]
    for number in range(ROWS):
        kind = number % 1000
        minor = 100 + number * 37
        day, hour = 1 + number % 28, number % 24
        order = f"S{number:06d};{german(minor)};EUR;{day:02d}.03.2026 {hour:02d}:15;R-{number};AT"
        charged = minor + {3: 11, 7: 10}.get(kind, 0)
        amount = "12.5.0" if kind == 4 else f"-{charged // 100}.{charged % 100:02d}"
        entry = f"B{number:06d},{amount},EUR,2026-03-{day:02d} 22:30:00,R-{number}"
        if kind != 2:
            orders.append(order)
        if kind == 5:
            orders.append(order)
        if kind != 1:
            entries.append(entry)
        if kind == 6:
            entries.append(entry.replace("R-", "again "))
    (place / "orders.csv").write_text("\n".join(orders) + "\n", encoding="utf-8-sig")
    (place / "entries.csv").write_text("\r\n".join(entries) + "\r\n", encoding="utf-8")


def rows(path: Path) -> list[dict[str, object]]:
    return msgspec.json.Decoder(dict[str, object]).decode_lines(path.read_bytes())


def test_two_large_foreign_files_give_the_exact_result_twice_the_same(tmp_path):
    write_foreign_files(tmp_path)
    outs = [tmp_path / "first", tmp_path / "second"]
    for hash_seed, out in zip(("1", "2"), outs, strict=True):
        done = settler(
            "reconcile", "--definition", tmp_path / "shop-bank.yaml", "--source",
            tmp_path / "orders.csv", "--target", tmp_path / "entries.csv", "--out", out,
            hash_seed=hash_seed,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for name in OUTPUTS:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()

    matches = rows(outs[0] / "matches.jsonl")
    wrong = {1, 2, 3, 4}
    matched = [number for number in range(ROWS) if number % 1000 not in wrong]
    assert [(one["source_ids"], one["target_ids"]) for one in matches] == [
        ([f"S{number:06d}"], [f"B{number:06d}"]) for number in matched
    ]
    assert {one["difference"] for one in matches} == {"0.00", "0.10"}
    assert {
        (one["side"], one["category"], one["transaction_id"])
        for one in rows(outs[0] / "exceptions.jsonl")
    } == {
        expected
        for number in range(0, ROWS, 1000)
        for expected in (
            ("source", "missing_in_target", f"S{number + 1:06d}"),
            ("target", "missing_in_source", f"B{number + 2:06d}"),
            ("source", "amount_mismatch", f"S{number + 3:06d}"),
            ("target", "amount_mismatch", f"B{number + 3:06d}"),
            ("source", "missing_in_target", f"S{number + 4:06d}"),
        )
    }
    rejected = rows(outs[0] / "rejected.jsonl")
    assert [(one["side"], one["code"], one["transaction_id"]) for one in rejected] == [
        ("target", code, f"B{number + kind:06d}")
        for number in range(0, ROWS, 1000)
        for kind, code in ((4, "invalid_amount"), (6, "conflicting_duplicate"))
    ]
    summary = json.loads((outs[0] / "summary.json").read_text())
    assert summary["conserved"] is True
    assert summary["counts"]["redelivered"] == ROWS // 1000
    assert summary["counts"]["matches"] == len(matched)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A small generated load in both formats."""
    place = tmp_path_factory.mktemp("load")
    for file_format in ("jsonl", "csv"):
        done = settler(
            "generate", "--out", place / file_format, "--transactions", 15_000, "--seed", 11,
            "--format", file_format, "--rate", "invalid=0.02", "--rate", "late=0.03",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return place


def reconcile(place: Path, stream: str, out: Path, suffix: str, *more: str):
    folder = place / stream
    result = CliRunner().invoke(
        app,
        [
            "reconcile",
            *("--definition", str(folder / "definition.yaml")),
            *("--source", str(folder / f"source.{suffix}")),
            *("--target", str(folder / f"target.{suffix}")),
            *("--out", str(out)),
            *more,
        ],
    )
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("stream", STREAMS)
def test_generated_files_reconcile_to_their_truth(generated, tmp_path, stream, suffix):
    reconcile(generated / suffix, stream, tmp_path, suffix)
    truth = read_facts(generated / suffix / "truth").of_stream(stream)
    actual = read_outputs(tmp_path)
    assert compare(truth, actual) == []
    assert len(truth.matches) > 1_000
    truth.matches[7] = msgspec.structs.replace(truth.matches[7], target_ids=("somewhere-else",))
    assert [one.what for one in compare(truth, actual)] == ["missing", "unexpected"]


@pytest.mark.parametrize("stream", STREAMS)
def test_the_order_of_lines_changes_nothing(tmp_path, stream):
    done = settler(
        "generate", "--out", tmp_path, "--transactions", 6_000, "--seed", 5, "--rate",
        "conflicting=0", "--rate", "repeated=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reconcile(tmp_path, stream, tmp_path / "straight", "jsonl")
    for name in ("source.jsonl", "target.jsonl"):
        lines = (tmp_path / stream / name).read_bytes().splitlines(keepends=True)
        random.Random(9).shuffle(lines)
        (tmp_path / stream / name).write_bytes(b"".join(lines))
    reconcile(tmp_path, stream, tmp_path / "shuffled", "jsonl")
    for name in ("matches.jsonl", "exceptions.jsonl", "summary.json"):
        straight = (tmp_path / "straight" / name).read_bytes()
        assert straight == (tmp_path / "shuffled" / name).read_bytes()


def test_json_prints_the_summary_that_is_written(generated, tmp_path):
    result = reconcile(generated / "csv", STREAMS[0], tmp_path, "csv", "--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "summary.json").read_text())


def test_the_table_says_the_counts(generated, tmp_path):
    result = reconcile(generated / "csv", STREAMS[1], tmp_path, "csv")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert f"{summary['counts']['matches']:,} matches" in result.stdout
    assert "date_mismatch" in result.stdout
    assert "every record accounted for: yes" in " ".join(result.stdout.split())


HEADER = "transaction_id,amount,currency,occurred_at,reference\n"


@pytest.fixture
def place(tmp_path):
    definition = yaml.safe_load(DEFINITION)
    del definition["source"]["columns"], definition["target"]["columns"]
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    for name in ("s.csv", "t.csv"):
        (tmp_path / name).write_text(HEADER)
    return tmp_path


def run(place: Path, *more: str, definition="d.yaml", source="s.csv"):
    return CliRunner().invoke(
        app,
        [
            "reconcile",
            *("--definition", str(place / definition)),
            *("--source", str(place / source)),
            *("--target", str(place / "t.csv")),
            *more,
        ],
    )


def test_files_without_rows_are_reconciled(place):
    result = run(place, "--out", str(place / "out"))
    assert result.exit_code == 0, result.output
    assert (place / "out" / "matches.jsonl").read_bytes() == b""
    summary = json.loads((place / "out" / "summary.json").read_text())
    assert (summary["conserved"], summary["accuracy"], summary["duration"]) == (True, None, None)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda _: None, {"source": "no.csv"}, "no.csv: does not exist"),
        (lambda _: None, {"definition": "no.yaml"}, "no.yaml: does not exist"),
        (lambda place: (place / "s.csv").write_text(""), {}, "needs a header"),
        (lambda place: (place / "s.csv").write_text("a,b\n"), {}, "'transaction_id'"),
        (lambda place: (place / "d.yaml").write_text("rules: ["), {}, "is not YAML"),
        (lambda place: (place / "d.yaml").write_text("rules: 1\nrules: 2"), {}, "stands twice"),
        (lambda place: (place / "d.yaml").write_text("rules: []\n"), {}, "rules"),
        (lambda place: (place / "d.yaml").write_bytes(b"\xff"), {}, "not UTF-8"),
    ],
)
def test_unusable_input_is_named_and_exits_with_2(place, change, options, words):
    change(place)
    result = run(place, "--out", str(place / "out"), **options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (place / "out").exists()


def test_an_unwritable_directory_exits_with_2_and_leaves_nothing(place):
    (place / "out").write_text("a file")
    result = run(place, "--out", str(place / "out"))
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_a_delimiter_is_one_character(place):
    result = run(place, "--delimiter", ";;")
    assert result.exit_code == 2
    assert "one character" in result.stderr


def test_generate_is_repeatable_and_says_what_is_wrong(tmp_path):
    for name in ("one", "two"):
        arguments = ["generate", "--out", str(tmp_path / name), "--transactions", "500", "--json"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["messages"] >= 500
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 14
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--rate", "lat=0.1"), "the rates are"),
        (("--rate", "late=much"), "share from 0 to 1"),
        (("--rate", "late=1.5"), "late is 1.5"),
        (("--format", "xml"), "give one of"),
        (("--ending", "soon"), "2026-01-31"),
    ],
)
def test_generate_refuses_what_means_nothing(tmp_path, option, words):
    result = CliRunner().invoke(app, ["generate", "--out", str(tmp_path / "x"), *option])
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "x").exists()
