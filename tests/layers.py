"""How much of each layer the tests run, against what each has to reach.

    python -m tests.layers        after `coverage combine`; exit 1 when a layer falls short

A layer that falls short is shown with its files, the ones that lack most first, and their lines.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Percent of the statements of a layer, its own modules alone.
REQUIRED: Mapping[str, float] = {
    "domain": 100,
    "flows": 95,
    "projections": 95,
    "connectors": 85,
    "api": 85,
    "deploy": 70,
}
_FILES_SHOWN = 12
_STRETCHES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Counted:
    """A file's or a layer's statements, and how many of them no test ran; of a file, which."""

    name: str
    statements: int
    missing: int
    lines: tuple[int, ...] = ()

    @property
    def percent(self) -> float:
        """Covered; all of nothing is 100."""
        return 100 * (1 - self.missing / self.statements) if self.statements else 100.0


def by_layer(files: Sequence[Counted]) -> dict[str, list[Counted]]:
    """Put files, named by path, under the layer that is the first part of it."""
    layers: dict[str, list[Counted]] = {layer: [] for layer in REQUIRED}
    for file in files:
        layers[file.name.partition("/")[0]].append(file)
    return layers


def total(name: str, files: Sequence[Counted]) -> Counted:
    """Add files up."""
    return Counted(name, sum(file.statements for file in files), sum(f.missing for f in files))


def stretches(lines: Sequence[int]) -> str:
    """Write lines, ascending, as stretches of neighbours: 3, 7-9; only the first when many."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][-1] + 1:
            found[-1].append(line)
        else:
            found.append([line])
    shown = [f"{one[0]}-{one[-1]}" if len(one) > 1 else f"{one[0]}" for one in found]
    more = ["…"] if len(shown) > _STRETCHES_SHOWN else []
    return ", ".join(shown[:_STRETCHES_SHOWN] + more)


def report(files: Sequence[Counted], required: Mapping[str, float] = REQUIRED) -> tuple[str, bool]:
    """Say how each layer stands; and whether all of them reach what they have to."""
    head = f"{'layer':<14}{'statements':>11}{'missing':>9}{'percent':>9}{'at least':>10}"
    lines, holds = [head], True
    for layer, own in by_layer(files).items():
        summed = total(layer, own)
        # A layer that no file was counted of was not measured at all.
        reaches = summed.statements > 0 and summed.percent >= required[layer]
        holds = holds and reaches
        lines.append(
            f"{layer:<14}{summed.statements:>11}{summed.missing:>9}{summed.percent:>9.2f}"
            f"{required[layer]:>10.2f}{'' if reaches else '  falls short'}"
        )
        if reaches:
            continue
        worst = sorted(own, key=lambda file: -file.missing)[:_FILES_SHOWN]
        lines += [
            f"    {one.missing:>4} missing in {one.name}: {stretches(one.lines)}"
            for one in worst
            if one.missing
        ]
    return "\n".join(lines), holds


def read(measured: Mapping[str, object]) -> list[Counted]:
    """Take the counts out of what `coverage json` writes."""
    files = measured["files"]
    assert isinstance(files, dict)
    return [
        Counted(
            name,
            found["summary"]["num_statements"],
            found["summary"]["missing_lines"],
            tuple(found["missing_lines"]),
        )
        for name, found in files.items()
    ]


def main() -> int:
    """Show the layers; 1 when one falls short."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "coverage.json"
        subprocess.run(
            [sys.executable, "-m", "coverage", "json", "--quiet", "-o", path], check=True
        )
        measured = json.loads(path.read_text(encoding="utf-8"))
    text, holds = report(read(measured))
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
