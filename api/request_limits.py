"""What a request may weigh, and how many may come from one address, before anything looks at it."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError, error_response
from api.services import Services

# A definition is a few kilobytes; one with long holiday lists a few hundred.
BODY_BYTES_MAX = 1024 * 1024
# Who sends a megabyte slower than this holds a connection open for its own sake.
BODY_SECONDS_MAX = 30.0
TARGET_BYTES_MAX = 8 * 1024
HEADERS_MAX = 100
HEADER_BYTES_MAX = 32 * 1024

# What machines of the operator ask all the time and what browsers fetch once.
_UNCOUNTED = ("/health", "/metrics", "/static/")


class RequestLimitMiddleware:
    """Refuses requests that are too large, too slow, or too many from one address."""

    def __init__(self, app: ASGIApp, bytes_max: int = BODY_BYTES_MAX) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with a `receive` that counts."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        code = self._refusal(scope)
        if code is None and not scope["path"].startswith(_UNCOUNTED):
            code = await _count_address(scope)
        if code is not None:
            headers = scope.get("settler.rate_headers")
            await error_response(scope, code, headers=headers)(scope, receive, send)
            return
        await self.app(scope, self._limited(receive), send)

    def _refusal(self, scope: Scope) -> str | None:
        if len(scope["raw_path"]) + len(scope["query_string"]) > TARGET_BYTES_MAX:
            return "uri_too_long"
        headers = scope["headers"]
        if len(headers) > HEADERS_MAX:
            return "headers_too_large"
        if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES_MAX:
            return "headers_too_large"
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or int(stated) > self.bytes_max:
            return "body_too_large"
        return None

    def _limited(self, receive: Receive) -> Receive:
        received, is_whole = 0, False
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS_MAX

        async def limited_receive() -> Message:
            nonlocal received, is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise ApiError("request_timeout") from error
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if received > self.bytes_max:
                    raise ApiError("body_too_large")
            return message

        return limited_receive


async def _count_address(scope: Scope) -> str | None:
    services: Services = scope["app"].state.services
    address = scope["client"][0] if scope.get("client") else "unknown"
    standing = await services.rate_limits.spend(
        "address", address, services.settings.rate_limit_address
    )
    scope["settler.rate_headers"] = standing.headers
    return None if standing.is_allowed else "rate_limited"
