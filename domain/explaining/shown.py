"""What an explanation holds: facts for programs, and sentences for people made from them.

Amounts and differences are decimal strings, instants RFC 3339 in UTC, sides words. `holds` is
always the verdict of the very functions that matching calls.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MemberShown:
    """A transaction of a match or exception.

    Attributes:
        amount, currency, occurred_at: None where its content was not found.
        compared, compared_currency: What of it the rule compares, before rounding; None where it
            lacks what the rule's basis needs.
    """

    side: str
    transaction_id: str
    amount: str | None
    currency: str | None
    occurred_at: str | None
    compared: str | None
    compared_currency: str | None


@dataclass(frozen=True, slots=True)
class ConditionShown:
    """One condition of a rule with both sides' values.

    Attributes:
        bound: Of `edit_distance` the most edits, of `similarity` the least share, of
            `regex_extract` the pattern.
        source_values, target_values: As the transactions have them; None is an absent value. Of
            many members the distinct ones, in order, at most `VALUES_MAX`.
        source_compared, target_compared: The same in the form they are compared in.
        score: The lowest share of a pair that agrees, 0 to 1.
    """

    source_field: str
    target_field: str
    operator: str
    bound: str | None
    unique: bool
    source_values: list[str | None]
    target_values: list[str | None]
    source_compared: list[str | None]
    target_compared: list[str | None]
    score: float
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class AmountShown:
    """The sums of both sides as compared, their difference and its limit.

    Attributes:
        source, target: After basis, sign and rounding; None where they cannot be compared.
        difference: target - source.
        limit: Of a tolerance, the largest absolute difference for these sums.
        low, high: Of bounds, in which the difference has to lie.
        over: How far the difference is beyond what is allowed; None where it is not.
    """

    kind: str
    source_basis: str
    target_basis: str
    opposite: bool
    source_currency: str | None
    source: str | None
    target_currency: str | None
    target: str | None
    difference: str | None
    limit: str | None
    low: str | None
    high: str | None
    inclusive: bool
    over: str | None
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class SpanShown:
    """One measure of time between the two sides, target - source.

    Attributes:
        least, most: Over all pairs; None where a bare date has no instant.
        low, high: What is allowed; None is unbounded.
        over: How far outside the nearest end; None where nothing is outside, or not asked of pairs.
        anchors: Source members in whose window all others lie; None where the rule does not ask
            for one.
    """

    measure: Literal["days", "business_days", "seconds"]
    time_zone: str | None
    least: str | None
    most: str | None
    low: str | None
    high: str | None
    inclusive: bool
    over: str | None
    anchors: list[str] | None
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rule asks of some members, in the definition's order, and its whole verdict."""

    conditions: list[ConditionShown]
    amount: AmountShown
    dates: list[SpanShown]
    holds: bool

    def sentences(self) -> list[str]:
        """What is said of each part."""
        conditions = [one.sentence for one in self.conditions]
        return [*conditions, self.amount.sentence, *(one.sentence for one in self.dates)]


@dataclass(frozen=True, slots=True)
class PossibleMatch:
    """One of the matches that a suggestion stands for."""

    source_id: str
    target_id: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class DecisionShown:
    """Who decided, when, and with which words.

    Attributes:
        by: `rule`; `person`; `correction`, when a record that supersedes a member did; `engine`,
            when what was suggested stopped standing.
        user_id: Of a person: the credential, as `user:ID` or `key:ID`; None where an event of the
            first releases has none.
        reason: Of a comment, the comment.
    """

    by: Literal["rule", "person", "correction", "engine"]
    event_type: str
    position: int
    at: str
    command_id: str | None
    user_id: str | None
    reason: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class MatchExplanation:
    """Why a match or suggestion is one, and what became of it.

    Attributes:
        evidence: None for a match by hand, for a set that stands for several matches, and where
            `missing` names what kept it from being worked out.
        possible: Of a set that stands for several matches of one and one: each that fits.
        group: How a group of several was found; None for one and one.
        alternatives: Transaction ids of a suggestion's members that its confirmation left out.
        missing: What could not be read any more; the rest is told without it.
    """

    match_id: str
    status: str
    rule: str
    match_type: str
    definition_version: int
    members: list[MemberShown]
    source_amount: str
    target_amount: str
    difference: str
    currency: str
    evidence: Evidence | None
    possible: list[PossibleMatch]
    group: str | None
    confidence: float
    confidence_because: str
    decided: DecisionShown
    ended: DecisionShown | None
    alternatives: list[str]
    alternatives_because: str
    missing: list[str]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class CandidateExplanation:
    """A near miss: the first condition it failed, and by how much.

    Attributes:
        failed: `condition`, `currency`, `amount`, `date`, `refused` or `ambiguous`, as recorded.
        failed_condition: Place of the failed condition in the rule, counted from 0.
        detail: The sentence recorded when it was found.
    """

    transaction_id: str
    side: str
    amount: str
    currency: str
    rule: str
    failed: str
    failed_condition: int | None
    detail: str
    evidence: Evidence | None
    sentence: str


@dataclass(frozen=True, slots=True)
class ExceptionExplanation:
    """Why a transaction has no match, as last classified, and how the exception stands.

    Attributes:
        status, resolution, resolution_reason, assignee, match_id: As the exception itself has them.
        work: What people did with it, oldest first.
        not_tried: What the engine's bounds kept it from trying, and what is not told for that.
    """

    exception_id: str
    side: str
    transaction_id: str
    amount: str
    currency: str
    category: str
    severity: str
    severity_because: str | None
    rule: str | None
    reason: str
    status: str
    resolution: str | None
    resolution_reason: str | None
    match_id: str | None
    assignee: str | None
    work: list[DecisionShown]
    definition_version: int
    candidates: list[CandidateExplanation]
    not_tried: list[str]
    missing: list[str]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One event of a transaction's story."""

    position: int
    at: str
    event_type: str
    sentence: str


@dataclass(frozen=True, slots=True)
class TransactionShown:
    """A transaction as it was accepted."""

    side: str
    transaction_id: str
    amount: str
    currency: str
    occurred_at: str
    reference: str | None
    counterparty: str | None
    description: str | None
    attributes: dict[str, str]
    supersedes: str | None


@dataclass(frozen=True, slots=True)
class TransactionExplanation:
    """Where a transaction stands, why, and how it came there.

    Attributes:
        standing: `pending`, `matched`, `suggested`, `exception`, `duplicate` or `superseded`.
        waits_until: Of a pending one: the event time at which its wait ends.
        event_time: Event time of the reconciliation, as last read; None before there is any.
        duplicate_of, superseded_by: Transaction ids of the same side.
    """

    transaction: TransactionShown
    standing: str
    waits_until: str | None
    event_time: str | None
    duplicate_of: str | None
    superseded_by: str | None
    match: MatchExplanation | None
    suggestions: list[MatchExplanation]
    exception: ExceptionExplanation | None
    story: list[StoryLine]
    sentences: list[str]
