"""Stored events in their outward form: fields by name, sides as words, amounts as decimals."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.event_batches import EVENT_VERSION, decode_events
from domain.events import (
    Compared,
    DuplicateDetected,
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchReversed,
    MatchSuggested,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    difference_of,
    match_id_of,
)
from domain.identity import event_id, exception_id
from domain.instants import instant_text
from domain.money import amount_text
from domain.periods import day_text
from domain.run_events import ReconciliationCompleted, ReconciliationStarted
from domain.transactions import SIDE_NAMES


def _candidates(fields: dict[str, Any]) -> list[dict[str, Any]]:
    shown = []
    for candidate in fields["candidates"]:
        of_candidate = msgspec.structs.asdict(candidate)
        minor = of_candidate.pop("amount_minor")
        of_candidate["side"] = SIDE_NAMES[candidate.side]
        of_candidate["amount"] = amount_text(minor, candidate.currency)
        shown.append(of_candidate)
    return shown


def _name_match(
    event: RecordMatched | MatchConfirmed | MatchSuggested | MatchReversed,
    tenant_id: str,
    reconciliation_id: str,
) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    source, target = fields.pop("source_minor"), fields.pop("target_minor")
    if not isinstance(event, MatchReversed):
        fields["match_id"] = match_id_of(tenant_id, reconciliation_id, event)
    for name in ("source_amounts", "target_amounts"):
        if name in fields:
            fields[name] = [amount_text(minor, event.currency) for minor in fields[name]]
    fields["source_amount"] = amount_text(source, event.currency)
    fields["target_amount"] = amount_text(target, event.currency)
    compared = event.compared
    currency = event.currency if compared is None else compared.currency
    fields["difference"] = amount_text(difference_of(event), currency)
    fields["compared"] = None if compared is None else _name_compared(compared)
    return fields


def _name_compared(compared: Compared) -> dict[str, Any]:
    return {
        "currency": compared.currency,
        "source_amount": amount_text(compared.source_minor, compared.currency),
        "target_amount": amount_text(compared.target_minor, compared.currency),
        "totals": [_name_total(*total) for total in compared.totals],
    }


def _name_total(side: int, currency: str, count: int, total: int) -> dict[str, Any]:
    return {
        "side": SIDE_NAMES[side],
        "currency": currency,
        "count": count,
        "amount": amount_text(total, currency),
    }


def _name_accepted(event: TransactionsAccepted) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    fields["days"] = [
        {**_name_total(side, currency, count, total), "day": day_text(day)}
        for side, currency, day, count, total in event.days
    ]
    fields["counts"] = [_name_total(*count) for count in event.counts]
    fields["offsets"] = {
        partition: {"first": first, "next": after}
        for partition, (first, after) in event.offsets.items()
    }
    return fields


#: Every event that tells of an exception.
_OF_EXCEPTIONS = (
    RecordUnmatched | ExceptionReclassified | ExceptionResolved | ExceptionAssigned
    | ExceptionCommented | ExceptionReopened
)  # fmt: skip


def name_event(event: Event, tenant_id: str, reconciliation_id: str) -> dict[str, Any]:
    """Give an event's fields by name, with the ids that derive from them."""
    if isinstance(event, RecordMatched | MatchConfirmed | MatchSuggested | MatchReversed):
        return _name_match(event, tenant_id, reconciliation_id)
    if isinstance(event, TransactionsAccepted):
        return _name_accepted(event)
    fields = msgspec.structs.asdict(event)
    if isinstance(event, ReconciliationStarted):
        fields["from"] = instant_text(fields.pop("from_us"))
        fields["to"] = instant_text(fields.pop("to_us"))
    if isinstance(event, ReconciliationCompleted):
        fields["totals"] = [
            {**_name_total(side, currency, count, total), "place": place}
            for side, currency, place, count, total in event.totals
        ]
    if isinstance(event, _OF_EXCEPTIONS):
        side = SIDE_NAMES[event.side]
        fields["side"] = side
        fields["exception_id"] = exception_id(
            tenant_id, reconciliation_id, side, event.transaction_id
        )
    if isinstance(event, RecordUnmatched | ExceptionReclassified):
        fields["candidates"] = _candidates(fields)
    if isinstance(event, DuplicateDetected | TransactionSuperseded):
        fields["side"] = SIDE_NAMES[event.side]
    if isinstance(event, RecordUnmatched | DuplicateDetected | TransactionSuperseded):
        fields["amount"] = amount_text(fields.pop("amount_minor"), event.currency)
    return fields


def name_events(
    batch: dict[str, Any],
    wanted: Callable[[Event], bool] = lambda _event: True,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Unfold a batch into events with their envelopes, one by one: a batch may hold thousands.

    Args:
        batch: A row of `event_store` without its journal.
        wanted: Which events of the batch to give.
        start: The first place in the batch to look at, counting from 0.
        stop: The place to stop before; None: the end.
    """
    tenant_id, _, aggregate_id = batch["stream_id"].partition("/")
    aggregate_type = "reconciliation"
    if "/" in aggregate_id:
        aggregate_type, _, aggregate_id = aggregate_id.partition("/")
    metadata = {
        "tenant_id": tenant_id,
        "timestamp": batch["created_at"].isoformat(),
        **batch["metadata"],
    }
    events = decode_events(batch["events"], batch["format"])
    for place, event in enumerate(events[start:stop], start):
        if not wanted(event):
            continue
        version = batch["base_version"] + 1 + place
        yield {
            "event_id": event_id(batch["stream_id"], version),
            "stream_id": batch["stream_id"],
            "stream_version": version,
            "global_position": batch["first_position"] + place,
            "aggregate_id": aggregate_id,
            "aggregate_type": aggregate_type,
            "event_type": type(event).__name__,
            "event_version": EVENT_VERSION,
            "data": name_event(event, tenant_id, batch["reconciliation_id"]),
            "metadata": metadata,
            "created_at": batch["created_at"],
        }
