"""Requests that no honest client sends: every route that takes a body, and the bytes below it."""

import contextlib
import io
import json
import re
import socket

import pytest
import structlog

from api.app import OPERATIONS
from api.operations import DEPTH_MAX
from connectors import telemetry
from tests.integration.api.test_foreign_tenant import BODIES, ids_of, paths_of

WRITES = [op for op in OPERATIONS if op.body is not None]
# What must never be taken from a body: who one is, what one may, and what the service decides.
FORBIDDEN = {
    "tenant_id": "globex", "is_admin": True, "actor": "user:x",
    "created_at": "2020-01-01T00:00:00Z", "__proto__": {"role": "owner"}, "constructor": "x",
    "event_id": "x", "command_id": "x",
}  # fmt: skip


def refused(answer) -> str:
    assert answer.status_code in {400, 401, 403, 404, 422, 429}, answer.text
    return str(answer.json()["error"])


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.operation_id)
def test_a_body_that_is_nested_too_deep_is_refused_by_every_route(served, client, operation):
    deep = "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1)
    bombs = (
        f'{{"name": {deep}}}',
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        "[" * 200_000,
    )
    path = paths_of(operation, ids_of(served.acme))[0]
    for bomb in bombs:
        answer = client.request(
            operation.method, f"/api/v1{path}", content=bomb,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        assert refused(answer) in {
            "invalid_json", "user_required", "forbidden", "cross_site_request",
        }, answer.text  # fmt: skip


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.operation_id)
def test_a_field_that_is_not_the_callers_to_say_is_refused_by_every_route(
    served, client, operation
):
    path = paths_of(operation, ids_of(served.acme))[0]
    for name, value in FORBIDDEN.items():
        body = {**BODIES.get(operation.operation_id, {}), name: value}
        answer = client.request(operation.method, f"/api/v1{path}", json=body)
        assert refused(answer) in {
            "invalid_parameter", "definition_invalid", "user_required", "forbidden",
        }, (name, answer.text)  # fmt: skip


def raw(served, text: bytes) -> bytes:
    """Send bytes as they are, which a client library would not; gives what comes back."""
    host, port = re.fullmatch(r"http://(.+):(\d+)", served.url).groups()
    parts = []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text)
        # What keeps the connection open has been answered when nothing more comes.
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(65_536):
                parts.append(part)
                connection.settimeout(1)
    return b"".join(parts)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../app.py", "/static/..%2f..%2fpyproject.toml", "/static/%2e%2e/app.py",
        "/static//etc/passwd", "/static/live.js/../../app.py", "/static/live.js%00.html",
        "//static/live.js", "/static/", "/../../../../etc/passwd", "/api/v1/docs/../../app.py",
        "/static/..\\app.py", "/static/....//app.py",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_served(served, target):
    answer = raw(served, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), answer[:300]
    for secret in (b"root:", b"create_app", b"[project]"):
        assert secret not in answer


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 50",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Content-Length: +5", "Content-Length: 5, 50", "Content-Length: -1",
        "X-Bad : x\r\nContent-Length: 5", "Host: x\r\n folded: y",
    ],
)  # fmt: skip
def test_no_request_hides_behind_another(served, head):
    hidden = f"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n{served_key(served)}\r\n\r\n"
    text = (
        f"POST /api/v1/definitions/lint HTTP/1.1\r\nHost: x\r\n{served_key(served)}\r\n"
        f"Content-Type: application/json\r\n{head}\r\n\r\n0\r\n\r\n{hidden}"
    )
    answer = raw(served, text.encode())
    assert b'"tenant_id"' not in answer, answer[:500]
    first = answer.split(b"\r\n", 1)[0]
    assert re.match(rb"HTTP/1\.1 4\d\d ", first), first


def served_key(served) -> str:
    return f"Authorization: Bearer {served.acme.key}"


def test_no_caller_writes_lines_of_the_log_that_is_written_fast(served, client, monkeypatch):
    written = io.StringIO()
    factory = structlog.get_config()["logger_factory"]
    monkeypatch.setattr(telemetry, "_LINES", telemetry._Lines(factory, written, "api", 20))
    forged = '%0A{"event": "forged"}%0D%1b[31m'
    client.get(f"/api/v1/{forged}?key={served.acme.key}", headers={"X-Request-Id": "rk_a_secret"})
    client.get(f"/api/v1/rk_abcdef_{'s3cret' * 4}", headers={"X-Request-Id": "a\tb"})
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["request", "request"]
    assert lines[0]["path"].count("\n") == 1
    for secret in (served.acme.key, "rk_a_secret", "s3cret"):
        assert secret not in written.getvalue()
