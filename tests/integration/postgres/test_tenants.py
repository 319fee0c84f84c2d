"""Tenants and their keys: shown once, kept as a hash, ended at once."""

from datetime import UTC, datetime

import pytest

from connectors.postgres import tenants
from connectors.postgres.connections import acting_for
from connectors.postgres.tenants import authenticate, create_key, create_tenant

PEPPER = "a pepper of sixteen characters"


@pytest.fixture
def operator(connect_as):
    conn = connect_as("operator")
    create_tenant(conn, "acme", "Acme GmbH")
    return conn


def test_a_key_opens_its_tenant_and_is_not_kept(operator, connect_as):
    key_id, key = create_key(operator, "acme", "till", ["read", "write"], PEPPER)
    api = connect_as("api")
    found = authenticate(api, key, PEPPER)
    assert (found.key_id, found.tenant_id, found.scopes) == (key_id, "acme", ["read", "write"])
    assert key.startswith(f"rk_{key_id}_")
    kept = operator.execute("SELECT to_jsonb(api_keys)::text FROM api_keys").fetchone()[0]
    assert key.removeprefix(f"rk_{key_id}_") not in kept
    assert tenants.list_keys(operator, "acme")[0].last_used_at is not None
    with acting_for(api, "acme"):
        assert [k[0] for k in api.execute("SELECT key_id FROM api_keys")] == [key_id]


def test_a_key_that_is_not_quite_right_opens_nothing(operator, connect_as):
    _, key = create_key(operator, "acme", "till", [], PEPPER)
    api = connect_as("api")
    for wrong in (
        key[:-1] + ("A" if key[-1] != "A" else "B"),
        key[:-1],
        key + "x",
        key.removeprefix("rk_"),
        "rk_" + "0" * 12 + key[15:],
        key.rpartition("_")[0] + "_",
        "rk_\x00_x",
        "rk_ü_\ud800",
        "rk_" + "a" * 10_000 + "_x",
        "",
    ):
        assert authenticate(api, wrong, PEPPER) is None, wrong
    assert authenticate(api, key, PEPPER) is not None


def test_ended_keys_open_nothing(operator, connect_as):
    api = connect_as("api")
    key_id, revoked = create_key(operator, "acme", "a", [], PEPPER)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    _, expired = create_key(operator, "acme", "b", [], PEPPER, past)
    _, good = create_key(operator, "acme", "c", [], PEPPER)
    assert tenants.revoke_key(operator, key_id)
    assert not tenants.revoke_key(operator, "none")
    assert authenticate(api, revoked, PEPPER) is None
    assert authenticate(api, expired, PEPPER) is None
    assert authenticate(api, good, "another pepper of enough length") is None
    tenants.suspend_tenant(operator, "acme")
    assert authenticate(api, good, PEPPER) is None
    tenants.suspend_tenant(operator, "acme", suspended=False)
    assert authenticate(api, good, PEPPER) is not None
    assert [t.suspended_at for t in tenants.list_tenants(operator)] == [None]


def test_refusals_say_why(operator):
    with pytest.raises(tenants.TenantExists, match="acme"):
        create_tenant(operator, "acme", "again")
    with pytest.raises(tenants.TenantIdInvalid, match="a-z 0-9"):
        create_tenant(operator, "Acme!", "x")
    with pytest.raises(tenants.TenantUnknown, match="globex"):
        create_key(operator, "globex", "x", [], PEPPER)
    with pytest.raises(tenants.TenantUnknown):
        tenants.suspend_tenant(operator, "globex")
