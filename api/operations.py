"""One description of an HTTP operation, from which routing, validation and OpenAPI are made."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auditing import CURRENT, AuditEntry
from api.errors import ApiError, from_validation
from api.idempotency import make_guard
from api.identity import Identity
from api.kept_answers import Asked, KeptResponse, kept_name, make_etag
from api.services import Services

PREFIX = "/api/v1"
# A definition has eight levels. What walks a body calls itself once a level.
DEPTH_MAX = 32
# What nobody asks for twice in the same words is not worth keeping.
_KEPT_NAME_MAX = 512

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answer:
    """A model to send, or one rendered before, with its status and headers."""

    model: BaseModel | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Call:
    """One request on its way through a handler: who calls, with what, and with what at hand."""

    def __init__(self, request: Request, operation: "Operation", identity: Identity | None) -> None:
        self.request = request
        self.operation = operation
        self._identity = identity
        self.services: Services = request.app.state.services

    @property
    def identity(self) -> Identity:
        """The caller; every operation that is `secured` has one."""
        assert self._identity is not None
        return self._identity

    @property
    def tenant_id(self) -> str:
        """The caller's tenant, which comes from the credential alone."""
        return self.identity.tenant_id

    @property
    def trace_id(self) -> str:
        """The trace this request belongs to, 32 hex digits."""
        return str(self.request.scope["settler.trace_id"])

    @property
    def address(self) -> str | None:
        """The caller's address, as far as it is known."""
        return self.request.client.host if self.request.client else None

    def note(self, target: str | None = None, **details: object) -> None:
        """Say more for the audit log about what is being changed; never a secret."""
        entry = CURRENT.get()
        if entry is not None:
            entry.target = target or entry.target
            entry.details |= details

    def path(self, name: str) -> str:
        """Give a path parameter."""
        return str(self.request.path_params[name])

    def query(self, model: type[Model]) -> Model:
        """Validate the query string.

        Raises:
            ApiError: `invalid_parameter`, naming every value that cannot be used.
        """
        assert model is self.operation.query
        pairs = self.request.query_params.multi_items()
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ApiError("invalid_parameter", "A parameter stands twice in the query string.")
        if any("\x00" in value for value in values.values()):
            raise ApiError("invalid_parameter", "A parameter holds a NUL character.")
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise from_validation(error) from error

    def header_fields(self, model: type[Model]) -> Model:
        """Validate the request's own headers.

        Raises:
            ApiError: `invalid_parameter`.
        """
        assert model is self.operation.headers
        names = [field.alias or name for name, field in model.model_fields.items()]
        sent = {name: self.request.headers[name] for name in names if name in self.request.headers}
        try:
            return model.model_validate(sent)
        except ValidationError as error:
            raise from_validation(error) from error

    async def body(self, model: type[Model]) -> Model:
        """Validate a JSON body.

        Raises:
            ApiError: `unsupported_media_type`, `invalid_json`, or `invalid_parameter`.
        """
        assert model is self.operation.body
        require_media_type(self.request, "application/json")
        try:
            return model.model_validate(parse_json(await self.request.body()))
        except ValidationError as error:
            raise from_validation(error) from error


Handler = Callable[[Call], Awaitable[BaseModel | Answer | Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An HTTP operation under `/api/v1`.

    Attributes:
        path: The route template below the prefix.
        answers: The success status and its model.
        errors: Codes it can answer with, beside those that every operation can.
        secured: Whether it needs a credential.
        scope: What the credential must be allowed; by default the tag's `read` or `write`.
        counted: Each call counts as a guess at a secret, see `count_guess`.
        stream: The answer is a stream of server-sent events instead of JSON.
        page: The answer is a page of HTML instead of JSON.
        example: Of a stream or a page; other answers' examples are made from their models.
        files: The media types of a file that is answered with instead of JSON.
        kept_for: The answer follows from the tenant, the path and the query string alone, and is
            kept until the read models of the tenant, or of the reconciliation that the path names,
            have moved. A list keeps its first page.
        name: The operation's id, where one handler serves two methods.
    """

    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str = ""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_media_types: Sequence[str] = ("application/json",)
    headers: type[BaseModel] | None = None
    answer: type[BaseModel] | None
    status: int = 200
    errors: Sequence[str] = ()
    secured: bool = True
    scope: str | None = None
    counted: bool = False
    stream: bool = False
    page: bool = False
    example: str | None = None
    files: Sequence[str] = ()
    kept_for: Literal["tenant", "reconciliation"] | None = None
    name: str | None = None

    @property
    def operation_id(self) -> str:
        """The handler's name unless told otherwise; unique over all operations."""
        return self.name or str(getattr(self.handler, "__name__", ""))

    @property
    def required_scope(self) -> str:
        """The scope a credential must have; one that nobody has keeps everybody out."""
        verb = "read" if self.method == "GET" else "write"
        return self.scope or f"{self.tag.replace(' ', '_')}:{verb}"


def require_media_type(request: Request, *allowed: str) -> str:
    """Give the body's media type without parameters, refusing others than `allowed`."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("unsupported_media_type", "The body is compressed; send it as it is.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in allowed:
        raise ApiError(
            "unsupported_media_type",
            f"The body's content type is '{media_type[:64]}'; send {' or '.join(allowed)}.",
        )
    return media_type


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Which of two counts differs from parser to parser (RFC 8259, section 4).
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:64]!r} stands twice in one object")
    return found


def _depth_exceeds(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(_depth_exceeds(each, levels - 1) for each in inner)


def require_depth(parsed: Any) -> None:
    """Hold that a parsed body is nested no deeper than `DEPTH_MAX` levels.

    Raises:
        ApiError: `invalid_json`.
    """
    if _depth_exceeds(parsed, DEPTH_MAX):
        raise ApiError("invalid_json", f"The body is nested more than {DEPTH_MAX} levels deep.")


def parse_json(raw: bytes) -> Any:
    """Parse a body; numbers with a fraction stay text, exactly as they were written.

    Raises:
        ApiError: `invalid_json`, saying where: also for a name that stands twice in an object, and
            for more than `DEPTH_MAX` levels.
    """
    try:
        parsed = json.loads(
            raw,
            parse_float=str,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_twice,
        )
    except (ValueError, RecursionError) as error:
        raise ApiError("invalid_json", f"The body is not valid JSON: {error}.") from error
    require_depth(parsed)
    return parsed


def _render(request: Request, answer: Answer) -> Response:
    model = answer.model
    body = model if isinstance(model, bytes) else model.model_dump_json().encode()
    headers = dict(answer.headers)
    if answer.status == 200 and request.method in {"GET", "HEAD"}:
        # Private to the credential.
        etag = make_etag(body)
        headers |= {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
    else:
        headers.setdefault("Cache-Control", "no-store")
    return Response(body, answer.status, headers, "application/json")


async def _identify(request: Request) -> Identity:
    """Tell who calls, and count the request.

    Raises:
        ApiError: `unauthenticated`, `cross_site_request` or `rate_limited`.
    """
    services: Services = request.app.state.services
    try:
        identity = await services.authenticator.identify(request)
    except ApiError as error:
        if error.code == "unauthenticated" and "authorization" in request.headers:
            await count_guess(request)
        raise
    request.scope["settler.identity"] = identity
    limit = identity.requests_per_minute or services.settings.rate_limit_credential
    standing = await services.rate_limits.spend("credential", identity.actor, limit)
    request.scope["settler.rate_headers"] = standing.headers
    if not standing.is_allowed:
        raise ApiError("rate_limited", headers=standing.headers)
    return identity


async def count_guess(request: Request) -> None:
    """Count something of which one address has no business doing many: signing in, a wrong key.

    Raises:
        ApiError: `rate_limited`.
    """
    services: Services = request.app.state.services
    address = request.client.host if request.client else "unknown"
    standing = await services.rate_limits.spend(
        "guesses", address, services.settings.rate_limit_guesses
    )
    if not standing.is_allowed:
        raise ApiError("rate_limited", headers=standing.headers)


def _audit_entry(call: Call) -> AuditEntry | None:
    """Say who changes what, for the audit log; None where nothing is changed or nobody is known."""
    if call.operation.method == "GET" or not call.operation.secured:
        return None
    return AuditEntry(
        actor=call.identity.actor,
        action=call.operation.operation_id,
        target="/".join(str(value) for value in call.request.path_params.values())[:512] or None,
        address=call.address,
        trace_id=call.trace_id,
    )


async def _run(call: Call) -> Response:
    told = CURRENT.set(_audit_entry(call))
    try:
        answer = await call.operation.handler(call)
    finally:
        CURRENT.reset(told)
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, BaseModel):
        answer = Answer(answer, call.operation.status)
    return _render(call.request, answer)


async def _run_kept(call: Call) -> Response:
    """Answer from what is kept, or run the handler and keep what it answers."""
    scope, services = call.request.scope, call.services
    reconciliation_id = (
        call.path("reconciliation_id") if call.operation.kept_for == "reconciliation" else None
    )
    version = services.feed.version(call.tenant_id, reconciliation_id)
    name, query = kept_name(scope), scope["query_string"].decode("latin-1")
    if version is None or "cursor=" in query or len(name) > _KEPT_NAME_MAX:
        return await _run(call)

    async def render() -> bytes:
        answer = await call.operation.handler(call)
        assert not isinstance(answer, Response), "what is kept is a body without headers"
        model = answer.model if isinstance(answer, Answer) else answer
        return model if isinstance(model, bytes) else model.model_dump_json().encode()

    kept = services.answers.recall(call.tenant_id, name, version)
    if kept is None:
        kept = await services.answers.read(call.tenant_id, name, version, render)
    route, required = PREFIX + call.operation.path, call.operation.required_scope
    services.answers.note(name, Asked(route, required, reconciliation_id))
    known = call.request.headers.get("if-none-match")
    return KeptResponse(kept, is_known=known is not None and kept.etag in known)


def make_route(operation: Operation) -> Route:
    """Make the Starlette route that authenticates, runs the handler and renders its answer."""

    async def endpoint(request: Request) -> Response:
        request.scope["settler.route"] = PREFIX + operation.path
        identity = None
        if operation.counted:
            await count_guess(request)
        if operation.secured:
            identity = await _identify(request)
            identity.require(operation.required_scope)
        call = Call(request, operation, identity)
        if operation.kept_for is not None:
            return await _run_kept(call)
        if identity is None or operation.method == "GET":
            return await _run(call)
        guard = await make_guard(request, identity.tenant_id, identity.actor)
        if guard is None:
            return await _run(call)
        return await call.services.idempotency.once(guard, lambda: _run(call))

    # Ids of transactions are their system's own and may hold a slash, which arrives unescaped.
    path = operation.path.replace("{transaction_id}", "{transaction_id:path}")
    return Route(PREFIX + path, endpoint, methods=[operation.method], name=operation.operation_id)
