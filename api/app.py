"""The application: everything composed, and the process that serves it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from types import FrameType

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api import (
    commands,
    dead_letters,
    decisions,
    events,
    exceptions,
    health,
    matches,
    pages,
    reconciliations,
    sessions,
    stream,
    usage,
)
from api.caching import AnswerCache
from api.database import Database
from api.errors import EXCEPTION_HANDLERS
from api.feed import Feed
from api.identity import Authenticator
from api.middleware import BodyLimitMiddleware, RequestMiddleware
from api.openapi import make_document
from api.operations import PREFIX, Operation, make_route
from api.services import Services
from connectors.settings import Settings
from connectors.telemetry import configure_logging, configure_tracing

log = structlog.get_logger("settler.api")

OPERATIONS: tuple[Operation, ...] = (
    *reconciliations.OPERATIONS,
    *matches.OPERATIONS,
    *decisions.OPERATIONS,
    *exceptions.OPERATIONS,
    *dead_letters.OPERATIONS,
    *usage.OPERATIONS,
    *events.OPERATIONS,
    *commands.OPERATIONS,
    *stream.OPERATIONS,
    *sessions.OPERATIONS,
)

# Answers take milliseconds and streams are told to end; what is left after this has hung.
SHUTDOWN_SECONDS = 5


def _openapi_route() -> Route:
    document = JSONResponse(make_document(OPERATIONS, metadata.version("settler")))

    async def openapi(request: Request) -> JSONResponse:
        request.scope["settler.route"] = f"{PREFIX}/openapi.json"
        return document

    return Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"])


def create_app(settings: Settings) -> Starlette:
    """Make the ASGI application; its connections open with its lifespan.

    Neither the database nor Redis need be there yet: requests that need the database answer 503
    until it is, and Redis is never needed.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database = Database(settings.database_url_api, settings.database_pool_size)
        services = Services(
            database=database,
            cache=AnswerCache(settings.redis_url),
            feed=Feed(database),
            authenticator=Authenticator(database, settings.api_key_pepper),
        )
        await database.open()
        services.feed.start()
        app.state.services = services
        try:
            yield
        finally:
            await services.feed.stop()
            await services.cache.close()
            await database.close()

    app = Starlette(
        routes=[
            *(make_route(operation) for operation in OPERATIONS),
            _openapi_route(),
            *pages.ROUTES,
            *health.ROUTES,
        ],
        middleware=[Middleware(RequestMiddleware), Middleware(BodyLimitMiddleware)],
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


def main(settings: Settings) -> int:
    """Serve the API in this process until SIGTERM or SIGINT; returns the exit code."""
    configure_logging(settings, "api")
    configure_tracing(settings, "api")
    log.info("api starts", host=settings.api_host, port=settings.api_port)
    # Uvicorn raises the signal again once it has shut down; by then the work is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    code = asyncio.run(serve(settings))
    log.info("api has stopped", exit_code=code)
    return code
