"""How batches are written down, and how older ones are read."""

import json
import random
from itertools import pairwise

import msgspec
import pytest

from domain.event_batches import (
    FORMAT,
    PLAIN_FORMAT,
    decode_elements,
    decode_events,
    encode_batch,
    encode_plain,
    gathered,
)
from domain.events import Compared, RecordMatched, WatermarkAdvanced
from domain.matched_pairs import MatchedPairs, count_of, events_of

MATCH = RecordMatched("rule", "one_to_one", 1, ("s",), ("t",), "EUR", 100, 100, 1_767_600_000_000)


def test_a_batch_is_an_array_of_named_arrays_in_field_order():
    text = encode_plain([MATCH, WatermarkAdvanced(7)])
    assert json.loads(text) == [
        ["RecordMatched", "rule", "one_to_one", 1, ["s"], ["t"], "EUR", 100, 100, 1767600000000,
         None],
        ["WatermarkAdvanced", 7],
    ]  # fmt: skip
    assert decode_events(text) == [MATCH, WatermarkAdvanced(7)]


def test_a_match_of_a_release_without_a_field_is_read_with_its_default():
    text = encode_plain([MATCH]).decode().replace(",null]", "]")
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


def test_matches_of_a_kind_in_a_row_are_one_element():
    matches = [
        RecordMatched(
            "rule", "one_to_one", 2, (f"s{n}",), (f"t{n}",), "EUR", 100 + n, 100 - n, 1_000 + n
        )
        for n in range(5)
    ]
    batch_format, text = encode_batch([WatermarkAdvanced(7), *matches, WatermarkAdvanced(8)])
    assert batch_format == 2
    assert json.loads(text) == [
        ["WatermarkAdvanced", 7],
        ["MatchedPairs", "rule", 2,
         [[f"s{n}", f"t{n}", "EUR", 100 + n, -2 * n, 1_000 + n] for n in range(5)]],
        ["WatermarkAdvanced", 8],
    ]  # fmt: skip


def test_whoever_may_not_write_the_newest_format_writes_the_plain_one():
    assert encode_batch([MATCH] * 9, PLAIN_FORMAT) == (PLAIN_FORMAT, encode_plain([MATCH] * 9))


def test_a_batch_that_gains_nothing_keeps_the_format_everybody_reads():
    events = [MATCH, WatermarkAdvanced(7), MATCH]
    assert encode_batch(events) == (PLAIN_FORMAT, encode_plain(events))


def any_match(rng):
    """One like its neighbours for the most part."""
    match = RecordMatched(
        "".join(rng.choice(("by-ref", "by-ref", "by-ref", "by-date"))),
        "one_to_one",
        rng.choice((1, 1, 1, 2)),
        (f"s-{rng.random()}",),
        (rng.choice(("t", 'Ω"\\', "\u2028")),),
        rng.choice(("EUR", "JPY")),
        rng.choice((0, 1250, 10**18, -(10**20))),
        rng.choice((0, 1250, 10**18, -(10**20))),
        rng.choice((1_767_600_000_000, -5, 1 << 50)),
    )
    if rng.random() < 0.05:
        return msgspec.structs.replace(match, match_type="many_to_one", source_ids=("a", "b"))
    if rng.random() < 0.05:
        # No rule makes it; in a log that is wrong it has to be seen as it is.
        return msgspec.structs.replace(match, target_ids=rng.choice(((), ("c", "d"))))
    if rng.random() < 0.05:
        return msgspec.structs.replace(match, compared=Compared("EUR", 1, 2, []))
    return match


@pytest.mark.parametrize("seed", range(40))
def test_every_batch_is_read_as_it_was_written(seed):
    rng = random.Random(seed)
    events = []
    while len(events) < 60:
        events += [any_match(rng) for _ in range(rng.randrange(12))]
        events += [WatermarkAdvanced(rng.randrange(9)) for _ in range(rng.randrange(2))]
    for newest in (PLAIN_FORMAT, FORMAT):
        batch_format, text = encode_batch(events, newest)
        assert batch_format <= newest
        assert decode_events(text, batch_format) == events
    # What can stand together does: of neighbours no two are pairs of one rule and version.
    for one, other in pairwise(decode_elements(*reversed(encode_batch(events)))):
        if isinstance(one, MatchedPairs) and isinstance(other, MatchedPairs):
            assert (one.rule, one.definition_version) != (other.rule, other.definition_version)
    assert gathered(events) == decode_elements(*reversed(encode_batch(events)))
    # What is told together already is written as if it had been told one by one.
    assert encode_batch(gathered(events)) == encode_batch(events)
    assert encode_batch(gathered(events), PLAIN_FORMAT) == encode_batch(events, PLAIN_FORMAT)
    assert events_of(gathered(events)) == events
    assert count_of(gathered(events)) == len(events)
