"""`settler definitions lint`, as a person would type it."""

import json
import subprocess
import sys

import pytest

GOOD = """
tenant_id: acme
reconciliation_id: shop
rules:
  - {name: reference, conditions: [{field: reference, operator: exact, unique: true}]}
"""
BAD = """
reconciliation_id: bank
rules:
  - {name: names, conditions: [{field: counterparty, operator: casefold}]}
"""
TOLERANT = GOOD.replace("unique: true}]", "unique: true}], amount: {tolerance: {absolute: '5.00'}}")


@pytest.fixture
def lint(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", "definitions", "lint", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    for name, text in (("good", GOOD), ("bad", BAD), ("tolerant", TOLERANT)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return run


def test_a_clean_definition_and_one_with_hints_exit_with_0(lint):
    clean = lint("good.yaml")
    assert (clean.returncode, clean.stdout) == (0, ""), clean.stderr
    hinted = lint("tolerant.yaml", "--json")
    assert hinted.returncode == 0
    assert [one["code"] for one in json.loads(hinted.stdout)] == ["tolerance_not_judged"]


def test_warnings_exit_with_1_and_say_where_and_what(lint):
    result = lint("good.yaml", "bad.yaml", "--tenant", "acme", "--json")
    assert result.returncode == 1, result.stderr
    (finding,) = json.loads(result.stdout)
    assert finding["file"] == "bad.yaml"
    assert (finding["path"], finding["rule"]) == ("rules[0].date", "names")
    assert (finding["severity"], finding["code"]) == ("warning", "recurring_without_date")
    assert "rules[0].date (names): warning" in lint("bad.yaml", "--tenant", "acme").stdout


def test_what_is_refused_is_an_error_with_its_path(lint, tmp_path):
    (tmp_path / "none.yaml").write_text(GOOD.replace("exact", "exactly"))
    result = lint("none.yaml", "--json")
    assert result.returncode == 1
    (finding,) = json.loads(result.stdout)
    assert (finding["severity"], finding["path"]) == ("error", "rules[0].conditions[0].operator")


def test_samples_and_typical_amounts_judge_a_tolerance(lint, tmp_path):
    assert lint("tolerant.yaml", "--typical-amount", "20").returncode == 1
    (tmp_path / "source.csv").write_text(
        "transaction_id,amount,currency,occurred_at,reference\n"
        "a,30.00,EUR,2026-01-05,R1\nb,40.00,EUR,2026-01-05,R2\n"
    )
    result = lint("tolerant.yaml", "--source", "source.csv")
    assert result.returncode == 1
    assert "30.00 EUR" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere.yaml",),
        ("good.yaml", "--typical-amount", "much"),
        ("good.yaml", "--source", "nowhere.csv"),
    ],
)
def test_unusable_input_exits_with_2(lint, arguments):
    result = lint(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("settler: ")
    assert "Traceback" not in result.stderr
