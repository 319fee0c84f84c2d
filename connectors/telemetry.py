"""What a process shows of itself: log lines, metrics and traces.

Every log line carries the role and, inside a span, `trace_id` and `span_id`. Traces follow W3C
Trace Context, so the header `traceparent` of a Kafka message, the metadata of the events it led to
and the answer of the API all name one trace.
"""

import errno
import json
import logging
import re
import secrets
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from connectors.settings import Settings
from domain.errors import SettlerError

TRACEPARENT = "traceparent"
REDACTED = "***"

_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|pepper|authorization|cookie|api_?key$|private_?key",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?<=://)([^\s/@:]*):[^\s/@]+(?=@)|\b(?:rk|rt|ot)_[A-Za-z0-9_\-.]+|(?<=Bearer )\S+"
    # A JWT; and an e-mail address, which a name before the host of a URL only looks like.
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<![/:@\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
_PROPAGATOR = TraceContextTextMapPropagator()
# A collector that is not there holds a stopping process up by so long, for every 512 spans that
# wait, 2,048 at most: 12 s, less than a supervisor gives it.
_EXPORT_SECONDS = 3.0
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Several lines on purpose, and written by us.
_BLOCKS = frozenset({"stack", "exception"})

EventDict = MutableMapping[str, Any]


class MetricsPortTaken(SettlerError):
    """The port for metrics cannot be listened on."""

    code = "telemetry.metrics_port"


# Logging ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """How finished lines are written: where to, in whose name, from which level on.

    They are for as long as structlog has the factory that it was configured with beside them.
    """

    factory: structlog.WriteLoggerFactory
    file: TextIO
    role: str
    level: int


# None: not JSON, or not ours to say.
_LINES: _Lines | None = None


def configure_logging(settings: Settings, role: str) -> None:
    """Send every log line of this process to standard error, ours and those of libraries.

    Args:
        settings: `log_level` and `log_format`: one JSON object a line, or text for people.
        role: What this process is, such as `flow`; on every line.
    """
    global _LINES
    structlog.contextvars.clear_contextvars()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _add_role(role),
        add_trace,
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[structlog.typing.Processor]
    if settings.log_format == "json":
        render = [structlog.processors.format_exc_info, redact]
        render.append(structlog.processors.JSONRenderer(serializer=_to_json))
    else:
        render = [
            redact,
            escape_controls,
            _console_renderer(),
        ]
    level = _LEVELS[settings.log_level]
    factory = structlog.WriteLoggerFactory(file=sys.stderr)
    is_json = settings.log_format == "json"
    _LINES = _Lines(factory, sys.stderr, role, level) if is_json else None
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


# `json.dumps` with options makes an encoder for every line.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)
_quoted = json.encoder.encode_basestring


def _to_json(event: EventDict, **_default: object) -> str:
    return _ENCODER.encode(event)


def write_event(level: Literal["info", "warning"], event: str, fields: EventDict) -> None:
    """Write a line that is written very often, at a fifth of what the processors cost.

    Args:
        level: Its level.
        event: What happened.
        fields: All of its fields, ids of the trace included. What comes from outside among them
            has gone through `redact_text`; nothing else is looked at.
    """
    lines = _LINES
    if lines is None or structlog.get_config()["logger_factory"] is not lines.factory:
        getattr(structlog.get_logger("settler"), level)(event, **fields)
        return
    if _LEVELS[level] < lines.level:
        return
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    told = {**fields, "event": event, "level": level, "timestamp": f"{now}Z", "role": lines.role}
    parts = [f"{_quoted(name)}: {_to_text(value)}" for name, value in told.items()]
    lines.file.write("{" + ", ".join(parts) + "}\n")
    lines.file.flush()


def _to_text(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    return repr(value) if type(value) in (int, float) else _ENCODER.encode(value)


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    # The default shows the values of local variables, passwords and keys among them.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Blank what must not be in a log: values under secret names, and see `redact_text`."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = REDACTED if _is_secret(name) else redact_text(value)
        elif value is not None and _is_secret(name):
            event[name] = REDACTED
    return event


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    # Lines have the same few names over and over.
    return _SECRET_NAME.search(name) is not None


def escape_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Keep a value on its line: JSON does so by itself, text for people has to be told."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable() and name not in _BLOCKS:
            event[name] = "".join(
                letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value
            )
    return event


def redact_text(text: str) -> str:
    """Blank passwords in URLs, credentials, tokens and e-mail addresses within a text."""
    if text.isalnum():
        # Each of those has a sign in it; ids, names and levels, most of a line, have none.
        return text
    return _SECRET_TEXT.sub(
        lambda found: REDACTED if found[1] is None else f"{found[1]}:{REDACTED}", text
    )


def add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add `trace_id` and `span_id` of the current span, in hex as W3C writes them."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


def _add_role(role: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    return add


# Metrics ------------------------------------------------------------------------------------


def start_metrics_server(
    port: int, host: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY
) -> int:
    """Serve this process's metrics at `/metrics` from a thread; return the port.

    Args:
        port: 0 takes any free one.
        host: The address to listen on.
        registry: What to show.

    Raises:
        MetricsPortTaken: Something else listens there.
    """
    try:
        server, _thread = start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        if exc.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        raise MetricsPortTaken(
            f"cannot serve metrics on {host}:{port}: {exc.strerror}. Set SETTLER_METRICS_PORT to "
            "another port, or to 0 for any free one"
        ) from exc
    return int(server.server_port)


# Traces -------------------------------------------------------------------------------------


# No span leaves this process: an id is all that a span is for.
_IDS_ONLY = False


def configure_tracing(settings: Settings, role: str) -> None:
    """Give this process a tracer; spans leave by OTLP over HTTP when `otlp_endpoint` is set.

    Without an endpoint spans still have ids, so that logs, events and answers can be joined.
    A second call in the same process changes nothing.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    global _IDS_ONLY
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    resource = Resource.create({"service.name": f"settler-{role}", "service.namespace": "settler"})
    provider = TracerProvider(resource=resource)
    if settings.otlp_endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(
            endpoint=f"{settings.otlp_endpoint}/v1/traces", timeout=_EXPORT_SECONDS
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _IDS_ONLY = settings.otlp_endpoint is None


def are_ids_enough() -> bool:
    """Say whether spans leave nothing behind but their ids, so that `bare_span` does for one."""
    return _IDS_ONLY


def bare_span() -> trace.Span:
    """Make a span that is the id of a new trace and nothing else."""
    context = SpanContext(
        trace_id=secrets.randbits(128) | 1,
        span_id=secrets.randbits(64) | 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.DEFAULT),
    )
    return NonRecordingSpan(context)


def trace_metadata(context: Context | None = None) -> dict[str, str]:
    """Return the current span as `{"traceparent": …}` for an event's metadata; {} outside one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=context)
    return carrier


def context_from_metadata(metadata: Mapping[str, Any]) -> Context:
    """Return the context a new span continues from; a bad or missing `traceparent` gives a root."""
    value = metadata.get(TRACEPARENT)
    carrier = {TRACEPARENT: value} if isinstance(value, str) else {}
    return _PROPAGATOR.extract(carrier, context=Context())


def inject_headers(
    headers: Iterable[tuple[str, bytes]] = (), context: Context | None = None
) -> list[tuple[str, bytes]]:
    """Return Kafka headers with the current span's `traceparent` in place of an older one."""
    kept = [(name, value) for name, value in headers if name != TRACEPARENT]
    added = trace_metadata(context)
    return kept + [(name, value.encode()) for name, value in added.items()]


def traceparent_of(headers: Iterable[tuple[str, bytes | None]] | None) -> str | None:
    """Return the `traceparent` of Kafka headers as text, or None."""
    for name, value in headers or ():
        if name == TRACEPARENT and value is not None:
            return value.decode("ascii", errors="replace")
    return None


def context_from_headers(headers: Iterable[tuple[str, bytes | None]] | None) -> Context:
    """Return the context that the headers of a Kafka message name; a root where they name none."""
    return context_from_metadata({TRACEPARENT: traceparent_of(headers)})
