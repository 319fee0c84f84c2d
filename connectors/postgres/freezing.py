"""Blocks of state that a flow has frozen: written once, read by the page, dropped when unnamed."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from connectors.postgres.errors import BlocksMissing
from connectors.postgres.queries import load_queries
from domain.freezing.freezing import thaw
from domain.freezing.frozen import NewBlock, pages_of
from domain.reconciliation import Reconciliation

_SQL = load_queries("freezing")
_PAGE_TYPES = ["text", "int8", "int4", "bytea"]


def write_blocks(conn: Connection[Any], stream_id: str, blocks: Sequence[NewBlock]) -> None:
    """Store blocks; those that are stored already stay as they are."""
    with conn.transaction():
        new = [block for block in blocks if _add(conn, stream_id, block)]
        with conn.cursor().copy(_SQL["copy_pages"]) as copy:
            copy.set_types(_PAGE_TYPES)
            for block in new:
                for number, content in enumerate(block.pages):
                    copy.write_row((stream_id, block.number, number, content))


def _add(conn: Connection[Any], stream_id: str, block: NewBlock) -> bool:
    added = conn.execute(
        _SQL["add_block"],
        {"stream_id": stream_id, "number": block.number, "fingerprints": block.fingerprints},
    )
    return added.rowcount == 1


def read_fingerprints(
    conn: Connection[Any], stream_id: str, numbers: Sequence[int]
) -> dict[int, bytes]:
    """Read the fingerprints of blocks by number; those that are not stored are missing."""
    asked = {"stream_id": stream_id, "numbers": list(numbers)}
    return dict(conn.execute(_SQL["read_fingerprints"], asked, binary=True).fetchall())


def read_pages(
    conn: Connection[Any], stream_id: str, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Read pages by block number and page number; those that are not stored are missing."""
    asked = {
        "stream_id": stream_id,
        "blocks": [block for block, _ in places],
        "pages": [page for _, page in places],
    }
    found = conn.execute(_SQL["read_pages"], asked, binary=True)
    return {(block, page): content for block, page, content in found}


def thaw_everything(conn: Connection[Any], state: Reconciliation) -> None:
    """Put all that a restored state has frozen in memory, block by block.

    For whoever folds on without freezing; its index need not be loaded.

    Raises:
        BlocksMissing: The store lacks a block that the state's snapshot names.
    """
    for block in list(state.frozen.blocks.values()):
        entries = {block.slot: block.living()}
        places = pages_of(state.frozen, entries)
        pages = read_pages(conn, state.stream_id, places)
        if len(pages) < len(places):
            raise BlocksMissing(state.stream_id)
        thaw(state, entries, pages)
