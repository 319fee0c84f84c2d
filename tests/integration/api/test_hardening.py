"""What a hostile or careless caller meets: limits, safe headers, and nothing of others."""

import contextlib
import hmac
import io
import json
import logging
import socket
import threading
import uuid
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest
import structlog

from api.database import QUERIES, Database
from api.http_protocol import HEAD_BYTES_MAX
from api.request_limits import HEADERS_MAX
from connectors import telemetry
from connectors.postgres.tenants import create_key
from tests.integration.api.people import add_person, bearing, key_of
from tests.integration.api.rows import DEFINITION, PEPPER
from tests.integration.api.serving import serving

RECONCILIATIONS = "/api/v1/reconciliations"


@pytest.fixture
def serve(served, api_settings, valkey):
    """Serves the same database with other settings."""

    @contextmanager
    def make(redis: bool = True, **fields):
        url = valkey.url if redis else None
        settings = api_settings(database_url=served.database_url, redis_url=url, **fields)
        with serving(settings) as base:
            yield type(served)(base, served.database_url, served.acme, served.globex)

    return make


# Rates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis", [True, False])
def test_a_key_has_its_limit_and_is_told_where_it_stands(serve, redis):
    with serve(redis, rate_limit_credential=5) as api:
        key = key_of(api, "viewer")
        with bearing(api, key) as client, bearing(api, key_of(api, "viewer")) as other:
            answers = [client.get(RECONCILIATIONS) for _ in range(7)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
            remaining = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
            assert remaining == [4, 3, 2, 1, 0, 0, 0]
            assert {answer.headers["ratelimit-limit"] for answer in answers} == {"5"}
            assert answers[-1].json()["error"] == "rate_limited"
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            assert other.get(RECONCILIATIONS).status_code == 200


def test_a_limit_is_shared_by_every_process(serve):
    with serve(rate_limit_credential=6) as one, serve(rate_limit_credential=6) as two:
        key = key_of(one, "viewer")
        with bearing(one, key) as first, bearing(two, key) as second:
            statuses = [
                client.get(RECONCILIATIONS).status_code
                for _ in range(4)
                for client in (first, second)
            ]
    assert statuses.count(200) == 6


def test_a_key_may_have_a_limit_of_its_own(serve):
    with serve(rate_limit_credential=100) as api, bearing(api, api.acme.key) as owner:
        made = owner.post("/api/v1/keys", json={"name": "slow", "requests_per_minute": 2}).json()
        assert made["requests_per_minute"] == 2
        wide = owner.post("/api/v1/keys", json={"name": "x", "requests_per_minute": 101})
        assert wide.json()["error"] == "invalid_parameter"
        with bearing(api, made["key"]) as slow:
            assert [slow.get(RECONCILIATIONS).status_code for _ in range(3)] == [200, 200, 429]
        # Taking over does not begin anew with more.
        path = f"/api/v1/keys/{made['key_id']}/rotate"
        assert owner.post(path, json={}).json()["requests_per_minute"] == 2


def test_one_address_has_so_many_guesses(serve):
    with serve(rate_limit_guesses=4) as api, api.client() as anonymous:
        wrong = {"tenant_id": "acme", "email": "a@acme.example", "password": "guess"}
        tries = [anonymous.post("/api/v1/auth/sign-in", json=wrong) for _ in range(2)]
        tries += [anonymous.get("/api/v1/me", headers={"Authorization": "Bearer rk_a_b"})] * 1
        tries += [anonymous.post("/api/v1/auth/email", json={"code": "ot_a_b"})]
        assert [answer.status_code for answer in tries] == [401, 401, 401, 400]
        for path, body in (("auth/sign-in", wrong), ("session", {"key": "rk_a_b"}),
                           ("auth/password", {"code": "x", "password": "x" * 12})):  # fmt: skip
            assert anonymous.post(f"/api/v1/{path}", json=body).status_code == 429
        refused = anonymous.get("/api/v1/me", headers={"Authorization": "Bearer rk_a_b"})
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        # Who has a key goes on.
        with bearing(api, api.acme.key) as client:
            assert client.get("/api/v1/me").status_code == 200


def test_one_address_has_its_limit_but_health_is_always_told(serve):
    with serve(rate_limit_address=3) as api, api.client() as anonymous:
        path = "/api/v1/openapi.json"
        assert [anonymous.get(path).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert anonymous.get("/api/v1/nothing").json()["error"] == "rate_limited"
        for probe in ("/health/live", "/health/ready", "/metrics"):
            assert anonymous.get(probe).status_code == 200


def test_a_proxy_that_is_trusted_says_whose_address_it_is(serve):
    trusting = serve(rate_limit_guesses=2)
    with trusting as api, api.client() as proxy:
        for address in ("203.0.113.1", "203.0.113.2"):
            headers = {"X-Forwarded-For": address, "Authorization": "Bearer rk_a_b"}
            statuses = [proxy.get("/api/v1/me", headers=headers).status_code for _ in range(3)]
            assert statuses == [401, 401, 429]
    with (
        serve(rate_limit_guesses=2, api_trusted_proxies="192.0.2.1") as api,
        api.client() as any_one,
    ):
        headers = [
            {"X-Forwarded-For": f"203.0.113.{n}", "Authorization": "Bearer rk_a_b"}
            for n in range(3)
        ]
        statuses = [any_one.get("/api/v1/me", headers=each).status_code for each in headers]
        assert 429 in statuses


# Size and form -------------------------------------------------------------------------------


def test_too_much_of_anything_is_refused(client):
    long = client.get(RECONCILIATIONS, params={"cursor": "x" * 9_000})
    assert (long.status_code, long.json()["error"]) == (414, "uri_too_long")
    many = client.get("/api/v1/me", headers={f"X-{n}": "x" for n in range(HEADERS_MAX)})
    assert (many.status_code, many.json()["error"]) == (431, "headers_too_large")
    large = client.get("/api/v1/me", headers={"X-Large": "x" * 40_000})
    assert (large.status_code, large.json()["error"]) == (431, "headers_too_large")
    packed = client.put(RECONCILIATIONS, json=DEFINITION, headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["error"]) == (415, "unsupported_media_type")


def test_a_body_that_does_not_arrive_is_given_up_on(served, monkeypatch):
    monkeypatch.setattr("api.request_limits.BODY_SECONDS_MAX", 0.2)
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = (
            f"PUT {RECONCILIATIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {served.acme.key}\r\nContent-Length: 100\r\n\r\n{{"
        )
        connection.sendall(head.encode())
        # Head and body may come apart.
        answer = received = connection.recv(65_536)
        while received and b"request_timeout" not in answer:
            received = connection.recv(65_536)
            answer += received
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


def test_a_parameter_that_stands_twice_is_refused(client):
    for query in ("limit=1&limit=2", "limit=1&LIMIT=2", "limit[]=1", "limit=1&__proto__=x"):
        answer = client.get(f"/api/v1/matches?{query}")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter"), query


INJECTIONS = (
    "' OR '1'='1", "1; DROP TABLE users; --", "\\'; SELECT pg_sleep(60); --", "%27%20OR%201=1",
    "${jndi:ldap://x}", "{{7*7}}", "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/x",
    "<script>alert(1)</script>", "acme\x1f", "%00", "\u202e", "a" * 500, "%s%s%n", "%(tenant_id)s",
)  # fmt: skip


FREE_TEXT = (
    ("matches", "rule"), ("matches", "reconciliation_id"), ("events", "aggregate_id"),
    ("events", "correlation_id"), ("audit-log", "actor"), ("users", "cursor"),
    ("dead-letters", "code"), ("hotspots", "rule"),
)  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_stays_text_wherever_it_is_put(served, client, text):
    for path in ("reconciliations", "matches", "exceptions", "dead-letters", "users", "keys"):
        answer = client.get(f"/api/v1/{path}/{quote(text, safe='%/')}")
        assert answer.status_code in {400, 404}, answer.text
        assert "application/json" in answer.headers["content-type"]
    for path, name in FREE_TEXT:
        answer = client.get(f"/api/v1/{path}", params={name: text})
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 200:
            assert answer.json()["items"] == []
    answer = client.patch("/api/v1/tenant", json={"name": text})
    if answer.status_code == 200:
        assert client.get("/api/v1/tenant").json()["name"] == text


def test_what_is_not_asked_for_cannot_be_set(served, client):
    person = add_person(served)
    path = f"/api/v1/users/{person.user_id}"
    before = client.get(path).json()
    for body in ({"user_id": str(uuid.uuid4())}, {"tenant_id": "globex"}, {"status": "active"},
                 {"password_hash": "x"}, {"created_at": "2020-01-01T00:00:00Z"},
                 {"role": "viewer", "email": "other@acme.example"}):  # fmt: skip
        assert client.patch(path, json=body).status_code == 400
    assert client.get(path).json() == before
    assert client.patch("/api/v1/tenant", json={"tenant_id": "x"}).status_code == 400
    for body in ({"key_id": "0" * 12}, {"user_id": str(person.user_id)}, {"key": "rk_a_b"}):
        assert client.post("/api/v1/keys", json={"name": "x", **body}).status_code == 400


# Headers ------------------------------------------------------------------------------------


def test_every_answer_has_safe_headers(client):
    for path in ("/", "/api/v1/me", "/api/v1/nothing", "/health", "/static/live.js"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert "strict-transport-security" not in headers
    secure = client.get("/api/v1/me", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["strict-transport-security"].startswith("max-age=31536000")


@pytest.mark.parametrize("stated", ["a1-b2.c3:d4_e5", None, "a\tb", "x" * 129, "<b>", "a b"])
def test_a_request_has_an_id(client, stated):
    headers = {"X-Request-Id": stated} if stated else {}
    answer = client.get("/api/v1/nothing", headers=headers)
    request_id = answer.headers["x-request-id"]
    assert answer.json()["request_id"] == request_id
    assert (request_id == stated) == (stated == "a1-b2.c3:d4_e5")
    assert len(request_id) <= 128


def test_other_origins_are_let_in_by_setting_alone(served, serve):
    origin = "https://dashboard.example.com"
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET",
             "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    with served.client(served.acme) as client:
        assert client.options("/api/v1/me", headers=asked).status_code == 405
        answer = client.get("/api/v1/me", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
    with serve(cors_origins=origin) as api, api.client(served.acme) as client:
        preflight = client.options("/api/v1/me", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        answer = client.get("/api/v1/me", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
        other = {**asked, "Origin": "https://elsewhere.example.com"}
        assert (
            "access-control-allow-origin" not in client.options("/api/v1/me", headers=other).headers
        )


def test_a_kept_answer_is_one_tenants_own(served):
    """Both have a reconciliation of the same name; the cache keeps both summaries."""
    path = f"{RECONCILIATIONS}/orders/summary"
    with served.connect() as connection:
        connection.execute(
            "UPDATE reconciliation_summary SET name = 'of ' || tenant_id"
            " WHERE reconciliation_id = 'orders'"
        )
    with served.client(served.acme) as acme, served.client(served.globex) as globex:
        for _ in range(3):
            assert acme.get(path).json()["name"] in {"of acme", "Orders against charges"}
            assert globex.get(path).json()["name"] in {"of globex", "Orders against charges"}
        etag = acme.get(path).headers["etag"]
        assert globex.get(path, headers={"If-None-Match": etag}).status_code == 200
        assert acme.get(path, headers={"If-None-Match": etag}).status_code == 304
        for answer in (acme.get(path), globex.get(path)):
            assert "private" in answer.headers["cache-control"]
            assert "Authorization" in answer.headers["vary"]


# Logs ---------------------------------------------------------------------------------------


@pytest.fixture
def log_lines(make_settings):
    """Everything logged while the test runs, as objects; the configuration as before afterwards."""
    written = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    telemetry.configure_logging(make_settings(), "api")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=written))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_every_line_of_a_request_has_its_ids_and_no_secret(serve, log_lines):
    with serve() as api:
        person = add_person(api)
        pair = person.sign_in()
        with bearing(api, pair["access_token"]) as client:
            answer = client.get("/api/v1/me", headers={"X-Request-Id": "mine-1"})
        assert person.try_to_sign_in(password="a wrong password").status_code == 401
        with api.client() as anonymous:
            anonymous.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    lines = log_lines()
    (mine,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert mine["trace_id"] == answer.headers["x-trace-id"]
    assert (mine["actor"], mine["tenant_id"]) == (f"user:{person.user_id}", "acme")
    refused = [line for line in lines if line["event"] == "sign-in refused"]
    assert refused
    for line in lines:
        if line["event"] == "request" or line in refused:
            assert len(line["request_id"]) in {6, 32}
            assert len(line["trace_id"]) == 32
    everything = json.dumps(lines)
    for secret in (pair["access_token"], pair["refresh_token"], "a wrong password", person.email):
        assert secret not in everything


def test_no_caller_writes_lines_of_the_log(serve, log_lines):
    forged = '%0A{"event": "forged"}%0D%1b[31m'
    with serve() as api, api.client() as client:
        client.get(f"/api/v1/{forged}", headers={"User-Agent": "x", "X-Request-Id": "a\tb"})
    assert "forged" not in {line["event"] for line in log_lines()}


def test_a_slow_query_is_logged_with_its_plan(serve, log_lines, monkeypatch):
    monkeypatch.setattr("api.database._TOLD_SLOW", {})
    monkeypatch.setattr("api.database.SLOW_QUIET_SECONDS", 60)
    slow = (
        b"-- why\n"
        + QUERIES["read_reconciliation"].rstrip(b";")
        + b" AND pg_sleep(0.05) IS NOT NULL"
    )
    monkeypatch.setitem(QUERIES, "read_reconciliation", slow)
    with serve(slow_query_milliseconds=20) as api, api.client(api.acme) as client:
        for _ in range(2):
            assert client.get(f"{RECONCILIATIONS}/orders").status_code == 200
    told = [line for line in log_lines() if line["event"] == "slow query"]
    told = [line for line in told if line["query"] == "read_reconciliation"]
    assert len(told) == 1
    assert told[0]["duration_ms"] >= 20
    assert "reconciliation_summary" in " ".join(told[0]["plan"])


# Stopping -----------------------------------------------------------------------------------


def test_what_is_in_flight_is_finished_before_the_process_stops(serve, monkeypatch):
    arrived = threading.Event()
    opening = Database.tenant

    def tell(self, *arguments, **options):
        arrived.set()
        return opening(self, *arguments, **options)

    slow = QUERIES["list_usage"].replace(b"WHERE", b"WHERE pg_sleep(0.4) IS NOT NULL AND", 1)
    monkeypatch.setitem(QUERIES, "list_usage", slow)
    answers = []
    with serve(slow_query_milliseconds=60_000) as api:
        client = api.client(api.acme)
        client.get("/api/v1/me")
        monkeypatch.setattr(Database, "tenant", tell)
        thread = threading.Thread(target=lambda: answers.append(client.get("/api/v1/usage")))
        thread.start()
        assert arrived.wait(5)
        assert not answers
    # The server was told to stop with the answer still to come.
    thread.join(10)
    client.close()
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["items"]


def test_a_key_is_compared_in_constant_time_and_looked_for_even_if_unknown(served, monkeypatch):
    compared = []
    original = hmac.compare_digest

    def compare(one, other):
        compared.append((len(one), len(other)))
        return original(one, other)

    monkeypatch.setattr("connectors.credentials.hmac.compare_digest", compare)
    with served.connect() as connection:
        key = create_key(connection, "acme", "x", [], PEPPER).key
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for presented in (key, wrong, "rk_000000000000_" + "x" * 43):
        with bearing(served, presented) as client:
            client.get("/api/v1/me")
    assert compared == [(32, 32)] * 3


def test_a_head_that_never_ends_is_cut_off(served):
    host, port = urlsplit(served.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: ")
        sent, answer = 0, b""
        # It ends with the server's refusal, or with the connection.
        with contextlib.suppress(ConnectionError):
            while sent < 4 * HEAD_BYTES_MAX:
                sent += caller.send(b"x" * 8192)
            while piece := caller.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 400") or sent < 4 * HEAD_BYTES_MAX


def test_a_head_in_pieces_is_read_and_its_size_starts_anew_with_each_request(served):
    host, port = urlsplit(served.url).netloc.split(":")
    filling = "".join(f"X-{n}: {'x' * 300}\r\n" for n in range(80))
    head = f"GET /health/live HTTP/1.1\r\nHost: x\r\n{filling}\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        for _ in range(2 + HEAD_BYTES_MAX // len(head)):
            for start in range(0, len(head), 1000):
                caller.sendall(head[start : start + 1000])
            assert caller.recv(65536).startswith(b"HTTP/1.1 200")
