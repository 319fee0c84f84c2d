"""The application: everything composed, and the process that serves it."""

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from types import FrameType

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api import (
    account,
    ageing,
    backtests,
    commands,
    dead_letters,
    decisions,
    events,
    exceptions,
    explanations,
    exports,
    health,
    keys,
    lag,
    linting,
    matches,
    pages,
    periods,
    reconciliations,
    recovery,
    runs,
    sessions,
    signing_in,
    stream,
    tenant,
    transaction_stories,
    transactions,
    usage,
    users,
    working,
)
from api.access_tokens import AccessTokens
from api.caching import AnswerCache
from api.database import Database
from api.errors import EXCEPTION_HANDLERS
from api.feed import Feed
from api.http_protocol import HttpProtocol
from api.idempotency import HEADER as IDEMPOTENCY_KEY
from api.idempotency import REPLAYED, IdempotentAnswers
from api.identity import Authenticator
from api.kept_answers import KeptAnswers
from api.kept_requests import KeptAnswerMiddleware
from api.live import Live
from api.mailing import Outbox
from api.middleware import REQUEST_ID, RequestMiddleware
from api.openapi import make_document
from api.operations import PREFIX, Operation, make_route
from api.password_hashing import PasswordHashing
from api.rate_limits import RateLimits
from api.redis_circuit import RedisCircuit
from api.request_limits import RequestLimitMiddleware
from api.services import Services
from connectors.mail import make_mailer
from connectors.settings import Settings
from connectors.telemetry import configure_logging, configure_tracing

log = structlog.get_logger("settler.api")

OPERATIONS: tuple[Operation, ...] = (
    *reconciliations.OPERATIONS,
    *lag.OPERATIONS,
    *linting.OPERATIONS,
    *backtests.OPERATIONS,
    *runs.OPERATIONS,
    *periods.OPERATIONS,
    # Before /matches/{match_id} and /exceptions/{exception_id}, which would take names for ids.
    *exports.OPERATIONS,
    *ageing.OPERATIONS,
    *matches.OPERATIONS,
    *decisions.OPERATIONS,
    *exceptions.OPERATIONS,
    *explanations.OPERATIONS,
    *transactions.OPERATIONS,
    # After /transactions/{transaction_id}/explanation, for an id takes the rest of the path.
    *transaction_stories.OPERATIONS,
    *working.OPERATIONS,
    *dead_letters.OPERATIONS,
    *usage.OPERATIONS,
    *events.OPERATIONS,
    *commands.OPERATIONS,
    *stream.OPERATIONS,
    *sessions.OPERATIONS,
    *signing_in.OPERATIONS,
    *recovery.OPERATIONS,
    *account.OPERATIONS,
    *users.OPERATIONS,
    *keys.OPERATIONS,
    *tenant.OPERATIONS,
)

# A key or an answer that Redis holds is worth this wait, no more.
REDIS_ANSWER_SECONDS = 0.05

# Answers take milliseconds and streams are told to end; what is left after this has hung.
SHUTDOWN_SECONDS = 5


def _openapi_route() -> Route:
    document = JSONResponse(make_document(OPERATIONS, metadata.version("settler")))

    async def openapi(request: Request) -> JSONResponse:
        request.scope["settler.route"] = f"{PREFIX}/openapi.json"
        return document

    return Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"])


def _cors(settings: Settings) -> list[Middleware]:
    """Let pages of the origins in the settings call the API; with a credential, never a cookie."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins.split(","),
            allow_methods=["GET", "PUT", "POST", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization", "Content-Type", IDEMPOTENCY_KEY, "If-Match", "If-None-Match",
                "Last-Event-ID", "Traceparent", "X-Correlation-Id", REQUEST_ID,
            ],
            expose_headers=[
                "ETag", "Location", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
                "Retry-After", "X-Trace-Id", REPLAYED, REQUEST_ID,
            ],
            max_age=600,
        )
    ]  # fmt: skip


def create_app(settings: Settings) -> Starlette:
    """Make the ASGI application; its connections open with its lifespan.

    Neither the database nor Redis need be there yet: requests that need the database answer 503
    until it is, and Redis is never needed.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database = Database(
            settings.database_url_api,
            settings.database_pool_size,
            settings.slow_query_milliseconds / 1000,
        )
        tokens = AccessTokens(database, settings.api_key_pepper, settings.access_token_seconds)
        redis = RedisCircuit(settings.redis_url, REDIS_ANSWER_SECONDS)
        cache = AnswerCache(settings.redis_url)
        feed = Feed(database)
        services = Services(
            database=database,
            cache=cache,
            answers=KeptAnswers(cache),
            feed=feed,
            live=Live(database, feed),
            authenticator=Authenticator(database, settings.api_key_pepper, tokens),
            tokens=tokens,
            hashing=PasswordHashing(),
            outbox=Outbox(make_mailer(settings.mail_url, settings.mail_from)),
            redis=redis,
            rate_limits=RateLimits(redis),
            idempotency=IdempotentAnswers(redis, settings.api_key_pepper),
            settings=settings,
        )
        await database.open()
        services.feed.start()
        app.state.services = services
        try:
            yield
        finally:
            await services.feed.stop()
            await services.outbox.drain()
            await services.cache.close()
            await redis.close()
            await database.close()

    app = Starlette(
        routes=[
            *(make_route(operation) for operation in OPERATIONS),
            _openapi_route(),
            *pages.ROUTES,
            *health.ROUTES,
        ],
        middleware=[
            Middleware(KeptAnswerMiddleware),
            Middleware(RequestMiddleware),
            *_cors(settings),
            Middleware(RequestLimitMiddleware),
        ],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class Server(uvicorn.Server):
    """A uvicorn server that ends the live streams first, or they would hold it up."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, on SIGTERM or SIGINT."""
        services = getattr(getattr(self.config.app, "state", None), "services", None)
        if services is not None:
            asyncio.get_running_loop().call_soon_threadsafe(services.feed.stop_streams)
        super().handle_exit(sig, frame)


def make_server(app: Starlette, settings: Settings) -> Server:
    """Make the server of the application, as `main` runs it."""
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.api_trusted_proxies,
        http=HttpProtocol,
        # The loop is made by who runs the server.
        loop="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        lifespan="on",
    )
    return Server(config)


async def serve(settings: Settings) -> int:
    """Serve until a signal comes; 0 when it did, 1 when the port could not be had."""
    server = make_server(create_app(settings), settings)
    try:
        await server.serve()
    except SystemExit:
        # So uvicorn says that it could not start; the reason is in the log already.
        return 1
    return 0 if server.started else 1


def _allow_open_files() -> None:
    # Each live stream is one; many systems start a process with a thousand, far below its limit.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(settings: Settings) -> int:
    """Serve the API in this process until SIGTERM or SIGINT; returns the exit code."""
    configure_logging(settings, "api")
    configure_tracing(settings, "api")
    if not settings.api_key_pepper:
        log.warning(
            "SETTLER_API_KEY_PEPPER is not set: whoever has a copy of the database can sign tokens"
            " and read kept answers; set it before people sign in"
        )
    log.info("api starts", host=settings.api_host, port=settings.api_port)
    _allow_open_files()
    # Uvicorn raises the signal again once it has shut down; by then the work is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    # What is loaded by now stays: looking through it for garbage would hold all requests up.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(settings))
    log.info("api has stopped", exit_code=code)
    return code
