"""The events of reconciliations and of exceptions worked.

The order of their fields is a storage format, see `domain.event_batches`.
Amounts are integers in minor units of the currency beside them.
"""

from typing import Any

import msgspec

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.identity import match_id
from domain.period_events import PeriodClosed
from domain.run_events import (
    ReconciliationCancelled,
    ReconciliationCompleted,
    ReconciliationFailed,
    ReconciliationRetried,
    ReconciliationStarted,
)


class ReconciliationDefined(
    msgspec.Struct, array_like=True, tag="ReconciliationDefined", frozen=True, gc=False
):
    """A definition was put in force; versions count from 1."""

    definition_version: int
    definition: dict[str, Any]
    command_id: str


class TransactionsAccepted(
    msgspec.Struct, array_like=True, tag="TransactionsAccepted", frozen=True, gc=False
):
    """The journal entry of a chunk; the transactions themselves stand in the row's journal.

    `counts` has `[side, currency, count, sum_minor]` per side and currency, `offsets` maps
    "topic/partition" to the first offset read and the next one to read. `days` has `counts` by
    business day, `[side, currency, day, count, sum_minor]`: days since 1970-01-01 in the
    definition's time zone; events of the first releases have none.
    """

    counts: list[tuple[int, str, int, int]]
    offsets: dict[str, tuple[int, int]]
    redelivered: int
    rejected: int
    days: list[tuple[int, str, int, int, int]] = []

    @property
    def count(self) -> int:
        """How many transactions were accepted, of both sides and all currencies."""
        return sum(count for _side, _currency, count, _sum_minor in self.counts)


class WatermarkAdvanced(
    msgspec.Struct, array_like=True, tag="WatermarkAdvanced", frozen=True, gc=False
):
    """Event time moved forward to `watermark_us`, microseconds since the epoch."""

    watermark_us: int


class Compared(msgspec.Struct, frozen=True, gc=False):
    """What was compared of a match whose rule does not take amounts as they are.

    Attributes:
        currency: The currency compared in.
        source_minor, target_minor: The compared sums, rounded half to even to minor units; a
            target whose sign the rule turns has the turned sign.
        totals: `(side, currency, count, sum_minor)` of the members' own amounts, when these are in
            several currencies; the event's currency and sums are then the compared ones.
    """

    currency: str
    source_minor: int
    target_minor: int
    totals: list[tuple[int, str, int, int]]


class RecordMatched(msgspec.Struct, array_like=True, tag="RecordMatched", frozen=True, gc=False):
    """A match became final. Member ids are sorted; `newest_ms` is its newest event time."""

    rule: str
    match_type: str
    definition_version: int
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int
    newest_ms: int
    compared: Compared | None = None


class MatchSuggested(msgspec.Struct, array_like=True, tag="MatchSuggested", frozen=True, gc=False):
    """A set of transactions was put before a person.

    They could match in more than one way, or the rule leaves its matches to a person. `single`
    says that the whole set is one possible match. The amounts are the members', in their order;
    events of the first releases have none.
    """

    rule: str
    match_type: str
    definition_version: int
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int
    newest_ms: int
    reason: str
    source_amounts: list[int] = []
    target_amounts: list[int] = []
    single: bool = False
    compared: Compared | None = None


class MatchSuperseded(
    msgspec.Struct, array_like=True, tag="MatchSuperseded", frozen=True, gc=False
):
    """A suggestion no longer stands, because its members matched or its set changed."""

    match_id: str
    rule: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    reason: str


class MatchConfirmed(msgspec.Struct, array_like=True, tag="MatchConfirmed", frozen=True, gc=False):
    """A person made a match: of a suggestion or of some of its members, or by hand.

    `rule` is "manual" for a match by hand. `suggestion_id` names the suggestion it is of; when all
    its members are confirmed the match has the suggestion's id and the suggestion ends with this.
    """

    rule: str
    match_type: str
    definition_version: int
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int
    newest_ms: int
    suggestion_id: str | None
    reason: str | None
    command_id: str
    compared: Compared | None = None


class MatchRejected(msgspec.Struct, array_like=True, tag="MatchRejected", frozen=True, gc=False):
    """A person rejected a suggestion; its rule does not suggest the same members again."""

    match_id: str
    rule: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    reason: str | None
    command_id: str


class MatchReversed(msgspec.Struct, array_like=True, tag="MatchReversed", frozen=True, gc=False):
    """A confirmed match was undone; its members are pending again.

    `command_id` is the person's command; None when a correction of a member undid it.
    """

    match_id: str
    rule: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    currency: str
    source_minor: int
    target_minor: int
    reason: str | None
    command_id: str | None
    compared: Compared | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A near miss of an exception: the first condition it failed, and by how much."""

    transaction_id: str
    side: int
    amount_minor: int
    currency: str
    rule: str
    failed: str
    detail: str


class RecordUnmatched(
    msgspec.Struct, array_like=True, tag="RecordUnmatched", frozen=True, gc=False
):
    """An exception opened for one transaction."""

    side: int
    transaction_id: str
    category: str
    severity: str
    amount_minor: int
    currency: str
    occurred_ms: int
    rule: str | None
    reason: str
    candidates: list[Candidate]
    definition_version: int


class ExceptionReclassified(
    msgspec.Struct, array_like=True, tag="ExceptionReclassified", frozen=True, gc=False
):
    """What is known about an open exception's near misses changed."""

    side: int
    transaction_id: str
    category: str
    rule: str | None
    reason: str
    candidates: list[Candidate]


class ExceptionResolved(
    msgspec.Struct, array_like=True, tag="ExceptionResolved", frozen=True, gc=False
):
    """An exception closed; `match_id` names the match that closed it, if one did.

    `superseded`: the transaction was corrected. `first_corrected`: the one whose value it had
    brought again was, so that it is no duplicate any more and pending again.
    With a `command_id` a person closed it, and it stands in the exception's own stream; what the
    matching closes has none.
    """

    side: int
    transaction_id: str
    resolution: str
    match_id: str | None
    reason: str | None = None
    command_id: str | None = None


class TransactionSuperseded(
    msgspec.Struct, array_like=True, tag="TransactionSuperseded", frozen=True, gc=False
):
    """A record gave way to the one of its side that corrects it.

    It was pending when this happened: what it was matched, suggested or an exception in ended
    just before. `late` says that its correction had come first. A correction under the same id
    names that id as `superseded_by`.
    """

    side: int
    transaction_id: str
    superseded_by: str
    amount_minor: int
    currency: str
    late: bool


class ReconciliationPaused(
    msgspec.Struct, array_like=True, tag="ReconciliationPaused", frozen=True, gc=False
):
    """From here on records are accepted and pending, and nothing is decided."""

    reason: str | None
    command_id: str


class ReconciliationResumed(
    msgspec.Struct, array_like=True, tag="ReconciliationResumed", frozen=True, gc=False
):
    """Matching goes on, with everything that came meanwhile."""

    reason: str | None
    command_id: str


class CommandRefused(msgspec.Struct, array_like=True, tag="CommandRefused", frozen=True, gc=False):
    """A command could not be done; nothing was changed. `code` is stable, `message` a sentence."""

    command_id: str
    command_type: str
    code: str
    message: str


class DuplicateDetected(
    msgspec.Struct, array_like=True, tag="DuplicateDetected", frozen=True, gc=False
):
    """A value that may occur once per side occurred again; this transaction is the second."""

    side: int
    transaction_id: str
    first_transaction_id: str
    rule: str
    value: str
    amount_minor: int
    currency: str


Event = (
    ReconciliationDefined
    | TransactionsAccepted
    | WatermarkAdvanced
    | PeriodClosed
    | RecordMatched
    | MatchSuggested
    | MatchSuperseded
    | MatchConfirmed
    | MatchRejected
    | MatchReversed
    | RecordUnmatched
    | ExceptionReclassified
    | ExceptionResolved
    | ExceptionAssigned
    | ExceptionCommented
    | ExceptionReopened
    | DuplicateDetected
    | TransactionSuperseded
    | ReconciliationPaused
    | ReconciliationResumed
    | ReconciliationStarted
    | ReconciliationRetried
    | ReconciliationCancelled
    | ReconciliationCompleted
    | ReconciliationFailed
    | CommandRefused
)


def match_id_of(
    tenant_id: str,
    reconciliation_id: str,
    event: RecordMatched | MatchSuggested | MatchConfirmed,
) -> str:
    """Name the match or suggestion that an event of a reconciliation makes."""
    members = event.source_ids, event.target_ids
    return match_id(tenant_id, reconciliation_id, event.rule, *members, event.newest_ms)


def difference_of(event: RecordMatched | MatchSuggested | MatchConfirmed | MatchReversed) -> int:
    """Target − source as compared, in minor units of the currency compared in."""
    sums = event.compared or event
    return sums.target_minor - sums.source_minor
