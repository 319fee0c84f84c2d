"""Kept answers: nobody gets another's, nobody gets an old one, and Redis need not be there."""

import asyncio
import time

import httpx
import pytest
import redis as redis_client
from prometheus_client import REGISTRY

from api.database import Database
from api.exceptions import FILTERS
from api.parameters import POSITION_END
from connectors.postgres.tenants import create_key
from tests.integration.api.rows import PEPPER
from tests.integration.api.serving import serving

PAGE = "/api/v1/exceptions"
SUMMARY = "/api/v1/reconciliations/orders/summary"


def hits() -> float:
    name = "settler_api_kept_answers_total"
    return REGISTRY.get_sample_value(name, {"result": "hit"}) or 0.0


def until_kept(client, path):
    """Ask until the answer comes from memory; gives it."""
    deadline = time.monotonic() + 10
    while True:
        before = hits()
        answer = client.get(path)
        assert answer.status_code == 200
        if hits() > before:
            return answer
        assert time.monotonic() < deadline, "the answer was never kept"


def move(connection, tenant_id, reconciliation_id="orders"):
    """Do what a projection does when it has taken in a batch."""
    connection.execute(
        "WITH moved AS (UPDATE reconciliation_summary SET position = position + 1,"
        " rejected = rejected + 1 WHERE tenant_id = %s AND reconciliation_id = %s"
        " RETURNING tenant_id, reconciliation_id, position + 1000000 AS position)"
        " SELECT pg_notify('settler_read_models', to_jsonb(moved)::text) FROM moved",
        (tenant_id, reconciliation_id),
    )


def ids(answer) -> set[str]:
    return {item["exception_id"] for item in answer.json()["items"]}


@pytest.mark.parametrize("redis", [True, False])
def test_no_tenant_gets_what_was_kept_for_another(
    populated_url, tenants, api_settings, valkey, redis
):
    settings = api_settings(database_url=populated_url, redis_url=valkey.url if redis else None)
    acme, globex = tenants
    with (
        serving(settings) as first,
        serving(settings) as second,
        httpx.Client(timeout=10, trust_env=False) as client,
    ):
        tricks = [
            "", "?", "?limit=50", "?limit=50&reconciliation_id=orders", "?reconciliation_id=orders",
        ]  # fmt: skip
        headers = {"X-Tenant-Id": "globex", "X-Forwarded-Host": "globex", "X-Original-URL": PAGE}
        seen: dict[str, set[str]] = {"acme": set(), "globex": set()}
        for _ in range(3):
            for base in (first, second):
                for trick in tricks:
                    for tenant in (acme, globex):
                        sent = {**headers, **tenant.headers}
                        answer = client.get(f"{base}{PAGE}{trick}", headers=sent)
                        assert answer.status_code == 200
                        assert answer.headers["vary"] == "Authorization"
                        assert "private" in answer.headers["cache-control"]
                        seen[tenant.tenant_id] |= ids(answer)
    assert seen["acme"]
    assert seen["acme"] == {*acme.ids["exceptions"], acme.ids["resolved"]}
    assert seen["globex"] == {*globex.ids["exceptions"], globex.ids["resolved"]}


def test_what_stands_in_redis_for_one_tenant_is_never_given_to_another(served, valkey):
    with redis_client.Redis.from_url(valkey.url) as shared, served.client(served.acme) as acme:
        path = f"{PAGE}?limit=49"
        until_kept(acme, path)
        (key,) = shared.keys(f"settler:answer:*:acme:{PAGE}[?]limit=49:*")
        shared.set(key, b'{"items": [], "next_cursor": "planted"}', ex=60)
        with served.client(served.globex) as globex:
            assert globex.get(path).json()["next_cursor"] is None


def test_a_kept_answer_needs_the_scope_like_any_other(served):
    with served.client(served.acme) as acme:
        until_kept(acme, PAGE)
    with served.connect() as connection:
        key = create_key(connection, "acme", "narrow", ["usage:read"], PEPPER).key
    with served.client() as narrow:
        narrow.headers["Authorization"] = f"Bearer {key}"
        assert narrow.get("/api/v1/usage").status_code == 200
        assert narrow.get(PAGE).status_code == 403
        assert narrow.get(SUMMARY).status_code == 403


def test_unchanged_is_304_until_the_tenants_own_read_models_move(served, client):
    answer = until_kept(client, SUMMARY)
    etag = {"If-None-Match": answer.headers["etag"]}
    unchanged = client.get(SUMMARY, headers=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == answer.headers["etag"]
    with served.connect() as connection:
        move(connection, "globex")
        move(connection, "acme", "refunds")
        assert client.get(SUMMARY, headers=etag).status_code == 304
        move(connection, "acme")
    deadline = time.monotonic() + 10
    while (moved := client.get(SUMMARY, headers=etag)).status_code == 304:
        assert time.monotonic() < deadline, "the old answer is still given"
    assert moved.json()["rejected"] == answer.json()["rejected"] + 1
    assert moved.headers["etag"] != answer.headers["etag"]


def test_one_tenants_movement_leaves_anothers_answers_kept(served, client):
    until_kept(client, PAGE)
    with served.connect() as connection:
        move(connection, "globex")
        # Told after the other's, so by now both have been heard.
        before = until_kept(client, SUMMARY).json()["rejected"]
        move(connection, "acme", "orders")
        deadline = time.monotonic() + 10
        while client.get(SUMMARY).json()["rejected"] == before:
            assert time.monotonic() < deadline
    refunds = "/api/v1/reconciliations/refunds/summary"
    until_kept(client, refunds)
    kept = hits()
    with served.connect() as connection:
        move(connection, "globex", "refunds")
    for _ in range(5):
        client.get(refunds)
    assert hits() == kept + 5


def test_a_list_behind_a_cursor_is_not_kept(client):
    page = client.get(PAGE, params={"limit": 1}).json()
    before = hits()
    for _ in range(3):
        assert client.get(PAGE, params={"cursor": page["next_cursor"]}).status_code == 200
    assert hits() == before


def test_one_read_in_one_message_sees_one_tenant_and_leaves_nothing_set(served):
    asked = dict.fromkeys(FILTERS) | {"position": POSITION_END, "limit": 10}

    async def body():
        database = Database(served.database_url, 1)
        await database.open()
        try:
            own = await database.read(
                "acme", "list_exceptions_newest", asked | {"tenant_id": "acme"}
            )
            foreign = await database.read(
                "acme", "list_exceptions_newest", asked | {"tenant_id": "globex"}
            )
            hostile = await database.read(
                "acme", "list_exceptions_newest",
                asked | {"tenant_id": "acme", "rule": "' OR true; SELECT 1 --\\"},
            )  # fmt: skip
            async with database.anonymous() as session:
                cursor = await session.connection.execute(
                    "SELECT current_setting('settler.tenant_id', true) AS set"
                )
                left = await cursor.fetchone()
                rows = await (
                    await session.connection.execute("SELECT 1 FROM exceptions")
                ).fetchall()
        finally:
            await database.close()
        return own, foreign, hostile, left["set"], rows

    own, foreign, hostile, left, rows = asyncio.run(body())
    assert own
    assert (foreign, hostile, rows) == ([], [], [])
    assert not left


def test_without_the_feed_nothing_is_kept(served, api_settings):
    with served.connect() as connection:
        name = "settler-api-listen"
        settings = api_settings(database_url=served.database_url)
        with (
            serving(settings) as url,
            httpx.Client(base_url=url, headers=served.acme.headers, trust_env=False) as client,
        ):
            until_kept(client, SUMMARY)
            connection.execute("REVOKE SELECT ON projection_checkpoints FROM settler_api")
            try:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = %s AND datname = current_database()",
                    (name,),
                )
                deadline = time.monotonic() + 10
                while True:
                    before = hits()
                    client.get(SUMMARY)
                    if hits() == before:
                        break
                    assert time.monotonic() < deadline, "kept though nothing is known"
                connection.execute(
                    "UPDATE reconciliation_summary SET redelivered = 77"
                    " WHERE tenant_id = 'acme' AND reconciliation_id = 'orders'"
                )
                assert client.get(SUMMARY).json()["redelivered"] == 77
            finally:
                connection.execute("GRANT SELECT ON projection_checkpoints TO settler_api")
            until_kept(client, SUMMARY)
