"""The description and the service say the same."""

import re

import jsonschema
import pytest

from api.app import OPERATIONS, create_app
from api.errors import ERRORS
from domain.definition_parsing import parse_definition
from tests.integration.api.rows import QUERIES
from tests.integration.api.test_tenancy import READS, paths_of


@pytest.fixture(scope="module")
def document(served):
    with served.client() as anonymous:
        answer = anonymous.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def schema_of(document, schema):
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema,
            "components": document["components"]}  # fmt: skip


def every(node, key):
    """All values under `key`, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


def test_every_route_is_described(document, api_settings):
    app = create_app(api_settings())
    described = {
        (method.upper(), path) for path, of_path in document["paths"].items() for method in of_path
    }
    outside = ("openapi.json", "docs")
    routed = {
        (method, route.path.replace(":path}", "}"))
        for route in app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/v1/") and not route.path.endswith(outside)
    }
    assert routed == described


def test_it_is_well_formed(document):
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in every(document, "$ref"):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    names = [name for name in every(document, "operationId") if isinstance(name, str)]
    assert len(names) == len(set(names)) == len(OPERATIONS)
    for path, of_path in document["paths"].items():
        for operation in of_path.values():
            in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])
                assert "null" not in str(parameter["schema"].get("type", ""))
    mentioned = str(document["paths"])
    for code in set(ERRORS) - {"unknown_path", "method_not_allowed"}:
        assert f"`{code}`" in mentioned, f"{code} is documented nowhere"


@pytest.mark.parametrize("operation", READS, ids=lambda operation: operation.operation_id)
def test_answers_are_as_described(served, document, operation):
    responses = document["paths"][f"/api/v1{operation.path}"]["get"]["responses"]
    query = QUERIES.get(operation.path, {})
    with served.client(served.acme) as acme, served.client() as anonymous:
        for path in paths_of(operation, served.acme):
            for client in (acme, anonymous):
                answer = client.get(f"/api/v1{path}", params=query)
                kind = answer.headers["content-type"].partition(";")[0]
                described = responses[str(answer.status_code)]["content"][kind]
                if operation.files and answer.status_code == 200:
                    continue
                assert kind == "application/json" or (operation.page and client is acme)
                jsonschema.validate(
                    answer.json() if kind == "application/json" else answer.text,
                    schema_of(document, described["schema"]),
                    format_checker=jsonschema.FormatChecker(),
                )


def test_no_field_of_an_answer_is_left_undescribed(document):
    schemas = document["components"]["schemas"]
    waiting = list(every(list(every(document["paths"], "responses")), "$ref"))
    seen = {"ErrorBody"}
    while waiting:
        name = waiting.pop().rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            waiting += every(schemas[name], "$ref")
            properties = schemas[name].get("properties", {})
            assert set(schemas[name].get("required", [])) == set(properties), name
    assert {"Summary", "TokenPair"} <= seen


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.operation_id)
def test_examples_fit_their_models_and_schemas(document, operation):
    described = document["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
    success = described["responses"][str(operation.status)]
    if operation.stream:
        example = success["content"]["text/event-stream"]["example"]
        assert example.endswith("\n\n")
        assert "event: summary\n" in example
    elif operation.answer is not None:
        operation.answer.model_validate(success["content"]["application/json"]["example"])
    for kind in operation.body_media_types if operation.body else ():
        example = described["requestBody"]["content"][kind]["example"]
        if operation.operation_id in {"define_reconciliation", "post_reconciliation"}:
            parse_definition(example | {"tenant_id": "acme"})
        operation.body.model_validate(example)
    for parameter in described["parameters"]:
        assert parameter["in"] != "path" or parameter["example"]
    answers = [answer.get("content", {}) for answer in described["responses"].values()]
    contents = [*answers, described.get("requestBody", {}).get("content", {})]
    for content in contents:
        for kind, of_kind in content.items():
            if kind in operation.files:
                continue
            jsonschema.validate(
                of_kind["example"],
                schema_of(document, of_kind["schema"]),
                cls=jsonschema.Draft202012Validator,
                format_checker=jsonschema.FormatChecker(),
            )
