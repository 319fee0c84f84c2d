"""Runs over a date range: asked for over the API, decided by the flow, shown with their totals."""

import uuid

import pytest

from tests.integration.api.test_commands import inbox

API = "/api/v1"
RUNS = f"{API}/reconciliations/orders/runs"
MARCH = {"from": "2026-03-01", "to": "2026-04-01T00:00:00+02:00", "name": "March"}


def test_a_run_is_shown_with_its_totals(served, client):
    (shown,) = client.get(RUNS).json()["items"]
    assert shown == client.get(f"{RUNS}/{served.acme.ids['run']}").json()
    assert (shown["status"], shown["name"], shown["transactions"]) == ("completed", "March", 4)
    assert shown["match_rate"] == 0.75
    assert shown["from"] == "2026-03-01T12:00:00Z"
    assert [(one["side"], one["place"], one["amount"]) for one in shown["totals"]] == [
        ("source", "matched", "3.00"), ("target", "exception", "-0.005"),
    ]  # fmt: skip
    assert client.get(RUNS, params={"status": "running"}).json()["items"] == []


def test_a_run_is_started_by_a_command(served, client):
    answer = client.post(RUNS, json=MARCH)
    assert answer.status_code == 202, answer.text
    command_id = answer.json()["command_id"]
    assert inbox(served, command_id)[1:4] == ("orders", "start_reconciliation", MARCH)
    # It can be spoken of at once, though no read model shows it.
    asked = client.post(f"{RUNS}/{command_id}/cancel", json={"reason": "no"})
    assert asked.status_code == 202, asked.text
    assert inbox(served, asked.json()["command_id"])[2:4] == (
        "cancel_reconciliation", {"run_id": command_id, "reason": "no"},
    )  # fmt: skip
    retried = client.post(f"{RUNS}/{served.acme.ids['run']}/retry")
    assert inbox(served, retried.json()["command_id"])[2:4] == (
        "retry_reconciliation", {"run_id": served.acme.ids["run"], "reason": None},
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {}, {"from": "2026-03-01"}, {**MARCH, "from": "2026-02-30"}, {**MARCH, "to": "tomorrow!!"},
        {**MARCH, "to": "2026-04-01T00:00:00"}, {**MARCH, "name": "x" * 129}, {**MARCH, "more": 1},
        {**MARCH, "name": "a\x00b"}, {"from_": "2026-03-01", "to": "2026-04-01"},
    ],
)  # fmt: skip
def test_a_range_that_cannot_be_meant_is_refused(client, body):
    answer = client.post(RUNS, json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_what_is_not_there_is_not_found(served, client):
    foreign, other = served.globex.ids["run"], f"{API}/reconciliations/refunds/runs"
    for path in (f"{RUNS}/{foreign}", f"{RUNS}/{uuid.uuid4()}", f"{RUNS}/x",
                 f"{other}/{served.acme.ids['run']}"):  # fmt: skip
        assert client.get(path).status_code == 404, path
        for action in ("retry", "cancel"):
            assert client.post(f"{path}/{action}").status_code == 404, path
    assert client.get(f"{API}/reconciliations/nothing/runs").status_code == 404
    assert client.post(f"{API}/reconciliations/nothing/runs", json=MARCH).status_code == 404
