"""A workload as files: one directory per reconciliation, JSONL or CSV."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import yaml

from connectors.synthetic import broken
from connectors.synthetic.facts import Facts
from connectors.synthetic.workload import Workload
from domain.transactions import SIDE_NAMES

FORMATS = ("jsonl", "csv")

CSV_COLUMNS = (
    "tenant_id",
    "reconciliation_id",
    "transaction_id",
    "amount",
    "currency",
    "occurred_at",
    "reference",
    "counterparty",
    "description",
    "fee",
    "base_amount",
    "attributes.channel",
)
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def invalid_kinds(file_format: str) -> tuple[str, ...]:
    """The kinds of unusable records that this format can carry and its reader refuses."""
    if file_format == "csv":
        return tuple(broken.TABULAR)
    return tuple(broken.TABULAR | broken.JSON_ONLY)


def write_definitions(workload: Workload, directory: Path, idle_seconds: int = 3) -> None:
    """Write TENANT/RECONCILIATION/definition.yaml for every stream."""
    for spec, document in zip(workload.streams, workload.definitions(idle_seconds), strict=True):
        place = directory / spec.tenant_id / spec.reconciliation_id
        place.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        (place / "definition.yaml").write_text(text, encoding="utf-8")


def write_workload(
    workload: Workload, facts: Facts, directory: Path, file_format: str = "jsonl"
) -> int:
    """Write source and target files beside the definitions; returns the number of records.

    Args:
        workload: Its `invalid_kinds` must be those of the format.
        facts: Gets the truth.
        directory: As for `write_definitions`.
        file_format: One of `FORMATS`.
    """
    write_definitions(workload, directory)
    count = 0
    with ExitStack() as stack:
        writers: dict[tuple[bytes, int], Any] = {}
        for spec in workload.streams:
            place = directory / spec.tenant_id / spec.reconciliation_id
            for side, name in enumerate(SIDE_NAMES):
                key = f"{spec.tenant_id}:{spec.reconciliation_id}".encode()
                opened = _csv_file if file_format == "csv" else _jsonl_file
                path = place / f"{name}.{file_format}"
                writers[key, side] = stack.enter_context(opened(path))
        for side, key, value in workload.messages(facts):
            writers[key.rsplit(b":", 1)[0], side](value)
            count += 1
    return count


@contextmanager
def _jsonl_file(path: Path) -> Iterator[Any]:
    with path.open("wb") as file:
        yield lambda value: file.write(value + b"\n")


@contextmanager
def _csv_file(path: Path) -> Iterator[Any]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _csv_writer(file)


def _csv_writer(file: IO[str]) -> Any:
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)

    def write(value: bytes) -> None:
        record = {name: _text(member) for name, member in _decode_members(value).items()}
        channel = record.pop("attributes", "")
        if channel:
            record["attributes.channel"] = msgspec.json.decode(channel)["channel"]
        writer.writerow([record.get(name, "") for name in CSV_COLUMNS])

    return write


def _text(member: msgspec.Raw) -> str:
    written = bytes(member)
    return msgspec.json.decode(written, type=str) if written[:1] == b'"' else written.decode()
