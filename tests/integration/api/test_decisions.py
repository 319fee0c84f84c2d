"""What people decide goes to the flow through the inbox; the answer names the command."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from domain.events import ReconciliationPaused
from tests.integration.api.rows import Log
from tests.integration.api.test_commands import inbox

API = "/api/v1"


def decide(served, command_id, status, outcome):
    with served.connect() as connection:
        connection.execute(
            "UPDATE inbox SET status = %s, outcome = %s, decided_at = now() WHERE command_id = %s",
            (status, outcome, command_id),
        )


@pytest.mark.parametrize(
    ("action", "command_type", "body"),
    [
        ("confirm", "confirm_match", {"source_ids": ["S90"], "target_ids": [], "reason": "seen"}),
        ("reject", "reject_match", {"reason": None}),
        ("reverse", "reverse_match", {"reason": "wrong"}),
    ],
)
def test_a_decision_on_a_match_becomes_a_command(served, client, action, command_type, body):
    match_id = served.acme.ids["suggestion"]
    answer = client.post(f"{API}/matches/{match_id}/{action}", json=body)
    assert answer.status_code == 202, answer.text
    command = answer.json()
    assert (command["status"], command["command_type"]) == ("pending", command_type)
    assert answer.headers["location"] == f"{API}/commands/{command['command_id']}"
    tenant, reconciliation, kind, payload, user, *_ = inbox(served, command["command_id"])
    assert (tenant, reconciliation, kind) == ("acme", "orders", command_type)
    assert user == f"key:{served.acme.key_id}"
    assert payload["match_id"] == match_id
    assert payload["reason"] == body["reason"]
    if action == "reverse":
        shown = client.get(f"{API}/matches/{match_id}").json()
        members = (shown["source_ids"], shown["target_ids"])
        assert (payload["source_ids"], payload["target_ids"]) == members


def test_a_body_without_anything_in_it_may_be_left_out(served, client):
    answer = client.post(f"{API}/matches/{served.acme.ids['suggestion']}/reject")
    assert answer.status_code == 202, answer.text
    answer = client.post(f"{API}/reconciliations/orders/pause")
    assert answer.status_code == 202, answer.text
    assert inbox(served, answer.json()["command_id"])[2:4] == ("pause", {"reason": None})


def test_a_match_by_hand_names_its_members(served, client):
    body = {"reconciliation_id": "orders", "source_ids": ["a", "b"], "target_ids": ["x"]}
    answer = client.post(f"{API}/matches", json={**body, "reason": "charges"})
    assert answer.status_code == 202, answer.text
    assert inbox(served, answer.json()["command_id"])[2:4] == (
        "match_by_hand",
        {"source_ids": ["a", "b"], "target_ids": ["x"], "reason": "charges"},
    )
    for wrong in ({"target_ids": []}, {"source_ids": [""]}, {"more": 1}, {"reason": "x" * 513}):
        refused = client.post(f"{API}/matches", json={**body, **wrong})
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_parameter"), wrong


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/matches/{uuid.UUID(int=7)}/confirm", {}),
        ("/matches/nonsense/reverse", {}),
        ("/reconciliations/nothing/pause", {}),
        ("/reconciliations/nothing/resume", {}),
        ("/matches", {"reconciliation_id": "no", "source_ids": ["a"], "target_ids": ["b"]}),
    ],
)
def test_what_is_not_there_is_not_found(client, path, body):
    answer = client.post(f"{API}{path}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_another_tenants_match_is_not_found(served):
    with served.client(served.globex) as globex:
        foreign = served.acme.ids["suggestion"]
        answer = globex.post(f"{API}/matches/{foreign}/confirm", json={})
        assert answer.status_code == 404


def test_an_idempotency_key_makes_two_decisions_one(served, client):
    path = f"{API}/matches/{served.acme.ids['suggestion']}/reject"
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = client.post(path, json={}, headers=headers).json()
    assert client.post(path, json={}, headers=headers).json() == first
    other = client.post(path, json={"reason": "no"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")


@contextmanager
def deciding_what_comes(served, decide_one) -> Iterator[None]:
    """Be the flow for one command: `decide_one` gets its id once it is in the inbox."""

    def when_submitted() -> None:
        newest = (
            "SELECT command_id::text FROM inbox WHERE status = 'pending' AND tenant_id = 'acme'"
        )
        deadline = time.monotonic() + 15
        with served.connect() as connection:
            while not (found := connection.execute(newest).fetchall()):
                assert time.monotonic() < deadline, "nothing was submitted"
        for (command_id,) in found:
            decide_one(command_id)

    with served.connect() as connection:
        connection.execute("DELETE FROM inbox")
    decider = threading.Thread(target=when_submitted)
    decider.start()
    yield
    decider.join()


def test_a_write_may_wait_for_its_outcome(served, client):
    def refuse(command_id: str) -> None:
        decide(served, command_id, "refused", '{"error": "not_paused"}')

    path = f"{API}/reconciliations/orders/resume"
    with deciding_what_comes(served, refuse):
        answer = client.post(path, params={"wait": 20})
    assert answer.status_code == 202
    decided = answer.json()
    assert (decided["status"], decided["outcome"]) == ("refused", {"error": "not_paused"})


@pytest.mark.parametrize("shown", [True, False])
def test_a_write_waits_until_its_outcome_can_be_read(served, client, shown):
    def pause(command_id: str) -> None:
        with served.connect() as connection:
            log = Log(connection)
            log.append("acme", "orders", [ReconciliationPaused(None, command_id)])
            decide(served, command_id, "done", "{}")
            if shown:
                connection.execute(
                    "UPDATE projection_checkpoints SET position = %s", [log.position]
                )

    patience = 20 if shown else 1.5
    began = time.monotonic()
    with deciding_what_comes(served, pause):
        answer = client.post(f"{API}/reconciliations/orders/pause", params={"wait": patience})
    assert answer.json()["status"] == "done"
    assert (time.monotonic() - began < patience) is shown


def test_waiting_ends_with_the_callers_patience(client):
    answer = client.post(f"{API}/reconciliations/orders/pause", params={"wait": 0.2})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    refused = client.post(f"{API}/reconciliations/orders/pause", params={"wait": 31})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_parameter")
