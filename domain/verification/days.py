"""Control totals by business day, counted for verification alone.

Posted from the events and journals of a stream by the rules that `projections.movements` states,
and by none of its code: accepted transactions from the journal itself, days from the time zone
database, what stands where from books of its own.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.events import (
    Event,
    ExceptionReclassified,
    ExceptionResolved,
    MatchConfirmed,
    MatchRejected,
    MatchReversed,
    MatchSuggested,
    MatchSuperseded,
    ReconciliationDefined,
    RecordMatched,
    RecordUnmatched,
    TransactionsAccepted,
    TransactionSuperseded,
    match_id_of,
)
from domain.period_events import PeriodClosed
from domain.transactions import SIDE_NAMES, Transaction
from domain.verification.entries import Member
from domain.verification.match_books import told_by
from domain.verification.totals import DUPLICATE, EXCEPTION, MATCHED, SUGGESTED, SUPERSEDED, Tally

#: day as an ISO date, side, currency → place → tally
DayTallies = dict[tuple[str, str, str], dict[str, Tally]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GONE_BY = ("late_match", "manual_match", "superseded", "first_corrected")
_QUARTER = timedelta(minutes=15)


class DayBooks:
    """The days of one stream."""

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = (tenant_id, reconciliation_id)
        self._zone = ZoneInfo("UTC")
        self._days: dict[int, date] = {}
        self._closed: date | None = None
        self._latest: date | None = None
        self._tallies: DayTallies = {}
        self._suggestions: dict[Member, tuple[str, set[str]]] = {}
        self._cases: dict[Member, tuple[str, int, date, str | None, str]] = {}

    def tallies(self) -> DayTallies:
        """Give what is posted so far."""
        return {
            key: {place: Tally(one.count, one.sum_minor) for place, one in of_key.items()}
            for key, of_key in self._tallies.items()
        }

    def read(
        self, events: Sequence[Event], transactions: Sequence[Transaction] | None, at: datetime
    ) -> None:
        """Post a batch stored at an instant; its transactions are None where they have expired.

        Raises:
            ValueError: A chunk tells other days than its journal holds.
        """
        place = 0
        for segment in _segments(events):
            if segment and isinstance(segment[0], ReconciliationDefined):
                self._read(segment[0], at)
            for event in segment:
                if isinstance(event, RecordMatched):
                    self._match(event)
            for event in segment:
                if isinstance(event, TransactionsAccepted):
                    count = event.count
                    chunk = None if transactions is None else transactions[place : place + count]
                    self._accept(event, chunk, at)
                    place += count
                elif not isinstance(event, RecordMatched):
                    self._read(event, at)

    # -- days --

    def _day_of(self, instant_ms: int) -> date:
        quarter = instant_ms // 900_000
        day = self._days.get(quarter)
        if day is None:
            try:
                day = (_EPOCH + quarter * _QUARTER).astimezone(self._zone).date()
            except OverflowError:
                day = date.max if quarter > 0 else date.min
            self._days[quarter] = day
        return day

    def _post(
        self, place: str, side: str, currency: str, count: int, minor: int, day: date
    ) -> None:
        if self._closed is not None and day <= self._closed:
            day = self._closed + timedelta(days=1)
        if self._latest is None or day > self._latest:
            self._latest = day
        of_key = self._tallies.setdefault((day.isoformat(), side, currency), {})
        of_key.setdefault(place, Tally()).add(count, minor)

    def _undated(self, at: datetime) -> date:
        return self._latest or self._day_of(int(at.timestamp() * 1000))

    # -- events --

    def _accept(
        self, event: TransactionsAccepted, chunk: Sequence[Transaction] | None, at: datetime
    ) -> None:
        told = {
            (side, currency, day): (count, minor)
            for side, currency, day, count, minor in event.days
        }
        if event.days and chunk is not None:
            found = self._count(chunk)
            if found != told:
                raise ValueError("the business days a chunk tells are not those of its journal")
        for (side, currency, day), (count, minor) in told.items():
            on = _EPOCH.date() + timedelta(days=day)
            self._post("accepted", SIDE_NAMES[side], currency, count, minor, on)
        if not event.days:
            on = self._day_of(int(at.timestamp() * 1000))
            for side, currency, count, minor in event.counts:
                self._post("accepted", SIDE_NAMES[side], currency, count, minor, on)
        for name, count in (("rejected", event.rejected), ("redelivered", event.redelivered)):
            if count:
                self._post(name, _side_of(event), "XXX", count, 0, self._undated(at))

    def _count(self, chunk: Sequence[Transaction]) -> dict[tuple[int, str, int], tuple[int, int]]:
        found: dict[tuple[int, str, int], tuple[int, int]] = {}
        for one in chunk:
            if one.is_date:
                day = one.occurred_at // 86_400_000_000
            else:
                local = self._day_of(one.occurred_at // 1000)
                day = (local - _EPOCH.date()).days
            key = (one.side, one.currency, day)
            count, minor = found.get(key, (0, 0))
            found[key] = (count + 1, minor + one.amount_minor)
        return found

    def _match(self, event: RecordMatched | MatchConfirmed) -> None:
        day = self._day_of(event.newest_ms)
        for side, ids in enumerate((event.source_ids, event.target_ids)):
            for currency, tally in told_by(event, side, ids).items():
                self._post(MATCHED, SIDE_NAMES[side], currency, tally.count, tally.sum_minor, day)

    def _read(self, event: Event, at: datetime) -> None:
        match event:
            case ReconciliationDefined():
                self._zone = ZoneInfo(event.definition.get("time_zone") or "UTC")
                self._days.clear()
            case PeriodClosed():
                self._closed = date.fromisoformat(event.day)
            case MatchConfirmed():
                self._match(event)
                if event.suggestion_id is not None:
                    self._end(self._named(event), event, at)
            case MatchReversed():
                for side, ids in enumerate((event.source_ids, event.target_ids)):
                    for currency, tally in told_by(event, side, ids).items():
                        moved = -tally.count, -tally.sum_minor
                        day = self._undated(at)
                        self._post(MATCHED, SIDE_NAMES[side], currency, *moved, day)
            case MatchSuggested():
                self._suggest(event)
            case MatchSuperseded() | MatchRejected():
                self._end(event.match_id, event, at)
            case RecordUnmatched() | ExceptionReclassified() | ExceptionResolved():
                self._case(event)
            case TransactionSuperseded():
                of = SIDE_NAMES[event.side]
                moved = 1, event.amount_minor
                self._post(SUPERSEDED, of, event.currency, *moved, self._undated(at))
            case _:
                pass

    def _named(self, event: MatchConfirmed | MatchSuggested) -> str:
        return match_id_of(*self._scope, event)

    def _suggest(self, event: MatchSuggested) -> None:
        identity, day = self._named(event), self._day_of(event.newest_ms)
        for member in _members(event):
            standing = self._suggestions.get(member)
            if standing is not None:
                standing[1].add(identity)
                continue
            self._suggestions[member] = (event.currency, {identity})
            self._post(SUGGESTED, SIDE_NAMES[member[0]], event.currency, 1, 0, day)

    def _end(
        self,
        identity: str,
        event: MatchSuperseded | MatchRejected | MatchConfirmed,
        at: datetime,
    ) -> None:
        for member in _members(event):
            currency, standing = self._suggestions.get(member, ("", set()))
            if identity not in standing:
                continue
            standing.discard(identity)
            if not standing:
                del self._suggestions[member]
                self._post(SUGGESTED, SIDE_NAMES[member[0]], currency, -1, 0, self._undated(at))

    def _case(self, event: RecordUnmatched | ExceptionReclassified | ExceptionResolved) -> None:
        member = (event.side, event.transaction_id)
        before = self._cases.get(member)
        place: str | None
        after: tuple[str, int, date, str | None, str]
        if isinstance(event, RecordUnmatched):
            if before is not None and before[3] == DUPLICATE:
                before = None  # that one was forgotten, and its id has come anew
            day = self._day_of(event.occurred_ms)
            place = _place(event.category)
            after = (event.currency, event.amount_minor, day, place, event.category)
        elif before is None:
            return
        elif isinstance(event, ExceptionReclassified):
            place = None if before[3] is None else _place(event.category)
            after = (*before[:3], place, event.category)
        else:
            place = None if event.resolution in _GONE_BY else _place(before[4])
            after = (*before[:3], place, before[4])
        self._cases[member] = after
        if before is not None and before[:4] == after[:4]:
            return  # it stands where it stood
        for sign, case in ((-1, before), (1, after)):
            if case is None:
                continue
            currency, minor, day, name, _ = case
            if name is not None:
                self._post(name, SIDE_NAMES[event.side], currency, sign, sign * minor, day)


def _segments(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Give the events up to each close of days, with it, and those behind the last."""
    begin = 0
    for index, event in enumerate(events):
        if isinstance(event, PeriodClosed):
            yield events[begin : index + 1]
            begin = index + 1
    yield events[begin:]


def _members(event: Any) -> list[Member]:
    return [(0, one) for one in event.source_ids] + [(1, one) for one in event.target_ids]


def _place(category: str) -> str:
    return DUPLICATE if category == DUPLICATE else EXCEPTION


def _side_of(event: TransactionsAccepted) -> str:
    for place in event.offsets:
        topic = place.rpartition("/")[0]
        for side in SIDE_NAMES:
            if topic.endswith(f".{side}"):
                return side
    return SIDE_NAMES[event.counts[0][0]] if event.counts else "unknown"
