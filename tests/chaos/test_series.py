"""Seeds as they are given, results as they are remembered, figures as they are shown."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

from deploy.bench.chaos import report, series
from deploy.bench.chaos.judging import Verdict
from deploy.bench.chaos.run import RunResult, RunSettings
from deploy.bench.chaos.series import SeedsInvalid, parse_seeds, read_state, run_series
from deploy.cli.main import app

SETTINGS = RunSettings(20.0, 300)


def result_of(seed: int, verdict: Verdict | None = None) -> RunResult:
    return RunResult(
        seed=seed,
        settings=SETTINGS,
        flow_processes=1,
        began_at="2026-11-21T10:00:00+00:00",
        records=6_000,
        sent_again=40,
        landed=6_050,
        events=3_000,
        injections={"kill": 3, "zombie": 1},
        ends={"killed": 3, "fenced": 1},
        recovery_seconds=1.0 + seed,
        seconds=30.0,
        stopped_in_order=True,
        verdict=verdict or Verdict(),
        plan=[],
    )


@pytest.fixture
def runs(monkeypatch):
    """Every seed that was run, in order; seed 3 does not hold."""
    ran = []

    def run(seed, settings, say, *, logs):
        ran.append(seed)
        return result_of(seed, Verdict(lost=2, words=["missing match: a|b"]) if seed == 3 else None)

    monkeypatch.setattr(series, "run_seed", run)
    return ran


def play(seeds, state, settings=SETTINGS):
    return list(run_series(seeds, settings, lambda _text: None, state=state))


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("1-3", [1, 2, 3]), ("5, 1-2,5", [5, 1, 2]), ("4-4", [4])]
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-2", "1,,2"])
def test_what_is_no_seed_is_refused(text):
    with pytest.raises(SeedsInvalid):
        parse_seeds(text)


def test_a_series_goes_on_where_it_stopped(runs, tmp_path):
    state = tmp_path / "state.jsonl"
    play([1, 2], state)
    results = play([1, 2, 3, 4], state)
    assert runs == [1, 2, 3, 4]
    assert [one.seed for one in results] == [1, 2, 3, 4]
    assert read_state(state) == results


def test_a_result_cut_short_by_a_crash_is_run_again(runs, tmp_path):
    state = tmp_path / "state.jsonl"
    play([1, 2], state)
    state.write_bytes(state.read_bytes()[:-9])
    assert [one.seed for one in play([1, 2], state)] == [1, 2]
    assert runs == [1, 2, 2]
    assert [one.seed for one in read_state(state)] == [1, 2]


def test_results_of_other_settings_are_not_mixed(runs, tmp_path):
    state = tmp_path / "state.jsonl"
    play([1], state)
    with pytest.raises(SeedsInvalid, match="300 records a second"):
        play([2], state, RunSettings(20.0, 400))
    with pytest.raises(SeedsInvalid, match="on the embedded broker"):
        play([2], state, RunSettings(20.0, 300, "apache"))


def test_a_file_of_something_else_is_refused(tmp_path):
    state = tmp_path / "state.jsonl"
    state.write_text("{}\n")
    with pytest.raises(SeedsInvalid, match="line 1"):
        read_state(state)


def test_the_figures_say_what_held_and_what_did_not(runs, tmp_path):
    figures = report.summarize(play([1, 2], None))
    assert figures["holds"]
    assert (figures["records"], figures["sent_again"]) == (12_100, 100)
    assert figures["injections"]["kill"] == 6
    assert figures["injections"]["cut"] == 0
    assert figures["ends"] == {"killed": 6, "fenced": 2, "broken": 0, "other": 0}
    assert figures["recovery_seconds"] == {"median": 2.5, "max": 3.0}
    page = report.document(figures)
    assert "Everything held." in page
    assert "| records in the topics | 12,100 |" in page

    figures = report.summarize(play([2, 3], None))
    assert not figures["holds"]
    assert figures["seeds_that_do_not_hold"] == [3]
    assert figures["lost"] == 2
    assert "  missing match: a|b" in report.lines(figures)
    page = report.document(figures)
    assert "Not everything held" in page
    assert "missing match: a\\|b |" in page
    assert msgspec.json.decode(msgspec.json.encode(figures)) == figures


def test_the_page_keeps_the_figures_of_the_other_broker(runs):
    def page_of(seed, broker, existing):
        result = result_of(seed)
        result.settings = RunSettings(20.0, 300, broker)
        return report.document(report.summarize([result]), existing)

    both = page_of(2, "apache", page_of(1, "embedded", ""))
    headings = [line for line in both.splitlines() if line.startswith("## ")]
    assert headings == list(report.HEADINGS.values())
    again = page_of(1, "embedded", both)
    assert again == both, "written again it is the same, and nothing else moved"
    assert page_of(4, "apache", both).startswith(both.partition("## On Apache Kafka")[0])
    assert "broker_kill" in both.partition("## On Apache Kafka")[2]
    assert "broker_kill" not in both.partition("## On Apache Kafka")[0]


def test_the_command_writes_its_document_and_says_by_its_exit_code_what_came_of_it(runs, tmp_path):
    def run(*seeds_and_more):
        document = tmp_path / "chaos.md"
        arguments = ["bench", "chaos", "--json", "--document", str(document), "--seeds"]
        done = CliRunner().invoke(app, [*arguments, *seeds_and_more])
        return done.exit_code, json.loads(done.stdout), document.read_text()

    code, figures, page = run("1-2")
    assert (code, figures["seeds"], figures["holds"]) == (0, 2, True)
    assert "Everything held." in page
    code, figures, page = run("1-3", "--state", str(tmp_path / "state.jsonl"))
    assert (code, figures["seeds_that_do_not_hold"]) == (1, [3])
    assert "Not everything held" in page
    assert len(read_state(tmp_path / "state.jsonl")) == 3
