"""What a reconciliation of files came to: its events folded into rows, and the proof of count.

Rows are ordered by the ids in them, so they depend neither on the order of the files' lines nor on
when a decision fell.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from connectors.files.explanations import Explainer
from connectors.files.rows import Record
from domain.definitions import Definition
from domain.events import (
    Candidate,
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    difference_of,
    match_id_of,
)
from domain.explaining.confidence import confidence_of
from domain.identity import exception_id
from domain.money import CURRENCY_DIGITS, amount_text, format_minor
from domain.transactions import SIDE_NAMES, Rejection, Transaction, supersedes, unpack_transaction

Row = dict[str, Any]
Place = tuple[int, str]


@dataclass(slots=True)
class _Exception:
    """An open exception as last classified."""

    event: RecordUnmatched
    category: str
    reason: str
    candidates: list[Candidate]


@dataclass(slots=True)
class Results:
    """The end state of one reconciliation of files.

    Feed it what was read (`note_read`) and every decision (`fold`), then take the rows.
    """

    definition: Definition
    definition_version: int = 1
    read: list[int] = field(default_factory=lambda: [0, 0])
    redelivered: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    superseded: list[Transaction] = field(default_factory=list)
    _packed: dict[Place, bytes] = field(default_factory=dict)
    # What was corrected under its own id, in order, and how much of it the events have told.
    _replaced: dict[Place, list[bytes]] = field(default_factory=dict)
    _told: Counter[Place] = field(default_factory=Counter)
    _accepted: Counter[tuple[int, str]] = field(default_factory=Counter)
    _sums: Counter[tuple[int, str]] = field(default_factory=Counter)
    # By their first source: a transaction is in one match at most.
    _matches: dict[str, RecordMatched] = field(default_factory=dict)
    _suggestions: dict[str, MatchSuggested] = field(default_factory=dict)
    _exceptions: dict[Place, _Exception] = field(default_factory=dict)
    _duplicates: set[Place] = field(default_factory=set)

    def note_read(self, side: int, records: Iterable[Record]) -> list[Transaction]:
        """Count records as read and keep the rejected ones; the rest is given back."""
        transactions = []
        for record in records:
            self.read[side] += 1
            if isinstance(record, Rejection):
                self.rejections.append(record)
                continue
            self._note_content((side, record.transaction_id), record)
            transactions.append(record)
        return transactions

    def _note_content(self, place: Place, record: Transaction) -> None:
        """Keep the first content of an id, as the engine does, unless one corrects the other."""
        known = self._packed.setdefault(place, record.packed)
        replaced = self._replaced.get(place, [])
        if known == record.packed or record.packed in replaced:
            return
        if supersedes(record) == record.transaction_id:
            self._replaced[place] = [*replaced, known]
            self._packed[place] = record.packed
        elif not replaced and supersedes(self.transaction(*place)) == record.transaction_id:
            self._replaced[place] = [record.packed]

    def fold(self, events: Iterable[Event]) -> None:  # noqa: C901 - one short case a type
        """Take in decided events, in order."""
        for event in events:
            match event:
                case RecordMatched():
                    self._matches[event.source_ids[0]] = event
                case MatchReversed():
                    del self._matches[event.source_ids[0]]
                case TransactionSuperseded():
                    self._supersede(event)
                case TransactionsAccepted():
                    self._count(event)
                case RecordUnmatched():
                    self._exceptions[event.side, event.transaction_id] = _Exception(
                        event, event.category, event.reason, event.candidates
                    )
                case ExceptionReclassified():
                    known = self._exceptions[event.side, event.transaction_id]
                    known.category, known.reason = event.category, event.reason
                    known.candidates = event.candidates
                case ExceptionResolved():
                    place = (event.side, event.transaction_id)
                    self._exceptions.pop(place, None)
                    if event.resolution == "first_corrected":
                        self._duplicates.discard(place)
                case MatchSuggested():
                    self._suggestions[self._match_id(event)] = event
                case MatchSuperseded():
                    self._suggestions.pop(event.match_id, None)
                case DuplicateDetected():
                    self._duplicates.add((event.side, event.transaction_id))

    def _supersede(self, event: TransactionSuperseded) -> None:
        place = (event.side, event.transaction_id)
        self._duplicates.discard(place)
        if event.superseded_by == event.transaction_id:
            packed = self._replaced[place][self._told[place]]
            self._told[place] += 1
        else:
            packed = self._packed.pop(place)
        self.superseded.append(self._unpack(packed))

    def _count(self, event: TransactionsAccepted) -> None:
        self.redelivered += event.redelivered
        for side, currency, count, sum_minor in event.counts:
            self._accepted[side, currency] += count
            self._sums[side, currency] += sum_minor

    def _match_id(self, event: RecordMatched | MatchSuggested) -> str:
        return match_id_of(self.definition.tenant_id, self.definition.reconciliation_id, event)

    def transaction(self, side: int, transaction_id: str) -> Transaction:
        """One of the accepted transactions."""
        return self._unpack(self._packed[side, transaction_id])

    def _unpack(self, packed: bytes) -> Transaction:
        one = self.definition
        return unpack_transaction(packed, one.tenant_id, one.reconciliation_id)

    def match_rows(self) -> Iterator[Row]:
        """Confirmed matches and standing suggestions, by source ids, target ids and rule."""
        explainer = Explainer(self.definition, self.definition_version, self.transaction)
        events: list[RecordMatched | MatchSuggested] = [
            *self._matches.values(),
            *self._suggestions.values(),
        ]
        events.sort(key=lambda event: (event.source_ids, event.target_ids, event.rule))
        for event in events:
            yield self._match_row(event, explainer)

    def _match_row(self, event: RecordMatched | MatchSuggested, explainer: Explainer) -> Row:
        digits = CURRENCY_DIGITS[event.currency]
        suggested = isinstance(event, MatchSuggested)
        return {
            "match_id": self._match_id(event),
            "rule": event.rule,
            "match_type": event.match_type,
            "status": "suggested" if suggested else "confirmed",
            "source_ids": event.source_ids,
            "target_ids": event.target_ids,
            "currency": event.currency,
            "source_amount": format_minor(event.source_minor, digits),
            "target_amount": format_minor(event.target_minor, digits),
            "difference": format_minor(
                difference_of(event),
                digits if event.compared is None else CURRENCY_DIGITS[event.compared.currency],
            ),
            "confidence": confidence_of(event)[0],
            "explanation": explainer.explain(event),
        }

    def exception_rows(self) -> Iterator[Row]:
        """Open exceptions, duplicates among them, by side and transaction id."""
        for place in sorted(self._exceptions):
            yield self._exception_row(place, self._exceptions[place])

    def _exception_row(self, place: Place, known: _Exception) -> Row:
        side, transaction_id = SIDE_NAMES[place[0]], place[1]
        event = known.event
        return {
            "exception_id": exception_id(
                self.definition.tenant_id, self.definition.reconciliation_id, side, transaction_id
            ),
            "category": known.category,
            "severity": event.severity,
            "side": side,
            "transaction_id": transaction_id,
            "amount": amount_text(event.amount_minor, event.currency),
            "currency": event.currency,
            "reason": known.reason,
            "candidates": [_candidate_row(candidate) for candidate in known.candidates],
        }

    def rejected_rows(self) -> list[Row]:
        """Records that could not be used, by side and row of their file."""
        return [
            {
                "side": SIDE_NAMES[rejection.side],
                "row": rejection.offset,
                "code": rejection.code,
                "message": rejection.message,
                "transaction_id": rejection.transaction_id,
                "raw": rejection.raw.decode("utf-8", "backslashreplace"),
            }
            for rejection in sorted(
                self.rejections, key=lambda item: (item.side, item.offset, item.code)
            )
        ]

    def dispositions(self) -> dict[str, set[Place]]:
        """Where every standing transaction is; a place in two sets breaks conservation."""
        return {
            "matched": _members(self._matches.values()),
            "suggested": _members(self._suggestions.values()),
            "exception": set(self._exceptions) - self._duplicates,
            "duplicate": self._duplicates,
        }

    def accepted(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Count and sum in minor units of what the engine says it accepted, by side, currency."""
        return {key: (count, self._sums[key]) for key, count in sorted(self._accepted.items())}

    def match_counts(self) -> tuple[int, int]:
        """How many matches are confirmed, and how many suggestions stand."""
        return len(self._matches), len(self._suggestions)

    def categories(self) -> dict[str, int]:
        """Open exceptions by category, duplicates among them."""
        return dict(sorted(Counter(known.category for known in self._exceptions.values()).items()))

    def transactions(self) -> Iterable[Transaction]:
        """Every accepted transaction that stands, one at a time."""
        for side, transaction_id in self._packed:
            yield self.transaction(side, transaction_id)


def _members(events: Iterable[RecordMatched | MatchSuggested]) -> set[Place]:
    places: set[Place] = set()
    for event in events:
        places.update((0, one) for one in event.source_ids)
        places.update((1, one) for one in event.target_ids)
    return places


def _candidate_row(candidate: Candidate) -> Row:
    return {
        "transaction_id": candidate.transaction_id,
        "side": SIDE_NAMES[candidate.side],
        "amount": amount_text(candidate.amount_minor, candidate.currency),
        "currency": candidate.currency,
        "rule": candidate.rule,
        "failed": candidate.failed,
        "detail": candidate.detail,
    }
