"""What a reconciliation definition says, once it has been checked.

`domain.definition_parsing.parse_definition` makes these. `Definition.raw` is the normalised plain
form that is stored; parsing it again gives an equal definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

MatchType = Literal["one_to_one", "one_to_many", "many_to_one"]
Operator = Literal["exact", "casefold", "alphanumeric"]
AmountKind = Literal["equal", "tolerance", "bounds"]
PercentOf = Literal["source", "target", "larger", "smaller", "average"]
Combine = Literal["larger", "smaller"]
Selection = Literal["suggest", "leave_unmatched", "lowest_id"]
Outcome = Literal["confirm", "suggest"]


@dataclass(frozen=True, slots=True)
class Window:
    """How long things are waited for, in event time; integer microseconds.

    Attributes:
        wait_us: Until a transaction without counterpart becomes an exception.
        lateness_us: How far event time trails the newest transaction seen.
        idle_us: Caught up and no input for this long: event time follows the clock.
        remember_us: How long ids are known, so that a redelivery changes nothing.
    """

    wait_us: int
    lateness_us: int
    idle_us: int
    remember_us: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of two fields that must hold for every source-target pair of a match.

    Fields are `transaction_id`, `reference`, `counterparty`, `description` or `attributes.NAME`.
    `unique` says that a value occurs once per side and that a second one is a duplicate.
    """

    source_field: str
    target_field: str
    operator: Operator
    unique: bool


@dataclass(frozen=True, slots=True)
class AmountRule:
    """How the sums of the two sides may differ; difference = target - source.

    Attributes:
        absolute, percent: Limits of kind `tolerance`, at least one set, never negative.
            `absolute` is in major units; `percent` 0.5 means half a percent.
        percent_of: Whose absolute value the percentage is taken of.
        combine: Which limit counts when both are set.
        low, high: Limits of kind `bounds` on the difference, in major units, both set.
        inclusive: The limits themselves are allowed.
    """

    kind: AmountKind
    absolute: Decimal | None
    percent: Decimal | None
    percent_of: PercentOf
    combine: Combine
    low: Decimal | None
    high: Decimal | None
    inclusive: bool


@dataclass(frozen=True, slots=True)
class DateWindow:
    """Calendar days of target - source, each day local to `time_zone`; None is unbounded."""

    min_days: int | None
    max_days: int | None
    time_zone: str
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; it works on what the rules before it left over.

    Attributes:
        whole_key: The source-side field of the equality condition whose value gathers a group:
            all that is open with one value, all or nothing. None for `one_to_one`.
        settle_us: Microseconds of event time past the newest member until a match is final.
        immediate: A match is final at once: `settle: immediate`, or a unique condition.
        outcome: `suggest` leaves every match to a person.
    """

    name: str
    match_type: MatchType
    conditions: tuple[Condition, ...]
    amount: AmountRule
    date: DateWindow | None
    whole_key: str | None
    selection: Selection
    settle_us: int
    immediate: bool
    outcome: Outcome = "confirm"


@dataclass(frozen=True, slots=True)
class Severity:
    """When an exception is how severe.

    Attributes:
        medium, high, critical: Ascending thresholds in major units of the transaction's own
            currency, compared with the absolute amount, ends included.
        escalate_after_us: Waiting longer than this raises an exception by one level.
    """

    medium: Decimal
    high: Decimal
    critical: Decimal
    escalate_after_us: int


@dataclass(frozen=True, slots=True)
class Column:
    """Where a file keeps one of our fields, and in which form.

    Attributes:
        column: The file's own name of the column.
        decimal, thousands: The separators of a number there; None means `.` and none.
        negate: The file's sign is the opposite of ours.
        format: `strptime` format of a time there; None means as in the transaction record.
        time_zone: IANA zone of a time without offset; None means the definition's zone.
    """

    column: str
    decimal: str | None = None
    thousands: str | None = None
    negate: bool = False
    format: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class SideSpec:
    """One side: the system it comes from and, for files, our field -> its column."""

    system: str | None
    columns: Mapping[str, Column] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole, checked reconciliation definition; `raw` is its normalised plain form."""

    tenant_id: str
    reconciliation_id: str
    name: str
    source: SideSpec
    target: SideSpec
    time_zone: str
    window: Window
    rules: tuple[Rule, ...]
    severity: Severity
    raw: dict[str, Any] = field(hash=False)
