"""Writes sent twice: done once, answered the same, whatever becomes of Redis."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import pytest
import redis

from api.app import OPERATIONS
from api.database import Database
from deploy.embedded import EmbeddedStack
from tests.integration.api.people import add_person, bearing, key_of
from tests.integration.api.rows import DEFINITION
from tests.integration.api.serving import serving

KEYS = "/api/v1/keys"
HEADER = "Idempotency-Key"


@pytest.fixture
def header():
    return {HEADER: f"k-{uuid.uuid4()}"}


@pytest.fixture
def own_redis():
    """A Redis that a test may stop or empty."""
    with EmbeddedStack(postgres=False, broker=False, topic_prefix=None) as stack:
        yield stack.valkey


@pytest.fixture
def serve(served, api_settings):
    @contextmanager
    def make(redis_url):
        settings = api_settings(database_url=served.database_url, redis_url=redis_url)
        with serving(settings) as url:
            yield type(served)(url, served.database_url, served.acme, served.globex)

    return make


def keys_named(served, name: str) -> int:
    with served.connect() as connection:
        return connection.execute(
            "SELECT count(*) FROM api_keys WHERE name = %s", (name,)
        ).fetchone()[0]


def test_the_second_request_gets_the_first_ones_answer(served, client, header):
    name = f"once {uuid.uuid4()}"
    first = client.post(KEYS, json={"name": name}, headers=header)
    second = client.post(KEYS, json={"name": name}, headers=header)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["cache-control"] == "no-store"
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert keys_named(served, name) == 1
    with served.connect() as connection:
        lines = connection.execute(
            "SELECT count(*) FROM audit_log WHERE target = %s", (first.json()["key_id"],)
        )
        assert lines.fetchone() == (1,)


def test_an_answer_without_a_body_is_kept_too(served, client, header):
    key_id = client.post(KEYS, json={"name": "gone"}).json()["key_id"]
    for replayed in (None, "true"):
        answer = client.delete(f"{KEYS}/{key_id}", headers=header)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers.get("idempotency-replayed") == replayed


@pytest.mark.parametrize(
    "other",
    [{"json": {"name": "another"}}, {"path": "/api/v1/users"}, {"method": "PUT"},
     {"path": f"{KEYS}?x=1"}],
)  # fmt: skip
def test_another_request_with_the_key_is_refused(client, header, other):
    body = {"name": "mine"}
    assert client.post(KEYS, json=body, headers=header).status_code == 201
    answer = client.request(
        other.get("method", "POST"), other.get("path", KEYS), json=other.get("json", body),
        headers=header,
    )  # fmt: skip
    assert answer.status_code in {409, 405}
    assert answer.json()["error"] in {"idempotency_conflict", "method_not_allowed"}


def test_a_key_is_its_credentials_own(served, header):
    with (
        bearing(served, key_of(served, "admin")) as one,
        bearing(served, key_of(served, "admin")) as two,
    ):
        first = one.post(KEYS, json={"name": "same"}, headers=header).json()
        second = two.post(KEYS, json={"name": "same"}, headers=header)
        assert second.json()["key_id"] != first["key_id"]
        assert "idempotency-replayed" not in second.headers
    with served.client(served.globex) as globex:
        assert globex.post(KEYS, json={"name": "same"}, headers=header).status_code == 201


def test_what_was_refused_may_be_put_right(client, header):
    wrong = client.post(KEYS, json={"name": ""}, headers=header)
    assert wrong.status_code == 400
    right = client.post(KEYS, json={"name": "right"}, headers=header)
    assert right.status_code == 201


@pytest.mark.parametrize("text", ["", "a b", "x" * 129, "ü"])
def test_what_is_no_key_is_refused(client, text):
    headers = {HEADER: text.encode("latin-1")}
    answer = client.post(KEYS, json={"name": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_many_at_once_do_it_once(served, header):
    name = f"many {uuid.uuid4()}"

    def post(_):
        with served.client(served.acme) as own:
            return own.post(KEYS, json={"name": name}, headers=header)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["key"] for answer in answers}) == 1
    assert keys_named(served, name) == 1


def test_one_that_takes_long_is_said_to_be_in_progress(served, header, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()
    opening = Database.tenant

    def wait_here(self, tenant_id, **options):
        if threading.current_thread().name == "api" and not entered.is_set():
            entered.set()
            # The loop itself must not be held up.
            return _after(go_on, opening(self, tenant_id, **options))
        return opening(self, tenant_id, **options)

    monkeypatch.setattr("api.idempotency.WAIT_SECONDS", 0.2)
    with served.client(served.acme) as one, served.client(served.acme) as two:
        one.get("/api/v1/me")
        monkeypatch.setattr(Database, "tenant", wait_here)
        thread = threading.Thread(
            target=lambda: one.patch("/api/v1/tenant", json={"name": "Slow"}, headers=header)
        )
        thread.start()
        assert entered.wait(5)
        answer = two.patch("/api/v1/tenant", json={"name": "Slow"}, headers=header)
        go_on.set()
        thread.join(10)
        assert (answer.status_code, answer.json()["error"]) == (409, "request_in_progress")
        assert answer.headers["retry-after"] == "1"
        after = two.patch("/api/v1/tenant", json={"name": "Slow"}, headers=header)
        assert after.headers["idempotency-replayed"] == "true"


@asynccontextmanager
async def _after(event, transaction):
    await asyncio.to_thread(event.wait, 10)
    async with transaction as session:
        yield session


# Without Redis ------------------------------------------------------------------------------


def test_without_redis_nothing_is_done_twice(served, serve, header):
    name = f"no redis {uuid.uuid4()}"
    with serve(None) as api, api.client(api.acme) as client:
        assert client.post(KEYS, json={"name": name}, headers=header).status_code == 201
        again = client.post(KEYS, json={"name": name}, headers=header)
        assert (again.status_code, again.json()["error"]) == (409, "already_done")
        other = client.post(KEYS, json={"name": "x"}, headers=header)
        assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")
        command = client.put(
            "/api/v1/reconciliations", json=DEFINITION, headers=header | {HEADER: "c"}
        )
        twice = client.put(
            "/api/v1/reconciliations", json=DEFINITION, headers=header | {HEADER: "c"}
        )
        assert twice.status_code == 202
        assert twice.json()["command_id"] == command.json()["command_id"]
    assert keys_named(served, name) == 1


def test_without_redis_many_at_once_do_it_once(served, serve, header):
    name = f"no redis, many {uuid.uuid4()}"
    with serve(None) as api:

        def post(_):
            with api.client(api.acme) as own:
                return own.post(KEYS, json={"name": name}, headers=header).status_code

        with ThreadPoolExecutor(6) as pool:
            statuses = sorted(pool.map(post, range(6)))
    assert statuses == [201] + [409] * 5
    assert keys_named(served, name) == 1


def test_a_redis_that_is_lost_between_the_two_makes_no_difference(served, serve, own_redis, header):
    name = f"lost {uuid.uuid4()}"
    with serve(own_redis.url) as api, api.client(api.acme) as client:
        first = client.post(KEYS, json={"name": name}, headers=header)
        assert first.status_code == 201
        own_redis.kill()
        again = client.post(KEYS, json={"name": name}, headers=header)
        assert (again.status_code, again.json()["error"]) == (409, "already_done")
        own_redis.start()
    assert keys_named(served, name) == 1


def test_a_day_later_a_key_is_free_again(served, serve, header):
    with serve(None) as api, api.client(api.acme) as client:
        client.patch("/api/v1/tenant", json={"name": "First"}, headers=header)
        old = {HEADER: f"old-{uuid.uuid4()}"}
        client.patch("/api/v1/tenant", json={"name": "Old"}, headers=old)
        with served.connect() as connection:
            connection.execute(
                "UPDATE idempotency_keys SET created_at = now() - interval '25 h'"
                " WHERE idempotency_key = ANY(%s)",
                ([header[HEADER], old[HEADER]],),
            )
        again = client.patch("/api/v1/tenant", json={"name": "Second"}, headers=header)
        assert again.json()["name"] == "Second"
    with served.connect() as connection:
        left = connection.execute(
            "SELECT count(*) FROM idempotency_keys WHERE idempotency_key = %s", (old[HEADER],)
        )
        assert left.fetchone() == (0,)


def test_what_redis_keeps_shows_no_secret(served, serve, own_redis, header):
    with serve(own_redis.url) as api, api.client(api.acme) as client:
        made = client.post(KEYS, json={"name": "sealed"}, headers=header).json()
        connection = redis.Redis.from_url(own_redis.url)
        slots = connection.keys("settler:idempotency:*")
        assert len(slots) == 1
        kept = connection.get(slots[0])
        assert made["key"].removeprefix(f"rk_{made['key_id']}_").encode() not in kept
        assert 86_000 < connection.ttl(slots[0]) <= 86_400
        # Another slot's answer does not open, and one that was tampered with is none.
        connection.set(slots[0], kept[:-1] + bytes([kept[-1] ^ 1]))
        again = client.post(KEYS, json={"name": "sealed"}, headers=header)
        assert again.json()["error"] == "already_done"
        connection.close()


def test_every_write_takes_a_key(served):
    with served.client() as anonymous:
        document = anonymous.get("/api/v1/openapi.json").json()
    for operation in OPERATIONS:
        described = document["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
        names = [parameter["name"] for parameter in described["parameters"]]
        is_write = operation.method != "GET" and operation.secured
        assert names.count(HEADER) == int(is_write), operation.operation_id


def test_a_user_may_send_again_too(served, header):
    person = add_person(served)
    with person.client() as client:
        first = client.post(KEYS, json={"name": "mine"}, headers=header).json()
        assert client.post(KEYS, json={"name": "mine"}, headers=header).json() == first


def test_a_request_that_reads_before_it_writes_claims_its_key_all_the_same(serve, header):
    with serve("redis://127.0.0.1:1/0") as alone, alone.client(alone.acme) as client:
        match_id = alone.acme.ids["suggestion"]
        first = client.post(f"/api/v1/matches/{match_id}/reject", json={}, headers=header)
        assert first.status_code == 202
        again = client.post(f"/api/v1/matches/{match_id}/reject", json={}, headers=header)
        assert again.json()["command_id"] == first.json()["command_id"]
        other = client.post(KEYS, json={"name": "another"}, headers=header)
        assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")
