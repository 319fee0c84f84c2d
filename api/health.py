"""Health for orchestrators and metrics for Prometheus; neither needs a key nor tells a secret."""

from typing import Literal

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.services import Services
from connectors.postgres.migrations import read_migrations

MIGRATIONS = read_migrations()

State = Literal["ok", "unavailable", "behind", "off"]


class Health(BaseModel):
    """How the process is. Redis is left out of the verdict: nothing is wrong without it."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, State]


def _answer(health: Health) -> Response:
    return Response(
        health.model_dump_json(),
        200 if health.status == "ok" else 503,
        {"Cache-Control": "no-store"},
        "application/json",
    )


async def _check_database(services: Services) -> dict[str, State]:
    try:
        async with services.database.anonymous() as session:
            rows = await session.rows("read_migrations", {})
    except (psycopg.Error, PoolTimeout, TooManyRequests):
        return {"database": "unavailable", "migrations": "unavailable"}
    applied = {row["name"] for row in rows}
    behind = any(
        migration.name not in applied for migration in MIGRATIONS if migration.step == "pre"
    )
    return {"database": "ok", "migrations": "behind" if behind else "ok"}


async def live(request: Request) -> Response:
    """Say that the process runs and its loop turns."""
    request.scope["settler.route"] = "/health/live"
    return _answer(Health(status="ok", checks={"process": "ok"}))


async def ready(request: Request) -> Response:
    """Say whether requests can be answered: the database is there and new enough."""
    request.scope["settler.route"] = "/health/ready"
    checks = await _check_database(request.app.state.services)
    fine = all(state == "ok" for state in checks.values())
    return _answer(Health(status="ok" if fine else "unavailable", checks=checks))


async def health(request: Request) -> Response:
    """Say all that is known, Redis too."""
    services: Services = request.app.state.services
    checks = await _check_database(services)
    fine = all(state == "ok" for state in checks.values())
    request.scope["settler.route"] = "/health"
    checks["cache"] = await services.cache.state()
    return _answer(Health(status="ok" if fine else "unavailable", checks=checks))


async def metrics(request: Request) -> Response:
    """Give every metric of this process in Prometheus's text format."""
    request.scope["settler.route"] = "/metrics"
    request.app.state.services.database.measure()
    body = await run_in_threadpool(generate_latest)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES = (
    Route("/health", health, methods=["GET"]),
    Route("/health/live", live, methods=["GET"]),
    Route("/health/ready", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
)
