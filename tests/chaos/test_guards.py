"""Each guard of exactly-once: with it its scenario holds, without it the scenario fails."""

import pytest

from tests.chaos import guards, scenarios, wrong_clocks
from tests.chaos.scenarios import GuardMissing, Rig
from tests.simulation import test_flow_in_any_weather as simulation

# (what is to hold, what it needs, the guard that holds it)
GUARDED = {
    "fence": (scenarios.a_zombie_stores_nothing, ("url",), guards.no_fence),
    "fence at lookup": (
        scenarios.another_s_commit_is_not_taken_for_its_own,
        ("url",),
        guards.no_fence_at_lookup,
    ),
    "version check": (
        scenarios.a_commit_that_does_not_follow_on_is_refused,
        ("url",),
        guards.no_version_check,
    ),
    "offset filter": (
        scenarios.a_record_read_again_counts_once,
        ("rig",),
        guards.no_offset_filter,
    ),
    "commit before checkpoint": (
        scenarios.no_offset_is_saved_before_its_commit,
        ("rig",),
        guards.checkpoint_before_commit,
    ),
    "lease": (scenarios.one_flow_at_a_time, ("settings",), guards.no_lease),
    "lost lease": (
        scenarios.who_lost_the_lease_is_told,
        ("settings", "url"),
        guards.no_word_of_a_lost_lease,
    ),
    "hold on expiry, by the clock": (
        scenarios.nothing_expires_by_the_clock_while_behind,
        ("rig",),
        guards.no_hold_while_behind,
    ),
    "hold on expiry, by later records": (
        scenarios.nothing_expires_by_later_records_while_behind,
        ("rig",),
        guards.no_hold_while_behind,
    ),
    "database's clock": (
        wrong_clocks.nothing_expires_by_a_clock_set_forward,
        ("rig",),
        guards.the_machine_s_own_clock,
    ),
    "database's clock, for what lies ahead": (
        wrong_clocks.nothing_is_refused_by_a_clock_set_back,
        ("rig",),
        guards.the_machine_s_own_clock,
    ),
    "end when the clock goes back": (
        wrong_clocks.a_flow_ends_when_the_clock_goes_back,
        (),
        guards.no_watch_for_steps_back,
    ),
}


@pytest.fixture
def play(request, make_settings):
    """Play the scenario of a guard; what it needs is made when it is asked for."""

    def make(need: str) -> object:
        if need == "rig":
            return Rig()
        url = request.getfixturevalue("database").url
        return url if need == "url" else make_settings(database_url=url, lease_seconds=0.3)

    def run(name: str) -> None:
        scenario, needs, _ = GUARDED[name]
        scenario(*map(make, needs))

    return run


@pytest.mark.parametrize("name", GUARDED)
def test_with_its_guard_a_scenario_holds(name, play):
    play(name)


@pytest.mark.parametrize("name", GUARDED)
def test_without_its_guard_a_scenario_fails(name, play, monkeypatch):
    GUARDED[name][2](monkeypatch)
    with pytest.raises(GuardMissing):
        play(name)


@pytest.mark.parametrize(
    "remove", [guards.no_fence, guards.no_offset_filter], ids=["fence", "offset filter"]
)
def test_the_simulation_notices_too(remove, monkeypatch):
    remove(monkeypatch)
    with pytest.raises(AssertionError):
        simulation.play_seeds(range(60))


def test_the_simulation_notices_offsets_saved_too_early(monkeypatch):
    def at_once(flow, topic, number, next_offset):
        identity = flow.identities[topic]
        flow.world.store.save_offsets(
            [
                simulation.SourceCheckpoint(
                    topic, number, next_offset, identity.cluster_id, identity.topic_id
                )
            ]
        )

    monkeypatch.setattr(simulation.Flow, "passed", at_once)
    with pytest.raises(AssertionError):
        simulation.play_seeds(range(60))
