"""OpenAPI 3.1, made from the very models that validate requests and render answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.errors import ERRORS, ErrorBody
from api.examples import NAMED, make_example
from api.idempotency import FORM, HEADER, REPLAYED
from api.identity import ANYONE
from api.operations import PREFIX, Operation

_TEMPLATE = "#/components/schemas/{model}"
# Refused before the operation is known, or where its own part begins.
_EVERY_OPERATION = (
    "internal_error", "database_unavailable", "query_timeout", "rate_limited", "uri_too_long",
    "headers_too_large", "body_too_large",
)  # fmt: skip


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    # An optional parameter is absent, never null: a query string has no null.
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        schema = rest | options[0]
    if schema.get("default", 0) is None:
        del schema["default"]
    return schema


def _parameters(model: type[BaseModel] | None, place: str) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_TEMPLATE)
    parameters = []
    for name, field_schema in schema.get("properties", {}).items():
        shown = _without_null(dict(field_schema))
        shown.pop("title", None)
        parameters.append(
            {
                "name": name,
                "in": place,
                "required": name in schema.get("required", []),
                "description": shown.pop("description", ""),
                "schema": shown,
            }
        )
    return parameters


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": make_example({"type": "string", "format": "uuid"}, {}, name),
        }
        for name in names
    ]


def _idempotency_parameter(operation: Operation) -> list[dict[str, Any]]:
    """Describe the header that every write with a credential takes."""
    if operation.method == "GET" or not operation.secured:
        return []
    described: dict[str, Any] = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": (
            "For a day the same request with the same key is done once and answered the same, with "
            f"`{REPLAYED}: true`; another request with it is refused."
        ),
        "schema": {"type": "string", "pattern": FORM},
    }
    return [described]


def _error_answers(codes: Sequence[str]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(ERRORS[code].status, []).append(code)
    schema = {"$ref": _TEMPLATE.format(model="ErrorBody")}
    return {
        str(status): {
            "description": "\n".join(f"`{code}`: {ERRORS[code].message}" for code in of_status),
            "content": {
                "application/json": {"schema": schema, "example": _error_example(of_status[0])}
            },
        }
        for status, of_status in sorted(by_status.items())
    }


def _error_example(code: str) -> dict[str, Any]:
    told = {"error": code, "message": ERRORS[code].message}
    return told | {name: NAMED[name] for name in ("trace_id", "request_id")}


def _codes(operation: Operation) -> list[str]:
    codes = list(operation.errors)
    if operation.query is not None:
        codes.append("invalid_parameter")
    if operation.query is not None and "cursor" in operation.query.model_fields:
        codes.append("invalid_cursor")
    if operation.body is not None:
        codes += ["invalid_json", "unsupported_media_type", "request_timeout"]
    if operation.secured:
        codes.append("unauthenticated")
    if operation.secured and operation.required_scope != ANYONE:
        codes.append("forbidden")
    if operation.secured and operation.method != "GET":
        codes += [
            "cross_site_request", "invalid_parameter", "idempotency_conflict",
            "request_in_progress", "already_done",
        ]  # fmt: skip
    return sorted({*codes, *_EVERY_OPERATION})


def _operation(
    operation: Operation,
    refs: dict[type[BaseModel], dict[str, Any]],
    definitions: Mapping[str, Any],
) -> dict[str, Any]:
    def content(model: type[BaseModel]) -> dict[str, Any]:
        return {"schema": refs[model], "example": make_example(refs[model], definitions)}

    is_empty = operation.answer is None and not operation.page
    success: dict[str, Any] = {"description": "Done." if is_empty else "Success."}
    if operation.page:
        success["content"] = {
            "text/html": {"schema": {"type": "string"}, "example": operation.example}
        }
    elif operation.stream:
        success["content"] = {
            "text/event-stream": {"schema": {"type": "string"}, "example": operation.example}
        }
    elif operation.files:
        # OpenAPI 3.1: bytes that are no text have no schema of their own.
        success["content"] = {kind: {} for kind in operation.files}
        success["headers"] = {
            "Content-Disposition": {
                "description": "The name of the file.",
                "schema": {"type": "string"},
                "example": 'attachment; filename="export.csv"',
            }
        }
    elif operation.answer is not None:
        success["content"] = {"application/json": content(operation.answer)}
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [
            *_path_parameters(operation.path),
            *_parameters(operation.query, "query"),
            *_idempotency_parameter(operation),
            *(
                parameter
                for parameter in _parameters(operation.headers, "header")
                if parameter["name"] != HEADER
            ),
        ],
        "responses": {str(operation.status): success, **_error_answers(_codes(operation))},
    }
    if operation.body is not None:
        kinds = {kind: content(operation.body) for kind in operation.body_media_types}
        described["requestBody"] = {"required": True, "content": kinds}
    if not operation.secured:
        described["security"] = []
    elif operation.required_scope != ANYONE:
        described["x-required-scope"] = operation.required_scope
    return described


def make_document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Describe all operations; every model stands once under `components`."""
    answers = {operation.answer for operation in operations if operation.answer is not None}
    bodies = {operation.body for operation in operations if operation.body is not None}
    in_order = sorted(answers | {ErrorBody}, key=lambda model: model.__name__)
    inputs = sorted(bodies - set(in_order), key=lambda model: model.__name__)
    mapping, definitions = models_json_schema(
        [(model, "serialization") for model in in_order]
        + [(model, "validation") for model in inputs],
        ref_template=_TEMPLATE,
    )
    refs: dict[type[BaseModel], dict[str, Any]] = {
        model: dict(schema)
        for (model, _mode), schema in mapping.items()
        if issubclass(model, BaseModel)
    }
    models = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        of_path = paths.setdefault(PREFIX + operation.path, {})
        of_path[operation.method.lower()] = _operation(operation, refs, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Settler",
            "version": version,
            "description": (
                "Continuous reconciliation of two streams of money. Amounts are decimal strings "
                "in major units beside their currency; difference = target − source. Instants "
                "are RFC 3339 in UTC. The tenant comes from the credential alone."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": models,
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `rk_<prefix>_<secret>`.",
                },
                "access_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A user's access token, from `/auth/sign-in`.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": "settler_session"},
            },
        },
        "security": [{"api_key": []}, {"access_token": []}, {"session": []}],
    }
