"""Defining a reconciliation: checked at once, handed to the flow through the inbox."""

import uuid

import pytest
import yaml

from tests.integration.api.rows import DEFINITION

PATH = "/api/v1/reconciliations"


def inbox(served, command_id):
    with served.connect() as connection:
        return connection.execute(
            "SELECT tenant_id, reconciliation_id, command_type, payload, user_id, correlation_id,"
            " trace, status FROM inbox WHERE command_id = %s",
            (command_id,),
        ).fetchone()


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_definition_goes_into_the_inbox(served, client, method):
    trace_id = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "X-Correlation-Id": "batch-7"}
    answer = client.request(method, PATH, json=DEFINITION, headers=headers)
    assert answer.status_code == 202, answer.text
    command = answer.json()
    assert command["status"] == "pending"
    assert answer.headers["location"] == f"/api/v1/commands/{command['command_id']}"
    tenant, reconciliation, kind, payload, user, correlation, trace, status = inbox(
        served, command["command_id"]
    )
    assert (tenant, reconciliation, kind, status) == ("acme", "orders", "define", "pending")
    assert payload["definition"]["tenant_id"] == "acme"
    assert payload["definition"]["rules"][0]["name"] == "order-reference"
    assert (user, correlation) == (f"key:{served.acme.key_id}", "batch-7")
    assert trace["traceparent"].split("-")[1] == trace_id
    assert client.get(answer.headers["location"]).json() == command


def test_a_submission_wakes_the_flow(served, client):
    with served.connect() as listener:
        listener.execute("LISTEN settler_inbox")
        assert client.put(PATH, json=DEFINITION).status_code == 202
        assert [note.channel for note in listener.notifies(timeout=5, stop_after=1)] == [
            "settler_inbox"
        ]


def test_the_outcome_is_shown(served, client):
    command = client.put(PATH, json=DEFINITION).json()
    with served.connect() as connection:
        connection.execute(
            "UPDATE inbox SET status = 'refused', outcome = '{\"code\": \"x\"}', decided_at = now()"
            " WHERE command_id = %s",
            (command["command_id"],),
        )
    shown = client.get(f"/api/v1/commands/{command['command_id']}").json()
    assert (shown["status"], shown["outcome"]) == ("refused", {"code": "x"})
    assert shown["decided_at"] is not None


def test_yaml_and_json_mean_the_same_and_numbers_stay_exact(served, client):
    rule = DEFINITION["rules"][0] | {"amount": {"tolerance": {"percent": 0.5, "absolute": 0.1}}}
    document = DEFINITION | {"rules": [rule]}
    headers = {"Content-Type": "application/yaml"}
    by_json = client.put(PATH, json=document)
    by_yaml = client.put(PATH, content=yaml.safe_dump(document).encode(), headers=headers)
    assert (by_json.status_code, by_yaml.status_code) == (202, 202), by_json.text + by_yaml.text
    payloads = [inbox(served, answer.json()["command_id"])[3] for answer in (by_json, by_yaml)]
    assert payloads[0] == payloads[1]
    assert payloads[0]["definition"]["rules"][0]["amount"]["tolerance"]["percent"] == "0.5"


def test_the_tenant_is_the_credentials(served, client):
    own = client.put(PATH, json=DEFINITION | {"tenant_id": "acme"})
    assert own.status_code == 202
    foreign = client.put(PATH, json=DEFINITION | {"tenant_id": "globex"})
    assert foreign.status_code == 422
    assert foreign.json()["details"][0]["path"] == "tenant_id"


def test_an_idempotency_key_makes_two_requests_one(served, client):
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = client.put(PATH, json=DEFINITION, headers=headers)
    again = client.put(PATH, json=DEFINITION, headers=headers)
    assert first.json() == again.json()
    other = client.put(PATH, json=DEFINITION | {"name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")
    with served.client(served.globex) as globex:
        foreign = globex.put(PATH, json=DEFINITION, headers=headers)
        assert foreign.status_code == 202
        assert foreign.json()["command_id"] != first.json()["command_id"]


def test_an_idempotency_key_that_is_none_is_refused(client):
    answer = client.put(PATH, json=DEFINITION, headers={"Idempotency-Key": "a b"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert answer.json()["details"][0]["path"] == "Idempotency-Key"
