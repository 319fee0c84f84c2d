"""`settler definitions lint`: what a definition may do that was not meant."""

from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.console import DOES_NOT_HOLD, Json, fail, print_json, say

if TYPE_CHECKING:
    from domain.definitions import Definition
    from domain.linting.findings import Finding, Sample
    from domain.transactions import Transaction

# Shares and medians of more records are the same.
SAMPLE_RECORDS_MAX = 100_000


def lint(
    files: Annotated[list[Path], typer.Argument(help="Definitions, YAML or JSON.")],
    source: Annotated[
        Path | None, typer.Option(help="Sample of the source side: CSV, JSONL or Parquet.")
    ] = None,
    target: Annotated[Path | None, typer.Option(help="Sample of the target side.")] = None,
    typical_amount: Annotated[
        str | None, typer.Option(help="A typical amount, in place of samples.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="When a file names none.")] = None,
    as_json: Json = False,
) -> None:
    """Say which rules of a definition cannot match, or may match wrongly, and what to do.

    Errors are rules that do nothing and definitions that are refused; warnings are rules that may
    match wrongly; hints are worth a look. With samples of real records, tolerances and recurring
    values are judged by them. Exit 0: hints at most. 1: errors or warnings. 2: unusable input.

    Example: settler definitions lint shop.yaml --source orders.csv --target charges.csv
    """
    from connectors.files.definition_file import read_definition
    from connectors.files.errors import FileUnusable
    from domain.errors import DefinitionInvalid
    from domain.linting.lint import invalid_findings, lint_definition

    typical = None if typical_amount is None else _amount(typical_amount)
    found: list[tuple[Path, Finding]] = []
    for file in files:
        try:
            definition = read_definition(file, tenant)
            sample = _sample(definition, source, target, typical)
            findings = lint_definition(definition, sample)
        except FileUnusable as exc:
            raise fail(str(exc)) from exc
        except DefinitionInvalid as exc:
            findings = invalid_findings(exc)
        found += [(file, finding) for finding in findings]
    if as_json:
        print_json([_plain(file, finding) for file, finding in found])
    else:
        for file, finding in found:
            name = "" if finding.rule is None else f" ({finding.rule})"
            print(f"{file}: {finding.path or 'definition'}{name}: {finding.severity}")
            print(f"    {finding.message} [{finding.code}]")
    counts = {
        severity: sum(finding.severity == severity for _, finding in found)
        for severity in ("error", "warning", "hint")
    }
    said = ", ".join(f"{n} {severity}{'s' * (n != 1)}" for severity, n in counts.items())
    say(f"lint: {said} in {len(files)} definition{'s' * (len(files) != 1)}")
    if counts["error"] or counts["warning"]:
        raise typer.Exit(DOES_NOT_HOLD)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise fail(f"--typical-amount is {text!r}; give an amount above zero such as 49.90")
    return amount


def _sample(
    definition: "Definition", source: Path | None, target: Path | None, typical: Decimal | None
) -> "Sample":
    from domain.linting.findings import Sample

    sides = _records(definition, source, 0), _records(definition, target, 1)
    return Sample(sides, typical)


def _records(definition: "Definition", path: Path | None, side: int) -> "list[Transaction]":
    from connectors.files.reading import read_records
    from domain.transactions import Rejection

    if path is None:
        return []
    records = [
        one
        for one in islice(read_records(path, side, definition), SAMPLE_RECORDS_MAX)
        if not isinstance(one, Rejection)
    ]
    if not records:
        raise fail(f"{path} has no record that can be used; see `settler reconcile` for why")
    return records


def _plain(file: Path, finding: "Finding") -> dict[str, Any]:
    return {
        "file": str(file),
        "path": finding.path,
        "rule": finding.rule,
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
    }
