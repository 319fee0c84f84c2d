"""A demo whose roles do nothing: it ends in time and says what is missing."""

import time
from dataclasses import dataclass
from typing import Any

from connectors.postgres.connections import connect
from deploy.demo.run import report, run_demo

SECONDS_MAX = 1.5
NOTHING = {
    "transactions": {"accepted": 0},
    "matches_confirmed": 0,
    "suggestions_open": 0,
    "exceptions_open": 0,
}


@dataclass
class IdleProduct:
    """A database and a broker, but nobody who would read from the one into the other."""

    database_url: str
    kafka_config: dict[str, str]
    topic_prefix: str

    def connect(self):
        return connect(self.database_url, "operator")

    def client(self, _tenant_id: str) -> "IdleProduct":
        return self

    def get(self, _path: str) -> dict[str, Any]:
        return NOTHING

    def define(self, definition: dict[str, Any]) -> None:
        pass

    def check(self) -> None:
        pass


def test_what_is_never_decided_is_judged_when_time_is_up(database, broker, topic_prefix):
    kafka = {"bootstrap.servers": broker.bootstrap_servers}
    begin = time.monotonic()
    outcome = run_demo(
        IdleProduct(database.url, kafka, topic_prefix), 600, seed=3, seconds_max=SECONDS_MAX
    )
    assert SECONDS_MAX <= time.monotonic() - begin < 30
    assert outcome.sent >= 600
    assert (outcome.decided, outcome.exact) == (False, False)
    assert {difference.what for difference in outcome.differences} == {"missing"}
    kinds = {difference.kind for difference in outcome.differences}
    assert {"match", "exception", "accepted"} <= kinds
    told = report(outcome)
    assert (told["decided"], told["exact"]) == (False, False)
    assert outcome.proven, "nothing was taken in, so nothing was lost"
