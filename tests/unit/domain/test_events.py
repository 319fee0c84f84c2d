"""How batches are written down, and how older ones are read."""

import json

import pytest

from domain.events import FORMAT, RecordMatched, WatermarkAdvanced, decode_events, encode_events

MATCH = RecordMatched("rule", "one_to_one", 1, ("s",), ("t",), "EUR", 100, 100, 1_767_600_000_000)


def test_a_batch_is_an_array_of_named_arrays_in_field_order():
    text = encode_events([MATCH, WatermarkAdvanced(7)])
    assert json.loads(text) == [
        ["RecordMatched", "rule", "one_to_one", 1, ["s"], ["t"], "EUR", 100, 100, 1767600000000,
         None],
        ["WatermarkAdvanced", 7],
    ]  # fmt: skip
    assert decode_events(text) == [MATCH, WatermarkAdvanced(7)]


def test_a_match_of_a_release_without_a_field_is_read_with_its_default():
    text = encode_events([MATCH]).decode().replace(",null]", "]")
    assert "null" not in text
    assert decode_events(text) == [MATCH]


def test_an_old_version_is_raised_step_by_step():
    """Two formats ago a match had no match type; one ago its time was in seconds."""
    old = [["RecordMatched", "rule", 1, ["s"], ["t"], "EUR", 100, 100, 1767600000]]
    upcasters = {
        FORMAT - 2: {"RecordMatched": lambda e: [*e[:2], "one_to_one", *e[2:]]},
        FORMAT - 1: {"RecordMatched": lambda e: [*e[:-1], e[-1] * 1000]},
    }
    text = json.dumps([*old, ["WatermarkAdvanced", 7]])
    assert decode_events(text, FORMAT - 2, upcasters) == [MATCH, WatermarkAdvanced(7)]
    newer = json.dumps([[*old[0][:2], "one_to_one", *old[0][2:]]])
    assert decode_events(newer, FORMAT - 1, upcasters) == [MATCH]


def test_a_batch_of_a_newer_release_is_refused_by_name():
    with pytest.raises(ValueError, match=f"format {FORMAT + 1}, this release reads up to {FORMAT}"):
        decode_events("[]", FORMAT + 1)
