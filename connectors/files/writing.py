"""Output files: complete or not there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from connectors.files.errors import FileUnusable

MATCHES, EXCEPTIONS, REJECTED, SUMMARY = (
    "matches.jsonl",
    "exceptions.jsonl",
    "rejected.jsonl",
    "summary.json",
)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One object per line, members in the order given; each row is let go once it is written."""
    lines = bytearray()
    encoder = msgspec.json.Encoder()
    for row in rows:
        encoder.encode_into(row, lines, -1)
        lines += b"\n"
    return bytes(lines)


def indented(document: Mapping[str, Any]) -> bytes:
    """One object for people to read, with a line end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that appear whole, all of them written before the first one appears.

    Raises:
        FileUnusable: The directory or a file in it cannot be written.
    """
    written: list[tuple[Path, Path]] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial = directory / f".{name}.partial"
            written.append((partial, directory / name))
            partial.write_bytes(content)
        for partial, final in written:
            partial.replace(final)
    except OSError as exc:
        for partial, _ in written:
            partial.unlink(missing_ok=True)
        raise FileUnusable(
            directory, f"cannot be written ({exc.strerror or exc}); name another with --out"
        ) from exc
