"""Rows and checkpoints move together: in any piece size, twice over, through any crash."""

from collections import Counter
from datetime import UTC, datetime

import psycopg
import pytest

from connectors.postgres.errors import CheckpointMoved
from domain import events as ev
from domain.identity import match_id
from projections.applying import apply, prepare
from projections.catalog import READ_MODELS
from projections.log import LogBroken, read_log
from projections.matches import MatchConfirmedTwice
from tests.integration.projections.conftest import NAMES
from tests.unit.projections.histories import Row, history

STEPS = ["checkpoints", *NAMES, "commit", "committed"]
NOW = datetime(2026, 1, 6, tzinfo=UTC)


class Crash(Exception):
    """The process dies here."""


def crashing_at(step: str, count: int = 1):
    seen = Counter()

    def on_step(reached: str) -> None:
        seen[reached] += 1
        if reached == step and seen[reached] == count:
            raise Crash(step)

    return on_step


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_those_of_the_plain_model(world, seed):
    rows, piles = history(seed)
    world.store(rows)
    world.feed()
    for pile in (pile for pile in piles if pile.version):
        summary = world.owner.execute(
            "SELECT pending, transactions_matched, transactions_suggested, transactions_exception,"
            " duplicates, superseded, matches_confirmed, suggestions_open, name, status"
            " FROM reconciliation_summary WHERE (tenant_id, reconciliation_id) = (%s, %s)",
            (pile.tenant, pile.name),
        ).fetchone()
        places = Counter(card.place for card in pile.cards)
        assert summary == (
            *(places[p] for p in ("pending", "matched", "suggested", "exception", "duplicate",
                                  "superseded")),
            pile.matches, len(pile.suggestions), f"Pile {pile.name}", "active",
        )  # fmt: skip
        pending = world.owner.execute(
            "SELECT side, currency, pending_count, pending_minor FROM reconciliation_totals"
            " WHERE (tenant_id, reconciliation_id) = (%s, %s)",
            (pile.tenant, pile.name),
        ).fetchall()
        for side, currency, count, minor in pending:
            cards = [
                card
                for card in pile.at("pending")
                if ("source", "target")[card.side] == side and card.currency == currency
            ]
            assert (count, minor) == (len(cards), sum(card.amount for card in cards))
        found = world.owner.execute(
            "SELECT status, count(*) FROM exceptions"
            " WHERE (tenant_id, reconciliation_id) = (%s, %s) GROUP BY status",
            (pile.tenant, pile.name),
        ).fetchall()
        cases = [card for card in pile.cards if card.case != "none"]
        to_do = [card for card in cases if card.is_to_do]
        in_progress = sum(card.assignee is not None for card in to_do)
        runs = world.owner.execute(
            "SELECT run_id, status FROM reconciliation_runs"
            " WHERE (tenant_id, reconciliation_id) = (%s, %s)",
            (pile.tenant, pile.name),
        ).fetchall()
        assert dict(runs) == pile.runs
        shown = Counter(dict(found))
        assert (shown["open"], shown["in_progress"], shown["resolved"] + shown["dismissed"]) == (
            len(to_do) - in_progress, in_progress, len(cases) - len(to_do),
        )  # fmt: skip
        members = world.owner.execute(
            "SELECT unnest(source_ids || target_ids) FROM matches WHERE status = 'confirmed'"
            " AND (tenant_id, reconciliation_id) = (%s, %s)",
            (pile.tenant, pile.name),
        ).fetchall()
        assert sorted(member for (member,) in members) == sorted(
            card.transaction_id.replace("\x00", "\N{REPLACEMENT CHARACTER}")
            for card in pile.at("matched")
        )


def test_usage_counts_what_the_log_holds(world):
    world.store(history(7, nul=False)[0])
    world.feed()
    usage = world.owner.execute(
        "SELECT sum(events), sum(journal_bytes), sum(matches), sum(exceptions)"
        " FROM tenant_usage_view"
    ).fetchone()
    stored = world.owner.execute(
        "SELECT sum(event_count), sum(octet_length(journal)),"
        " (SELECT count(*) FROM events WHERE event_type IN ('RecordMatched', 'MatchConfirmed')),"
        " (SELECT count(*) FROM events WHERE event_type = 'RecordUnmatched') FROM event_store"
    ).fetchone()
    assert usage == stored


def test_ids_are_those_of_the_view_events(world):
    """Postgres and Python name matches alike."""
    world.store(history(7, nul=False)[0])
    world.feed()
    positions = world.owner.execute("SELECT position, match_id::text FROM matches").fetchall()
    named = dict(
        world.owner.execute(
            "SELECT global_position, data ->> 'match_id' FROM events"
            " WHERE event_type IN ('RecordMatched', 'MatchSuggested', 'MatchConfirmed')"
        ).fetchall()
    )
    assert positions
    assert all(named[position] == identity for position, identity in positions)


def test_the_size_of_pieces_changes_nothing(full_world):
    full_world.feed()
    whole = full_world.dump()
    for events_max in (1, 17, 150):
        full_world.empty()
        full_world.feed(events_max=events_max)
        assert full_world.dump() == whole, events_max


def test_a_piece_fed_twice_changes_nothing(full_world):
    batches = read_log(full_world.reader, 0)
    full_world.feed()
    before = full_world.dump()
    with pytest.raises(CheckpointMoved, match="expected its checkpoint at 0"):
        apply(full_world.writer, READ_MODELS, prepare(READ_MODELS, 0, batches))
    assert full_world.dump() == before
    assert full_world.feed() == before["checkpoints"][0][1]
    assert full_world.dump() == before


def test_a_crash_at_any_step_changes_nothing(full_world):
    full_world.feed()
    undisturbed = full_world.dump()
    for step in STEPS:
        full_world.empty()
        with pytest.raises(Crash):
            full_world.feed(events_max=60, on_step=crashing_at(step, count=3))
        full_world.feed(events_max=60)
        assert full_world.dump() == undisturbed, step


def test_the_same_fold_can_be_written_again_after_a_failure(full_world):
    prepared = prepare(READ_MODELS, 0, read_log(full_world.reader, 0))
    full_world.feed()
    undisturbed = full_world.dump()
    full_world.empty()
    full_world.owner.execute(
        "INSERT INTO projection_checkpoints SELECT unnest(%s::text[]), 0", (NAMES,)
    )
    with pytest.raises(Crash):
        apply(full_world.writer, READ_MODELS, prepared, on_step=crashing_at("commit"))
    apply(full_world.writer, READ_MODELS, prepared)
    assert full_world.dump() == undisturbed


def test_missing_events_stop_it(full_world):
    full_world.owner.execute(
        "DELETE FROM event_store WHERE first_position > 1 AND last_position < 60"
    )
    with pytest.raises(LogBroken, match="events are missing"):
        full_world.feed()
    assert set(full_world.positions().values()) == {0}


def test_listeners_hear_once_per_reconciliation_what_changed(full_world):
    with psycopg.connect(full_world.settings.database_url, autocommit=True) as listener:
        listener.execute("LISTEN settler_read_models")
        full_world.feed()
        heard = [notice.payload for notice in listener.notifies(timeout=0.5)]
    assert len(heard) == len(set(heard)) == 3
    assert all('"tenant_id":"t-' in text and '"position":' in text for text in heard)


def _matched(ids, position=0) -> ev.RecordMatched:
    return ev.RecordMatched("r", "one_to_one", 1, (ids,), (ids,), "EUR", 5, 7, 1_700_000_000_000)


def _suggested(ids) -> ev.MatchSuggested:
    return ev.MatchSuggested(
        "r", "one_to_one", 1, (ids,), (ids,), "EUR", 5, 7, 1_700_000_000_000, "why"
    )


def _identity(ids, rule="r") -> str:
    return match_id("t", "r-1", rule, [ids], [ids], 1_700_000_000_000)


def _superseded(ids) -> ev.MatchSuperseded:
    return ev.MatchSuperseded(_identity(ids), "r", (ids,), (ids,), "because")


def _confirmed(ids, rule="r") -> ev.MatchConfirmed:
    return ev.MatchConfirmed(
        rule, "one_to_one", 1, (ids,), (ids,), "EUR", 5, 7, 1_700_000_000_000, _identity(ids),
        "because", "c-1",
    )  # fmt: skip


def _rejected(ids) -> ev.MatchRejected:
    return ev.MatchRejected(_identity(ids), "r", (ids,), (ids,), "because", "c-2")


def _reversed(ids, rule="r") -> ev.MatchReversed:
    return ev.MatchReversed(
        _identity(ids, rule), rule, (ids,), (ids,), "EUR", 5, 7, "because", "c-3"
    )


@pytest.mark.parametrize("events_max", [1, 100])
@pytest.mark.parametrize(
    ("events", "statuses"),
    [
        ([_suggested("a"), _superseded("a")], ["superseded"]),
        ([_suggested("a"), _superseded("a"), _suggested("a")], ["suggested"]),
        ([_suggested("a"), _superseded("a"), _matched("a")], ["confirmed"]),
        ([_suggested("a"), _matched("a"), _superseded("a")], ["confirmed"]),
        ([_matched("a"), _superseded("b"), _matched("b")], ["confirmed", "confirmed"]),
        ([_suggested("a"), _confirmed("a")], ["confirmed"]),
        ([_suggested("a"), _confirmed("a"), _reversed("a")], ["reversed"]),
        ([_suggested("a"), _rejected("a")], ["rejected"]),
        ([_suggested("a"), _rejected("a"), _confirmed("a")], ["confirmed"]),
        ([_matched("a"), _reversed("a")], ["reversed"]),
        ([_matched("a"), _reversed("a"), _matched("b")], ["reversed", "confirmed"]),
        (
            [_confirmed("a", "manual"), _reversed("a", "manual"), _confirmed("a", "manual")],
            ["confirmed"],
        ),
        (
            [
                _confirmed("a", "manual"),
                _reversed("a", "manual"),
                _confirmed("a", "manual"),
                _reversed("a", "manual"),
            ],
            ["reversed"],
        ),
    ],
)
def test_a_suggestion_and_its_match_share_a_row(world, events, statuses, events_max):
    world.store([Row("t", "r-1", i, [event], NOW, b"") for i, event in enumerate(events)])
    world.feed(events_max=events_max)
    rows = world.owner.execute(
        "SELECT status, difference_minor, reason, source_ids FROM matches ORDER BY position"
    ).fetchall()
    assert [row[0] for row in rows] == statuses
    assert all(difference == 2 for _, difference, _, _ in rows)
    by_rule = world.owner.execute(
        "SELECT count(*) FROM matches WHERE status = 'confirmed' AND command_id IS NULL"
        " AND reason IS NULL"
    ).fetchone()[0]
    by_people = sum(isinstance(event, ev.MatchConfirmed) for event in events)
    assert by_rule == (0 if by_people else statuses.count("confirmed"))
    suggested, matched, confirmed = world.owner.execute(
        "SELECT transactions_suggested, transactions_matched, matches_confirmed"
        " FROM reconciliation_summary"
    ).fetchone()
    assert suggested == 2 * statuses.count("suggested")
    assert matched == 2 * confirmed == 2 * statuses.count("confirmed")


def test_what_a_person_decided_stands_with_the_match(world):
    suggested = ev.MatchSuggested(
        "r", "one_to_one", 1, ("a",), ("a",), "EUR", 5, 7, 1_700_000_000_000, "why", [5], [7], True
    )
    paused = ev.ReconciliationPaused("stop", "c-9")
    for number, event in enumerate([suggested, _rejected("a"), paused]):
        world.store([Row("t", "r-1", number, [event], NOW, b"")])
    world.feed(events_max=1)
    row = world.owner.execute(
        "SELECT status, reason, command_id, source_amounts, target_amounts FROM matches"
    ).fetchone()
    assert row == ("rejected", "because", "c-2", [5], [7])
    (status,) = world.owner.execute("SELECT status FROM reconciliation_summary").fetchone()
    assert status == "paused"


def test_a_match_confirmed_twice_is_told(world):
    world.store([Row("t", "r-1", i, [_matched("a")], NOW, b"") for i in range(2)])
    with pytest.raises(MatchConfirmedTwice, match="settler verify"):
        world.feed(events_max=1)
    assert world.rows("matches")[0][6] == "confirmed"


def test_a_tenant_sees_its_own_rows_alone(full_world):
    full_world.feed()
    full_world.owner.execute("SET ROLE settler_api")
    for table in ("matches", "exceptions", "reconciliation_summary", "tenant_usage_view"):
        assert full_world.rows(table) == []
    full_world.owner.execute("SET settler.tenant_id = 't-1'")
    for table in ("matches", "exceptions", "reconciliation_summary", "tenant_usage_view"):
        (tenants,) = full_world.owner.execute(
            f"SELECT array_agg(DISTINCT tenant_id) FROM {table}"
        ).fetchone()
        assert tenants == ["t-1"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        full_world.owner.execute("DELETE FROM matches")
