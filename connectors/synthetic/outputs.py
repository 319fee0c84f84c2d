"""The result files of `settler reconcile`, read back as facts to hold against the truth."""

from pathlib import Path
from typing import Any

import msgspec

from connectors.files.writing import EXCEPTIONS, MATCHES, REJECTED, SUMMARY
from connectors.synthetic.facts import DeadLetterFact, ExceptionFact, Facts, MatchFact
from domain.money import CURRENCY_DIGITS, parse_minor
from domain.transactions import SIDE_NAMES


def read_outputs(directory: Path) -> Facts:
    """Read what one reconciliation of files wrote.

    Dead letters carry no digest: a file's row has other bytes than the message it came from.

    Raises:
        FileNotFoundError: One of the four files is not there.
    """
    summary = msgspec.json.decode((directory / SUMMARY).read_bytes())
    stream_id = f"{summary['tenant_id']}/{summary['reconciliation_id']}"
    facts = Facts(
        [
            MatchFact(
                stream_id,
                row["rule"],
                row["status"],
                tuple(row["source_ids"]),
                tuple(row["target_ids"]),
            )
            for row in _rows(directory / MATCHES)
        ],
        [
            ExceptionFact(stream_id, row["side"], row["transaction_id"], row["category"])
            for row in _rows(directory / EXCEPTIONS)
        ],
        [
            DeadLetterFact(stream_id, row["side"], row["code"], row["transaction_id"], None)
            for row in _rows(directory / REJECTED)
        ],
    )
    _read_summary(facts, stream_id, summary)
    return facts


def _read_summary(facts: Facts, stream_id: str, summary: dict[str, Any]) -> None:
    facts.redelivered[stream_id] = summary["counts"]["redelivered"]
    for currency, sides in summary["amounts"].items():
        for side, name in enumerate(SIDE_NAMES):
            count = sides[name]["count"]
            if count:
                total = parse_minor(sides[name]["accepted"], CURRENCY_DIGITS[currency])
                facts.accepted[stream_id, side, currency] = [count, total]


def _rows(path: Path) -> list[dict[str, Any]]:
    return msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
