"""What happens to every request: ids, a trace, a log line, metrics, safe headers."""

import re
import secrets
import time
from collections.abc import Mapping
from functools import lru_cache

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from connectors.telemetry import (
    TRACEPARENT,
    are_ids_enough,
    bare_span,
    context_from_metadata,
    redact_text,
    write_event,
)

log = structlog.get_logger("settler.api")
tracer = trace.get_tracer("settler.api")

REQUESTS = Counter(
    "settler_api_requests_total", "Answered requests.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "settler_api_request_seconds",
    "Time from a request's first byte to its answer's last; streams are left out.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("settler_api_requests_in_flight", "Requests being answered, streams included.")

#: `script-src 'self'` and no inline code: a value that got into a page as markup cannot run.
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# RFC 6797, section 7.2: said over TLS only. A year, as browsers' own lists ask for.
STRICT_TRANSPORT = b"max-age=31536000; includeSubDomains"

RAW_SECURITY_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]

REQUEST_ID = "X-Request-Id"
_RAW_REQUEST_ID = REQUEST_ID.lower().encode()
_RAW_TRACEPARENT = TRACEPARENT.encode()
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# Asked every few seconds by machines; a log line each would bury the others.
_QUIET_ROUTES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
# The same few paths over and over; a thousand long ones take half a megabyte.
_redacted = lru_cache(maxsize=1024)(redact_text)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def begin_request(scope: Scope) -> trace.Span:
    """Give a request its span and its ids, which `settler.*` of the scope then hold."""
    stated_id = parent = None
    for name, value in scope["headers"]:
        if name == _RAW_REQUEST_ID and stated_id is None:
            stated_id = value.decode("latin-1")
        elif name == _RAW_TRACEPARENT and parent is None:
            parent = value.decode("latin-1")
    # One from outside goes into log lines and headers: only what is harmless there is taken.
    is_harmless = stated_id is not None and _REQUEST_ID_FORM.fullmatch(stated_id) is not None
    scope["settler.request_id"] = stated_id if is_harmless else secrets.token_hex(16)
    if parent is None and are_ids_enough():
        span = bare_span()
    else:
        context = context_from_metadata({TRACEPARENT: parent})
        name = f"{scope['method']} {scope['path']}"[:200]
        span = tracer.start_span(name, context=context, kind=SpanKind.SERVER)
        # Without an exporter there may be spans that have no id unless the caller sent one. An id
        # is needed all the same: errors, logs and the events of a command are found by it.
        span = span if span.get_span_context().is_valid else bare_span()
    scope["settler.span"] = span
    scope["settler.trace_id"] = trace.format_trace_id(span.get_span_context().trace_id)
    return span


def common_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Give the headers that every answer has, as far as it does not say them itself."""
    common = [
        *RAW_SECURITY_HEADERS,
        (b"x-trace-id", scope["settler.trace_id"].encode()),
        (b"x-request-id", scope["settler.request_id"].encode()),
    ]
    if scope["scheme"] == "https":
        common.append((b"strict-transport-security", STRICT_TRANSPORT))
    for name, value in scope.get("settler.rate_headers", {}).items():
        common.append((name.lower().encode(), value.encode()))
    return common


def _add_headers(scope: Scope, message: Message) -> None:
    headers: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
    said = {name for name, _ in headers}
    headers += [pair for pair in common_headers(scope) if pair[0] not in said]


class RequestMiddleware:
    """The outermost layer: everything that is said about a request is said here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other kinds pass through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = begin_request(scope)
        with (
            trace.use_span(span, end_on_exit=False),
            structlog.contextvars.bound_contextvars(request_id=scope["settler.request_id"]),
            IN_FLIGHT.track_inprogress(),
        ):
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: trace.Span) -> None:
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope, message)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("request failed", trace_id=scope["settler.trace_id"], path=scope["path"])
            span.record_exception(error)
            if status:
                raise
            response = error_response(scope, "internal_error")
            await response(scope, receive, send_with_headers)
        finally:
            report_request(scope, status or 499, time.perf_counter() - started)


@lru_cache(maxsize=1024)
def _count_of(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


@lru_cache(maxsize=256)
def _seconds_of(method: str, route: str) -> Histogram:
    return REQUEST_SECONDS.labels(method, route)


def report_request(scope: Scope, status: int, seconds: float) -> None:
    """Count an answered request, end its span and write its log line."""
    route = scope.get("settler.route", "unknown")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    _count_of(method, route, status).inc()
    if not scope.get("settler.stream"):
        _seconds_of(method, route).observe(seconds)
    span: trace.Span = scope["settler.span"]
    if span.is_recording():
        span.update_name(f"{method} {route}")
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()
    if route in _QUIET_ROUTES and status < 500:
        return
    identity = scope.get("settler.identity")
    error = scope.get("settler.error")
    # The path only, never the query string or a header: neither can then leak a secret.
    write_event(
        "warning" if status >= 500 else "info",
        "request",
        {
            "method": method,
            "path": _redacted(scope["path"][:512]),
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "trace_id": scope["settler.trace_id"],
            "span_id": trace.format_span_id(span.get_span_context().span_id),
            "request_id": redact_text(scope["settler.request_id"]),
            "address": scope["client"][0] if scope.get("client") else None,
            "tenant_id": identity.tenant_id if identity else None,
            "actor": identity.actor if identity else None,
            "error": redact_text(error) if error else None,
        },
    )
