"""The peer of the API: a bare Starlette route over the same query, in the same server.

No credential, tenant setting, limit, trace, log line, metric or check of parameters; a pool, one
query, its rows as JSON. What the API's guarantees cost is what lies between the two.

    python -m deploy.bench.bare_route '{"port": 8081, "database_url": …, "pool": 8, …}'
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.database import QUERIES
from api.exceptions import FILTERS
from api.pagination import LIMIT_DEFAULT
from api.parameters import POSITION_END


def make_app(database_url: str, tenant_id: str, reconciliation_id: str, pool: int) -> Starlette:
    """Make the application; its queries are the API's own, by name."""
    connections: AsyncConnectionPool[Any] = AsyncConnectionPool(
        database_url,
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=pool,
        max_size=pool,
        open=False,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with connections:
            yield

    async def query(name: str, parameters: dict[str, Any]) -> Response:
        async with connections.connection() as connection:
            rows = await (await connection.execute(QUERIES[name], parameters)).fetchall()
        return Response(msgspec.json.encode(rows), media_type="application/json")

    async def exceptions(_request: Request) -> Response:
        return await query(
            "list_exceptions_newest",
            {
                **dict.fromkeys(FILTERS),
                "tenant_id": tenant_id,
                "position": POSITION_END,
                "limit": LIMIT_DEFAULT + 1,
            },
        )

    async def summary(_request: Request) -> Response:
        return await query(
            "read_reconciliation",
            {"tenant_id": tenant_id, "reconciliation_id": reconciliation_id},
        )

    return Starlette(
        routes=[Route("/exceptions", exceptions), Route("/summary", summary)], lifespan=lifespan
    )


def main() -> None:
    """Serve until ended."""
    given = json.loads(sys.argv[1])
    port = given.pop("port")
    app = make_app(**given)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
