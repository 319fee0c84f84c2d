"""The SQL of this package: each module's named queries stand in the `.sql` file beside it."""

from importlib import resources

from connectors.postgres.queries import parse_queries


def load_queries(file: str) -> dict[str, bytes]:
    """Read the named queries of `projections/{file}.sql`, as psycopg takes them."""
    return parse_queries(resources.files("projections").joinpath(f"{file}.sql").read_text("utf-8"))
