"""`settler definitions backtest` over a log that the real engine made, in a real Postgres."""

import json
import subprocess
import sys

import pytest
import yaml

from connectors.postgres.connections import connect
from connectors.postgres.history import HistoryUnknown, open_history
from connectors.postgres.writing import commit_flush
from domain.commands import ConfirmMatch, MatchByHand, RejectMatch, ReverseMatch
from domain.definition_parsing import parse_definition
from domain.events import RecordMatched
from domain.identity import match_id
from domain.reconciliation import Chunk, Reconciliation
from domain.transactions import build_transaction
from tests.integration.postgres.commits import claim, commit_of

EXACT = """
tenant_id: acme
reconciliation_id: shop
rules:
  - {name: reference, conditions: [{field: reference, operator: exact, unique: true}]}
"""
NEARLY = EXACT.replace("true}]", "true}], amount: {tolerance: {absolute: '1.00'}}")
ASKING = """
tenant_id: acme
reconciliation_id: shop
rules:
  - {name: reference, conditions: [{field: reference, operator: exact}]}
  - name: near
    conditions: [{field: reference, operator: exact}]
    amount: {tolerance: {absolute: "1.00"}}
    outcome: suggest
"""
PAIRS = 400
COMMAND = ("definitions", "backtest", "changed.yaml")


def pair(number: int):
    """A source and a target of one reference; of every tenth pair the amounts are one apart."""
    for side in (0, 1):
        yield build_transaction(
            {
                "tenant_id": "acme",
                "reconciliation_id": "shop",
                "transaction_id": f"{'st'[side]}{number:03d}",
                "amount": str(100 + (side if number % 10 == 0 else 0)),
                "currency": "EUR" if number % 20 else "JPY",
                "occurred_at": f"2026-01-{1 + number // 20:02d}T12:00:00Z",
                "reference": f"R{number}",
            },
            side,
            None,
        )


@pytest.fixture
def history(database):
    """The log of a reconciliation with `EXACT`, as the flow stores it: a flush for every day."""
    definition = parse_definition(yaml.safe_load(EXACT))
    state = Reconciliation(definition)
    decisions = [state.define(definition, "command-1")]
    for first in range(0, PAIRS, 20):
        chunk = [one for number in range(first, first + 20) for one in pair(number)]
        decisions.append(state.advance(Chunk(chunk, caught_up=True)))
    store(database, decisions)
    return state.version


def store(database, decisions) -> None:
    """Store what was decided as the flow does, a flush each."""
    with connect(database.url_as("settler_flow"), "flow", "test-flow") as flow:
        held = claim(flow)
        version = 0
        for decision in decisions:
            count = len(decision.events)
            commit = commit_of(
                version, count, held.fence, events=decision.events, journal=decision.journal
            )
            commit_flush(flow, [commit], [])
            version += count


@pytest.fixture
def worked_on(database):
    """A history that people worked on: pairs that are off by one were suggested to them."""
    definition = parse_definition(yaml.safe_load(ASKING))
    state = Reconciliation(definition)
    decisions = [state.define(definition, "command-1")]
    chunk = [one for number in (0, 1, 10, 30, 50, 120, 140) for one in pair(number)]
    decisions.append(state.advance(Chunk(chunk, caught_up=True)))
    near = {one.sources[0].transaction_id: name for name, one in state.book.suggestions.items()}
    matched = next(one for one in decisions[1].events if isinstance(one, RecordMatched))
    reversed_id = match_id("acme", "shop", "reference", ["s001"], ["t001"], matched.newest_ms)
    assert matched.source_ids == ("s001",)
    for number, command in enumerate((
        ConfirmMatch(near["s000"], reason="fee"),
        RejectMatch(near["s010"], "another order"),
        ReverseMatch(reversed_id, ["s001"], ["t001"], "a mistake"),
        MatchByHand(["s050"], ["t030"], "paid together"),
    )):  # fmt: skip
        decisions.append(state.decide(command, f"command-{number + 2}"))
    decisions.append(state.advance(Chunk(list(pair(160)), caught_up=True)))
    store(database, decisions)


@pytest.fixture
def backtest(environment, tmp_path):
    def run(text: str, *arguments: str) -> subprocess.CompletedProcess:
        (tmp_path / "changed.yaml").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", *COMMAND, *arguments],
            env={"PATH": "/usr/bin:/bin", **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_the_definition_in_force_changes_nothing(backtest, history):
    result = backtest(EXACT, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["transactions"] == 2 * PAIRS
    matches = found["matches"]
    assert matches["recorded"] == matches["candidate"] == matches["unchanged"] == PAIRS * 9 // 10
    assert [matches[name]["count"] for name in ("gained", "lost", "changed")] == [0, 0, 0]
    exceptions = found["exceptions"]
    assert exceptions["recorded"] == exceptions["candidate"] > 0
    assert [exceptions[name]["count"] for name in ("gained", "lost", "recategorised")] == [0, 0, 0]


def test_a_wider_tolerance_gains_what_was_off_and_is_the_same_twice(backtest, history, database):
    result = backtest(NEARLY, "--examples", "2", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    gained = found["matches"]["gained"]
    assert gained["count"] == PAIRS // 10
    assert gained["amounts"] == {"EUR": "2000.00", "JPY": "2000"}
    assert gained["by_rule"] == {"reference": PAIRS // 10}
    assert [one["source_ids"] for one in gained["examples"]] == [["s000"], ["s010"]]
    assert gained["examples"][0]["before"]["source s000"] == "amount_mismatch"
    assert found["matches"]["lost"]["count"] == found["matches"]["changed"]["count"] == 0
    assert found["accuracy"] == {"recorded": 0.9, "candidate": 1.0}
    assert found["exceptions"]["candidate"] == 0
    assert list(found["exceptions"]["lost"]["by_category"]) == ["amount_mismatch"]
    assert backtest(NEARLY, "--examples", "2", "--json").stdout == result.stdout
    with database.connect() as connection:
        assert connection.execute("SELECT position FROM log_head").fetchone() == (history,)


def test_the_words_name_what_is_gained(backtest, history):
    result = backtest(NEARLY)
    assert "accuracy 90.00% recorded, 100.00% with this definition" in result.stdout
    assert "matches gained: 40, 2000.00 EUR, 2000 JPY" in result.stdout
    assert "s000 with t000 by reference, 100 and 101 JPY" in result.stdout


def test_a_range_is_of_event_time(backtest, history):
    result = backtest(NEARLY, "--from", "2026-01-02", "--to", "2026-01-04", "--json")
    found = json.loads(result.stdout)
    assert (found["transactions"], found["straddling"]) == (80, 0)
    assert found["matches"]["recorded"] == 36
    assert found["matches"]["gained"]["count"] == 4


def test_the_definition_in_force_changes_nothing_that_people_decided(backtest, worked_on):
    found = json.loads(backtest(ASKING, "--json").stdout)
    for kind, names in (
        ("matches", ("gained", "lost", "changed")),
        ("suggestions", ("gained", "lost", "changed")),
        ("exceptions", ("gained", "lost", "recategorised")),
    ):
        assert [found[kind][name]["count"] for name in names] == [0, 0, 0], kind
        assert found[kind]["recorded"] == found[kind]["candidate"] > 0, kind
    assert found["contradictions"]["count"] == 0
    assert [
        {fate for fate, count in of_kind.items() if count} - {"count"}
        for of_kind in found["people"].values()
    ] == [{"by_people"}, {"by_people"}, {"repeated"}, {"repeated"}]


def test_decisions_that_a_definition_goes_against_are_named(backtest, worked_on):
    changed = ASKING.replace("outcome: suggest", "outcome: confirm")
    found = json.loads(backtest(changed, "--json", "--examples", "0").stdout)
    assert found["contradictions"]["by_decision"] == {"by_hand": 1, "rejected": 1}
    by_hand, rejected = found["contradictions"]["named"]
    assert [one["source_ids"] for one in by_hand["candidate"]] == [["s030"], ["s050"]]
    assert (rejected["source_ids"], rejected["reason"]) == (["s010"], "another order")
    assert found["people"]["confirmed"]["by_rules"] == 1
    words = backtest(changed).stdout
    assert "decisions of people that are contradicted: 2" in words
    assert (
        "s010 with t010 was rejected ('another order'); now: matches s010 with t010 by near, "
        "100.00 and 101.00 EUR" in words
    )
    assert "people confirmed 1: 1 made by a rule now" in words


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (EXACT.replace("shop", "nowhere"), (), "no history of acme/nowhere"),
        (EXACT.replace("exact", "exactly"), (), "rules[0].conditions[0].operator"),
        (EXACT, ("--from", "yesterday"), "--from yesterday"),
        (EXACT, ("--from", "2026-01-02", "--to", "2026-01-02"), "is not before"),
    ],
)
def test_unusable_input_exits_with_2(backtest, history, text, arguments, said):
    result = backtest(text, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_history_is_read_as_of_one_moment_and_changes_nothing(database, history):
    with connect(database.url_as("settler_operator"), "operator", "test") as reader:
        with open_history(reader, "acme", "shop") as found:
            shown = dict(
                reader.execute(
                    "SELECT name, setting FROM pg_settings WHERE name IN "
                    "('transaction_isolation', 'transaction_read_only')"
                ).fetchall()
            )
            events = sum(len(batch.events) for batch in found.batches)
        assert shown == {"transaction_isolation": "repeatable read", "transaction_read_only": "on"}
        assert events == found.version == history
        with pytest.raises(HistoryUnknown), open_history(reader, "acme", "other"):
            pass
