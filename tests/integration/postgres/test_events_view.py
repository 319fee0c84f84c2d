"""The view `events`: one row an event, agreeing with Python, found through indexes."""

import json

import msgspec
import pytest

from connectors.postgres.connections import acting_for
from connectors.postgres.writing import commit_flush
from domain import events, identity
from domain.event_batches import EVENT_VERSION, encode_plain
from tests.integration.postgres.commits import claim, commit_of, matched

NEAR = events.Candidate("t-9", 1, 1200, "EUR", "by-ref", "amount", "off by 0.50")
EVERY_EVENT = [
    events.ReconciliationDefined(1, {"name": "Ωrders", "rules": [{"percent": "0.50"}]}, "cmd-1"),
    events.TransactionsAccepted(
        [(0, "EUR", 2, 300), (1, "JPY", 1, -5)], {"settler.transactions.source/0": (0, 2)}, 1, 0,
        [(0, "EUR", 20_454, 2, 300), (1, "JPY", -1, 1, -5)],
    ),
    events.PeriodClosed("2026-01-05"),
    events.WatermarkAdvanced(1_767_614_001_123_456),
    events.RecordMatched(
        "by-ref", "one_to_many", 1, ("s-1",), ("t-1", "t-2"), "EUR", 300, 299, 1_767_614_001_123
    ),
    events.RecordMatched("äpfel", "one_to_one", 2, ("z", "É"), ("ß", "😀"), "KWD", -1, 0, -7),
    events.RecordMatched("far", "one_to_one", 2, ("a",), ("b",), "EUR", 2**62, 1, 2**50),
    events.RecordMatched(
        "fx", "one_to_one", 2, ("a",), ("b",), "USD", 108, 107, 5,
        events.Compared("USD", 108, 107, [(0, "EUR", 1, 100), (1, "USD", 1, 107)]),
    ),
    events.MatchSuggested(
        "net", "one_to_one", 1, ("s-1", "s-2"), ("t-1",), "EUR", 300, 299, 5, "ambiguous",
        events.Compared("EUR", 290, 299, []),
    ),
    events.MatchSuggested(
        "by-ref", "one_to_one", 1, ("s-1", "s-2"), ("t-1",), "EUR", 300, 299, 5, "ambiguous"
    ),
    events.MatchSuggested(
        "by-ref", "one_to_one", 1, ("s",), ("t",), "EUR", 300, 299, 5, "asks", [300], [299], True
    ),
    events.MatchConfirmed(
        "manual", "one_to_one", 1, ("s-1",), ("t-1",), "EUR", 300, 299, 5, None, "seen", "cmd-2"
    ),
    events.MatchRejected("id-of-a-match", "by-ref", ("s",), ("t",), None, "cmd-3"),
    events.MatchReversed("id", "by-ref", ("s",), ("t",), "JPY", 5, 6, "wrong", None),
    events.TransactionSuperseded(1, "t-6", "t-7", -5, "JPY", False),
    events.ReconciliationPaused("holidays", "cmd-4"),
    events.ReconciliationResumed(None, "cmd-5"),
    events.ReconciliationStarted("run-1", "January", 5, 7, 1, "run-1"),
    events.ReconciliationRetried("run-1", 2, None, "cmd-12"),
    events.ReconciliationCancelled("run-1", "why", "cmd-13"),
    events.ReconciliationCompleted("run-1", 2, [(0, "EUR", "matched", 1, -5)]),
    events.ReconciliationFailed("run-1", "definition_changed", "It changed."),
    events.CommandRefused("cmd-6", "pause", "already_paused", "It is paused."),
    events.MatchSuperseded(
        identity.match_id("acme", "shop", "ref", ["s"], ["t"], 5), "ref", ("s",), ("t",), "why"
    ),
    events.RecordUnmatched(
        0, "s-3", "amount_mismatch", "low", 1250, "EUR", 5, "by-ref", "off", [NEAR], 1
    ),
    events.RecordUnmatched(
        1, "t-'\"\\\n", "missing_in_source", "high", 1, "EUR", 5, None, "", [], 1
    ),
    *(
        events.RecordMatched(
            "by-ref", "one_to_one", 1, (f"s-{n}\"",), (f"t-Ω{n}",), ("EUR", "JPY")[n % 2],
            10**17 + n, n - 3, 1_767_600_000_000 + n,
        )
        for n in range(5)
    ),
    events.ExceptionReclassified(0, "s-3", "date_mismatch", "by-date", "late", [NEAR]),
    events.ExceptionResolved(0, "s-3", "late_match", None),
    events.ExceptionResolved(1, "t-4", "late_match", "id-of-a-match"),
    events.ExceptionResolved(1, "t-4", "write_off", None, "a fee", "cmd-7"),
    events.ExceptionAssigned(0, "s-3", "ann", "cmd-8"),
    events.ExceptionAssigned(0, "s-3", None, "cmd-9"),
    events.ExceptionCommented(0, "s-3", "Ω 'said' \"so\"", "cmd-10"),
    events.ExceptionReopened(0, "s-3", None, "cmd-11"),
    events.DuplicateDetected(1, "t-5", "t-4", "by-ref", "ORD-1", 1250, "EUR"),
]  # fmt: skip


@pytest.fixture
def stored(flow):
    assert {type(event) for event in EVERY_EVENT} == set(events.Event.__args__)
    held = claim(flow)
    metadata = {"correlation_id": "corr", "traceparent": "00-a-b-01"}
    count = len(EVERY_EVENT)
    commit = commit_of(0, count, held.fence, events=EVERY_EVENT, metadata=metadata)
    commit_flush(flow, [commit], [])
    return count


def named(event: events.Event) -> dict:
    """What the view has to show: the event's own fields, the side by name, the id filled in."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    where = ("acme", "shop")
    if isinstance(event, events.RecordMatched | events.MatchSuggested | events.MatchConfirmed):
        members = (event.rule, event.source_ids, event.target_ids, event.newest_ms)
        fields["match_id"] = identity.match_id(*where, *members)
    if "side" in fields:
        fields["side"] = ("source", "target")[event.side]
    if type(event).__name__.startswith("Exception") or isinstance(event, events.RecordUnmatched):
        fields["exception_id"] = identity.exception_id(*where, fields["side"], event.transaction_id)
    return json.loads(msgspec.json.encode(fields))


def test_each_event_shows_its_fields_by_name_and_its_identity(connect_as, stored):
    rows = (
        connect_as("operator")
        .execute(
            "SELECT event_id::text, stream_id, stream_version, global_position, aggregate_id,"
            " aggregate_type, event_type, event_version, data, metadata, tenant_id"
            " FROM events ORDER BY global_position"
        )
        .fetchall()
    )
    assert len(rows) == stored
    for version, (row, event) in enumerate(zip(rows, EVERY_EVENT, strict=True), start=1):
        data, metadata = row[8], row[9]
        assert row[:8] == (
            identity.event_id("acme/shop", version),
            "acme/shop",
            version,
            version,
            "shop",
            "reconciliation",
            type(event).__name__,
            EVENT_VERSION,
        )
        assert data == named(event)
        assert metadata.pop("timestamp")
        assert metadata == {
            "tenant_id": "acme",
            "correlation_id": "corr",
            "traceparent": "00-a-b-01",
        }
        assert row[10] == "acme"


def test_a_stream_of_casework_is_an_exceptions(flow, connect_as):
    held = claim(flow, "exception")
    commit_flush(flow, [commit_of(0, 1, held.fence, "exception")], [])
    identity_of = identity.exception_id("exception", "shop", "source", "s-1")
    stream_id = identity.casework_stream_id("exception", identity_of)
    event = events.ExceptionCommented(0, "s-1", "hm", "cmd-1")
    with connect_as("api") as api, acting_for(api, "exception"):
        api.execute(
            "SELECT append_casework(%s, ARRAY['shop'], ARRAY[0]::bigint[], 1, %s,"
            " ARRAY['{}'::jsonb])",
            ([stream_id], [encode_plain([event]).decode()]),
        )
    shown = connect_as("operator").execute(
        "SELECT stream_id, aggregate_type, aggregate_id, stream_version, global_position,"
        " event_id::text, data->>'exception_id' FROM events ORDER BY global_position"
    )
    assert shown.fetchall()[-1] == (
        stream_id, "exception", identity_of, 1, 2, identity.event_id(stream_id, 1), identity_of,
    )  # fmt: skip


def test_an_unknown_type_shows_its_fields_rather_than_nothing(flow):
    element = '["SomethingNew", 1, "x"]'
    row = flow.execute("SELECT expand_event('SomethingNew', %s, 'a', 'b')", (element,))
    assert row.fetchone() == ({"fields": [1, "x"]},)


@pytest.fixture
def long_log(flow):
    """300 batches over 30 streams of two tenants, statistics taken."""
    holds = {}
    for name in range(30):
        tenant = ("acme", "globex")[name % 2]
        holds[name] = (tenant, claim(flow, tenant, f"r-{name}").fence)
    for turn in range(10):
        commits = [
            commit_of(
                turn * 5,
                5,
                fence,
                tenant,
                f"r-{name}",
                events=[matched(turn * 5 + i) for i in range(5)],
                metadata={"correlation_id": f"c-{name}-{turn}"},
            )
            for name, (tenant, fence) in holds.items()
        ]
        commit_flush(flow, commits, [])


def plan(conn, query: str, *parameters) -> str:
    # With little data a sequential scan may be cheaper; the question is whether an index can serve.
    conn.execute("SET enable_seqscan = off")
    rows = conn.execute(f"EXPLAIN {query}", parameters).fetchall()
    return "\n".join(row[0] for row in rows)


INDEXED = [
    ("SELECT * FROM events WHERE stream_id = 'acme/r-4'", "stream_id = 'acme/r-4'"),
    (
        "SELECT * FROM events WHERE tenant_id = 'acme' AND correlation_id = 'c-4-1'",
        "correlation_id = 'c-4-1'",
    ),
    ("SELECT * FROM events WHERE batch_position > 900", "last_position > 900"),
    ("SELECT * FROM events_between(100, 120)", "last_position > '100'"),
]


@pytest.mark.parametrize("role", ["operator", "api"])
def test_conditions_reach_the_indexes(long_log, database, connect_as, role):
    with database.connect(autocommit=True) as owner:
        owner.execute("ANALYZE event_store")
    conn = connect_as(role)
    for query, condition in INDEXED:
        with acting_for(conn, "acme"):
            shown = plan(conn, query)
        conditions = [line for line in shown.splitlines() if "Index Cond" in line]
        assert any(condition in line for line in conditions), shown


def test_a_range_of_positions_is_exact_and_may_cut_batches(long_log, flow, connect_as):
    operator = connect_as("operator")
    asked = "SELECT global_position FROM events_between(%s, %s) ORDER BY 1"
    for after, until in ((0, 3), (3, 12), (1_492, 1_500), (1_499, 9_999), (7, 7)):
        found = [row[0] for row in operator.execute(asked, (after, until))]
        assert found == list(range(after + 1, min(until, 1_500) + 1))
    with connect_as("api") as api, acting_for(api, "globex"):
        found = [row[0] for row in api.execute(asked, (70, 80))]
    assert found == [76, 77, 78, 79, 80]  # a flush stores its streams by id: acme's 15 come first
