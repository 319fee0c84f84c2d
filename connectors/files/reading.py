"""One file as a stream of transactions and rejections, whatever its format."""

from collections.abc import Iterator
from pathlib import Path

from connectors.files.csv_file import read_csv
from connectors.files.errors import FileUnusable
from connectors.files.jsonl_file import read_jsonl
from connectors.files.parquet_file import read_parquet
from connectors.files.rows import Record
from domain.definitions import Definition

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def read_records(
    path: Path, side: int, definition: Definition, delimiter: str | None = None
) -> Iterator[Record]:
    """Yield every record of a file in its order; memory does not grow with the file.

    The format follows from the file's suffix, for an unknown one from its first bytes.

    Args:
        path: CSV (UTF-8, with header), JSONL or Parquet.
        side: `SOURCE` or `TARGET`.
        definition: Maps columns; gives tenant and reconciliation where the file has none.
        delimiter: Of a CSV file; found in its header when None.

    Raises:
        FileUnusable: While iterating: the file is missing, unreadable, or lacks what is needed.
    """
    try:
        match FORMATS.get(path.suffix.lower()) or _sniffed(path):
            case "parquet":
                yield from read_parquet(path, side, definition)
            case "jsonl":
                yield from read_jsonl(path, side, definition)
            case _:
                yield from read_csv(path, side, definition, delimiter)
    except FileNotFoundError as exc:
        raise FileUnusable(path, "does not exist") from exc
    except OSError as exc:
        raise FileUnusable(path, f"cannot be read ({exc.strerror or exc})") from exc


def _sniffed(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "csv"
