"""SQL by name: each `sql/*.sql` file is a list of queries under `-- name --` headings."""

import re
from importlib import resources

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load_queries(file: str) -> dict[str, bytes]:
    """Read the named queries of `sql/{file}.sql`.

    Args:
        file: Name without folder and ending, such as "writing".

    Returns:
        name → query text as bytes, as psycopg takes it, in the order of the file.
    """
    text = resources.files("connectors.postgres").joinpath("sql", f"{file}.sql").read_text("utf-8")
    return parse_queries(text)


def parse_queries(text: str) -> dict[str, bytes]:
    """Split a text at its headings; a name used twice is a programmer's mistake."""
    parts = _HEADING.split(text)
    names = parts[1::2]
    assert len(names) == len(set(names)), f"a query name occurs twice: {sorted(names)}"
    return {name: body.strip().encode() for name, body in zip(names, parts[2::2], strict=True)}
