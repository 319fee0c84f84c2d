"""What happens to every request: ids, a trace, a log line, metrics, safe headers."""

import re
import secrets
import time
from collections.abc import Mapping

import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from connectors.telemetry import TRACEPARENT, context_from_metadata

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

_RAW_SECURITY_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]

REQUEST_ID = "X-Request-Id"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# Asked every few seconds by machines; a log line each would bury the others.
_QUIET_ROUTES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _with_valid_trace(span: trace.Span) -> trace.Span:
    # Without an exporter the tracer makes spans that have no id unless the caller sent one. An id
    # is needed all the same: errors, logs and the events of a command are found by it.
    if span.get_span_context().is_valid:
        return span
    context = SpanContext(
        trace_id=secrets.randbits(128) | 1,
        span_id=secrets.randbits(64) | 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.DEFAULT),
    )
    return NonRecordingSpan(context)


def _add_headers(scope: Scope, message: Message) -> None:
    """Add what every answer has; what the answer says itself stays."""
    headers: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
    said = {name for name, _ in headers}
    added = [
        *_RAW_SECURITY_HEADERS,
        (b"x-trace-id", scope["settler.trace_id"].encode()),
        (b"x-request-id", scope["settler.request_id"].encode()),
    ]
    if scope["scheme"] == "https":
        added.append((b"strict-transport-security", STRICT_TRANSPORT))
    for name, value in scope.get("settler.rate_headers", {}).items():
        added.append((name.lower().encode(), value.encode()))
    headers += [pair for pair in added if pair[0] not in said]


def _request_id(scope: Scope) -> str:
    # One from outside goes into log lines and headers: only what is harmless there is taken.
    stated = Headers(scope=scope).get(REQUEST_ID, "")
    return stated if _REQUEST_ID_FORM.fullmatch(stated) else secrets.token_hex(16)


class RequestMiddleware:
    """The outermost layer: everything that is said about a request is said here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other kinds pass through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        parent = context_from_metadata({TRACEPARENT: Headers(scope=scope).get(TRACEPARENT)})
        raw_span = tracer.start_span(
            f"{scope['method']} {scope['path']}"[:200], context=parent, kind=SpanKind.SERVER
        )
        span = _with_valid_trace(raw_span)
        scope["settler.trace_id"] = f"{span.get_span_context().trace_id:032x}"
        scope["settler.request_id"] = _request_id(scope)
        with (
            trace.use_span(span, end_on_exit=False),
            structlog.contextvars.bound_contextvars(request_id=scope["settler.request_id"]),
            IN_FLIGHT.track_inprogress(),
        ):
            await self._answer(scope, receive, send, span)
        raw_span.end()

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
            _report(scope, span, status or 499, time.perf_counter() - started)


def _report(scope: Scope, span: trace.Span, status: int, seconds: float) -> None:
    route = scope.get("settler.route", "unknown")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(method, route, str(status)).inc()
    if not scope.get("settler.stream"):
        REQUEST_SECONDS.labels(method, route).observe(seconds)
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    if route in _QUIET_ROUTES and status < 500:
        return
    identity = scope.get("settler.identity")
    write = log.warning if status >= 500 else log.info
    # The path only, never the query string or a header: neither can then leak a secret.
    write(
        "request",
        method=method,
        path=scope["path"][:512],
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 2),
        trace_id=scope["settler.trace_id"],
        request_id=scope["settler.request_id"],
        address=scope["client"][0] if scope.get("client") else None,
        tenant_id=identity.tenant_id if identity else None,
        actor=identity.actor if identity else None,
        error=scope.get("settler.error"),
    )
