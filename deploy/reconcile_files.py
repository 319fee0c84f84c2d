"""Two files through the engine: no services, and the end of the files is the end of time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from connectors.files.reading import read_records
from connectors.files.results import Results
from connectors.files.rows import Record
from connectors.files.summary import summarise
from connectors.files.writing import (
    EXCEPTIONS,
    MATCHES,
    REJECTED,
    SUMMARY,
    indented,
    json_lines,
    write_files,
)
from domain.decision import Decision
from domain.definitions import Definition
from domain.money import CURRENCY_DIGITS, format_minor
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import SIDE_NAMES, SOURCE, TARGET, Transaction

CHUNK_RECORDS = 8192

# Told how many records of "source" or "target" have been read, after each chunk.
Progress = Callable[[str, int], None]


def reconcile_files(
    definition: Definition,
    source: Path,
    target: Path,
    *,
    delimiter: str | None = None,
    progress: Progress = lambda _side, _count: None,
) -> Results:
    """Reconcile two files and return the end state.

    Event time stands still while files are read: a file is a set, and the order of its lines says
    nothing about when a record became known. Then all of it passes at once, in order.

    Raises:
        FileUnusable: A file is missing, unreadable, or lacks a needed column.
    """
    state = Reconciliation(definition)
    results = Results(definition)
    for side, path in ((SOURCE, source), (TARGET, target)):
        for records in _chunks(read_records(path, side, definition, delimiter)):
            transactions = results.note_read(side, records)
            decision = state.advance(
                Chunk(transactions=transactions, rejected=len(records) - len(transactions))
            )
            _take(results, decision, transactions)
            progress(SIDE_NAMES[side], results.read[side])
    _take(results, state.finish(), [])
    return results


def _take(results: Results, decision: Decision, transactions: list[Transaction]) -> None:
    results.fold(decision.events)
    if decision.rejections:
        by_row = {one.offset: one for one in transactions}
        for rejection in decision.rejections:
            rejection.raw = _as_record(by_row[rejection.offset])
            results.rejections.append(rejection)


def write_results(results: Results, directory: Path) -> Mapping[str, Any]:
    """Write the four files and return the summary.

    Raises:
        FileUnusable: The directory cannot be written.
    """
    summary = summarise(results)
    write_files(
        directory,
        {
            MATCHES: json_lines(results.match_rows()),
            EXCEPTIONS: json_lines(results.exception_rows()),
            REJECTED: json_lines(results.rejected_rows()),
            SUMMARY: indented(summary),
        },
    )
    return summary


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while chunk := list(islice(rest, CHUNK_RECORDS)):
        yield chunk


def _as_record(transaction: Transaction) -> bytes:
    """A transaction in the form of its record, for a rejection made after it was read."""
    digits = CURRENCY_DIGITS[transaction.currency]
    record = {
        "tenant_id": transaction.tenant_id,
        "reconciliation_id": transaction.reconciliation_id,
        "transaction_id": transaction.transaction_id,
        "amount": format_minor(transaction.amount_minor, digits),
        "currency": transaction.currency,
        "reference": transaction.reference,
        "counterparty": transaction.counterparty,
        "description": transaction.description,
        "attributes": transaction.attributes,
    }
    return msgspec.json.encode({name: value for name, value in record.items() if value is not None})
