"""Every write stands in the audit log, in the transaction of what it changed, and nothing else."""

import pytest

from tests.integration.api.people import add_person, bearing, key_of
from tests.integration.api.rows import DEFINITION

PATH = "/api/v1/audit-log"


@pytest.fixture
def log(served):
    """Reads acme's newest lines."""
    with bearing(served, key_of(served, "admin")) as admin:
        yield lambda **query: admin.get(PATH, params=query).json()["items"]


def test_a_command_is_written_down(served, client, log):
    answer = client.put("/api/v1/reconciliations", json=DEFINITION)
    line = log(limit=1)[0]
    assert (line["action"], line["target"]) == ("define_reconciliation", "orders")
    assert line["actor"] == f"key:{served.acme.key_id}"
    assert line["details"] == {
        "command_id": answer.json()["command_id"], "command_type": "define",
    }  # fmt: skip
    assert line["trace_id"] == answer.headers["x-trace-id"]
    assert line["address"] == "127.0.0.1"


def test_what_changes_nothing_is_not_written_down(client, log):
    before = log(limit=1)
    client.get("/api/v1/me")
    client.put("/api/v1/reconciliations", json={"reconciliation_id": "x"})
    client.delete("/api/v1/keys/000000000000")
    client.post("/api/v1/keys", json={"name": "x", "role": "root"})
    assert log(limit=1) == before


def test_what_is_undone_is_not_written_down(served, client, log):
    person = add_person(served)
    before = log(limit=1)
    # The address is taken: the insert was made, and is undone with its line.
    answer = client.post("/api/v1/users", json={"email": person.email, "name": "Twin"})
    assert answer.status_code == 409
    assert log(limit=1) == before


def test_changes_of_credentials_are_written_down_without_secrets(served, log):
    person = add_person(served)
    with person.client() as client:
        made = client.post("/api/v1/keys", json={"name": "k"}).json()
        client.post(f"/api/v1/keys/{made['key_id']}/rotate", json={"overlap_seconds": 60})
        client.delete(f"/api/v1/keys/{made['key_id']}")
        client.post("/api/v1/auth/sign-out")
    lines = log(actor=f"user:{person.user_id}")
    assert [line["action"] for line in lines] == [
        "sign_out", "revoke_key", "rotate_key", "create_key", "signed_in",
    ]  # fmt: skip
    assert lines[2]["target"] == made["key_id"]
    assert lines[2]["details"]["overlap_seconds"] == 60
    assert made["key"].removeprefix(f"rk_{made['key_id']}_") not in str(lines)


def test_it_is_filtered_and_comes_in_pages(client, log):
    for number in range(3):
        client.patch("/api/v1/tenant", json={"name": f"Acme {number}"})
    names = [line["details"]["name"] for line in log(action="change_tenant")]
    assert names[:3] == ["Acme 2", "Acme 1", "Acme 0"]
    newest = log(action="change_tenant", limit=1)[0]
    assert log(from_time=newest["at"], limit=200)[-1] == newest
    assert newest not in log(to_time=newest["at"], limit=200)


def test_nobody_changes_it(served):
    with served.connect() as connection:
        for role in ("settler_api", "settler_operator"):
            connection.execute(f"SET ROLE {role}")
            connection.execute("SELECT set_config('settler.tenant_id', 'acme', false)")
            for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log",
                              "TRUNCATE audit_log"):  # fmt: skip
                with pytest.raises(Exception, match="permission denied"):
                    connection.execute(statement)
            connection.execute("RESET ROLE")
