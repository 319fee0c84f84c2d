"""Results of files whose rule compares something else than amounts as they are."""

import json

import pytest

from connectors.files.summary import summarise
from deploy.reconcile_files import reconcile_files
from domain.definition_parsing import parse_definition


def reconciled(tmp_path, amount, source, target):
    raw = {
        "tenant_id": "acme", "reconciliation_id": "shop",
        "rules": [{"name": "r", "conditions": [{"field": "reference", "operator": "exact"}],
                   "amount": amount}],
    }  # fmt: skip
    paths = []
    for name, fields in (("source", source), ("target", target)):
        record = {"transaction_id": name, "reference": "R", "occurred_at": "2026-01-05"} | fields
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text(json.dumps(record) + "\n")
    results = reconcile_files(parse_definition(raw), *paths)
    return list(results.match_rows()), summarise(results), list(results.exception_rows())


@pytest.mark.parametrize(
    ("amount", "source", "target", "row", "compared"),
    [
        (
            {"basis": {"source": "net"}, "bounds": {"low": "0", "high": "0.01"}},
            {"amount": "100.00", "currency": "EUR", "fee": "3.10"},
            {"amount": "96.91", "currency": "EUR"},
            ("EUR", "100.00", "96.91", "0.01"),
            ("EUR", "96.90", "96.91", "0.01"),
        ),
        (
            {"sign": "opposite"},
            {"amount": "100.00", "currency": "EUR"},
            {"amount": "-100.00", "currency": "EUR"},
            ("EUR", "100.00", "-100.00", "0.00"),
            ("EUR", "100.00", "100.00", "0.00"),
        ),
        (
            {"basis": {"source": "fx"}, "tolerance": {"absolute": "0.01"}},
            {"amount": "99.99", "currency": "EUR", "fx_rate": "1.0837", "fx_to": "USD"},
            {"amount": "108.36", "currency": "USD"},
            ("USD", "108.36", "108.36", "0.00"),
            ("USD", "108.359163", "108.36", "0.000837"),
        ),
    ],
)
def test_a_match_says_what_it_compared(tmp_path, amount, source, target, row, compared):
    (match,), summary, _ = reconciled(tmp_path, amount, source, target)
    assert tuple(
        match[name] for name in ("currency", "source_amount", "target_amount", "difference")
    ) == row  # fmt: skip
    explained = match["explanation"]["amount"]
    assert tuple(explained[name] for name in ("currency", "source", "target", "difference")) == (
        compared
    )
    assert summary["conserved"]
    assert summary["amounts"][source["currency"]]["source"]["matched"] == source["amount"]
    assert summary["amounts"][target["currency"]]["target"]["matched"] == target["amount"]


def test_a_near_miss_says_what_was_compared(tmp_path):
    matches, summary, exceptions = reconciled(
        tmp_path,
        {"basis": {"source": "fx"}},
        {"amount": "99.99", "currency": "EUR", "fx_rate": "1.0837", "fx_to": "USD"},
        {"amount": "108.36", "currency": "USD"},
    )
    assert not matches
    assert summary["conserved"]
    assert {one["category"] for one in exceptions} == {"amount_mismatch"}
    assert (
        "compared as 108.359163 USD"
        in exceptions[0]["candidates"][0]["detail"] + (exceptions[1]["candidates"][0]["detail"])
    )
    assert "differs by 0.000837" in exceptions[0]["reason"]
