"""From the columns of one file to the fields of a transaction, as the definition maps them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from connectors.files.cells import Convert, converter
from connectors.files.errors import CellInvalid, FileUnusable
from domain.definitions import Column, Definition, SideSpec
from domain.transaction_reading import read_transactions
from domain.transactions import SOURCE, Rejection, Transaction

Record = Transaction | Rejection
#: Texts in the header's order; None or blank means absent.
Cells = Sequence[str | None]

REQUIRED_FIELDS = ("transaction_id", "amount", "currency", "occurred_at")
OUR_FIELDS = frozenset(
    {
        *REQUIRED_FIELDS,
        "tenant_id",
        "reconciliation_id",
        "reference",
        "counterparty",
        "description",
        "fee",
        "base_amount",
        "base_currency",
        "fx_rate",
        "fx_to",
        "supersedes",
    }
)
ATTRIBUTE = "attributes."
# A file is reconciled alike at any time of reading: nothing in it is ahead of this clock.
NO_CLOCK = 1 << 62
# A record takes no more attributes than this; of a wider file the ones that rules name come first.
ATTRIBUTES_MAX = 64
# Rows read together.
_ROWS_AT_ONCE = 1_024


class Row(NamedTuple):
    """Of a file: as many cells as its header has, and its number, kept as `offset`."""

    cells: Cells
    number: int


class RowPlan:
    """How the rows of one file become transactions of one side.

    Args:
        path: For messages.
        header: The file's column names in order.
        side: `SOURCE` or `TARGET`.
        definition: Gives the mapping, the zone, and tenant and reconciliation where the file has
            none.
        typed: Columns whose values are already in the record's notation (a Parquet decimal or
            timestamp): of the mapping only `negate` and `time_zone` apply to them.

    Raises:
        FileUnusable: A mapped or required column is missing, or a used one is there twice.
    """

    def __init__(
        self,
        path: Path,
        header: Sequence[str],
        side: int,
        definition: Definition,
        typed: frozenset[str] = frozenset(),
    ) -> None:
        self.header = tuple(_named(header))
        self._side = side
        self._tenant_id = definition.tenant_id
        self._reconciliation_id = definition.reconciliation_id
        fields, attributes = _placed(path, header, side_spec(definition, side), definition)
        self._fields: list[tuple[int, str, Convert | None]] = []
        for name, (place, column) in fields.items():
            notation = column
            if header[place] in typed:
                notation = Column(column.column, negate=column.negate, time_zone=column.time_zone)
            self._fields.append((place, name, converter(name, notation, definition.time_zone)))
        self._attributes = attributes
        self.fields = {name: place for name, (place, _) in fields.items()}

    def build_all(self, rows: Iterable[Row | Rejection]) -> Iterator[Record]:
        """Make transactions, or the rejections that say why not; what is rejected already passes.

        Several are read at once, which costs a third of reading each by itself.
        """
        following = iter(rows)
        while some := list(islice(following, _ROWS_AT_ONCE)):
            yield from self._build(some)

    def _build(self, rows: Sequence[Row | Rejection]) -> list[Record]:
        cells_of = {row.number: row.cells for row in rows if isinstance(row, Row)}
        made: dict[int, Record] = {}
        raws: dict[int, bytes] = {}
        # By way of JSON: the reading of messages agrees with `build_transaction`, and is so much
        # faster that the detour costs less than half of going there straight.
        for number, cells in cells_of.items():
            try:
                raws[number] = msgspec.json.encode(self._fields_of(cells))
            except CellInvalid as exc:
                made[number] = self.reject(cells, number, exc.code, str(exc))
        for read in read_transactions(list(raws.values()), raws, self._side, NO_CLOCK):
            is_elsewhere = (read.tenant_id, read.reconciliation_id) != (
                self._tenant_id,
                self._reconciliation_id,
            )
            for one in read.transactions:
                made[one.offset] = one
                if is_elsewhere:
                    made[one.offset] = self.reject(
                        cells_of[one.offset],
                        one.offset,
                        "unknown_reconciliation",
                        elsewhere(one, self._tenant_id),
                    )
            for rejection in read.rejections:
                rejection.raw = self.raw(cells_of[rejection.offset])
                made[rejection.offset] = rejection
        return [made[row.number] if isinstance(row, Row) else row for row in rows]

    def _fields_of(self, cells: Cells) -> dict[str, object]:
        """Name what a row's cells say.

        Raises:
            CellInvalid: One is not in the notation the definition gives its column.
        """
        fields: dict[str, object] = {
            "tenant_id": self._tenant_id,
            "reconciliation_id": self._reconciliation_id,
        }
        for place, name, convert in self._fields:
            text = cells[place]
            if text and not text.isspace():
                fields[name] = text if convert is None else convert(text)
        if self._attributes:
            attributes = {}
            for place, name in self._attributes:
                text = cells[place]
                if text and not text.isspace():
                    attributes[name] = text
            if attributes:
                fields["attributes"] = attributes
        return fields

    def reject(self, cells: Cells, row: int, code: str, message: str) -> Rejection:
        """Reject a row, with its transaction id where the id's cell can be read."""
        place = self.fields["transaction_id"]
        identifier = cells[place] if place < len(cells) else None
        return Rejection(
            code=code,
            message=message,
            tenant_id=self._tenant_id,
            reconciliation_id=self._reconciliation_id,
            transaction_id=(identifier or "").strip() or None,
            side=self._side,
            raw=self.raw(cells),
            offset=row,
        )

    def raw(self, cells: Cells) -> bytes:
        """The row as one JSON object; bytes that are no UTF-8 are shown escaped."""
        named = dict(zip(self.header, cells, strict=False))
        if len(cells) > len(self.header):
            named["…"] = " | ".join(cell or "" for cell in cells[len(self.header) :])
        try:
            return msgspec.json.encode(named)
        except UnicodeEncodeError:
            return msgspec.json.encode(
                {_printable(name): _printable(cell) for name, cell in named.items()}
            )


def side_spec(definition: Definition, side: int) -> SideSpec:
    """The definition's words on one side."""
    return definition.source if side == SOURCE else definition.target


def elsewhere(record: Transaction, tenant_id: str) -> str:
    """Say that a record is of another reconciliation than the one it was given for."""
    owner = "" if record.tenant_id == tenant_id else f" of tenant {record.tenant_id!r}"
    return (
        f"the record names reconciliation {record.reconciliation_id!r}{owner}, not the one of "
        "this definition; reconcile it with its own"
    )


def _placed(
    path: Path, header: Sequence[str], spec: SideSpec, definition: Definition
) -> tuple[dict[str, tuple[int, Column]], list[tuple[int, str]]]:
    """Where each field stands, and each attribute."""
    fields: dict[str, tuple[int, Column]] = {}
    attributes: dict[str, int] = {}
    for name, column in spec.columns.items():
        place = _place(path, header, column.column, f"which the definition maps to {name}")
        if name.startswith(ATTRIBUTE):
            attributes[name.removeprefix(ATTRIBUTE)] = place
        else:
            fields[name] = (place, column)
    used = {column.column for column in spec.columns.values()}
    for name in header:
        if name in OUR_FIELDS and name not in fields and name not in used:
            fields[name] = (_place(path, header, name, "a field of the record"), Column(name))
            used.add(name)
    for name in REQUIRED_FIELDS:
        if name not in fields:
            raise FileUnusable(
                path,
                f"has no column for the required field {name!r}; it has {_listed(header)}. Name "
                f"the right one under `columns` in the definition, as {name}: COLUMN",
            )
    rest = [
        (name.removeprefix(ATTRIBUTE), place)
        for place, name in enumerate(_named(header))
        if header[place] not in used
    ]
    wanted = _rule_attributes(definition)
    rest.sort(key=lambda item: item[0] not in wanted)
    for name, place in rest:
        if len(attributes) < ATTRIBUTES_MAX:
            attributes.setdefault(name, place)
    return fields, [(place, name) for name, place in attributes.items()]


def _place(path: Path, header: Sequence[str], column: str, role: str) -> int:
    count = header.count(column)
    if count == 1:
        return header.index(column)
    if count == 0:
        raise FileUnusable(
            path,
            f"has no column {column!r}, {role}; it has {_listed(header)}. Correct the definition's "
            "`columns` or the file",
        )
    raise FileUnusable(
        path, f"has {count} columns named {column!r}, {role}; rename all but the right one"
    )


def _named(header: Iterable[str]) -> list[str]:
    """Column names, made distinct: the second X is "X (2)", a nameless one "column 5"."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for place, name in enumerate(header, 1):
        given = name or f"column {place}"
        seen[given] = seen.get(given, 0) + 1
        names.append(given if seen[given] == 1 else f"{given} ({seen[given]})")
    return names


def _rule_attributes(definition: Definition) -> set[str]:
    return {
        name.removeprefix(ATTRIBUTE)
        for rule in definition.rules
        for condition in rule.conditions
        for name in (condition.source_field, condition.target_field)
        if name.startswith(ATTRIBUTE)
    }


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in header[:30])
    return f"{shown} and {len(header) - 30} more" if len(header) > 30 else shown or "none"


def _printable(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
