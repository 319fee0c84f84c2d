"""What a reconciliation definition says, once it has been checked.

`domain.definition_parsing.parse_definition` makes these. `Definition.raw` is the normalised plain
form that is stored; parsing it again gives an equal definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

MatchType = Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many"]
Operator = Literal[
    "exact",
    "casefold",
    "alphanumeric",
    "digits",
    "token_run",
    "token_set",
    "edit_distance",
    "similarity",
    "regex_extract",
]
AmountKind = Literal["equal", "tolerance", "bounds"]
PercentOf = Literal["source", "target", "larger", "smaller", "average"]
Combine = Literal["larger", "smaller"]
Basis = Literal["amount", "net", "gross", "fx", "base", "schedule"]
RoundingMode = Literal["half_even", "half_up"]
FeeOrder = Literal["parallel", "cascading"]
Selection = Literal["suggest", "leave_unmatched", "lowest_id", "prefer"]
Preference = Literal["fewest_members", "closest_amount", "closest_date", "oldest", "newest"]
Outcome = Literal["confirm", "suggest"]


#: Operators that hold when two forms of text are equal; the others look at both texts of a pair.
EQUALITY_OPERATORS: Final = frozenset(
    ("exact", "casefold", "alphanumeric", "digits", "regex_extract")
)


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

    Attributes:
        maximum: Of `edit_distance`: the most edits.
        minimum: Of `similarity`: above 0, at most 1.
        pattern: Of `regex_extract`: an RE2 pattern whose group 1 is compared.
    """

    source_field: str
    target_field: str
    operator: Operator
    unique: bool
    maximum: int | None = None
    minimum: Decimal | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Rounding:
    """To `scale` fraction digits of the major unit; `half_up` rounds a half away from zero."""

    scale: int
    mode: RoundingMode


@dataclass(frozen=True, slots=True)
class Fee:
    """One item of a schedule: a percentage, or a flat amount in major units."""

    percent: Decimal | None
    flat: Decimal | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Fees taken off an amount.

    Attributes:
        order: `parallel` takes every percentage of the amount, `cascading` of what is left.
        round: Of each fee by itself; None takes fees exactly.
    """

    order: FeeOrder
    round: Rounding | None
    items: tuple[Fee, ...]


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
        round: Of each side's sum before comparing.
        source_basis, target_basis: What is compared of a transaction: its amount, net or gross of
            its fee, converted by its own rate, its base amount, or its amount less the schedule's
            fees.
        opposite: The target's sign is turned.
    """

    kind: AmountKind
    absolute: Decimal | None
    percent: Decimal | None
    percent_of: PercentOf
    combine: Combine
    low: Decimal | None
    high: Decimal | None
    inclusive: bool
    round: Rounding | None = None
    source_basis: Basis = "amount"
    target_basis: Basis = "amount"
    schedule: Schedule | None = None
    opposite: bool = False


@dataclass(frozen=True, slots=True)
class DateWindow:
    """How far apart in time the members of a match may be; target - source, None is unbounded.

    Attributes:
        min_days, max_days: Calendar days, each local to `time_zone`.
        inclusive: The ends themselves are allowed, of days and of seconds.
        business: Days are Monday to Friday less `holidays`.
        max_seconds: Between two instants, either way.
        anchored: All other members lie in the window of one source member, instead of every target
            in that of every source.
    """

    min_days: int | None
    max_days: int | None
    time_zone: str
    inclusive: bool
    business: bool = False
    holidays: tuple[date, ...] = ()
    max_seconds: int | None = None
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; it works on what the rules before it left over.

    Attributes:
        whole_key: The source-side field of the equality condition whose value gathers a group:
            all that is open with one value, all or nothing. None for `one_to_one` and for groups
            by subset search.
        settle_us: Microseconds of event time past the newest member until a match is final.
        immediate: A match is final at once: `settle: immediate`, or a unique condition.
        max_size: How many members each many side may have where groups are found by subset
            search; None for other rules.
        prefer: With selection `prefer`: what makes one candidate better than another, in order.
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
    max_size: int | None = None
    prefer: tuple[Preference, ...] = ()
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
