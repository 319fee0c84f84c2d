"""Log lines, metrics and traces: what a process shows of itself, and what it never shows."""

import json
import logging
import os
import socket
import subprocess
import sys
import urllib.request

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter

import flows.windows
from connectors import telemetry
from connectors.kafka import Records
from connectors.postgres.inbox import Command
from connectors.postgres.store_memory import MemoryStore
from flows.arrivals import key_by_tenant_reconciliation
from flows.surroundings import Surroundings
from flows.windows import MatchWindow
from tests.collector import Collector
from tests.integration.api.rows import DEFINITION
from tests.measuring import measuring

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def span():
    return NonRecordingSpan(
        SpanContext(
            trace_id=0x0AF7651916CD43DD8448EB211C80319C,
            span_id=0xB7AD6B7169203331,
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
    )


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_with_role_level_and_time(make_settings, capsys):
    telemetry.configure_logging(make_settings(), "flow")
    structlog.get_logger().info("flush.done", rows=3)
    (line,) = lines(capsys)
    assert (line["event"], line["rows"], line["role"], line["level"]) == (
        "flush.done", 3, "flow", "info",
    )  # fmt: skip
    assert line["timestamp"].endswith("Z")


def test_lines_of_libraries_look_the_same(make_settings, capsys):
    telemetry.configure_logging(make_settings(), "api")
    logging.getLogger("some.library").warning("slow: %s", "query")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["role"]) == ("slow: query", "some.library", "api")


def test_below_the_level_nothing_is_written(make_settings, capsys):
    telemetry.configure_logging(make_settings(log_level="warning"), "flow")
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet")
    assert lines(capsys) == []


def test_a_line_without_processors_has_what_the_others_have(make_settings, capsys):
    telemetry.configure_logging(make_settings(), "api")
    told = {"status": 200, "ms": 1.25, "path": '/x\n{"ü\\', "error": None, "ids": [1], "ok": True}
    telemetry.write_event("info", "request", dict(told))
    structlog.get_logger().info("request", **told)
    direct, processed = lines(capsys)
    assert len(direct.pop("timestamp")) == len(processed.pop("timestamp"))
    assert direct == processed


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_line_without_processors_keeps_to_level_and_format(make_settings, capsys, level):
    telemetry.configure_logging(make_settings(log_level="warning"), "api")
    telemetry.write_event(level, "request", {"status": 500})
    assert len(lines(capsys)) == (level == "warning")
    telemetry.configure_logging(make_settings(log_format="console"), "api")
    telemetry.write_event(level, "request", {"path": "/x\x1b[31m"})
    written = capsys.readouterr().err
    assert "request" in written
    assert "\x1b" not in written
    assert not written.startswith("{")


def test_a_bare_span_is_new_each_time(span):
    first, second = (telemetry.bare_span().get_span_context() for _ in range(2))
    assert first.is_valid
    assert first.trace_id != second.trace_id
    assert not telemetry.bare_span().is_recording()


def test_inside_a_span_a_line_carries_its_ids(make_settings, capsys, span):
    telemetry.configure_logging(make_settings(), "flow")
    with trace.use_span(span):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = lines(capsys)
    assert inside["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert inside["span_id"] == "b7ad6b7169203331"
    assert "trace_id" not in outside


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_blanked(make_settings, capsys, log_format):
    telemetry.configure_logging(make_settings(log_format=log_format), "api")
    log = structlog.get_logger()
    log.info("connecting", url="postgresql://me:hunter2@db/x", kafka_sasl_password="hunter2")
    log.info("a key", text="sent rk_4f1c09ab77de_hunter2", api_key="hunter2")
    logging.getLogger("http").warning("Authorization: Bearer hunter2")
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "postgresql://me:***@db/x" in written


def test_an_exception_is_written_without_the_password_in_it(make_settings, capsys):
    telemetry.configure_logging(make_settings(), "api")
    try:
        raise ValueError("cannot reach postgresql://me:hunter2@db/x")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: cannot reach postgresql://me:***@db/x" in line["exception"]


def test_metrics_are_served_on_a_free_port():
    registry = CollectorRegistry()
    Counter("settler_tests_total", "Tests.", registry=registry).inc()
    port = telemetry.start_metrics_server(0, registry=registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"settler_tests_total 1.0" in answer.read()


def test_a_taken_metrics_port_is_a_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(telemetry.MetricsPortTaken, match=f"127.0.0.1:{port}.*METRICS_PORT"):
            telemetry.start_metrics_server(port)


def test_a_trace_travels_through_headers_and_metadata(span):
    with trace.use_span(span):
        headers = telemetry.inject_headers([("kind", b"x"), ("traceparent", b"older")])
        metadata = telemetry.trace_metadata()
    assert headers == [("kind", b"x"), ("traceparent", PARENT.encode())]
    assert metadata == {"traceparent": PARENT}
    for context in (
        telemetry.context_from_headers(headers),
        telemetry.context_from_metadata(metadata),
    ):
        found = trace.get_current_span(context).get_span_context()
        assert (found.trace_id, found.span_id) == (
            span.get_span_context().trace_id,
            span.get_span_context().span_id,
        )


@pytest.mark.parametrize(
    "headers",
    [None, [], [("traceparent", None)], [("traceparent", b"\xff\xfe")], [("other", b"x")]],
)
def test_headers_that_name_no_trace_give_a_root(headers):
    context = telemetry.context_from_headers(headers)
    assert not trace.get_current_span(context).get_span_context().is_valid


def test_outside_a_span_nothing_is_injected():
    assert telemetry.trace_metadata() == {}
    assert telemetry.inject_headers([("kind", b"x")]) == [("kind", b"x")]


@pytest.mark.parametrize(
    "text",
    ["key rk_4f1c09ab77de_Zm9v-bar is wrong", "refresh rt_4f1c09ab77de_Zm9v again",
     "code ot_4f1c09ab77de_Zm9v used", "token eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2ln_bmF0 ended",
     "mail to Ada.Lovelace+x@mail.example.com refused", "<ada@example.com> is unknown"],
)  # fmt: skip
def test_credentials_and_addresses_are_blanked_wherever_they_stand(text):
    shown = telemetry.redact_text(text)
    for part in ("4f1c09", "Zm9v", "eyJ", "ada", "Ada", "example.com"):
        assert part not in shown
    assert telemetry.REDACTED in shown
    assert shown.split()[0] == telemetry.redact_text(text.split()[0])


@pytest.mark.parametrize(
    "text",
    ["postgresql://settler@db.example.com:5432/settler", "connect to db.example.com:5432",
     "worker@7 and rk is fine", "report_rk_x"],
)  # fmt: skip
def test_what_only_looks_like_a_secret_is_left(text):
    assert telemetry.redact_text(text) == text


def test_a_value_cannot_begin_a_line_of_its_own(make_settings, capsys):
    for log_format in ("json", "console"):
        telemetry.configure_logging(make_settings(log_format=log_format), "api")
        structlog.get_logger().info("request", path="/a\nforged\r\x1b[31m\u2028b")
        written = capsys.readouterr().err
        assert (written.count("\n"), written.count("\r")) == (1, 0), written
        assert "forged" in written


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_values(make_settings, capsys, log_format):
    telemetry.configure_logging(make_settings(log_format=log_format), "api")
    password = "esroh tcerroc"[::-1]  # nowhere in the source as it is

    def sign_in(given):
        raise RuntimeError("no luck")

    try:
        sign_in(password)
    except RuntimeError:
        structlog.get_logger().exception("request failed")
    written = capsys.readouterr().err
    assert "RuntimeError" in written
    assert "sign_in" in written
    assert password not in written


ONE_SPAN = """
from connectors.settings import Settings
from connectors.telemetry import configure_tracing
from opentelemetry import trace
configure_tracing(Settings.load(), "flow")
trace.get_tracer("tests").start_span("one").end()
"""


def leave(endpoint: str) -> None:
    """Make a span in a process that then ends."""
    environment = {
        "PATH": os.environ["PATH"],
        "SETTLER_OTLP_ENDPOINT": endpoint,
        **measuring(),
    }
    subprocess.run([sys.executable, "-c", ONE_SPAN], env=environment, check=True, timeout=60)


def test_spans_leave_before_the_process_ends():
    with Collector().running() as collector:
        leave(f"{collector.url}/")
    assert [(span.service, span.name) for span in collector.spans] == [("settler-flow", "one")]
    assert collector.paths == ["/v1/traces"]


def test_a_collector_that_takes_nothing_is_not_asked_for_long():
    """Tries are one, two and four seconds apart: no more than three fit in, and the end waits."""
    with Collector(status=503).running() as collector:
        leave(collector.url)
    assert 2 <= len(collector.paths) <= 3


def test_the_span_of_the_matching_begins_with_it(monkeypatch):
    now_us = 1_772_366_400_000_000
    exported = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    monkeypatch.setattr(flows.windows, "tracer", provider.get_tracer("tests"))
    store = MemoryStore(lambda: now_us)
    window = MatchWindow(Surroundings(store, lambda: True, lambda: now_us, lambda: 0.0))
    define = Command("c-1", "acme", "orders", "define", {"definition": DEFINITION}, None, "c-1")
    record = {
        "tenant_id": "acme", "reconciliation_id": "orders", "transaction_id": "s-1",
        "amount": "12.50", "currency": "EUR", "occurred_at": "2026-02-28",
    }  # fmt: skip
    records = Records("source", 0, 0, [json.dumps(record).encode()], [7], {7: PARENT})
    ((_key, arrivals),) = key_by_tenant_reconciliation(records, now_us)
    out, _discard = window.on_batch([define, arrivals])
    (span,) = exported.get_finished_spans()
    assert span.start_time == now_us * 1000
    assert span.parent.span_id == 0xB7AD6B7169203331
    own = f"00-0af7651916cd43dd8448eb211c80319c-{span.context.span_id:016x}-01"
    assert list(out)[-1].metadata == {"correlation_id": "source/0@7", "traceparent": own}
