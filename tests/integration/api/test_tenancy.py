"""A credential sees its tenant's things and no others, on every route."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from api.app import OPERATIONS
from connectors.postgres.tenants import create_key, revoke_key, suspend_tenant
from tests.integration.api.rows import PEPPER, QUERIES, Tenant, add_tenant

# What only a user has is asked for in test_signing_in.py.
OF_USERS = {"/me/sessions"}
READS = [
    op
    for op in OPERATIONS
    if op.method == "GET" and op.secured and not op.stream and op.path not in OF_USERS
]


def paths_of(operation, tenant: Tenant) -> list[str]:
    """The operation's paths with every id this tenant has."""
    found = {
        "reconciliation_id": ["orders"],
        "match_id": [*tenant.ids["matches"], tenant.ids["suggestion"]],
        "exception_id": [*tenant.ids["exceptions"], tenant.ids["resolved"]],
        "dead_letter_id": tenant.ids["dead_letters"],
        "transaction_id": [tenant.ids["transaction"]],
        "command_id": [tenant.ids["command"]],
        "run_id": [tenant.ids["run"]],
        "user_id": [tenant.ids["user"]],
        "session_id": [tenant.ids["session"]],
        "key_id": [tenant.ids["key"], tenant.key_id],
        "day": [tenant.ids["day"]],
    }
    paths = [operation.path]
    for name in re.findall(r"\{(\w+)\}", operation.path):
        paths = [path.replace(f"{{{name}}}", value) for path in paths for value in found[name]]
    return paths


@pytest.mark.parametrize("operation", READS, ids=lambda operation: operation.operation_id)
def test_another_tenants_thing_is_not_there(served, operation):
    query = QUERIES.get(operation.path, {})
    with served.client(served.acme) as acme, served.client(served.globex) as globex:
        for path in paths_of(operation, served.globex):
            own = globex.get(f"/api/v1{path}", params=query)
            foreign = acme.get(f"/api/v1{path}", params=query)
            assert own.status_code == 200, own.text
            if set(re.findall(r"\{(\w+)\}", operation.path)) - {"reconciliation_id"}:
                assert foreign.status_code == 404
                assert foreign.json()["error"] == "not_found"
            # Both tenants have a reconciliation "orders": each sees its own.
            assert "globex" not in foreign.text
            shown = foreign.text
            for part in path.split("/")[2:]:
                shown = shown.replace(part, "")  # what was asked for may be repeated
            for identity in (*served.globex.ids["matches"], *served.globex.ids["exceptions"]):
                assert identity not in shown


@pytest.mark.parametrize("operation", READS, ids=lambda operation: operation.operation_id)
def test_nothing_is_shown_without_a_credential(served, operation):
    with served.client() as anonymous:
        path = paths_of(operation, served.acme)[0]
        answer = anonymous.get(f"/api/v1{path}")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"] == "unauthenticated"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic YTpi", "Bearer rk_", "Bearer rk_abc", "Bearer rk_abc_def",
     "Bearer rk_\xff_def", "Bearer " + "rk_a_" + "x" * 5000],
)  # fmt: skip
def test_what_is_no_key_opens_nothing(served, authorization):
    with served.client() as anonymous:
        headers = {"Authorization": authorization.encode("latin-1")}
        assert anonymous.get("/api/v1/matches", headers=headers).status_code == 401


def test_a_key_with_another_secret_opens_nothing(served):
    key = served.acme.key
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    with served.client() as anonymous:
        anonymous.headers["Authorization"] = f"Bearer {wrong}"
        assert anonymous.get("/api/v1/matches").status_code == 401


def test_an_ended_key_opens_nothing(served):
    with served.connect() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        expired = create_key(connection, "acme", "expired", [], PEPPER, past)
        revoked = create_key(connection, "acme", "revoked", [], PEPPER)
        revoke_key(connection, revoked.key_id)
        hooli = add_tenant(connection, "hooli")
        suspend_tenant(connection, "hooli")
    for key in (expired.key, revoked.key, hooli.key):
        with served.client() as anonymous:
            anonymous.headers["Authorization"] = f"Bearer {key}"
            assert anonymous.get("/api/v1/matches").status_code == 401


def test_use_of_a_key_is_noted(served):
    with served.client(served.globex) as globex:
        assert globex.get("/api/v1/usage").status_code == 200
    with served.connect() as connection:
        row = connection.execute(
            "SELECT last_used_at FROM api_keys WHERE key_id = %s", (served.globex.key_id,)
        ).fetchone()
    assert row[0] is not None


def test_the_database_itself_shows_no_rows_without_a_tenant(served):
    with served.connect() as connection:
        connection.execute("SET ROLE settler_api")
        for table in ("matches", "exceptions", "event_store", "inbox", "dead_letter_queue",
                      "reconciliation_summary", "api_keys"):  # fmt: skip
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
