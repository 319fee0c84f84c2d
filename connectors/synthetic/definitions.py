"""The three reconciliations the generator knows how to fill, as definition documents.

Each shape needs another part of the engine: a final-at-once unique reference, a rule that has to
wait before it may decide, and a group that matches all or nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

# Records are shuffled inside half of this and legs of one pair lie at most a third of it apart, so
# what is not late on purpose never arrives behind event time.
LATENESS_SECONDS = 6 * 3600
WAIT_SECONDS = 4 * 86400
# Above the longest span a workload covers: a generated redelivery is always still known.
REMEMBER_DAYS = 120

UNIQUE_REFERENCE = "unique_reference"
SETTLING = "settling"
WHOLE_KEY = "whole_key"

RULE_ORDER = "order-reference"
RULE_INVOICE = "invoice-number"
RULE_CUSTOMER = "customer-and-amount"
RULE_PAYOUT = "payout"


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One reconciliation to fill.

    Args:
        tenant_id, reconciliation_id: 1-64 of `a-z 0-9 _ -`.
        shape: `UNIQUE_REFERENCE`, `SETTLING` or `WHOLE_KEY`.
    """

    tenant_id: str
    reconciliation_id: str
    shape: str

    @property
    def stream_id(self) -> str:
        """The name of its event stream."""
        return f"{self.tenant_id}/{self.reconciliation_id}"


DEFAULT_STREAMS = (
    StreamSpec("acme", "orders-charges", UNIQUE_REFERENCE),
    StreamSpec("acme", "ledger-bank", SETTLING),
    StreamSpec("globex", "payouts", WHOLE_KEY),
)


def definition_document(spec: StreamSpec, idle_seconds: int = 3) -> dict[str, object]:
    """The definition of one reconciliation as it is posted or written to a YAML file.

    Raises:
        KeyError: The shape is none of the three.
    """
    document: dict[str, object] = {
        "tenant_id": spec.tenant_id,
        "reconciliation_id": spec.reconciliation_id,
        "window": {
            "wait": f"PT{WAIT_SECONDS // 3600}H",
            "lateness": f"PT{LATENESS_SECONDS // 3600}H",
            "idle": f"PT{idle_seconds}S",
            "remember": f"P{REMEMBER_DAYS}D",
        },
    }
    return document | SHAPES[spec.shape]()


def _unique_reference() -> dict[str, object]:
    return {
        "name": "Shop orders against card charges",
        "source": {"system": "shop"},
        "target": {"system": "card-processor"},
        "rules": [
            {
                "name": RULE_ORDER,
                "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "exact", "unique": True}],
            }
        ],
    }


def _settling() -> dict[str, object]:
    days: dict[str, object] = {"min_days": -1, "max_days": 3}
    return {
        "name": "Ledger invoices against bank entries",
        "source": {"system": "ledger"},
        "target": {"system": "bank"},
        "time_zone": "Europe/Vienna",
        "rules": [
            {
                "name": RULE_INVOICE,
                "match_type": "one_to_one",
                "conditions": [{"field": "reference", "operator": "alphanumeric"}],
                "amount": {
                    "tolerance": {
                        "absolute": "0.50",
                        "percent": "0.5",
                        "percent_of": "source",
                        "combine": "larger",
                    }
                },
                "date": days,
                "selection": {"tie_break": "lowest_id"},
            },
            {
                "name": RULE_CUSTOMER,
                "match_type": "one_to_one",
                "conditions": [{"field": "counterparty", "operator": "casefold"}],
                "date": dict(days),
                "selection": {"ambiguity": "suggest"},
                "settle": "PT1H",
            },
        ],
    }


def _whole_key() -> dict[str, object]:
    return {
        "name": "Marketplace sales against payouts",
        "source": {"system": "marketplace"},
        "target": {"system": "bank"},
        "rules": [
            {
                "name": RULE_PAYOUT,
                "match_type": "many_to_one",
                "conditions": [{"field": "reference", "operator": "exact"}],
                "group": {"whole_key": "reference"},
            }
        ],
    }


SHAPES: dict[str, Callable[[], dict[str, object]]] = {
    UNIQUE_REFERENCE: _unique_reference,
    SETTLING: _settling,
    WHOLE_KEY: _whole_key,
}
