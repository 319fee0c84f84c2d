"""What a reader of the events believes, and a check that they make sense on their way."""

from domain.events import (
    DuplicateDetected,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    RecordMatched,
    RecordUnmatched,
    TransactionSuperseded,
)
from domain.identity import match_id


class Ledger:
    def __init__(self) -> None:
        self.confirmed = set()
        self.suggested = {}
        self.duplicates = set()
        self.superseded = []
        self.open_cases = set()
        self.taken = set()

    def read(self, events, definition) -> None:  # noqa: C901
        for event in events:
            match event:
                case RecordMatched() | MatchConfirmed():
                    members = members_of(event)
                    assert not members & self.taken, "a transaction is in two confirmed matches"
                    self.taken |= members
                    self.confirmed.add(key_of(event))
                    if isinstance(event, MatchConfirmed):
                        # Of a suggestion as a whole it ends it; of a part, a further event does.
                        self.suggested.pop(identity_of(event, definition), None)
                case MatchSuggested():
                    identity = identity_of(event, definition)
                    assert identity not in self.suggested
                    assert not members_of(event) & self.taken
                    if event.compared is None or not event.compared.totals:
                        assert sum(event.source_amounts) == event.source_minor
                        assert sum(event.target_amounts) == event.target_minor
                    self.suggested[identity] = key_of(event)
                case MatchSuperseded():
                    del self.suggested[event.match_id]
                case MatchRejected():
                    assert self.suggested.pop(event.match_id) == key_of(event)
                case MatchReversed():
                    self.confirmed.remove(key_of(event))
                    self.taken -= members_of(event)
                case DuplicateDetected():
                    self.duplicates.add((event.side, event.transaction_id))
                case RecordUnmatched():
                    case = (event.side, event.transaction_id)
                    assert case not in self.open_cases, "one exception a transaction"
                    self.open_cases.add(case)
                case ExceptionResolved():
                    self.open_cases.remove((event.side, event.transaction_id))
                    if event.resolution == "first_corrected":
                        self.duplicates.remove((event.side, event.transaction_id))
                case TransactionSuperseded():
                    one = (event.side, event.transaction_id)
                    if not event.late:
                        assert one not in self.open_cases | self.taken, "it was not pending"
                        self.duplicates.discard(one)
                    self.superseded.append(one)


def key_of(event):
    return event.rule, tuple(event.source_ids), tuple(event.target_ids)


def members_of(event):
    return {(0, x) for x in event.source_ids} | {(1, x) for x in event.target_ids}


def identity_of(event, definition):
    return match_id(
        definition.tenant_id,
        definition.reconciliation_id,
        event.rule,
        event.source_ids,
        event.target_ids,
        event.newest_ms,
    )
