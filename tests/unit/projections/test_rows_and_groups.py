import msgspec
import pytest

from projections.catalog import READ_MODELS, UnknownReadModel, with_needed
from projections.copy_text import array_field, field, instant, json_text, line
from projections.log import NO_END, LogBroken, check_order
from projections.runner import NeedsRebuild, next_group
from tests.unit.projections.histories import batches, history


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\\N"),
        ("\\N", "\\\\N"),
        ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
        (-12, "-12"),
        ("", ""),
    ],
)
def test_a_field(value, text):
    assert field(value) == text


def test_an_array_quotes_every_element():
    assert array_field(["a", "NULL", 'b"c', "d\\e", ""]) == (
        '{"a","NULL","b\\\\"c","d\\\\\\\\e",""}'
    )


def test_a_line_ends_and_separates():
    assert line(("a", None, 3)) == "a\t\\N\t3\n"


def test_json_loses_nothing_but_nul():
    value = {"a\x00": ["b\x00", {"c": "\\u0000"}], "n": 1, "d": ("e\x00",)}
    decoded = msgspec.json.decode(json_text(value))
    assert decoded == {
        "a\N{REPLACEMENT CHARACTER}": ["b\N{REPLACEMENT CHARACTER}", {"c": "\\u0000"}],
        "n": 1,
        "d": ["e\N{REPLACEMENT CHARACTER}"],
    }


@pytest.mark.parametrize(("us", "year"), [(-(2**62), 1), (2**62, 9999), (0, 1970)])
def test_an_instant_stays_within_the_calendar(us, year):
    assert instant(us).year == year


def test_batches_that_do_not_follow_on_are_refused():
    log = batches(history(1)[0])
    check_order(0, log)
    with pytest.raises(LogBroken, match="goes on at position"):
        check_order(0, [log[0], *log[2:]])
    with pytest.raises(LogBroken):
        check_order(5, log)


def test_needed_models_come_along_in_writing_order():
    names = [model.name for model in with_needed(["error_hotspots_view", "matches"])]
    assert names == ["matches", "exceptions", "error_hotspots_view"]
    with pytest.raises(UnknownReadModel, match="reconciliation_summary"):
        with_needed(["summary"])


def test_every_model_stands_after_those_it_needs():
    seen = set()
    for model in READ_MODELS:
        assert seen.issuperset(model.needs)
        seen.add(model.name)


def test_those_behind_are_brought_up_to_the_next():
    positions = {model.name: 9 for model in READ_MODELS}
    assert next_group(READ_MODELS, positions) == (list(READ_MODELS), 9, NO_END)
    positions["matches"] = 4
    group, after, until = next_group(READ_MODELS, positions)
    assert ([model.name for model in group], after, until) == (["matches"], 4, 9)


def test_one_behind_what_it_needs_asks_for_a_rebuild():
    positions = {model.name: 9 for model in READ_MODELS} | {"reconciliation_summary": 0}
    with pytest.raises(NeedsRebuild, match="projections rebuild reconciliation_summary"):
        next_group(READ_MODELS, positions)
