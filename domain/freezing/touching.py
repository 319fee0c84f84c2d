"""What an input may touch of what is frozen; it is thawed before the input is decided or folded.

More may be named than is touched in the end: to thaw for nothing changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from domain.commands import (
    AnyCommand,
    ConfirmMatch,
    MatchByHand,
    Resume,
    RetryRun,
    ReverseMatch,
    StartRun,
)
from domain.definitions import Definition
from domain.events import (
    Event,
    ExceptionResolved,
    MatchReversed,
    ReconciliationDefined,
    ReconciliationResumed,
    TransactionsAccepted,
    TransactionSuperseded,
)
from domain.freezing.fingerprints import of_ids, of_keys
from domain.freezing.frozen import Touched
from domain.matching.book import Book
from domain.matching.legs import Known, Leg, Settled, Superseded
from domain.matching.unique_pool import UniquePool
from domain.passing import time_by_clock, time_by_input
from domain.run_events import ReconciliationRetried, ReconciliationStarted
from domain.runs import days_between
from domain.transaction_columns import TransactionColumns
from domain.transactions import Transaction

if TYPE_CHECKING:
    from domain.reconciliation import Chunk, Reconciliation, Tick


def by_chunk(state: "Reconciliation", chunk: "Chunk") -> Touched:
    """What a chunk's transactions may touch, and the time they bring."""
    touched = Touched()
    newest = list(state.newest)
    for records in _columns(chunk.transactions):
        _by_records(state.book, records, touched)
        if chunk.caught_up:
            latest = max(state.book.event_times(records))
            known = newest[records.side]
            newest[records.side] = latest if known is None else max(known, latest)
    if chunk.caught_up:
        touched.until_us = _reached(state, time_by_input(newest, state.definition.window))
    return touched


def by_tick(state: "Reconciliation", tick: "Tick") -> Touched:
    """What the time that passes may touch."""
    window = state.definition.window
    by_input = time_by_input(state.newest, window)
    instant = time_by_clock(by_input, tick.now_us, state.last_input_us, window)
    return Touched(until_us=_reached(state, instant) if tick.caught_up else None)


def _reached(state: "Reconciliation", instant_us: int | None) -> int | None:
    """The instant event time reaches at most; None while nothing is decided by it."""
    times = [one for one in (instant_us, state.watermark_us) if one is not None]
    return None if state.paused else max(times, default=None)


def by_command(state: "Reconciliation", command: AnyCommand) -> Touched:
    """What a person's command may touch."""
    touched = Touched(open_legs=isinstance(command, Resume))
    if isinstance(command, ConfirmMatch | MatchByHand | ReverseMatch):
        for side, ids in enumerate((command.source_ids, command.target_ids)):
            touched.fingerprints += of_ids(side, ids)
            if isinstance(command, ReverseMatch):
                touched.named += [(side, one) for one in ids]
    if isinstance(command, StartRun | RetryRun):
        touched.days = state.runs.days_asked(command, state.book)
    return touched


def by_definition(_state: "Reconciliation", _definition: Definition) -> Touched:
    """What other rules touch: every open leg has other keys under them."""
    return Touched(open_legs=True)


def by_batch(state: "Reconciliation", events: list[Event], journal: list[bytes]) -> Touched:
    """What recorded events may touch when they are folded."""
    touched = Touched()
    for records in _columns([state.book.unpack(packed) for packed in journal]):
        _by_records(state.book, records, touched)
    ids: tuple[list[str], list[str]] = ([], [])
    for event in events:
        match event:
            case TransactionsAccepted():
                continue
            case ReconciliationDefined() | ReconciliationResumed():
                touched.open_legs = True
            case ReconciliationStarted():
                touched.days += [days_between(event.from_us, event.to_us)]
            case ReconciliationRetried():
                touched.days += state.runs.days_of(event.run_id)
        for side, transaction_id in _named_by(event):
            ids[side].append(transaction_id)
            if isinstance(event, MatchReversed | TransactionSuperseded | ExceptionResolved):
                touched.named.append((side, transaction_id))
    for side, of_side in enumerate(ids):
        touched.fingerprints += of_ids(side, of_side)
    return touched


def _named_by(event: Event) -> Iterable[tuple[int, str]]:
    """Side and id of the transactions an event speaks of."""
    for side, field in enumerate(("source_ids", "target_ids")):
        for transaction_id in getattr(event, field, ()):
            yield side, transaction_id
    transaction_id = getattr(event, "transaction_id", None)
    if transaction_id is not None:
        yield getattr(event, "side"), transaction_id  # noqa: B009 - of many event types


def beside(state: "Reconciliation", named: Iterable[tuple[int, str]]) -> Touched:
    """What may be touched once what is named is pending again, with who gave way to it.

    Whatever is named has to be thawed before this is asked.
    """
    touched, book = Touched(), state.book
    for side, transaction_id in named:
        known = book.known[side].get(transaction_id)
        for content in [] if known is None else _contents(known):
            transaction = book.unpack(content)
            _by_keys(book, transaction, touched)
            for duplicate in _duplicates_of(book, transaction):
                _by_keys(book, duplicate, touched)
    return touched


def _contents(known: Known) -> Sequence[bytes]:
    match known:
        case Leg():
            return (known.packed,)
        case Settled():
            return (*known.packed(0), *known.packed(1))
        case Superseded():
            return ()
    return (known,)


def _duplicates_of(book: Book, transaction: Transaction) -> Iterable[Transaction]:
    side, keys = transaction.side, book.keys_of(transaction)
    for rule, pool in zip(book.rules, book.pools, strict=True):
        if isinstance(pool, UniquePool):
            for one in pool.noted_aside(side, keys[rule.slot]):
                known = book.known[side].get(one)
                if isinstance(known, bytes):
                    yield book.unpack(known)


def _by_keys(book: Book, transaction: Transaction, touched: Touched) -> None:
    keys = book.keys_of(transaction)
    for rule in book.rules:
        if rule.has_key:
            touched.fingerprints += of_keys(rule.index, (keys[rule.slot],))


def _by_records(book: Book, records: TransactionColumns, touched: Touched) -> None:
    side = records.side
    touched.fingerprints += of_ids(side, records.transaction_ids)
    for rule in book.rules:
        if rule.has_key:
            touched.fingerprints += of_keys(rule.index, rule.index_column(records))
    if any(records.extras):
        corrected = [extra[5] for extra in records.extras if extra is not None and extra[5]]
        touched.fingerprints += of_ids(side, corrected)
        touched.named += [(side, one) for one in corrected]


def _columns(transactions: Sequence[Transaction]) -> Iterable[TransactionColumns]:
    if isinstance(transactions, TransactionColumns):
        return [transactions] if len(transactions) else []
    by_side = ([one for one in transactions if one.side == side] for side in (0, 1))
    return [TransactionColumns.of(some) for some in by_side if some]
