"""Who sees what: tenants see themselves, roles can do their work and nothing else."""

import uuid

import psycopg
import pytest

from connectors.postgres.connections import acting_for, connect
from connectors.postgres.errors import RoleUnavailable
from connectors.postgres.inbox import Command, submit
from connectors.postgres.snapshots import save_snapshot
from connectors.postgres.tenants import create_key, create_tenant
from connectors.postgres.writing import commit_flush
from tests.integration.postgres.commits import claim, commit_of, letter

# Tables without a tenant in them. Whoever adds a table either protects it or names it here.
NO_TENANT = {
    "log_head",
    "source_checkpoints",
    "topic_resets",
    "projection_checkpoints",
    "leases",
    "lease_standbys",
    "schema_migrations",
    "signing_keys",
}
# Protected, but without a policy: no role that obeys row-level security sees any row.
CLOSED = {"snapshots"}

ALL_TABLES = """
SELECT n.nspname, c.relname, c.relrowsecurity AND c.relforcerowsecurity AS is_forced,
       ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid) AS policies
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


@pytest.fixture
def two_tenants(flow, connect_as):
    """Rows of acme and of globex in every table that the store itself writes."""
    with connect_as("operator") as operator, operator.transaction():
        for tenant in ("acme", "globex"):
            create_tenant(operator, tenant, tenant.title())
            create_key(operator, tenant, "main", ["read"], "pepper")
            submit(operator, Command(str(uuid.uuid4()), tenant, "shop", "pause", {}, None, "c"))
    for place, tenant in enumerate(("acme", "globex")):
        held = claim(flow, tenant)
        commit_flush(
            flow,
            [commit_of(0, 2, held.fence, tenant)],
            [letter(place, tenant_id=tenant), letter(place + 10, tenant_id=None)],
        )
        assert save_snapshot(flow, f"{tenant}/shop", 2, 1, b"state", held.fence)


def test_every_table_is_protected_or_exempt_by_name(flow):
    tables = flow.execute(ALL_TABLES).fetchall()
    assert {name for _, name, _, _ in tables} >= NO_TENANT | CLOSED
    for schema, name, is_forced, policies in tables:
        if name in NO_TENANT:
            continue
        assert is_forced, f"{schema}.{name}: row-level security is not forced"
        expected = name not in CLOSED
        assert ("tenant_isolation" in policies) == expected, f"{schema}.{name}: {policies}"


def test_a_tenant_sees_its_own_rows_and_no_others(two_tenants, connect_as):
    """Walks every table and view that the API may read at all."""
    api = connect_as("api")
    readable = api.execute(
        "SELECT c.oid::regclass::text, c.relname FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT')"
    ).fetchall()
    names = {name for _, name in readable}
    assert {"event_store", "events", "streams", "inbox", "dead_letter_queue"} <= names
    assert {"tenants", "api_keys", "matches"} <= names
    filled = set()
    for table, name in readable:
        count = f"SELECT count(*), count(*) FILTER (WHERE tenant_id = 'acme') FROM {table}"
        assert api.execute(count).fetchone() == (0, 0), f"{table}: rows without a tenant named"
        with acting_for(api, "acme"):
            seen, own = api.execute(count).fetchone()
        assert seen == own, f"{table}: rows of another tenant"
        filled |= {name} if own else set()
        with acting_for(api, "nobody"):
            assert api.execute(count).fetchone() == (0, 0), f"{table}: rows for a stranger"
    assert {"event_store", "events", "streams", "inbox", "dead_letter_queue"} <= filled
    assert {"tenants", "api_keys"} <= filled


def test_the_owner_is_no_exception(two_tenants, database):
    with database.connect(autocommit=True) as owner:
        owner.execute("SET ROLE settler_owner")
        for table in ("event_store", "streams", "inbox", "dead_letter_queue", "api_keys"):
            assert owner.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_tenant_writes_nothing_under_another_name(two_tenants, connect_as):
    api = connect_as("api")
    foreign = Command(str(uuid.uuid4()), "globex", "shop", "pause", {}, None, "c")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_for(api, "acme"):
        submit(api, foreign)
    with acting_for(api, "acme"):
        touched = api.execute("UPDATE dead_letter_queue SET redrive_requested_at = now()").rowcount
    assert touched == 1


def test_letters_of_no_tenant_are_for_operators(two_tenants, connect_as):
    nobodys = "SELECT count(*) FROM dead_letter_queue WHERE tenant_id IS NULL"
    assert connect_as("operator").execute(nobodys).fetchone() == (2,)
    with connect_as("api") as api, acting_for(api, "acme"):
        assert api.execute(nobodys).fetchone() == (0,)


# What a role must not be able to do, whatever its code comes to.
FORBIDDEN = {
    "api": [
        "INSERT INTO event_store DEFAULT VALUES",
        "UPDATE streams SET fence = 9",
        "UPDATE log_head SET position = 9",
        "UPDATE inbox SET status = 'done'",
        "UPDATE dead_letter_queue SET raw = ''",
        "UPDATE api_keys SET key_hash = ''",
        "INSERT INTO tenants VALUES ('x', 'x')",
        "DELETE FROM matches",
        "SELECT * FROM snapshots",
        "CREATE TABLE mine (id integer)",
    ],
    "flow": [
        "UPDATE event_store SET events = ''",
        "DELETE FROM event_store",
        "SELECT * FROM api_keys",
        "INSERT INTO tenants VALUES ('x', 'x')",
        "SELECT * FROM matches",
        "UPDATE inbox SET payload = '{}'",
        "CREATE TABLE mine (id integer)",
    ],
    "projections": [
        "UPDATE event_store SET events = ''",
        "INSERT INTO event_store DEFAULT VALUES",
        "UPDATE streams SET fence = 9",
        "SELECT * FROM inbox",
        "SELECT * FROM api_keys",
    ],
    "operator": [
        "DELETE FROM event_store",
        "UPDATE event_store SET events = ''",
        "UPDATE streams SET version = 9",
        "UPDATE api_keys SET key_hash = ''",
        "DELETE FROM dead_letter_queue",
    ],
}


OF_ACME = "acme/exception/0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11"
COMMENT = '[["ExceptionCommented",0,"s","hm","cmd-1"]]'
APPEND = "SELECT append_casework(%s, ARRAY['shop'], ARRAY[0]::bigint[], 1, %s, ARRAY['{}'::jsonb])"


@pytest.mark.parametrize(
    ("stream_id", "events"),
    [
        ("acme/shop", COMMENT),
        ("globex/exception/0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11", COMMENT),
        (OF_ACME, '[["WatermarkAdvanced",5]]'),
        (OF_ACME, '[["ExceptionCommented",0,"s","hm","c"],["WatermarkAdvanced",5]]'),
        (OF_ACME, "[]"),
    ],
)
def test_the_api_appends_casework_of_its_tenant_and_nothing_else(connect_as, stream_id, events):
    api = connect_as("api")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_for(api, "acme"):
        api.execute(APPEND, ([stream_id], [events]))
    with acting_for(api, "acme"):
        assert api.execute(APPEND, ([OF_ACME], [COMMENT])).fetchone() == (1,)
    with pytest.raises(psycopg.errors.UniqueViolation), acting_for(api, "acme"):
        api.execute(APPEND, ([OF_ACME], [COMMENT]))


@pytest.mark.parametrize("role", ["flow", "projections", "operator"])
def test_nobody_else_appends_casework(connect_as, role):
    conn = connect_as(role)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_for(conn, "acme"):
        conn.execute(APPEND, ([OF_ACME], [COMMENT]))


def test_what_appends_as_the_owner_reaches_no_table_of_the_callers(connect_as):
    """A table of one's own with the log's name is not written in its place."""
    api = connect_as("api")
    api.execute("CREATE TEMP TABLE log_head (position bigint)")
    api.execute("INSERT INTO log_head VALUES (77)")
    with acting_for(api, "acme"):
        assert api.execute(APPEND, ([OF_ACME], [COMMENT])).fetchone() == (1,)
    assert api.execute("SELECT position FROM pg_temp.log_head").fetchone() == (77,)


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_role_cannot_do_what_is_not_its_work(connect_as, role):
    conn = connect_as(role)
    for statement in FORBIDDEN[role]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)


def test_a_login_user_of_one_role_can_act_as_no_other(database, postgres_server):
    login = f"flow_login_{database.name}"
    with database.connect(autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x' IN ROLE settler_flow")
        try:
            scheme, _, rest = database.url.partition("://")
            url = f"{scheme}://{login}:x@{rest.rpartition('@')[2]}"
            with connect(url, "flow") as flow:
                assert claim(flow).fence == 1
                held = flow.execute("SELECT 1 FROM event_store")
                assert held.fetchall() == []
            with pytest.raises(RoleUnavailable, match=f"GRANT settler_operator TO {login}"):
                connect(url, "operator")
        finally:
            owner.execute(f"DROP ROLE {login}")
