"""The two pages: the live view at `/` and the documentation at `/api/v1/docs`.

Both are static files of ours. They load nothing from elsewhere and hold no inline code, so the
content security policy can forbid both.
"""

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.operations import PREFIX

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


class StaticFile:
    """One file of `api/static`, held in memory, answered with its ETag."""

    def __init__(self, name: str) -> None:
        self._body = resources.files("api.static").joinpath(name).read_bytes()
        self._type = _TYPES[name.rpartition(".")[2]]
        self._etag = f'"{hashlib.blake2b(self._body, digest_size=12).hexdigest()}"'

    def answer(self, request: Request) -> Response:
        """Send the file, or 304 when the browser has it."""
        headers = {"ETag": self._etag, "Cache-Control": "no-cache", "Content-Type": self._type}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self._body, headers=headers)


def _route(path: str, name: str) -> Route:
    file = StaticFile(name)

    async def endpoint(request: Request) -> Response:
        request.scope["settler.route"] = path
        return file.answer(request)

    return Route(path, endpoint, methods=["GET"], name=name)


ROUTES = (
    _route("/", "index.html"),
    _route(f"{PREFIX}/docs", "docs.html"),
    *(_route(f"/static/{name}", name) for name in ("live.js", "docs.js", "page.css", "icon.svg")),
)
