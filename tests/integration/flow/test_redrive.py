"""Records that come before their definition are taken up by themselves once it is there."""

from dataclasses import replace

from connectors.synthetic.facts import Facts
from connectors.synthetic.workload import Rates
from deploy.verdict import read_stored_facts
from tests.integration.flow.running import (
    Load,
    Role,
    define,
    eventually,
    holds,
    wait_until_defined,
)


def same(conn, truth: Facts) -> bool:
    stored = read_stored_facts(conn)
    return (
        sorted(map(str, stored.matches)) == sorted(map(str, truth.matches))
        and sorted(map(str, stored.exceptions)) == sorted(map(str, truth.exceptions))
        and stored.accepted == truth.accepted
    )


def test_records_before_their_definition_end_in_the_same_truth(
    database, environment, settings, tmp_path
):
    flow = Role(environment, tmp_path / "flow.log", "flow")
    projections = Role(environment, tmp_path / "projections.log", "projections")
    # Of two rival records the first taken in wins, and here that is not the first sent.
    rates = replace(Rates(), conflicting=0.0, repeated=0.0)
    load = Load(3_000, 3, settings.kafka_config(), settings.topic_prefix, rates)
    with database.connect(autocommit=True) as conn, flow.running(), projections.running():
        load.send(1_500)
        eventually(
            30,
            "records without a definition are dead letters",
            lambda: (
                conn.execute(
                    "SELECT count(*) FROM dead_letter_queue WHERE code = 'unknown_reconciliation'"
                ).fetchone()[0]
                > 0
            ),
        )
        for definition in load.workload.definitions(idle_seconds=2):
            define(conn, definition)
        wait_until_defined(conn)
        load.finish()
        eventually(60, "the same matches and exceptions", lambda: same(conn, load.facts))
        waiting = conn.execute(
            "SELECT count(*) FROM dead_letter_queue AS letters JOIN streams USING (tenant_id, "
            "reconciliation_id) WHERE code = 'unknown_reconciliation' AND redriven_at IS NULL"
        ).fetchone()[0]
        assert waiting == 0
    holds(environment)
