"""Read models against the totals of the log: each figure that is another alone is named."""

import msgspec
import pytest

from domain.verification.totals import PLACES, MatchTally, Tally, Totals
from projections.agreement import MODELS, Shown, _summary_of, _totals_of, compare


def some_totals() -> Totals:
    places = {place: Tally(number, 100 * number) for number, place in enumerate(PLACES, 1)}
    return Totals(
        version=7,
        definition_version=2,
        redelivered=3,
        rejected=4,
        cases_open=5,
        cases_closed=6,
        places={(0, "EUR"): places, (1, "EUR"): {place: Tally(1, 10) for place in PLACES}},
        matches={
            ("confirmed", "EUR"): MatchTally(2, 200, 210),
            ("superseded", "EUR"): MatchTally(),
        },
        cases_in_progress=2,
        comments=8,
    )


def shown_of(totals: Totals) -> Shown:
    """What read models show that are right."""
    return Shown(
        {("confirmed", "EUR"): (2, 200, 210)},
        (5, 6, 2, 8),
        tuple(_summary_of(totals).values()),
        _totals_of(totals),
    )


def problems(shown: Shown, totals: Totals | None = None) -> list[str]:
    logged = dict.fromkeys(MODELS, totals or some_totals())
    found = list(compare("acme/orders", shown, logged))
    assert all(one.where.stream_id == "acme/orders" and one.hint for one in found)
    return [one.problem for one in found]


def test_what_agrees_gives_nothing():
    assert problems(shown_of(some_totals())) == []


def test_the_figures_differ_from_one_another():
    """Else a column in the place of another would go unnoticed below."""
    summary = _summary_of(some_totals())
    assert summary["accepted_source"] != summary["accepted_target"]
    assert summary["exceptions_open"] != summary["exceptions_resolved"]


@pytest.mark.parametrize("name", list(_summary_of(some_totals())))
def test_one_figure_of_the_summary_that_is_another_is_named(name):
    shown = shown_of(some_totals())
    at = list(_summary_of(some_totals())).index(name)
    shown.summary = (*shown.summary[:at], shown.summary[at] + 1, *shown.summary[at + 1 :])
    (problem,) = problems(shown)
    assert problem.startswith(f"reconciliation_summary shows {shown.summary[at]} {name}, ")


@pytest.mark.parametrize("at", range(12))
def test_one_figure_of_a_side_and_currency_that_is_another_is_named(at):
    shown = shown_of(some_totals())
    key = ("source", "EUR")
    figures = list(shown.totals[key])
    figures[at] -= 1
    shown.totals[key] = tuple(figures)
    (problem,) = problems(shown)
    assert problem.startswith(f"reconciliation_totals shows {figures[at]} source EUR ")


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ((1, 200, 210), "matches shows 1 confirmed matches in EUR, the log has 2"),
        ((2, 201, 210), "matches shows (201, 210) minor units on the sides of confirmed matches"),
        ((2, 200, 209), "matches shows (200, 209) minor units on the sides of confirmed matches"),
    ],
)
def test_matches_that_are_others_are_named(figures, problem):
    shown = shown_of(some_totals())
    shown.matches["confirmed", "EUR"] = figures
    (found,) = problems(shown)
    assert found.startswith(problem)


def test_matches_the_log_has_nothing_of_are_named():
    shown = shown_of(some_totals())
    shown.matches["confirmed", "JPY"] = (1, 1, 1)
    assert problems(shown) == ["matches shows 1 confirmed matches in JPY, the log has 0"]


@pytest.mark.parametrize(
    ("exceptions", "problem"),
    [
        ((4, 6, 2, 8), "exceptions shows 4 open exceptions, the log has 5"),
        ((5, 7, 2, 8), "exceptions shows 7 closed exceptions, the log has 6"),
        ((5, 6, 3, 8), "exceptions shows 3 exceptions in progress, the log has 2"),
        ((5, 6, 2, 7), "exceptions shows 7 comments on exceptions, the log has 8"),
    ],
)
def test_exceptions_that_are_others_are_named(exceptions, problem):
    shown = msgspec.structs.replace(shown_of(some_totals()), exceptions=exceptions)
    assert problems(shown) == [problem]


def test_a_missing_row_is_named_and_of_an_empty_log_is_none_wanted():
    missing = msgspec.structs.replace(shown_of(some_totals()), summary=None)
    assert problems(missing) == ["reconciliation_summary has no row of it"]
    nothing = Totals(0, 0, 0, 0, 0, 0, {}, {})
    assert problems(Shown(), nothing) == []


def test_each_read_model_is_compared_as_of_its_own_position():
    """`matches` is behind: it shows what the log had then."""
    now, then = some_totals(), some_totals()
    then.matches["confirmed", "EUR"] = MatchTally(1, 100, 100)
    shown = shown_of(now)
    shown.matches["confirmed", "EUR"] = (1, 100, 100)
    logged = dict.fromkeys(MODELS, now) | {"matches": then}
    assert list(compare("acme/orders", shown, logged)) == []


def test_what_is_left_out_is_not_compared():
    assert list(compare("acme/orders", Shown(), {})) == []
