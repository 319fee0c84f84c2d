"""Every error has one form, and says what to do."""

import json
import re

import pytest

from api.errors import ERRORS
from api.request_limits import BODY_BYTES_MAX

YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}


def refused(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, code), answer.text
    assert body.keys() <= {"error", "message", "details", "trace_id", "request_id"}
    assert body["message"]
    assert len(body["trace_id"]) == 32
    assert answer.headers["x-request-id"] == body["request_id"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-trace-id"] == body["trace_id"]
    assert ERRORS[code].status == status
    return body


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v2/matches", "/api/v1/"])
def test_an_unknown_path(client, path):
    refused(client.get(path), 404, "unknown_path")


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_a_method_that_is_not_there(client, method):
    answer = client.request(method, "/api/v1/matches")
    refused(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    ["/matches/nothing", "/matches/00000000-0000-0000-0000-000000000000", "/exceptions/%00",
     "/dead-letters/1", "/commands/x", "/reconciliations/none", "/reconciliations/%00",
     "/reconciliations/none/definition", "/reconciliations/none/versions",
     "/reconciliations/none/summary", "/reconciliations/%00/summary"],
)  # fmt: skip
def test_a_thing_that_is_not_there(client, path):
    refused(client.get(f"/api/v1{path}"), 404, "not_found")


@pytest.mark.parametrize("body", [b"", b"{", b"[1,", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_json(client, body):
    answer = client.put("/api/v1/reconciliations", content=body, headers=JSON)
    refused(answer, 400, "invalid_json")


@pytest.mark.parametrize("body", [b"a: [", b"a: &x 1\nb: *x", b"\x00", b"!!python/name:os.system"])
def test_a_body_that_is_no_yaml(client, body):
    answer = client.put("/api/v1/reconciliations", content=body, headers=YAML)
    refused(answer, 400, "invalid_json")


def test_a_body_of_another_type(client):
    answer = client.put("/api/v1/reconciliations", content=b"<a/>", headers={"Content-Type": "x/y"})
    refused(answer, 415, "unsupported_media_type")


def test_a_body_too_large_is_refused_by_its_stated_length(client):
    body = b" " * (BODY_BYTES_MAX + 1)
    answer = client.put("/api/v1/reconciliations", content=body, headers=JSON)
    refused(answer, 413, "body_too_large")


def test_a_body_too_large_is_refused_as_it_arrives(client):
    pieces = (b" " * 65_536 for _ in range(BODY_BYTES_MAX // 65_536 + 1))
    answer = client.put("/api/v1/reconciliations", content=pieces, headers=JSON)
    refused(answer, 413, "body_too_large")


def test_a_definition_is_refused_with_the_path_of_every_wrong_value(client):
    wrong = {"reconciliation_id": "x", "rules": [{"name": "r", "match_type": "some_to_some"}]}
    body = refused(client.put("/api/v1/reconciliations", json=wrong), 422, "definition_invalid")
    assert "rules[0].match_type" in {detail["path"] for detail in body["details"]}


@pytest.mark.parametrize("document", [[], "text", 3, None])
def test_a_definition_that_is_no_object(client, document):
    body = json.dumps(document).encode()
    answer = client.put("/api/v1/reconciliations", content=body, headers=JSON)
    refused(answer, 422, "definition_invalid")


def test_a_failure_of_ours_tells_nothing_but_a_trace_id(served, client):
    with served.connect() as connection:
        connection.execute("ALTER TABLE tenant_usage_view RENAME TO elsewhere")
        try:
            body = refused(client.get("/api/v1/usage"), 500, "internal_error")
        finally:
            connection.execute("ALTER TABLE elsewhere RENAME TO tenant_usage_view")
    assert "tenant_usage_view" not in str(body)


def test_a_trace_that_a_client_brings_goes_on(client):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    assert (
        refused(client.get("/nothing", headers=header), 404, "unknown_path")["trace_id"] == trace_id
    )


def test_every_answer_has_safe_headers(client):
    for path in ("/", "/api/v1/docs", "/api/v1/matches", "/nothing", "/static/live.js"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_the_catalogue_has_every_error_as_it_is_answered(repository):
    text = (repository / "docs" / "errors.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (\d+ \| .+) \|$", text, re.MULTILINE))
    assert listed == {code: f"{kind.status} | {kind.message}" for code, kind in ERRORS.items()}
    for kind in ERRORS.values():
        assert (kind.status in {429, 503}) <= ("Retry-After" in (kind.headers or {}))
        assert (kind.status == 401) == ("WWW-Authenticate" in (kind.headers or {}))
