"""Lists as files of any size: one state of the database, read page by page, sent as it is read.

However long a list is, one page and one piece of the file are in memory. An export that cannot go
on breaks off: its answer then ends without its end, which every client takes for a failure.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from prometheus_client import Gauge
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.database import Session
from api.errors import ApiError
from api.exceptions import FILTERS, ExceptionFilters, to_exception
from api.export_formats import FORMATS, Column
from api.matches import MatchFilters, matches_parameters, to_match
from api.operations import Call, Operation

#: Rows a page and a group: some megabytes while they are turned into bytes.
PAGE_ROWS = 2_000
# Each holds a connection of the pool as long as it runs; requests need most of them.
EXPORTS_MAX = 2
# A snapshot keeps the database from tidying up behind it. Some ten million rows take so long.
EXPORT_SECONDS_MAX = 600
# Between two pages the transaction waits for the client to take what it was sent.
_WAIT_FOR_CLIENT = b"SET LOCAL idle_in_transaction_session_timeout = '60s'"

EXPORTS = Gauge("settler_api_exports_running", "Exports that are being read and sent.")

Format = Annotated[
    Literal["csv", "parquet"], Field(description="`csv` (RFC 4180, UTF-8) or `parquet`.")
]


class ExceptionsExportQuery(ExceptionFilters):
    """Which exceptions, and in which form."""

    format: Format = "csv"


class MatchesExportQuery(MatchFilters):
    """Which matches, and in which form."""

    format: Format = "csv"


EXCEPTION_COLUMNS = (
    Column("exception_id"), Column("reconciliation_id"), Column("position", "whole"),
    Column("side"), Column("transaction_id"), Column("category"), Column("severity"),
    Column("status"), Column("resolution"), Column("amount", "amount"), Column("currency"),
    Column("occurred_at", "instant"), Column("rule"), Column("reason"),
    Column("match_id"), Column("assignee"), Column("resolution_reason"),
    Column("comments", "whole"), Column("definition_version", "whole"),
    Column("opened_at", "instant"), Column("updated_at", "instant"), Column("due_at", "instant"),
    Column("overdue", "truth"), Column("candidates", "json"),
)  # fmt: skip
MATCH_COLUMNS = (
    Column("match_id"), Column("reconciliation_id"), Column("position", "whole"),
    Column("status"), Column("rule"), Column("match_type"), Column("definition_version", "whole"),
    Column("source_ids", "texts"), Column("target_ids", "texts"), Column("currency"),
    Column("source_amount", "amount"), Column("target_amount", "amount"),
    Column("difference", "amount"), Column("source_amounts", "amounts"),
    Column("target_amounts", "amounts"), Column("reason"), Column("command_id"),
    Column("matched_at", "instant"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _List:
    """What is exported.

    Attributes:
        name: Of the file.
        query: The named query that gives a page, oldest first, after `position`.
    """

    name: str
    query: str
    columns: Sequence[Column]
    outward: Any


_EXCEPTIONS = _List("exceptions", "list_exceptions_oldest", EXCEPTION_COLUMNS, to_exception)
_MATCHES = _List("matches", "list_matches_oldest", MATCH_COLUMNS, to_match)


class _Running:
    """The exports of this process; each holds a connection."""

    count = 0

    def begin(self) -> None:
        """Take a place.

        Raises:
            ApiError: `export_busy`.
        """
        if self.count >= EXPORTS_MAX:
            raise ApiError("export_busy")
        self.count += 1
        EXPORTS.inc()

    def end(self) -> None:
        """Give the place back."""
        self.count -= 1
        EXPORTS.dec()


_RUNNING = _Running()


class ExportResponse(StreamingResponse):
    """A file that is sent while it is read; the reading ends with it, however it ends."""

    def __init__(
        self, first: bytes, pieces: AsyncGenerator[bytes, None], media_type: str, name: str
    ) -> None:
        self._pieces = pieces
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        super().__init__(_all(first, pieces), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file.

        Raises:
            TimeoutError: It took longer than `EXPORT_SECONDS_MAX`; the answer breaks off.
        """
        try:
            async with asyncio.timeout(EXPORT_SECONDS_MAX):
                await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


async def _all(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in pieces:
        yield piece


async def _read_page(
    session: Session, of: _List, parameters: Mapping[str, Any], position: int
) -> list[dict[str, Any]]:
    return await session.rows(of.query, {**parameters, "position": position, "limit": PAGE_ROWS})


async def _pieces(
    call: Call, of: _List, file_format: str, parameters: Mapping[str, Any]
) -> AsyncGenerator[bytes, None]:
    """Read the list in one transaction; every piece but the last has some rows of it."""
    writer = FORMATS[file_format].writer(of.columns)
    # Turning rows into bytes takes longer than other requests should wait.

    def write(rows: list[dict[str, Any]]) -> bytes:
        return writer.write([of.outward(row) for row in rows])

    _RUNNING.begin()
    try:
        async with call.services.database.tenant(call.tenant_id, snapshot=True) as session:
            await session.connection.execute(_WAIT_FOR_CLIENT)
            position = -1
            while rows := await _read_page(session, of, parameters, position):
                position, is_last = rows[-1]["position"], len(rows) < PAGE_ROWS
                piece = await asyncio.to_thread(write, rows)
                del rows
                yield piece
                if is_last:
                    break
        yield await asyncio.to_thread(writer.end)
    finally:
        _RUNNING.end()


async def _export(
    call: Call, of: _List, file_format: str, parameters: Mapping[str, Any]
) -> ExportResponse:
    pieces = _pieces(call, of, file_format, {**parameters, "tenant_id": call.tenant_id})
    # What fails before the first rows are there is answered like any other failure.
    first = await anext(pieces)
    call.request.scope["settler.stream"] = True
    kind = FORMATS[file_format]
    return ExportResponse(first, pieces, kind.media_type, f"{of.name}.{kind.suffix}")


async def export_exceptions(call: Call) -> ExportResponse:
    """Send the tenant's exceptions as a file."""
    query = call.query(ExceptionsExportQuery)
    parameters = {name: getattr(query, name) for name in FILTERS}
    return await _export(call, _EXCEPTIONS, query.format, parameters)


async def export_matches(call: Call) -> ExportResponse:
    """Send the tenant's matches as a file."""
    query = call.query(MatchesExportQuery)
    return await _export(call, _MATCHES, query.format, matches_parameters(query))


def _operation(name: str, handler: Any, query: type[BaseModel]) -> Operation:
    return Operation(
        method="GET",
        path=f"/{name}/export",
        handler=handler,
        tag=name,
        summary=f"Export {name} as a CSV or Parquet file",
        description=(
            "Filters are those of the list; oldest first. The file shows one moment and is sent "
            "as it is read, however many rows it has; one that breaks off lacks the end of the "
            "answer. In CSV a text that a spreadsheet would take for a formula has an apostrophe "
            "before it, and amounts are as in the list; in Parquet they are `decimal128(38, 4)`."
        ),
        query=query,
        answer=None,
        files=tuple(one.media_type for one in FORMATS.values()),
        errors=("export_busy",),
    )


OPERATIONS = (
    _operation("exceptions", export_exceptions, ExceptionsExportQuery),
    _operation("matches", export_matches, MatchesExportQuery),
)
