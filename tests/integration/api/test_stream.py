"""The live stream: what is there at once, what moves as it moves, and going on after a break."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from connectors.postgres.tenants import create_key
from tests.integration.api.rows import PEPPER, Log, add_exception
from tests.integration.api.serving import serving

PATH = "/api/v1/stream"


def parse(lines) -> Iterator[dict]:
    """Server-sent events of a stream of lines."""
    event: dict = {}
    for line in lines:
        if line == "":
            if "data" in event:
                yield event
            event = {}
            continue
        name, _, value = line.partition(": ")
        event[name] = json.loads(value) if name == "data" else value


@contextmanager
def following(client, **headers) -> Iterator[Iterator[dict]]:
    timeout = httpx.Timeout(10, read=10)
    with client.stream("GET", PATH, headers=headers, timeout=timeout) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parse(answer.iter_lines())


def take(events, count):
    return [next(events) for _ in range(count)]


def test_a_new_client_gets_everything(client):
    with following(client) as events:
        first = take(events, 4)
    by_event = [(event["event"], event["data"]["reconciliation_id"]) for event in first]
    assert sorted(by_event) == [
        ("exceptions", "orders"), ("exceptions", "refunds"),
        ("summary", "orders"), ("summary", "refunds"),
    ]  # fmt: skip
    summary = next(event for event in first if by_event and event["event"] == "summary")
    assert int(summary["id"]) == summary["data"]["position"]
    assert summary["data"]["lag_seconds"] >= 0
    newest = next(e for e in first if e["event"] == "exceptions"
                  and e["data"]["reconciliation_id"] == "orders")  # fmt: skip
    assert [item["status"] for item in newest["data"]["items"]] == ["open"] * 5
    positions = [item["position"] for item in newest["data"]["items"]]
    assert positions == sorted(positions, reverse=True)


def test_what_moves_is_sent_and_what_does_not_is_not(served, client):
    with following(client) as events, served.connect() as connection:
        take(events, 4)
        log = Log(connection)
        log.versions["acme/orders"] = 50_000
        new = add_exception(log, "acme", "orders", "O-fresh", severity="critical")
        connection.execute(
            "UPDATE reconciliation_summary SET exceptions_open = exceptions_open + 1,"
            " position = %s WHERE tenant_id = 'acme' AND reconciliation_id = 'orders'",
            (log.position,),
        )
        connection.execute("UPDATE projection_checkpoints SET position = %s", (log.position,))
        connection.execute("NOTIFY settler_read_models")
        moved = take(events, 2)
        while moved[-2]["data"].get("position") != log.position:
            moved += take(events, 1)
    assert {event["data"]["reconciliation_id"] for event in moved} == {"orders"}
    newest = next(event for event in reversed(moved) if event["event"] == "exceptions")
    assert newest["data"]["items"][0]["exception_id"] == new


def test_a_client_goes_on_after_its_last_event(served, client):
    with following(client) as events:
        first = take(events, 4)
    last = max(int(event["id"]) for event in first if "id" in event)
    with served.connect() as connection:
        connection.execute(
            "UPDATE reconciliation_summary SET position = %s, redelivered = 9"
            " WHERE tenant_id = 'acme' AND reconciliation_id = 'refunds'",
            (last + 1,),
        )
    with following(client, **{"Last-Event-ID": str(last)}) as events:
        again = take(events, 3)
    summaries = [event for event in again if event["event"] == "summary"]
    assert [event["data"]["reconciliation_id"] for event in summaries] == ["refunds"]
    assert summaries[0]["id"] == str(last + 1)


@pytest.mark.parametrize("position", ["-1", "x", "1e3", "9" * 30])
def test_an_id_that_is_no_position_is_refused(client, position):
    answer = client.get(PATH, headers={"Last-Event-ID": position})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_another_tenants_movement_is_not_sent(served, client):
    with following(client) as events, served.connect() as connection:
        seen = take(events, 4)
        for tenant in ("globex", "acme"):
            connection.execute(
                "UPDATE reconciliation_summary SET rejected = rejected + 1,"
                " position = position + 1 WHERE tenant_id = %s",
                (tenant,),
            )
            connection.execute("NOTIFY settler_read_models")
        seen += take(events, 2)
    assert "globex" not in json.dumps(seen)


def test_streams_are_counted_and_given_back(served, client):
    def opened() -> float:
        lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines
                    if line.startswith("settler_api_streams_open "))  # fmt: skip

    before = opened()
    with following(client) as events:
        take(events, 1)
        assert opened() >= 1
    while opened() > before:
        client.get("/health/live")


def test_a_tenant_has_so_many_streams_and_no_other_tenant_notices(
    populated_url, tenants, api_settings
):
    settings = api_settings(database_url=populated_url, tenant_streams=2)
    acme, globex = tenants
    with (
        serving(settings) as url,
        httpx.Client(base_url=url, headers=acme.headers, trust_env=False) as client,
        httpx.Client(base_url=url, headers=globex.headers, trust_env=False) as other,
    ):
        with following(client) as first, following(client) as second:
            take(first, 1), take(second, 1)
            refused = client.get(PATH)
            assert (refused.status_code, refused.json()["error"]) == (429, "tenant_streams_taken")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/api/v1/me").status_code == 200
            with following(other) as foreign:
                take(foreign, 1)
        # Those that ended make room, as soon as the server has noticed.
        deadline = time.monotonic() + 10
        while True:
            with client.stream("GET", PATH) as answer:
                if answer.status_code == 200:
                    break
            assert time.monotonic() < deadline, "a stream that ended still counts"


def test_a_stream_needs_a_credential(served):
    with served.client() as anonymous:
        assert anonymous.get(PATH).status_code == 401
    with served.connect() as connection:
        key = create_key(connection, "globex", "stream", [], PEPPER).key
    with served.client() as globex:
        globex.headers["Authorization"] = f"Bearer {key}"
        with following(globex) as events:
            assert next(events)["data"]["reconciliation_id"] in {"orders", "refunds"}
