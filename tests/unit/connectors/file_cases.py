"""What the tests of file readers share: a definition, a file's content, what is read from it."""

from pathlib import Path

from connectors.files.reading import read_records
from domain.definition_parsing import parse_definition
from domain.transactions import TARGET, Rejection

HEADER = "transaction_id,amount,currency,occurred_at,reference"
ROW = "t-1,12.50,EUR,2026-01-05T12:00:00Z,ORD-1"


def definition(columns=None, time_zone="UTC", rules=None):
    return parse_definition(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "name": "Shop",
            "time_zone": time_zone,
            "source": {"system": "shop"},
            "target": {"system": "bank"} | ({"columns": columns} if columns else {}),
            "rules": rules
            or [
                {
                    "name": "reference",
                    "match_type": "one_to_one",
                    "conditions": [{"field": "reference", "operator": "exact"}],
                }
            ],
        }
    )


def read(path: Path, content: str | bytes, columns=None, **options):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    options.setdefault("time_zone", "UTC")
    made = definition(columns, options.pop("time_zone"), options.pop("rules", None))
    return list(read_records(path, TARGET, made, **options))


def codes(records):
    return [one.code if isinstance(one, Rejection) else None for one in records]
