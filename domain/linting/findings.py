"""What is said about a definition: findings, and the sample they may be judged by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from domain.definitions import Condition, Rule
from domain.transactions import Transaction

Severity = Literal["error", "warning", "hint"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "hint")


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice.

    Attributes:
        path: Where, such as `rules[1].amount.tolerance`.
        rule: The rule's name; None for the definition as a whole.
        severity: `error`: the rule cannot do anything; `warning`: it may match wrongly, or not
            what was meant; `hint`: worth a look.
        code: A stable name of the kind of finding.
        message: What happens to whom, and what to do, in whole sentences.
    """

    path: str
    rule: str | None
    severity: Severity
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Typical data to judge a definition by.

    Attributes:
        sides: Transactions of the source and of the target.
        typical_amount: A typical amount in major units, where it is told instead.
    """

    sides: tuple[Sequence[Transaction], Sequence[Transaction]] = ((), ())
    typical_amount: Decimal | None = None


class Place:
    """One rule of a definition, where its findings gather."""

    def __init__(self, index: int, rule: Rule, findings: list[Finding]) -> None:
        self.index = index
        self.rule = rule
        self._findings = findings

    def say(self, severity: Severity, code: str, message: str, field: str = "") -> None:
        """Note a finding about the rule, or a field of it."""
        path = f"rules[{self.index}]" + (f".{field}" if field else "")
        self._findings.append(Finding(path, self.rule.name, severity, code, message))

    def conditions(self) -> Iterator[tuple[str, Condition]]:
        """Each condition with its path inside the rule."""
        for place, condition in enumerate(self.rule.conditions):
            yield f"conditions[{place}]", condition


def fields_of(condition: Condition) -> str:
    """Name the field or the two fields that a condition compares."""
    if condition.source_field == condition.target_field:
        return condition.source_field
    return f"{condition.source_field} and {condition.target_field}"
