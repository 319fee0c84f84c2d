"""Who is set aside as a duplicate is nobody's candidate any more, within the same step too."""

from tests.unit.domain.cases import DAY, START
from tests.unit.domain.logs import audit, log_of, reversal
from tests.unit.domain.test_runs import HOUR, World
from tests.unit.test_forgetting import UNIQUE, rule


def test_a_look_at_one_takes_no_other_that_it_has_just_set_aside():
    world = World(rules=[rule("counterparty"), UNIQUE], time_zone="UTC")
    world.send(("t1", "A", START), more={"counterparty": "y"})
    world.send(("s1", "A", START + 5 * DAY), more={"counterparty": "x"})
    world.send(("s2", "B", START + 9 * DAY), more={"counterparty": "y"})
    world.until(START + 9 * DAY + HOUR)
    world.send(("t2", "A", START + 9 * DAY + HOUR), more={"counterparty": "y"})
    told = world.ask(reversal(world.state, world.state.book.known[0]["s1"]))
    assert [type(event).__name__ for event in told] == [
        "MatchReversed", "DuplicateDetected", "RecordUnmatched"
    ]  # fmt: skip
    world.folded()
    audit(log_of(world.decisions))
