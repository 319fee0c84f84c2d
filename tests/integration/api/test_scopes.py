"""Every operation asks for a scope, and what a role or key lacks is refused."""

import re

import pytest

from api.app import OPERATIONS
from api.identity import ANYONE
from domain.access import GRANTS, ROLES, SCOPES, effective_scopes
from tests.integration.api.people import bearing, key_of

SECURED = [op for op in OPERATIONS if op.secured and not op.stream]


def path_of(operation) -> str:
    """A path of the operation's form that names nothing that is there."""
    return "/api/v1" + re.sub(r"\{\w+\}", "nothing", operation.path)


def is_forbidden(client, operation) -> bool:
    answer = client.request(operation.method, path_of(operation), json={})
    assert answer.status_code < 500, answer.text
    return answer.status_code == 403 and answer.json()["error"] == "forbidden"


def test_every_operation_asks_for_a_scope_that_somebody_has():
    for operation in OPERATIONS:
        scope = operation.required_scope
        if operation.secured and scope != ANYONE:
            assert scope in SCOPES, f"{operation.operation_id} asks for {scope}, which nobody has"
            assert scope in GRANTS["owner"]


def test_what_needs_no_credential_is_named_here():
    """Whoever adds a route that anybody may call says so by extending this list."""
    assert {(op.method, op.path) for op in OPERATIONS if not op.secured} == {
        ("POST", "/session"), ("DELETE", "/session"), ("POST", "/auth/sign-in"),
        ("POST", "/auth/refresh"), ("GET", "/auth/keys"), ("POST", "/auth/password-reset"),
        ("POST", "/auth/password"), ("POST", "/auth/email"),
    }  # fmt: skip
    asks_nothing = {(op.method, op.path) for op in SECURED if op.required_scope == ANYONE}
    assert asks_nothing == {
        ("GET", "/session"), ("GET", "/me"), ("POST", "/me/password"), ("GET", "/me/sessions"),
        ("DELETE", "/me/sessions/{session_id}"), ("POST", "/auth/sign-out"),
        ("POST", "/auth/email-verification"),
    }  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_is_granted_and_nothing_else(served, role):
    with bearing(served, key_of(served, role)) as client:
        for operation in SECURED:
            scope = operation.required_scope
            allowed = scope == ANYONE or scope in GRANTS[role]
            # A key of the tenant's own reaches no keys unless it may manage all of them.
            if scope in {"keys:read", "keys:write"}:
                allowed = "keys:manage" in GRANTS[role]
                # Its body is looked at first.
                if operation.method == "POST" and scope in GRANTS[role]:
                    continue
            assert is_forbidden(client, operation) != allowed, (role, operation.operation_id)


@pytest.mark.parametrize("scopes", [["read"], ["write"], ["exceptions:read", "users:read"]])
@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_a_keys_scopes_narrow_its_role(served, role, scopes):
    granted = effective_scopes(role, scopes)
    with bearing(served, key_of(served, role, scopes)) as client:
        assert set(client.get("/api/v1/me").json()["scopes"]) == granted
        for operation in SECURED:
            scope = operation.required_scope
            if scope != ANYONE and not scope.startswith("keys:"):
                assert is_forbidden(client, operation) != (scope in granted), scope


def test_the_live_stream_asks_for_its_scope(served):
    with bearing(served, key_of(served, "owner", ["usage:read"])) as client:
        assert client.get("/api/v1/stream").json()["error"] == "forbidden"


def test_the_description_names_the_scope(served):
    with served.client() as anonymous:
        document = anonymous.get("/api/v1/openapi.json").json()
    for operation in OPERATIONS:
        described = document["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
        asked = operation.secured and operation.required_scope != ANYONE
        assert described.get("x-required-scope") == (operation.required_scope if asked else None)
        assert ("403" in described["responses"]) or not asked
