"""Folding a log in one piece or in many adds up to the same, and to what a plain model says."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity import exception_id
from projections import error_hotspots, exceptions, matches, reconciliation_summary, tenant_usage
from tests.unit.projections.histories import batches, history

seeds = st.integers(0, 10_000)


def card_exception_id(pile, card) -> str:
    side = ("source", "target")[card.side]
    return exception_id(pile.tenant, pile.name, side, card.transaction_id)


class Tables:
    """The rows of every additive read model, in memory."""

    def __init__(self) -> None:
        self.cases = {}
        self.suggestions = {}
        self.sums = Counter()
        self.latest = {}

    def feed(self, piece) -> None:
        changed, answer = exceptions.fold_cases(self.cases, exceptions.fold(piece))
        assert answer.orphans == 0
        self.cases |= changed
        ledger = reconciliation_summary.fold(piece).copied()
        reconciliation_summary.add_changes(ledger, answer.changes)
        self.suggestions = reconciliation_summary.add_suggestions(ledger, self.suggestions)
        for rows in (
            ledger.summaries,
            ledger.totals,
            tenant_usage.fold(piece),
            error_hotspots.fold_changes(answer.changes),
        ):
            for key, row in rows.items():
                self._add(key, msgspec.structs.asdict(row))

    def _add(self, key, fields) -> None:
        for name, value in fields.items():
            if name == "last_seen_at":
                self.latest[key, name] = max(value, self.latest.get((key, name), value))
            elif name == "first_event_at":
                self.latest.setdefault((key, name), value)
            elif name in ("definition_version", "position") or not isinstance(value, int):
                if value is not None:
                    self.latest[key, name] = value
            else:
                self.sums[key, name] += value

    def state(self):
        return self.cases, self.suggestions, dict(self.sums), self.latest


@settings(max_examples=60, deadline=None)
@given(seeds, st.data())
def test_one_piece_or_many_give_the_same_rows(seed, data):
    log = batches(history(seed)[0])
    whole = Tables()
    whole.feed(log)
    cuts = data.draw(st.sets(st.integers(1, len(log) - 1)))
    parts = Tables()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(log)], strict=True):
        parts.feed(log[begin:end])
    assert parts.state() == whole.state()


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_places_are_those_of_the_plain_model(seed):
    rows, piles = history(seed)
    tables = Tables()
    tables.feed(batches(rows))
    for pile in piles:
        key = (pile.tenant, pile.name)
        places = Counter(card.place for card in pile.cards)
        sums = {name: tables.sums[key, name] for name in (
            "transactions_matched", "transactions_suggested", "transactions_exception",
            "duplicates", "superseded", "matches_confirmed", "suggestions_open")}  # fmt: skip
        assert sums == {
            "transactions_matched": places["matched"],
            "transactions_suggested": places["suggested"],
            "transactions_exception": places["exception"],
            "duplicates": places["duplicate"],
            "superseded": places["superseded"],
            "matches_confirmed": pile.matches,
            "suggestions_open": len(pile.suggestions),
        }
        cases = [card for card in pile.cards if card.case != "none"]
        to_do = sum(card.is_to_do for card in cases)
        opened, closed = (tables.sums[key, f"exceptions_{name}"] for name in ("open", "resolved"))
        assert (opened, closed) == (to_do, len(cases) - to_do)
        for card in cases:
            shown = tables.cases[card_exception_id(pile, card)]
            assert shown.is_open == card.is_to_do
            assert (shown.version, shown.comments) == (card.worked, card.comments)
            assert shown.assignee == card.assignee
            assert (shown.status == "in_progress") == (card.is_to_do and card.assignee is not None)
        for card_side, side in enumerate(("source", "target")):
            for currency in ("EUR", "JPY"):
                for place in (
                    "matched", "suggested", "exception", "duplicate", "superseded",
                ):  # fmt: skip
                    expected = sum(
                        card.amount
                        for card in pile.cards
                        if (card.side, card.currency, card.place) == (card_side, currency, place)
                    )
                    assert tables.sums[(*key, side, currency), f"{place}_minor"] == expected


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_fold_is_left_as_it_is_when_it_is_written(seed):
    piece = batches(history(seed)[0])
    ledger = reconciliation_summary.fold(piece)
    kept = msgspec.msgpack.encode((list(ledger.summaries.values()), list(ledger.totals.values())))
    _, answer = exceptions.fold_cases({}, exceptions.fold(piece))
    copied = ledger.copied()
    reconciliation_summary.add_changes(copied, answer.changes)
    reconciliation_summary.add_suggestions(copied, {})
    assert kept == msgspec.msgpack.encode(
        (list(ledger.summaries.values()), list(ledger.totals.values()))
    )


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_the_quick_way_of_writing_matches_says_what_the_careful_one_says(seed):
    """Ids, arrays and numbers alike, in batches that need no escapes."""
    for batch in batches(history(seed)[0]):
        for index, run in batch.pairs if batch.plain else ():
            careful = matches._escaped_lines(batch, list(enumerate(run.events(), index)))
            assert matches._pair_lines(batch, batch.first_position + index, run) == careful


def test_histories_have_matches_in_a_row():
    """What the tests above are about."""
    logs = [batch for seed in range(20) for batch in batches(history(seed)[0])]
    assert sum(len(batch.pairs) for batch in logs) > 100
    assert sum(len(batch.pairs) for batch in logs if batch.plain) > 50
    assert sum(len(batch.matched) for batch in logs) > 100


def test_events_of_an_unknown_case_are_counted_and_passed_over():
    log = batches(history(3)[0])
    happenings = [h for h in exceptions.fold(log) if not hasattr(h.event, "severity")]
    assert happenings, "the history resolves or reclassifies something"
    changed, answer = exceptions.fold_cases({}, happenings)
    assert (changed, answer.changes, answer.orphans) == ({}, [], len(happenings))


@pytest.mark.parametrize("seed", range(5))
def test_hotspots_of_open_cases_count_what_is_open(seed):
    log = batches(history(seed)[0])
    cases, answer = exceptions.fold_cases({}, exceptions.fold(log))
    heats = error_hotspots.fold_changes(answer.changes)
    assert sum(heat.open_count for heat in heats.values()) == sum(
        case.is_open for case in cases.values()
    )
    assert sum(heat.exception_count for heat in heats.values()) == len(cases)
