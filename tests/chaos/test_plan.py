"""A seed's plan is the same each time, leaves nothing out in the long run, and fits its load."""

from collections import Counter

import pytest

from connectors.synthetic.facts import digest
from deploy.bench.chaos.load import ChaosLoad, RecordsLost, _mixed
from deploy.bench.chaos.plan import (
    MEANINGS,
    WEIGHTS,
    WEIGHTS_WITH_KAFKA,
    flow_processes,
    make_plan,
)

SEEDS = range(1, 101)


def test_a_seed_gives_the_same_plan_again():
    assert all(make_plan(seed, 20.0) == make_plan(seed, 20.0) for seed in SEEDS)
    assert len({make_plan(seed, 20.0) for seed in SEEDS}) == len(SEEDS)


def test_a_hundred_seeds_leave_no_kind_out():
    for weights in (WEIGHTS, WEIGHTS_WITH_KAFKA):
        drawn = Counter(one.kind for seed in SEEDS for one in make_plan(seed, 20.0, weights))
        assert drawn.keys() == weights.keys()
    assert WEIGHTS_WITH_KAFKA.keys() == MEANINGS.keys()
    assert {flow_processes(seed) for seed in SEEDS} == {1, 2}


@pytest.mark.parametrize("seconds", [4.0, 20.0])
@pytest.mark.parametrize("weights", [WEIGHTS, WEIGHTS_WITH_KAFKA])
def test_everything_is_over_when_the_load_is(seconds, weights):
    for seed in SEEDS:
        plan = make_plan(seed, seconds, weights)
        assert all(one.at_seconds > 0 and one.at_seconds + one.seconds <= seconds for one in plan)
        assert list(plan) == sorted(plan, key=lambda one: one.at_seconds)


def test_nothing_is_broken_twice_at_once():
    for seed in SEEDS:
        until: dict[str, float] = {}
        for one in make_plan(seed, 60.0, WEIGHTS_WITH_KAFKA):
            if one.target != "load":
                assert until.get(one.target, 0.0) <= one.at_seconds, f"seed={seed}: {one}"
            until[one.target] = one.at_seconds + one.seconds


def test_a_load_is_a_matter_of_its_seed_and_keeps_the_order_of_each_key():
    load = ChaosLoad(7, 200, 5.0, {})
    blocks = load._blocks
    again = ChaosLoad(7, 200, 5.0, {})
    assert [[(side, key) for side, key, _ in block] for block in blocks] == [
        [(side, key) for side, key, _ in block] for block in again._blocks
    ]
    messages = [one for block in blocks[:2] for one in block]
    mixed = _mixed(messages, load._chance)
    assert mixed != messages
    assert Counter(mixed) == Counter(messages)
    for key in {(side, key) for side, key, _ in messages}:
        assert [m for m in mixed if m[:2] == key] == [m for m in messages if m[:2] == key]


def test_a_second_outage_within_the_first_gives_no_more_time_to_send():
    load = ChaosLoad(7, 200, 5.0, {})
    load.pause_soon()
    first = load._pause_at
    load.pause_soon()
    assert load._pause_at == first
    load.go_on()
    load.pause_soon()
    assert load._pause_at > first


def test_what_is_in_the_topics_more_often_is_expected_more_often():
    load = ChaosLoad(7, 200, 5.0, {})
    sent = Counter((side, value) for block in load._blocks for side, _, value in block)
    assert load.expected(sent) == load.truth
    match = load.truth.matches[0]
    accepted = next(
        (side, value)
        for side, value in sent
        if side == 0 and f'"{match.source_ids[0]}"'.encode() in value
    )
    refused = next(one for one in load.truth.dead_letters if one.code == "invalid_amount")
    bad = next(one for one in sent if digest(one[1]) == refused.digest)
    expected = load.expected(sent + Counter([accepted, accepted, bad]))
    assert expected.redelivered[match.stream_id] == load.truth.redelivered[match.stream_id] + 2
    assert expected.dead_letters.count(refused) == load.truth.dead_letters.count(refused) + 1
    with pytest.raises(RecordsLost, match="the broker lost 1 records"):
        load.expected(sent - Counter([accepted]))
