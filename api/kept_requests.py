"""The short way: a request whose answer is kept, from a caller who is known, answered at once.

It holds what every request is held to: size, credential, scope, both limits. It is counted, traced
and logged like any other. Whatever is not at hand, or would be refused, goes the long way, which
decides it; so nothing is allowed here that would not be there.
"""

import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.identity import Identity
from api.kept_answers import Asked, KeptAnswer, RawHeaders, kept_name
from api.middleware import IN_FLIGHT, begin_request, common_headers, report_request
from api.rate_limits import Standing
from api.request_limits import HEADER_BYTES_MAX, HEADERS_MAX
from api.services import Services

# With one of these a request is not as plain as it looks: a body to read, a page of another origin.
_NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"expect", b"origin", b"upgrade"})


@dataclass(frozen=True, slots=True)
class _Hit:
    asked: Asked
    identity: Identity
    kept: KeptAnswer
    standing: Standing
    is_known: bool


class KeptAnswerMiddleware:
    """Answers what it can from memory, and passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on untouched."""
        started = time.perf_counter()
        is_read = scope["type"] == "http" and scope["method"] == "GET"
        hit = await _find(scope) if is_read else None
        if hit is None:
            await self.app(scope, receive, send)
            return
        begin_request(scope)
        scope["settler.route"], scope["settler.identity"] = hit.asked.route, hit.identity
        scope["settler.rate_headers"] = hit.standing.headers
        start, body = _messages(scope, hit)
        IN_FLIGHT.inc()
        try:
            await send(start)
            await send(body)
        finally:
            IN_FLIGHT.dec()
            report_request(scope, start["status"], time.perf_counter() - started)


def _messages(scope: Scope, hit: _Hit) -> tuple[Message, Message]:
    own = hit.kept.validators if hit.is_known else hit.kept.head
    headers: RawHeaders = [*own, *common_headers(scope)]
    status = 304 if hit.is_known else 200
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": b"" if hit.is_known else hit.kept.body}


async def _find(scope: Scope) -> _Hit | None:
    """Find the answer of a request that may have it, and count the request; None: the long way."""
    services: Services = scope["app"].state.services
    name = kept_name(scope)
    asked = services.answers.asked(name)
    if asked is None:
        return None
    stated = _stated(scope["headers"])
    authorization = stated.get(b"authorization") if stated is not None else None
    if stated is None or authorization is None:
        return None
    identity = services.authenticator.recall(authorization)
    if identity is None or not identity.may(asked.scope):
        return None
    version = services.feed.version(identity.tenant_id, asked.reconciliation_id)
    kept = services.answers.recall(identity.tenant_id, name, version) if version else None
    if kept is None:
        return None
    settings = services.settings
    address = scope["client"][0] if scope.get("client") else "unknown"
    own_limit = identity.requests_per_minute or settings.rate_limit_credential
    limits = (
        ("address", address, settings.rate_limit_address),
        ("credential", identity.actor, own_limit),
    )
    standing = services.rate_limits.spend_taken(*limits)
    if standing is None:
        await services.rate_limits.replenish(*limits)
        standing = services.rate_limits.spend_taken(*limits)
    if standing is None:
        return None
    known = stated.get(b"if-none-match", b"")
    return _Hit(asked, identity, kept, standing, kept.etag.encode() in known)


def _stated(headers: RawHeaders) -> dict[bytes, bytes] | None:
    """Give the request's headers, the first of each name; None: they need a closer look."""
    if len(headers) > HEADERS_MAX:
        return None
    stated: dict[bytes, bytes] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        stated.setdefault(name, value)
    if size > HEADER_BYTES_MAX or not _NOT_PLAIN.isdisjoint(stated):
        return None
    return stated
