"""Backtests through the API, over a log that the real engine made."""

import asyncio

import pytest

from api import backtests
from connectors.postgres.connections import connect
from connectors.postgres.writing import commit_flush
from domain.definition_parsing import parse_definition
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import build_transaction
from tests.integration.postgres.commits import claim, commit_of

RULE = {
    "name": "reference",
    "match_type": "one_to_one",
    "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
}
EXACT = {"reconciliation_id": "history", "rules": [RULE]}
NEARLY = EXACT | {"rules": [RULE | {"amount": {"tolerance": {"absolute": "1.00"}}}]}
PATH = "/api/v1/reconciliations/history/backtest"


def record(side, number):
    return build_transaction(
        {
            "tenant_id": "acme",
            "reconciliation_id": "history",
            "transaction_id": f"{'st'[side]}{number:03d}",
            "amount": str(100 + (side if number % 10 == 0 else 0)),
            "currency": "EUR",
            "occurred_at": f"2026-01-{1 + number // 10:02d}T12:00:00Z",
            "reference": f"R{number}",
        },
        side,
        None,
    )


@pytest.fixture(scope="module")
def history(served):
    state = Reconciliation(parse_definition(EXACT | {"tenant_id": "acme"}))
    with connect(served.database_url, "flow", "test-flow") as flow:
        held = claim(flow, "acme", "history")
        decisions = [state.define(state.definition, "command-1")]
        for first in range(0, 100, 10):
            chunk = [record(side, one) for side in (0, 1) for one in range(first, first + 10)]
            decisions.append(state.advance(Chunk(chunk, caught_up=True)))
        version = 0
        for decision in decisions:
            commit = commit_of(
                version,
                len(decision.events),
                held.fence,
                reconciliation="history",
                events=decision.events,
                journal=decision.journal,
            )
            commit_flush(flow, [commit], [])
            version += len(decision.events)


def test_it_says_what_would_be_gained(client, history):
    found = client.post(PATH, json=NEARLY, params={"examples": 1})
    assert found.status_code == 200, found.text
    report = found.json()
    assert report["accuracy"] == {"recorded": 0.9, "candidate": 1.0}
    gained = report["matches"]["gained"]
    assert (gained["count"], gained["amounts"]) == (10, {"EUR": "1000.00"})
    assert [one["source_ids"] for one in gained["examples"]] == [["s000"]]
    same = client.post(PATH, json=EXACT).json()["matches"]
    assert same["unchanged"] == same["recorded"] == same["candidate"] == 90


def test_a_range_is_of_event_time(client, history):
    span = {"from": "2026-01-02", "to": "2026-01-04"}
    assert client.post(PATH, json=NEARLY, params=span).json()["transactions"] == 40
    wrong = client.post(PATH, json=NEARLY, params={"from": "yesterday"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_parameter")


def test_another_tenants_history_is_not_there(served, history):
    with served.client(served.globex) as globex:
        answer = globex.post(PATH, json=NEARLY)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_what_is_too_large_busy_or_another_reconciliations_is_refused(client, history, monkeypatch):
    other = client.post(PATH, json=NEARLY | {"reconciliation_id": "orders"})
    assert (other.status_code, other.json()["error"]) == (422, "definition_invalid")
    with monkeypatch.context() as patch:
        patch.setattr(backtests, "EVENTS_MAX", 3)
        assert client.post(PATH, json=NEARLY).json()["error"] == "backtest_too_large"
    with monkeypatch.context() as patch:
        patch.setattr(backtests, "SECONDS_MAX", -1.0)
        assert client.post(PATH, json=NEARLY).json()["error"] == "backtest_too_large"
    with monkeypatch.context() as patch:
        patch.setattr(backtests, "_ONE_AT_A_TIME", asyncio.Semaphore(0))
        busy = client.post(PATH, json=NEARLY)
        assert (busy.status_code, busy.json()["error"]) == (503, "backtest_busy")
        assert busy.headers["retry-after"] == "10"
    # None of them holds up the next.
    assert client.post(PATH, json=NEARLY).status_code == 200
