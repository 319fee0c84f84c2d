"""Redis and the database go away and come back, at the start and in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import REGISTRY

from api.app import REDIS_ANSWER_SECONDS
from deploy.embedded import EmbeddedStack
from deploy.proxy import TcpProxy
from tests.integration.api.serving import serving
from tests.measuring import PATIENCE, measuring

SUMMARY = "/api/v1/reconciliations/orders/summary"


def eventually(ask, holds, seconds=15):
    """Ask again and again until it holds; gives the last answer."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        answer = ask()
        if holds(answer):
            return answer
        assert time.monotonic() < deadline, answer


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(postgres=False, broker=False, topic_prefix=None) as stack:
        yield stack


def skipped() -> float:
    """Lookups so far that did not ask Redis."""
    name, labels = "settler_api_cache_lookups_total", {"result": "skipped"}
    return REGISTRY.get_sample_value(name, labels) or 0.0


def assert_held_up_by_nothing(client, calls=15):
    """Redis is away: one call finds out, at the cost of 20 ms, and those after it do not ask."""
    before = skipped()
    for number in range(calls):
        # Each for something else: what this process keeps itself is not looked for in Redis.
        assert client.get("/api/v1/exceptions", params={"limit": 1 + number}).status_code == 200
    assert skipped() - before > calls / 2


def test_redis_is_killed_midway(populated_url, tenants, api_settings, own_valkey):
    settings = api_settings(database_url=populated_url, redis_url=own_valkey.valkey.url)
    with serving(settings) as url, httpx.Client(base_url=url, headers=tenants[0].headers) as client:
        eventually(
            lambda: client.get("/health").json(), lambda body: body["checks"]["cache"] == "ok"
        )
        before = client.get(SUMMARY).json()
        own_valkey.valkey.kill()
        assert client.get(SUMMARY).json() == before
        assert_held_up_by_nothing(client)
        assert client.get("/health").json() == {
            "status": "ok",
            "checks": {"database": "ok", "migrations": "ok", "cache": "unavailable"},
        }
        assert client.get("/health/ready").status_code == 200
        own_valkey.valkey.start()
        eventually(
            lambda: client.get("/health").json(), lambda body: body["checks"]["cache"] == "ok"
        )
        assert client.get(SUMMARY).json() == before


def test_redis_that_never_answers_holds_up_nothing(populated_url, tenants, api_settings, valkey):
    with TcpProxy(valkey.port) as proxy:
        settings = api_settings(
            database_url=populated_url, redis_url=f"redis://127.0.0.1:{proxy.port}/0"
        )
        patience = REDIS_ANSWER_SECONDS
        with (
            serving(settings, redis_answer_seconds=patience) as url,
            httpx.Client(base_url=url) as client,
        ):
            client.headers.update(tenants[0].headers)
            assert client.get(SUMMARY).status_code == 200
            proxy.stall()
            assert_held_up_by_nothing(client)
            proxy.restore()


def test_the_database_is_away_at_the_start(tenants, api_settings, postgres_server, populated_url):
    with TcpProxy(postgres_server.port) as proxy:
        proxy.cut()
        through = populated_url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        with (
            serving(api_settings(database_url=through)) as url,
            httpx.Client(base_url=url, headers=tenants[0].headers, timeout=20) as client,
        ):
            assert client.get("/health/live").status_code == 200
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (
                503,
                "unavailable",
            )
            refused = client.get(SUMMARY)
            assert refused.status_code == 503
            assert refused.json()["error"] == "database_unavailable"
            assert int(refused.headers["retry-after"]) > 0
            proxy.restore()
            eventually(lambda: client.get(SUMMARY).status_code, lambda status: status == 200, 30)
            assert client.get("/health/ready").status_code == 200


def test_the_database_goes_and_comes_back(tenants, api_settings, postgres_server, populated_url):
    with TcpProxy(postgres_server.port) as proxy:
        through = populated_url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        with (
            serving(api_settings(database_url=through)) as url,
            httpx.Client(base_url=url, headers=tenants[0].headers, timeout=20) as client,
        ):
            before = client.get(SUMMARY).json()
            proxy.cut()
            eventually(lambda: client.get(SUMMARY).status_code, lambda status: status == 503)
            assert client.get("/").status_code == 200
            proxy.restore()
            again = eventually(lambda: client.get(SUMMARY), lambda got: got.status_code == 200, 30)
            assert again.json() == before


def test_a_database_without_migrations_is_not_ready(api_settings, empty_database):
    with serving(api_settings(database_url=empty_database.url)) as url:
        answer = httpx.get(f"{url}/health/ready", trust_env=False)
        assert answer.status_code == 503


def test_metrics_tell_of_requests_queries_and_the_pool(served, client):
    assert client.get(SUMMARY).status_code == 200
    assert client.get("/nothing/at/all").status_code == 404
    text = client.get("/metrics").text
    route = 'route="/api/v1/reconciliations/{reconciliation_id}/summary"'
    assert f'settler_api_requests_total{{method="GET",{route},status="200"}}' in text
    assert 'settler_api_query_seconds_count{query="read_reconciliation"}' in text
    assert 'settler_api_pool_connections{state="idle"}' in text
    assert "/nothing/at/all" not in text


PROGRAM = """
import sys
from api.app import main
from connectors.settings import Settings
sys.exit(main(Settings.load()))
"""


def test_the_process_stops_on_sigterm_with_a_stream_open(served, repository, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(repository),
        "SETTLER_DATABASE_URL": served.database_url, "SETTLER_API_PORT": str(port),
        "SETTLER_API_KEY_PEPPER": "a pepper of the tests", **measuring(),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def alive() -> bool:
            try:
                return httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        eventually(alive, bool)
        with (
            httpx.Client(base_url=url, headers=served.acme.headers, timeout=10) as client,
            client.stream("GET", "/api/v1/stream") as stream,
        ):
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            for _line in lines:
                pass
        assert process.wait(10) == 0
        assert time.monotonic() - started < 4
        log = process.stderr.read().decode()
        assert served.acme.key not in log
        assert '"event": "request"' in log
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
