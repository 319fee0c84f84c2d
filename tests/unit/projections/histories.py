"""Random histories of reconciliations with the state they must end in, told by a plain model.

The model keeps one place per transaction, the way a person would with a pile of cards; the read
models add and subtract. Where both agree, the read models are right.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from domain import events as ev
from domain.event_batches import FORMAT, encode_batch
from domain.identity import casework_stream_id, exception_id, match_id
from domain.periods import day_text
from projections.log import LogBatch, decode_batch

BEGIN = datetime(2026, 1, 5, 22, 0, tzinfo=UTC)
CATEGORIES = ("missing_in_target", "amount_mismatch", "ambiguous")
# Ids and texts that COPY, arrays and JSON each read in their own way.
ODD = (
    'a"b', "a\\b", "a,b", "{a}", "NULL", "a\tb", "a\nb", "ünïcode", "a b", "a'b", "a\x00b", "\\N",
    "\\.",
)  # fmt: skip


@dataclass
class Card:
    """A transaction of the model."""

    side: int
    transaction_id: str
    amount: int
    currency: str
    place: str = "pending"
    case: str = "none"
    set_aside: bool = False
    assignee: str | None = None
    comments: int = 0
    worked: int = 0

    @property
    def is_to_do(self) -> bool:
        return self.case == "open" and not self.set_aside


@dataclass
class Pile:
    """One reconciliation of the model."""

    tenant: str
    name: str
    odd: tuple[str, ...]
    cards: list[Card] = field(default_factory=list)
    suggestions: dict[str, tuple[ev.MatchSuggested, list[Card]]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    by_people: dict[str, tuple[ev.MatchConfirmed, list[Card]]] = field(default_factory=dict)
    version: int = 0
    matches: int = 0
    closed_day: int = 20_456

    def at(self, *places: str) -> list[Card]:
        return [card for card in self.cards if card.place in places]


@dataclass
class Row:
    """A row of event_store to be."""

    tenant: str
    reconciliation: str
    base_version: int
    events: list[ev.Event]
    stored_at: datetime
    journal: bytes
    of_exception: str | None = None

    @property
    def stream_id(self) -> str:
        if self.of_exception is None:
            return f"{self.tenant}/{self.reconciliation}"
        return casework_stream_id(self.tenant, self.of_exception)


def history(seed: int, steps: int = 60, *, nul: bool = True) -> tuple[list[Row], list[Pile]]:
    """Make a log and the piles it leaves; the same for the same seed.

    `nul` puts NULs into texts, which the log takes and the view `events` cannot show.
    """
    rng = random.Random(seed)
    odd = ODD if nul else tuple(text for text in ODD if "\x00" not in text)
    piles = [Pile(f"t-{n % 2}", f"r-{n}", odd=odd if n == 2 else ()) for n in range(3)]
    rows: list[Row] = []
    stored_at = BEGIN
    for step in range(steps):
        pile = rng.choice(piles)
        events: list[ev.Event] = []
        if pile.version == 0:
            definition = {"name": f"Pile {pile.name}", "note": "a\x00b" if nul else "ab"}
            if len(pile.name) % 2:
                definition["time_zone"] = "Pacific/Auckland"
            events.append(ev.ReconciliationDefined(1, definition, f"command-{pile.name}"))
        for _ in range(rng.randint(1, 6)):
            events += rng.choice(STEPS)(rng, pile)
        if not events:
            continue
        stored_at += timedelta(minutes=rng.randint(0, 30), microseconds=step)
        rows.append(
            Row(pile.tenant, pile.name, pile.version, events, stored_at, b"j" * rng.randint(0, 99))
        )
        pile.version += len(events)
        if rng.random() < 0.5:
            rows += _casework(rng, pile, stored_at)
    return rows, piles


def _casework(rng, pile, stored_at) -> list[Row]:
    """Let somebody work an exception, be it closed by then or not."""
    cards = [card for card in pile.cards if card.case != "none"]
    if not cards:
        return []
    card = rng.choice(cards)
    where, command = (card.side, card.transaction_id), f"command-{stored_at}"
    step = rng.choice(("assign", "comment", "resolve", "resolve", "reopen"))
    event: ev.Event
    if step == "assign":
        card.assignee = rng.choice(("ann", "bob", None))
        event = ev.ExceptionAssigned(*where, card.assignee, command)
    elif step == "comment":
        card.comments += 1
        event = ev.ExceptionCommented(*where, 'said "so"\n', command)
    elif step == "resolve":
        resolution = rng.choice(("write_off", "dismissed"))
        event = ev.ExceptionResolved(*where, resolution, None, "why", command)
        card.set_aside |= card.case == "open"
    else:
        event = ev.ExceptionReopened(*where, None, command)
        card.set_aside &= card.case != "open"
    identity = exception_id(
        pile.tenant, pile.name, ("source", "target")[card.side], card.transaction_id
    )
    card.worked += 1
    return [Row(pile.tenant, pile.name, card.worked - 1, [event], stored_at, b"", identity)]


def batches(rows: list[Row]) -> list[LogBatch]:
    """Read a history as the projector does."""
    result = []
    position = 0
    for place, row in enumerate(rows):
        last = position + len(row.events)
        batch_format, text = encode_batch(row.events, 1 + place % FORMAT)
        result.append(
            decode_batch(
                last,
                position + 1,
                row.tenant,
                row.reconciliation,
                row.base_version,
                batch_format,
                text.decode(),
                len(row.journal),
                row.stored_at,
                len(row.reconciliation),
            )
        )
        position = last
    return result


def _accept(rng, pile) -> list[ev.Event]:
    counts: Counter[tuple[int, str]] = Counter()
    sums: Counter[tuple[int, str]] = Counter()
    for _ in range(rng.randint(1, 5)):
        suffix = rng.choice(pile.odd) if pile.odd else ""
        card = Card(
            rng.randint(0, 1),
            f"x{len(pile.cards)}{suffix}",
            rng.randint(-500, 5000),
            rng.choice(("EUR", "JPY")),
        )
        pile.cards.append(card)
        counts[card.side, card.currency] += 1
        sums[card.side, card.currency] += card.amount
    return [
        ev.TransactionsAccepted(
            [(*key, count, sums[key]) for key, count in sorted(counts.items())],
            {f"topic.{rng.choice(('source', 'target'))}/0": (0, 1)} if rng.random() < 0.8 else {},
            rng.randint(0, 2),
            rng.randint(0, 2),
            _days(rng, counts, sums),
        )
    ]


def _days(rng, counts, sums) -> list[tuple[int, str, int, int, int]]:
    """The same by business day: 2026-01-03 to 07; events of the first releases tell none."""
    if rng.random() < 0.2:
        return []
    days = []
    for (side, currency), count in sorted(counts.items()):
        first = rng.randint(20_456, 20_459)
        part = rng.randint(0, count)
        for day, some, minor in (
            (first, part, sums[side, currency] - 7),
            (first + 1, count - part, 7),
        ):
            days.append((side, currency, day, some, minor))
    return days


def _close_days(rng, pile) -> list[ev.Event]:
    pile.closed_day += rng.randint(1, 2)
    return [ev.PeriodClosed(day_text(pile.closed_day))] if rng.random() < 0.5 else []


def _members(rng, pile, places) -> tuple[list[Card], list[Card], str] | None:
    currency = rng.choice(("EUR", "JPY"))
    free = [card for card in pile.at(*places) if card.currency == currency]
    source = [card for card in free if card.side == 0][: rng.randint(1, 3)]
    target = [card for card in free if card.side == 1][: rng.randint(1, 2)]
    return (source, target, currency) if source and target else None


def _ids(cards: list[Card]) -> tuple[str, ...]:
    return tuple(sorted(card.transaction_id for card in cards))


def _match(rng, pile) -> list[ev.Event]:
    found = _members(rng, pile, ("pending", "exception", "suggested"))
    if found is None:
        return []
    source, target, currency = found
    newest_ms = rng.choice((-5, 0, 1_767_600_000_000 + len(pile.cards)))
    match_type = "one_to_one" if len(source) == len(target) == 1 else "many_to_many"
    matched = ev.RecordMatched(
        "by-reference", match_type, 1, _ids(source), _ids(target), currency,
        sum(card.amount for card in source), sum(card.amount for card in target), newest_ms,
    )  # fmt: skip
    if rng.random() < 0.2:
        # Compared in a currency that is neither side's own.
        totals = [
            (0, currency, len(source), matched.source_minor),
            (1, currency, len(target), matched.target_minor),
        ]
        matched = msgspec.structs.replace(
            matched,
            currency="USD",
            source_minor=7,
            target_minor=5,
            compared=ev.Compared("USD", 7, 4, totals),
        )
    identity = match_id(
        pile.tenant, pile.name, matched.rule, matched.source_ids, matched.target_ids, newest_ms
    )
    events: list[ev.Event] = [matched]
    for card in source + target:
        if card.place == "exception":
            events.append(
                ev.ExceptionResolved(card.side, card.transaction_id, "late_match", identity)
            )
            card.case = "resolved"
        card.place = "matched"
    gone = [
        identity
        for identity, (_, cards) in pile.suggestions.items()
        if any(card.place == "matched" for card in cards)
    ]
    events += [_withdraw(pile, identity) for identity in gone]
    pile.matches += 1
    return events


def _match_in_a_row(rng, pile) -> list[ev.Event]:
    """Accept a few on both sides and match them one and one, as most of a log is."""
    events: list[ev.Event] = []
    for _ in range(rng.randint(2, 5)):
        events += _accept(rng, pile)
    for _ in range(rng.randint(2, 9)):
        currency = rng.choice(("EUR", "EUR", "JPY"))
        free = [card for card in pile.at("pending") if card.currency == currency]
        source = next((card for card in free if card.side == 0), None)
        target = next((card for card in free if card.side == 1), None)
        if source is None or target is None:
            continue
        source.place = target.place = "matched"
        pile.matches += 1
        newest_ms = rng.choice((-5, 1_767_600_000_000 + 600_000 * rng.randint(0, 3), 1 << 49))
        events.append(
            ev.RecordMatched(
                rng.choice(("by-reference", "by-reference", "by-date")), "one_to_one", 1,
                (source.transaction_id,), (target.transaction_id,), currency,
                source.amount, target.amount, newest_ms,
            )
        )  # fmt: skip
    return events


def _suggest(rng, pile) -> list[ev.Event]:
    """Suggest a new set, or what another rule suggests already, or a pair that overlaps pairs."""
    kind = rng.choice(("new", "again", "overlap"))
    if kind == "again" and pile.suggestions:
        first, cards = rng.choice(list(pile.suggestions.values()))
        suggested = msgspec.structs.replace(first, rule=f"{first.rule}+")
    else:
        found = _members(rng, pile, ("pending",)) if kind == "new" else _pair(rng, pile)
        if found is None:
            return []
        source, target, currency = found
        cards = source + target
        suggested = ev.MatchSuggested(
            f"by-amount-{len(pile.suggestions)}", "one_to_one", 1, _ids(source), _ids(target),
            currency, sum(card.amount for card in source), sum(card.amount for card in target),
            1_767_600_000_000, "several fit",
        )  # fmt: skip
    identity = match_id(
        pile.tenant, pile.name, suggested.rule, suggested.source_ids, suggested.target_ids,
        suggested.newest_ms,
    )  # fmt: skip
    if identity in pile.suggestions:
        return []
    pile.suggestions[identity] = (suggested, cards)
    events: list[ev.Event] = [suggested]
    for card in cards:
        if card.place == "exception":
            events.append(
                ev.ExceptionResolved(card.side, card.transaction_id, "late_match", identity)
            )
            card.case = "resolved"
        card.place = "suggested"
    return events


def _pair(rng, pile) -> tuple[list[Card], list[Card], str] | None:
    """Find a pair of which no member stands in anything larger than a pair."""
    grouped = {
        id(card) for _, cards in pile.suggestions.values() if len(cards) > 2 for card in cards
    }
    currency = rng.choice(("EUR", "JPY"))
    free = [
        card
        for card in pile.at("pending", "suggested", "exception")
        if card.currency == currency and id(card) not in grouped
    ]
    source = [card for card in free if card.side == 0]
    target = [card for card in free if card.side == 1]
    return ([rng.choice(source)], [rng.choice(target)], currency) if source and target else None


def _supersede(rng, pile) -> list[ev.Event]:
    return [_withdraw(pile, rng.choice(list(pile.suggestions)))] if pile.suggestions else []


def _withdraw(pile, identity) -> ev.Event:
    suggested, cards = pile.suggestions.pop(identity)
    standing = {id(card) for _, others in pile.suggestions.values() for card in others}
    for card in cards:
        if card.place == "suggested" and id(card) not in standing:
            card.place = "pending"
    return ev.MatchSuperseded(
        identity, suggested.rule, suggested.source_ids, suggested.target_ids, "a rival came"
    )


def _candidates(rng, pile) -> list[ev.Candidate]:
    return [
        ev.Candidate(card.transaction_id, card.side, card.amount, card.currency, "r", "amount", "d")
        for card in rng.sample(pile.cards, min(2, len(pile.cards)))
    ]


def _open(rng, pile, card, category) -> ev.Event:
    card.case, card.set_aside = "open", False
    rule = rng.choice((None, "by-reference", 'rule "two"'))
    return ev.RecordUnmatched(
        card.side, card.transaction_id, category, "low", card.amount, card.currency,
        1_767_600_000_000, rule, "no partner", _candidates(rng, pile), 1,
    )  # fmt: skip


def _unmatched(rng, pile) -> list[ev.Event]:
    pending = pile.at("pending")
    if not pending:
        return []
    card = rng.choice(pending)
    card.place = "exception"
    return [_open(rng, pile, card, rng.choice(CATEGORIES))]


def _duplicate(rng, pile) -> list[ev.Event]:
    pending = pile.at("pending")
    if not pending:
        return []
    card = rng.choice(pending)
    card.place = "duplicate"
    found = ev.DuplicateDetected(
        card.side, card.transaction_id, "first", "by-reference", "value", card.amount, card.currency
    )
    return [found, _open(rng, pile, card, "duplicate")]


def _reclassify(rng, pile) -> list[ev.Event]:
    cards = [card for card in pile.at("exception") if card.case == "open"]
    if not cards:
        return []
    card = rng.choice(cards)
    category = rng.choice(CATEGORIES)
    return [
        ev.ExceptionReclassified(
            card.side, card.transaction_id, category, "by-amount", "nearer", _candidates(rng, pile)
        )
    ]


def _watermark(rng, _pile) -> list[ev.Event]:
    return [ev.WatermarkAdvanced(rng.choice((-(2**62), 0, 1_767_600_000_000_000)))]


def _confirm(rng, pile) -> list[ev.Event]:
    """A person makes a match: of a suggestion, or by hand of what is open."""
    if pile.suggestions and rng.random() < 0.5:
        identity, (of, cards) = rng.choice(list(pile.suggestions.items()))
        confirmed = _by_person(of.rule, cards, of.newest_ms, identity)
    else:
        found = _members(rng, pile, ("pending", "exception", "suggested"))
        if found is None:
            return []
        identity, cards = None, [*found[0], *found[1]]
        confirmed = _by_person("manual", cards, 1_767_600_000_000 + len(pile.cards), None)
    events: list[ev.Event] = [confirmed]
    made = match_id(
        pile.tenant, pile.name, confirmed.rule, confirmed.source_ids, confirmed.target_ids,
        confirmed.newest_ms,
    )  # fmt: skip
    for card in cards:
        if card.place == "exception":
            events.append(
                ev.ExceptionResolved(card.side, card.transaction_id, "manual_match", made)
            )
            card.case = "resolved"
        card.place = "matched"
    gone = [
        one
        for one, (_, others) in pile.suggestions.items()
        if any(card.place == "matched" for card in others)
    ]
    # The suggestion that the match is of ends with it, when it has its id.
    events += [_withdraw(pile, one) for one in gone if one != made]
    pile.suggestions.pop(made, None)
    pile.by_people[made] = (confirmed, cards)
    pile.matches += 1
    return events


def _by_person(rule, cards, newest_ms, suggestion_id) -> ev.MatchConfirmed:
    sides = [[card for card in cards if card.side == side] for side in (0, 1)]
    return ev.MatchConfirmed(
        rule, "many_to_many", 1, _ids(sides[0]), _ids(sides[1]), cards[0].currency,
        sum(card.amount for card in sides[0]), sum(card.amount for card in sides[1]), newest_ms,
        suggestion_id, "seen", "command-7",
    )  # fmt: skip


def _reject(_rng, pile) -> list[ev.Event]:
    if not pile.suggestions:
        return []
    identity = min(pile.suggestions)
    gone = _withdraw(pile, identity)
    return [
        ev.MatchRejected(identity, gone.rule, gone.source_ids, gone.target_ids, None, "command-8")
    ]


def _reverse(rng, pile) -> list[ev.Event]:
    if not pile.by_people:
        return []
    identity = rng.choice(sorted(pile.by_people))
    made, cards = pile.by_people.pop(identity)
    for card in cards:
        card.place = "pending"
    pile.matches -= 1
    return [
        ev.MatchReversed(
            identity,
            made.rule,
            made.source_ids,
            made.target_ids,
            made.currency,
            made.source_minor,
            made.target_minor,
            "wrong",
            "command-9",
        )
    ]


def _correct(rng, pile) -> list[ev.Event]:
    """A record gives way to another, out of whatever it was an exception in."""
    cards = pile.at("pending", "exception", "duplicate")
    if not cards:
        return []
    card = rng.choice(cards)
    events: list[ev.Event] = []
    if card.case == "open":
        events.append(ev.ExceptionResolved(card.side, card.transaction_id, "superseded", None))
        card.case = "resolved"
    elif card.place != "pending":
        return []
    card.place = "superseded"
    return [
        *events,
        ev.TransactionSuperseded(
            card.side, card.transaction_id, "by", card.amount, card.currency, False
        ),
    ]


def _release(rng, pile) -> list[ev.Event]:
    cards = [card for card in pile.at("duplicate") if card.case == "open"]
    if not cards:
        return []
    card = rng.choice(cards)
    card.place, card.case = "pending", "resolved"
    return [ev.ExceptionResolved(card.side, card.transaction_id, "first_corrected", None)]


def _run(rng, pile) -> list[ev.Event]:
    """A run begins, ends or begins again."""
    ended = [one for one, status in pile.runs.items() if status in ("failed", "cancelled")]
    running = [one for one, status in pile.runs.items() if status == "running"]
    if ended and rng.random() < 0.3:
        pile.runs[ended[0]] = "running"
        return [ev.ReconciliationRetried(ended[0], 2, "again", "command-10")]
    if not running:
        one = f"run-{len(pile.runs)}"
        pile.runs[one] = "running"
        return [ev.ReconciliationStarted(one, 'a "run"', 0, 86_400_000_000, 1, one)]
    one = pile.runs[running[0]] = rng.choice(("completed", "failed", "cancelled"))
    if one == "completed":
        totals = [(0, "EUR", "matched", 2, 300), (1, "JPY", "exception", 1, -5)]
        return [ev.ReconciliationCompleted(running[0], 1, totals)]
    if one == "failed":
        return [ev.ReconciliationFailed(running[0], "definition_changed", "It changed.")]
    return [ev.ReconciliationCancelled(running[0], None, "command-11")]


STEPS = (
    _accept, _accept, _accept, _accept, _match, _match, _match_in_a_row, _suggest, _suggest,
    _suggest, _suggest, _suggest, _supersede, _unmatched, _unmatched, _duplicate, _reclassify,
    _reclassify,
    _watermark, _run, _confirm, _reject, _reverse, _correct, _release, _close_days,
)  # fmt: skip
