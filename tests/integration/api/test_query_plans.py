"""The hot queries find their rows by an index, under row-level security, in a full table."""

import json

import pytest

from api.database import QUERIES
from api.parameters import POSITION_END

ROWS = 20_000

NO_FILTERS = {
    "tenant_id": "full", "reconciliation_id": None, "rule": None, "currency": None,
    "match_type": None, "status": None, "category": None, "severity": None, "side": None,
    "position": POSITION_END, "limit": 51, "code": None, "redriven": None,
    "received_at": "9999-12-31T00:00:00Z", "dead_letter_id": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "stream_id": None, "correlation_id": None, "assignee": None, "assigned": None,
    "transaction_id": None,
    "commented": None, "from_time": None, "to_time": None, "overdue": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def full(served):
    """A tenant with many rows in two reconciliations."""
    with served.connect() as connection:
        for name in ("even", "odd"):
            connection.execute(
                "INSERT INTO reconciliation_summary (tenant_id, reconciliation_id, first_event_at,"
                " last_event_at, position) VALUES ('full', %s, now(), now(), 0)",
                (name,),
            )
        connection.execute(
            "INSERT INTO matches SELECT gen_random_uuid(), 'full',"
            " CASE n %% 2 WHEN 0 THEN 'even' ELSE 'odd' END, 1000000 + n, 'r', 'one_to_one',"
            " 'confirmed', ARRAY['s' || n], ARRAY['t' || n], 'EUR', 1, 1, 0, 1, NULL, NULL,"
            " NULL, NULL, NULL,"
            " hashtextextended(CASE n %% 2 WHEN 0 THEN 'even' ELSE 'odd' END,"
            " hashtextextended('full', 0))"
            " FROM generate_series(1, %s) AS n",
            (ROWS,),
        )
        connection.execute(
            "INSERT INTO exceptions SELECT gen_random_uuid(), 'full',"
            " CASE n %% 2 WHEN 0 THEN 'even' ELSE 'odd' END, n, 'source', 's' || n,"
            " 'missing_in_target', 'low', CASE n %% 3 WHEN 0 THEN 'resolved' ELSE 'open' END, NULL,"
            " 1, 'EUR', now(), NULL, '', '[]', NULL, NULL, 1, now(), now(), n"
            " FROM generate_series(1, %s) AS n",
            (ROWS,),
        )
        connection.execute(
            'INSERT INTO dead_letter_queue (topic, partition, "offset", tenant_id, side, raw,'
            " code, message, received_at, transaction_id) SELECT 't', 9, n, 'full', 0, '', 'x', '',"
            " now() - n * interval '1 s', CASE n %% 2 WHEN 0 THEN 's' || n %% 5000 END"
            " FROM generate_series(1, %s) AS n",
            (ROWS,),
        )
        connection.execute(
            "INSERT INTO event_store (last_position, first_position, stream_id, tenant_id,"
            " reconciliation_id, base_version, event_count, events, metadata)"
            " SELECT 1000000 + n, 1000000 + n,"
            " CASE n %% 2 WHEN 0 THEN 'full/even' ELSE 'full/odd' END, 'full',"
            " CASE n %% 2 WHEN 0 THEN 'even' ELSE 'odd' END, n, 1, '[]',"
            " jsonb_build_object('correlation_id', n::text) FROM generate_series(1, %s) AS n",
            (ROWS,),
        )
        connection.execute("ANALYZE")
        yield connection
        for table in ("matches", "exceptions", "dead_letter_queue", "event_store",
                      "reconciliation_summary"):  # fmt: skip
            connection.execute(f"DELETE FROM {table} WHERE tenant_id = 'full'".encode())


def rows_touched(plan) -> float:
    """Rows that the scans of a plan read, those they threw away included."""
    own = 0.0
    if "Scan" in plan["Node Type"] and "Plans" not in plan:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_touched(child) for child in plan.get("Plans", []))


@pytest.mark.parametrize(
    ("query", "parameters", "most"),
    [
        ("list_matches_newest", {}, 160),
        ("list_matches_newest", {"position": 1_000_000 + ROWS // 2}, 160),
        ("list_matches_newest", {"reconciliation_id": "odd"}, 110),
        ("list_matches_oldest", {"reconciliation_id": "odd", "position": 1_000_500}, 110),
        ("list_matches_oldest", {"position": 1_000_000 + ROWS // 2}, 160),
        ("list_suggestions", {}, 110),
        ("list_exceptions_newest", {}, 60),
        ("list_exceptions_newest", {"position": ROWS // 2}, 60),
        ("list_exceptions_newest", {"reconciliation_id": "odd", "status": "open"}, 400),
        ("list_exceptions_oldest", {"position": ROWS // 2}, 60),
        ("read_newest_exceptions", {"limit": 6}, 40),
        ("list_dead_letters", {}, 60),
        ("list_dead_letters", {"transaction_id": "s4998"}, 10),
        ("list_dead_letters", {"transaction_id": "s4998", "reconciliation_id": "odd"}, 10),
        ("list_reconciliation_ids", {}, 10),
        ("list_batches", {"position": 1_010_000}, 200),
        ("list_batches", {"position": 1_010_000, "stream_id": "full/even"}, 200),
        ("list_batches", {"position": 0, "correlation_id": "777"}, 20),
        ("read_live_summaries", {}, 1100),
    ],
)
def test_a_page_costs_no_more_than_its_rows(full, query, parameters, most):
    with full.transaction():
        full.execute("SET LOCAL ROLE settler_api")
        full.execute("SELECT set_config('settler.tenant_id', 'full', true)")
        (plan,) = full.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + QUERIES[query],
            NO_FILTERS | parameters,
            prepare=False,
        ).fetchone()
    touched = rows_touched(plan[0]["Plan"])
    assert touched <= most, json.dumps(plan, indent=1)
