"""CSV files: UTF-8, a header line, cells as text and nothing inferred from them.

The standard library's reader is used on purpose.  A columnar one reads faster, but a row with a
wrong number of cells, a foreign byte or an endless field makes it refuse a whole block; here each
of them is one rejection, and building the transactions costs ten times the reading.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from connectors.files.errors import FileUnusable
from connectors.files.rows import Record, Row, RowPlan
from domain.definitions import Definition
from domain.transactions import Rejection

DELIMITERS = ",;\t|"
# A longer cell is no field of a transaction but a quote that was never closed.
CELL_CHARACTERS_MAX = 1 << 17
# A longer line is not a line: a binary file, or one without line ends.
LINE_CHARACTERS_MAX = 1 << 24

_FOREIGN = re.compile("[\udc80-\udcff]")


def read_csv(
    path: Path, side: int, definition: Definition, delimiter: str | None = None
) -> Iterator[Record]:
    """Yield a transaction or a rejection for every row; `offset` is the row's first line.

    Args:
        path: The file. A byte order mark is skipped.
        side: `SOURCE` or `TARGET`.
        definition: Maps the columns.
        delimiter: One character; found in the header line when None.

    Raises:
        FileUnusable: No header, a needed column missing, or not text with lines.
        OSError: The file cannot be read.
    """
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _Lines(path, file)
        first = lines.peek()
        reader = csv.reader(lines, delimiter=delimiter or _sniffed(first))
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise FileUnusable(path, "is empty or starts with an empty line; it needs a header")
        if lines.foreign:
            raise FileUnusable(path, "is not UTF-8 in its header; save it as UTF-8")
        plan = RowPlan(path, header, side, definition)
        yield from plan.build_all(_rows(reader, lines, plan))


def _rows(reader: "csv._reader", lines: "_Lines", plan: RowPlan) -> Iterator[Row | Rejection]:  # type: ignore[name-defined]
    width = len(plan.header)
    while True:
        row = reader.line_num + 1
        lines.foreign = False
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield _unreadable(plan, row, reader.line_num, str(exc))
            continue
        if len(cells) == width and not lines.foreign:
            yield Row(cells, row)
        elif cells:
            yield _odd(plan, cells, row, lines.foreign)


def _odd(plan: RowPlan, cells: list[str], row: int, foreign: bool) -> Row | Rejection:
    width = len(plan.header)
    if foreign:
        return plan.reject(
            [_shown(cell) for cell in cells],
            row,
            "invalid_encoding",
            f"line {row} holds bytes that are not UTF-8; save the file as UTF-8",
        )
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        return Row(cells[:width], row)
    return plan.reject(
        cells,
        row,
        "ragged_row",
        f"line {row} has {len(cells)} cells, the header has {width}; correct the line, perhaps "
        "a delimiter inside a cell needs quotes",
    )


def _unreadable(plan: RowPlan, first: int, last: int, problem: str) -> Rejection:
    return plan.reject(
        [],
        first,
        "too_large" if "field limit" in problem else "ragged_row",
        f"lines {first} to {last} cannot be read as cells ({problem}); look for a quote that is "
        f"never closed in line {first}",
    )


def _shown(cell: str) -> str:
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _sniffed(line: str) -> str:
    """The delimiter that stands most often in the header, outside quotes; a comma if none does."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(DELIMITERS, key=bare.count)


class _Lines:
    """The lines of a file, remembering whether one since the last look held foreign bytes."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._first: str | None = None
        self.foreign = False

    def peek(self) -> str:
        """The first line, which is given out again."""
        self._first = self._read()
        if self._first.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise FileUnusable(self._path, "is UTF-16; save it as UTF-8")
        return self._first

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._first
        if line is None:
            line = self._read()
        else:
            self._first = None
        if not line:
            raise StopIteration
        if not line.isascii() and _FOREIGN.search(line):
            self.foreign = True
        return line

    def _read(self) -> str:
        line = self._file.readline(LINE_CHARACTERS_MAX)
        if len(line) == LINE_CHARACTERS_MAX:
            raise FileUnusable(
                self._path, f"has a line of over {LINE_CHARACTERS_MAX} characters; is it text?"
            )
        return line
