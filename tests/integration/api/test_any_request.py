"""Requests of every kind made from the description: no 5xx, and no answer that it does not name.

`REQUESTS=500 make test ARGS="tests/integration/api/test_any_request.py"` looks harder.
"""

import os
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.specs.openapi import checks as openapi

from api.app import OPERATIONS
from api.openapi import make_document
from tests.integration.api.people import add_person
from tests.integration.api.rows import DEFINITION
from tests.integration.api.test_foreign_tenant import ids_of

CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
]
REQUESTS = int(os.environ.get("REQUESTS", "12"))


# Every operation but the stream, which does not end.
SCHEMA = schemathesis.openapi.from_dict(make_document(OPERATIONS, "tests")).exclude(
    path="/api/v1/stream"
)
DESCRIBED = {one.ok().label: one.ok() for one in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def users_token(served) -> str:
    return add_person(served, "owner").sign_in()["access_token"]


# Schemathesis' own way to parametrize makes all requests while tests are collected: nine seconds in
# each process of the tests, for the one that runs them.
@pytest.mark.parametrize("operation", DESCRIBED)
def test_any_request_is_answered_as_described(operation, served, users_token):
    any_request = build_operation_test(
        config=SCHEMA.config,
        operation=DESCRIBED[operation],
        test_func=is_answered_as_described,
        given_kwargs={},
        feedback=NO_FEEDBACK,
    )
    any_request(served=served, users_token=users_token)


@settings(
    max_examples=REQUESTS,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def is_answered_as_described(case, served, users_token):
    # What only a user may do is asked by one; signing out would end the walk.
    of_user = case.path.startswith("/api/v1/me") or "verification" in case.path
    token = users_token if of_user else served.acme.key
    # A made-up id names nothing: every other request is about something that is there.
    parameters = case.path_parameters or {}
    if sum(map(len, map(str, parameters.values()))) % 2:
        there = ids_of(served.acme)
        case.path_parameters = {name: there[name][0] for name in parameters}
    # A made-up definition is refused before its history is read: every other one can be used.
    if case.path.endswith(("/lint", "/backtest")) and len(str(case.body)) % 2:
        case.body, case.media_type = DEFINITION, "application/json"
        # A made-up range or key of another request would keep it from being answered as well.
        case.query, case.headers = {}, {}
    # Nothing decides commands here, so a wait would only be as long as it says.
    query = case.query or {}
    if re.fullmatch(r"[0-9.]+", str(query.get("wait", ""))):
        query["wait"] = 0
    answer = case.call(
        base_url=served.url, headers={"Authorization": f"Bearer {token}"}, timeout=20
    )
    case.validate_response(answer, checks=CHECKS)
