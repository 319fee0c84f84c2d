"""A broker that ends and comes back with its data, killed or in order, while everything goes on."""

import pytest

pytestmark = pytest.mark.apache_kafka


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_broker_that_restarts_loses_nothing(kafka, play_of, how):
    play = play_of()
    play.begin()
    play.load.send(1_500)
    getattr(kafka, how)()
    play.load.send(1_000)
    kafka.start()
    play.load.finish()
    play.ends_in_the_truth()
    assert play.flow.process.returncode == 0, "the same process all along"


def test_a_flow_that_was_down_meanwhile_goes_on_where_it_was(kafka, play_of):
    play = play_of()
    play.begin()
    play.load.send(2_000)
    play.flow.kill()
    kafka.kill()
    kafka.start()
    play.flow.start()
    play.load.finish()
    play.ends_in_the_truth()
