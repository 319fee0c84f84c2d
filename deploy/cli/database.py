"""The operator's connection, from which commands see every tenant."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from connectors.settings import Settings


@contextmanager
def operator(settings: "Settings") -> "Iterator[Connection[Any]]":
    """Connect as settler_operator, in autocommit, to a migrated database.

    Raises:
        SchemaBehind: `settler migrate` has not run for this release.
        psycopg.OperationalError: The database does not answer.
    """
    from connectors.postgres.connections import connect, url_of
    from connectors.postgres.migrations import check_migrated

    with connect(url_of(settings, "operator"), "operator", "settler-cli") as connection:
        check_migrated(connection)
        yield connection


def load_queries(file: str) -> dict[str, bytes]:
    """Read the named queries of `deploy/cli/{file}.sql`."""
    from connectors.postgres.queries import parse_queries

    return parse_queries(resources.files("deploy.cli").joinpath(f"{file}.sql").read_text("utf-8"))
