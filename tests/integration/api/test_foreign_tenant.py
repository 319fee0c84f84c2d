"""Another tenant's things: every route and every table, with its ids and somebody else's rights."""

import json
import re

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from api.app import OPERATIONS
from tests.integration.api.people import add_person, bearing
from tests.integration.api.rows import DEFINITION, PASSWORD, QUERIES

# A body that each write would take, were the thing its caller's.
BODIES = {
    "define_reconciliation": DEFINITION,
    "post_reconciliation": DEFINITION,
    "lint_definition": DEFINITION,
    "backtest_definition": DEFINITION,
    "create_user": {"email": "new@example.com", "name": "New"},
    "change_user": {"role": "viewer", "disabled": True},
    "create_key": {"name": "new"},
    "rotate_key": {"overlap_seconds": 0},
    "change_tenant": {"name": "Renamed"},
    "start_reconciliation": {"from": "2026-03-01", "to": "2026-04-01"},
    "assign_exception": {"assignee": "ann"},
    "comment_exception": {"comment": "hm"},
    "resolve_exception": {"resolution": "write_off", "reason": "a fee"},
    "work_exceptions": {
        "action": "dismiss", "exception_ids": ["0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11"],
    },
    "redrive_dead_letters": {"code": "invalid_amount"},
    "change_password": {"current_password": PASSWORD, "password": "another long one"},
}  # fmt: skip
# Names that two tenants may both use: here each sees its own.
SHARED = {"reconciliation_id"}
ROUTES = [op for op in OPERATIONS if op.secured and not op.stream]
TABLES = """
SELECT c.oid::regclass::text FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relkind IN ('r', 'p') AND has_table_privilege('settler_api', c.oid, 'SELECT')
"""


def paths_of(operation, ids: dict[str, list[str]]) -> list[str]:
    paths = [operation.path]
    for name in re.findall(r"\{(\w+)\}", operation.path):
        paths = [path.replace(f"{{{name}}}", value) for path in paths for value in ids[name]]
    return paths


def ids_of(tenant) -> dict[str, list[str]]:
    """Every id of a tenant by the name of the parameter that takes it."""
    ids = tenant.ids
    return {
        "reconciliation_id": ["orders"],
        "match_id": [ids["matches"][0], ids["suggestion"]],
        "exception_id": [ids["exceptions"][0], ids["resolved"]],
        "dead_letter_id": ids["dead_letters"][:1],
        "transaction_id": [ids["transaction"]],
        "command_id": [ids["command"]],
        "run_id": [ids["run"]],
        "user_id": [ids["user"]],
        "session_id": [ids["session"]],
        "key_id": [ids["key"], tenant.key_id],
        "day": [ids["day"]],
    }


def rows_of(served, tenant_id: str) -> dict[str, str]:
    """A digest of all rows of a tenant, by table."""
    digests = {}
    with served.connect() as connection:
        for (table,) in connection.execute(TABLES).fetchall():
            row = connection.execute(
                f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
                f" FROM {table} AS t WHERE tenant_id = %s",
                (tenant_id,),
            ).fetchone()
            digests[table] = row[0]
    return digests


@pytest.fixture(params=["key", "user"])
def acme(served, request):
    """A client with all the rights there are, in acme."""
    if request.param == "key":
        with bearing(served, served.acme.key) as client:
            yield client
    else:
        with add_person(served, "owner").client() as client:
            yield client


def test_no_route_shows_or_changes_another_tenants_thing(served, acme):
    foreign = ids_of(served.globex)
    told = {value for values in foreign.values() for value in values} - {"orders"}
    told |= {"globex", served.globex.ids["email"]}
    before = rows_of(served, "globex")
    for operation in ROUTES:
        if operation.path in {"/auth/sign-out", "/me/password"}:
            continue  # these end the very session the walk is made with
        for path in paths_of(operation, foreign):
            query = QUERIES.get(operation.path, {})
            body = None if operation.body is None else BODIES.get(operation.operation_id, {})
            answer = acme.request(operation.method, f"/api/v1{path}", json=body, params=query)
            where = f"{operation.method} {path}: {answer.status_code} {answer.text}"
            assert answer.status_code < 500, where
            if set(re.findall(r"\{(\w+)\}", operation.path)) - SHARED:
                # For keys, what belongs to a user alone is refused before it is looked for.
                assert answer.status_code == 404 or answer.json().get("error") == "user_required", (
                    where
                )
            shown = answer.text.replace(path.rpartition("/")[2], "")
            shown = shown.replace(path.split("/")[-2], "") if path.count("/") > 1 else shown
            assert not [secret for secret in told if secret in shown], where
    assert rows_of(served, "globex") == before


def test_a_tenant_named_in_a_body_or_query_is_refused(served, acme):
    for operation in ROUTES:
        path = "/api/v1" + re.sub(r"\{\w+\}", "orders", operation.path)
        if operation.query is not None:
            body = None if operation.body is None else BODIES.get(operation.operation_id, {})
            query = {"tenant_id": "globex"}
            answer = acme.request(operation.method, path, params=query, json=body)
            assert answer.status_code in {400, 404}, f"{operation.operation_id}: {answer.text}"
        if operation.body is not None and operation.path != "/me/password":
            body = {**BODIES.get(operation.operation_id, {}), "tenant_id": "globex"}
            answer = acme.request(operation.method, path, json=body)
            assert answer.status_code in {400, 404, 422}, f"{operation.operation_id}: {answer.text}"


def test_no_header_chooses_the_tenant(acme):
    for name in ("X-Tenant-Id", "Tenant-Id", "X-Tenant", "Host", "X-Forwarded-User"):
        assert acme.get("/api/v1/me", headers={name: "globex"}).json()["tenant_id"] == "acme"


# Below the router --------------------------------------------------------------------------


@pytest.fixture
def api_session(served):
    """A connection as the API has it, for acme; what it does is undone."""
    with served.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE settler_api")
        connection.execute("SELECT set_config('settler.tenant_id', 'acme', true)")
        yield connection


def test_every_table_with_a_tenant_has_rows_of_the_other_one(served):
    """What the next tests walk is not empty."""
    empty = {
        table for table, digest in rows_of(served, "globex").items()
        if digest == "d41d8cd98f00b204e9800998ecf8427e"
    }  # fmt: skip
    assert empty <= {"streams", "suggested_transactions"}


def test_no_statement_reaches_another_tenants_rows(served, api_session):
    for (table,) in api_session.execute(TABLES).fetchall():
        name = sql.SQL(table)
        count = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id <> 'acme'").format(name)
        assert api_session.execute(count).fetchone() == (0,), table
        if privilege(api_session, table, "DELETE"):
            gone = api_session.execute(sql.SQL("DELETE FROM {}").format(name)).rowcount
            with served.connect() as connection:
                own = connection.execute(
                    sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = 'acme'").format(name)
                ).fetchone()[0]
            assert gone == own, table
    for table, column in columns(api_session, "UPDATE"):
        statement = sql.SQL("UPDATE {} SET {} = {} WHERE tenant_id <> 'acme'").format(
            sql.SQL(table), sql.Identifier(column), sql.Identifier(column)
        )
        assert api_session.execute(statement).rowcount == 0, table


def test_no_row_is_put_in_under_another_tenant(served, api_session):
    tables = sorted({table for table, _ in columns(api_session, "INSERT")})
    assert {"inbox", "users", "api_keys", "audit_log"} <= set(tables)
    for table in tables:
        written = [column for name, column in columns(api_session, "INSERT") if name == table]
        with served.connect() as connection:
            row = connection.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE tenant_id = 'acme'").format(
                    sql.SQL(table)
                )
            ).fetchone()[0]
        names = sql.SQL(", ").join(map(sql.Identifier, written))
        statement = sql.SQL(
            "INSERT INTO {table} ({names})"
            " SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s)"
        ).format(table=sql.SQL(table), names=names)
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
            api_session.transaction(),
        ):
            api_session.execute(statement, (Jsonb(row | {"tenant_id": "globex"}),))


def test_the_policy_holds_for_made_up_tenants(api_session):
    for text in ("", "%", "acme' OR '1'='1", "ACME", json.dumps(["acme"]), "acme,globex"):
        api_session.execute("SELECT set_config('settler.tenant_id', %s, true)", (text,))
        for (table,) in api_session.execute(TABLES).fetchall():
            rows = api_session.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert rows == (0,), (table, text)


def privilege(connection, table: str, kind: str) -> bool:
    return connection.execute(
        "SELECT has_table_privilege(%s::regclass, %s)", (table, kind)
    ).fetchone()[0]


def columns(connection, kind: str) -> list[tuple[str, str]]:
    """Columns of tables with a tenant that the API's role may write."""
    return connection.execute(
        "SELECT c.oid::regclass::text, a.attname FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind IN ('r', 'p') AND a.attgenerated = '' AND a.attidentity = ''"
        " AND has_column_privilege(c.oid, a.attnum, %s) AND EXISTS (SELECT FROM pg_attribute AS t"
        "   WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')"
        " AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1, 2",
        (kind,),
    ).fetchall()
