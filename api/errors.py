"""What can go wrong in a request, in one table, and how it is answered.

Every error body is `{"error": CODE, "message": SENTENCE, "details"?: […], "trace_id": HEX}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domain.errors import SettlerError


@dataclass(frozen=True, slots=True)
class Kind:
    """How one error code is answered: its status, its usual sentence, its fixed headers."""

    status: int
    message: str
    headers: Mapping[str, str] | None = None


#: Every code that a client can meet. OpenAPI, the handlers and the tests read this table.
ERRORS: Mapping[str, Kind] = {
    "invalid_json": Kind(400, "The body is not valid JSON."),
    "invalid_parameter": Kind(400, "A parameter of the request cannot be used."),
    "invalid_token": Kind(
        400, "The code is wrong, was used before or has run out; ask for a new one."
    ),
    "invalid_cursor": Kind(400, "The cursor is not one that this list gave out."),
    "unauthenticated": Kind(
        401,
        "This needs an API key or a user's token: send 'Authorization: Bearer rk_…'.",
        {"WWW-Authenticate": 'Bearer realm="settler"'},
    ),
    "invalid_credentials": Kind(
        401,
        "Tenant, e-mail address or password are wrong, or too many attempts have locked the user "
        "for some minutes.",
        {"WWW-Authenticate": 'Bearer realm="settler"'},
    ),
    "session_ended": Kind(
        401,
        "The refresh token is not one that can be used; sign in again.",
        {"WWW-Authenticate": 'Bearer realm="settler"'},
    ),
    "forbidden": Kind(403, "This credential may not do that."),
    "user_required": Kind(403, "This is about a user; it needs a user's token, not an API key."),
    "cross_site_request": Kind(403, "A session cookie may not be used from another site."),
    "not_found": Kind(404, "There is no such thing for this tenant."),
    "unknown_path": Kind(404, "There is nothing at this path; /api/v1/docs lists what there is."),
    "method_not_allowed": Kind(405, "This path does not take that method."),
    "idempotency_conflict": Kind(
        409, "This Idempotency-Key was used before with another body; use a new key."
    ),
    "request_in_progress": Kind(
        409,
        "A request with this Idempotency-Key is being answered; ask again in a moment.",
        {"Retry-After": "1"},
    ),
    "already_done": Kind(
        409,
        "A request with this Idempotency-Key was done; its answer is no longer at hand. Read the "
        "thing it was about, or use a new key to do it again.",
    ),
    "user_exists": Kind(409, "This e-mail address is another user's of this tenant."),
    "last_owner": Kind(409, "This is the tenant's last owner; make another one first."),
    "key_ended": Kind(409, "This key has ended; make a new one."),
    "exception_closed": Kind(409, "A person has closed this exception; reopen it first."),
    "exception_open": Kind(409, "This exception is not closed."),
    "exception_matched": Kind(
        409, "The matching closed this exception; if that is wrong, reverse the match."
    ),
    "exception_busy": Kind(
        409, "Others work on this exception at this very moment; try again.", {"Retry-After": "1"}
    ),
    "casework_full": Kind(409, "This exception has all the entries it may have; close it."),
    "version_conflict": Kind(
        412, "Somebody has changed this since the version in If-Match; read it again."
    ),
    "body_too_large": Kind(413, "The body is larger than this service takes."),
    "unsupported_media_type": Kind(415, "The body's content type is not one this path takes."),
    "password_refused": Kind(422, "The password may not be set."),
    "definition_invalid": Kind(422, "The definition cannot be used."),
    "as_of_too_large": Kind(
        422,
        "Too many events lie before that moment to fold them in a request; an operator can ask "
        "`settler replay`.",
    ),
    "backtest_too_large": Kind(
        422,
        "The history is too long for an answer here; use `settler definitions backtest`.",
    ),
    "backtest_history_expired": Kind(
        422, "Journals have expired, so what was accepted then cannot be run again."
    ),
    "backtest_busy": Kind(
        503, "Another backtest is running in this process; try again.", {"Retry-After": "10"}
    ),
    "tenant_streams_taken": Kind(
        429,
        "This tenant has as many live streams open as it may; close one, or try again later.",
        {"Retry-After": "10"},
    ),
    "export_busy": Kind(
        503, "This process exports as much as it can; try again.", {"Retry-After": "10"}
    ),
    "rate_limited": Kind(
        429, "Too many requests; go on when Retry-After has passed.", {"Retry-After": "1"}
    ),
    "uri_too_long": Kind(414, "Path and query string are longer than this service takes."),
    "request_timeout": Kind(408, "The body did not arrive in time."),
    "headers_too_large": Kind(431, "The request has more headers than this service takes."),
    "internal_error": Kind(500, "Something failed on our side; the trace id finds it in the logs."),
    "database_unavailable": Kind(
        503, "The database does not answer just now; try again shortly.", {"Retry-After": "2"}
    ),
    "query_timeout": Kind(
        503, "The database took too long; narrow the filters or try again.", {"Retry-After": "5"}
    ),
    "too_many_streams": Kind(
        503, "All live streams of this process are taken; try again.", {"Retry-After": "10"}
    ),
}


class ErrorDetail(BaseModel):
    """One wrong value: where it stands and what is wrong with it."""

    path: str = Field(description="Path of the wrong value, e.g. `rules[0].amount`.")
    message: str


class ErrorBody(BaseModel):
    """The body of every error answer."""

    error: str = Field(description="A stable code.")
    message: str = Field(description="A sentence a person can act on.")
    details: list[ErrorDetail] | None = None
    trace_id: str = Field(description="Finds this request in logs and traces.")
    request_id: str = Field(description="The request's `X-Request-Id`, or one made for it.")


class ApiError(SettlerError):
    """A request that is answered with an error of the table.

    Args:
        code: A key of `ERRORS`.
        message: In place of the table's sentence, where more can be said.
        details: The wrong values, if they can be named.
        headers: In place of the table's, where more can be said.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        details: Sequence[ErrorDetail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        kind = ERRORS[code]
        super().__init__(message or kind.message)
        self.code = code
        self.message = message or kind.message
        self.details = list(details)
        self.headers = dict(headers or {})


def not_found(what: str, name: str) -> ApiError:
    """Say that a thing is absent; the same words whether or not another tenant has it."""
    return ApiError("not_found", f"There is no {what} '{name[:128]}' for this tenant.")


def from_validation(error: ValidationError, code: str = "invalid_parameter") -> ApiError:
    """Name each refused value by its path, in place of pydantic's own report."""
    details = [
        ErrorDetail(path=".".join(str(part) for part in problem["loc"]), message=problem["msg"])
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    named = "; ".join(f"{detail.path}: {detail.message}" for detail in details[:3])
    return ApiError(code, f"{ERRORS[code].message} {named}", details)


def error_response(
    scope: Mapping[str, Any],
    code: str,
    message: str | None = None,
    details: Sequence[ErrorDetail] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Render one error of the table for the request of an ASGI scope."""
    kind = ERRORS[code]
    body: dict[str, Any] = {"error": code, "message": message or kind.message}
    if details:
        body["details"] = [detail.model_dump() for detail in details]
    body["trace_id"] = str(scope.get("settler.trace_id", ""))
    body["request_id"] = str(scope.get("settler.request_id", ""))
    sent = {"Cache-Control": "no-store", **(kind.headers or {}), **(headers or {})}
    return JSONResponse(body, kind.status, headers=sent)


def _from_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(request.scope, error.code, error.message, error.details, error.headers)


def _from_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "unknown_path", 405: "method_not_allowed", 413: "body_too_large"}.get(
        error.status_code, "invalid_parameter"
    )
    response = error_response(request.scope, code)
    response.headers.update(error.headers or {})
    return response


def _from_database(request: Request, error: Exception) -> Response:
    timed_out = isinstance(error, psycopg.errors.QueryCanceled)
    request.scope["settler.error"] = f"{type(error).__name__}: {error}".strip()
    return error_response(request.scope, "query_timeout" if timed_out else "database_unavailable")


#: For Starlette: exception class → how it is answered. Anything else is an `internal_error`.
EXCEPTION_HANDLERS: Mapping[Any, Any] = {
    ApiError: _from_api_error,
    HTTPException: _from_http_exception,
    PoolTimeout: _from_database,
    TooManyRequests: _from_database,
    psycopg.OperationalError: _from_database,
    psycopg.InterfaceError: _from_database,
    # A primary that became a standby under us: writes come back once it is found again.
    psycopg.errors.ReadOnlySqlTransaction: _from_database,
}
