"""One trace from a message's header through its events to the API's answer, at a collector."""

import json

import httpx
import pytest
from confluent_kafka import Producer

from deploy.service import free_port
from tests.collector import Collector
from tests.integration.api.rows import DEFINITION, PEPPER, add_tenant
from tests.integration.flow.running import Role, eventually

DEFINING = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
PAYING = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
API = "/api/v1"


def traceparent(trace_id: str, span_id: str) -> str:
    return f"00-{trace_id}-{span_id}-01"


@pytest.fixture
def collector():
    with Collector().running() as running:
        yield running


@pytest.fixture
def acme(database):
    with database.connect(autocommit=True) as conn:
        return add_tenant(conn, "acme")


@pytest.fixture
def roles(environment, tmp_path, collector):
    """The flow and the API, as an operator starts them."""
    environment |= {
        "SETTLER_OTLP_ENDPOINT": collector.url,
        "SETTLER_API_PORT": str(free_port()),
        "SETTLER_API_KEY_PEPPER": PEPPER,
    }
    roles = [Role(environment, tmp_path / f"{name}.log", name) for name in ("flow", "api")]
    with roles[0].running(), roles[1].running():
        yield roles


@pytest.fixture
def client(roles, environment, acme):
    url = f"http://127.0.0.1:{environment['SETTLER_API_PORT']}"
    with httpx.Client(base_url=url, headers=acme.headers, timeout=10, trust_env=False) as client:
        eventually(30, "the API is up", lambda: answers(client))
        yield client


def answers(client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def send(settings, header: str) -> None:
    producer = Producer(settings.kafka_config())
    record = {
        "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": "s-1",
        "amount": "12.50", "currency": "EUR", "occurred_at": "2026-03-01", "reference": "A-1",
    }  # fmt: skip
    producer.produce(
        settings.topic("transactions.source"),
        json.dumps(record).encode(),
        headers=[("traceparent", header.encode())],
    )
    assert producer.flush(10) == 0


def event_of(client, event_type: str) -> dict[str, object]:
    """The first event of that type, once the API has it."""
    found = []

    def is_there() -> bool:
        answer = client.get(f"{API}/events", params={"aggregate_id": "orders"})
        assert answer.status_code == 200, answer.text
        found[:] = [one for one in answer.json()["items"] if one["event_type"] == event_type]
        return bool(found)

    eventually(30, f"{event_type} in the API", is_there)
    return found[0]


def test_one_trace_runs_from_a_message_to_the_answer(roles, client, collector, settings):
    defined = client.put(
        f"{API}/reconciliations", json=DEFINITION, headers={"traceparent": traceparent(*DEFINING)}
    )
    assert defined.status_code == 202, defined.text
    by_definition = event_of(client, "ReconciliationDefined")["metadata"]["traceparent"]
    send(settings, traceparent(*PAYING))
    event = event_of(client, "TransactionsAccepted")
    by_message = event["metadata"]["traceparent"]
    answer = client.get(
        f"{API}/events",
        params={"correlation_id": event["metadata"]["correlation_id"]},
        headers={"traceparent": by_message},
    )
    assert answer.headers["x-trace-id"] == PAYING[0]
    assert event in answer.json()["items"]
    for role in roles:
        assert role.stop() == 0, role.log()[-2000:]  # what waits to be exported leaves with it

    assert set(collector.paths) == {"/v1/traces"}
    answering, matching = collector.of_trace(PAYING[0])
    assert (matching.service, matching.name) == ("settler-flow", "match_window")
    assert matching.attributes["settler.stream_id"] == "acme/orders"
    assert matching.parent_id == PAYING[1], "the message's own span"
    assert by_message == traceparent(PAYING[0], matching.span_id)
    assert (answering.service, answering.name) == ("settler-api", f"GET {API}/events")
    assert answering.parent_id == matching.span_id
    (submitting,) = collector.of_trace(DEFINING[0])
    assert (submitting.service, submitting.name) == ("settler-api", f"PUT {API}/reconciliations")
    assert by_definition == traceparent(DEFINING[0], submitting.span_id)
    for role in roles:
        assert "Traceback" not in role.log()
