"""How far figures trail what is committed."""

import pytest

from domain.events import WatermarkAdvanced
from tests.integration.api.rows import Log

PATH = "/api/v1/reconciliations/orders/lag"


@pytest.fixture
def log(served):
    with served.connect() as connection:
        log = Log(connection)
        catch_up(log)
        yield log
        catch_up(log)


def catch_up(log: Log) -> None:
    log.connection.execute(
        "UPDATE projection_checkpoints SET position = log_head.position FROM log_head"
    )


def test_what_is_committed_and_not_projected_is_lag(client, log):
    before = client.get(PATH).json()
    assert (before["batches_behind"], before["lag_seconds"]) == (0, 0)
    assert before["event_time_trails_seconds"] > 0
    positions = [
        log.append("acme", "orders", [WatermarkAdvanced(n), WatermarkAdvanced(n)])[0]
        for n in (1, 2, 3)
    ]
    log.append("acme", "refunds", [WatermarkAdvanced(1)])
    log.append("globex", "orders", [WatermarkAdvanced(1)])
    for position, seconds in zip(positions, (90, 60, 30), strict=True):
        log.connection.execute(
            "UPDATE event_store SET created_at = clock_timestamp() - %s * interval '1 s'"
            " WHERE first_position = %s",
            (seconds, position),
        )
    behind = client.get(PATH).json()
    assert behind["batches_behind"] == 3
    assert 90 <= behind["lag_seconds"] < 120
    assert behind["committed_position"] == positions[-1] + 1
    assert behind["position"] == before["position"]
    catch_up(log)
    caught_up = client.get(PATH).json()
    assert (caught_up["batches_behind"], caught_up["lag_seconds"]) == (0, 0)


def test_an_unknown_reconciliation_has_no_lag(client):
    for name in ("nothing", "%00", "a%2Fb"):
        assert client.get(f"/api/v1/reconciliations/{name}/lag").status_code == 404
