"""The plans of the hot queries: an index finds the rows, whatever the table's size."""

from connectors.postgres import queries


def explain(conn, file: str, name: str, parameters: dict) -> str:
    query = queries.load_queries(file)[name]
    with conn.transaction():
        # With empty tables a sequential scan is cheapest; whether an index can serve is the point.
        conn.execute("SET LOCAL enable_seqscan = off")
        conn.execute("SET LOCAL enable_bitmapscan = off")
        return "\n".join(row[0] for row in conn.execute(b"EXPLAIN " + query, parameters))


HOT = [
    (
        "reading",
        "read_batches",
        {"after_position": 5, "limit": 10, "with_journal": False},
        "event_store_pkey",
    ),
    (
        "reading",
        "read_stream",
        {"stream_id": "a/b", "after_version": 3, "limit": 9, "with_journal": True},
        "event_store_stream_version_key",
    ),
    ("streams", "bump_fence", {"stream_id": "a/b"}, "streams_pkey"),
    ("streams", "due_streams", {"until_us": 1, "limit": 10}, "streams_wake_at_idx"),
    (
        "streams",
        "newest_snapshot",
        {"stream_id": "a/b", "version": 3, "formats": [2, 3]},
        "snapshots_pkey",
    ),
    (
        "freezing",
        "read_pages",
        {"stream_id": "a/b", "blocks": [1, 2], "pages": [3, 4]},
        "frozen_pages_pkey",
    ),
    (
        "freezing",
        "read_fingerprints",
        {"stream_id": "a/b", "numbers": [1, 2]},
        "frozen_blocks_pkey",
    ),
    ("inbox", "read_pending", {"exclude": [], "limit": 10}, "inbox_pending_idx"),
    (
        "dead_letters",
        "read_redrivable",
        {"exclude": [], "limit": 10},
        "dead_letter_queue_redrivable_idx",
    ),
    (
        "dead_letters",
        "list_letters",
        {"tenant_id": "a", "code": None, "after": None, "limit": 10},
        "dead_letter_queue_tenant_idx",
    ),
    (
        "dead_letters",
        "read_unpublished",
        {"limit": 10},
        "dead_letter_queue_unpublished_idx",
    ),
    (
        "writing",
        "advance_streams",
        {
            "stream_ids": ["a/b"],
            "base_versions": [1],
            "new_versions": [2],
            "fences": [1],
            "next_offsets": ["{}"],
            "wake_ats_us": [None],
            "definition_versions": [1],
        },
        "streams_pkey",
    ),
]


def test_hot_queries_use_their_indexes(connect_as):
    conn = connect_as("flow")
    for file, name, parameters, index in HOT:
        shown = explain(conn, file, name, parameters)
        assert f"using {index}" in shown, f"{name}: {shown}"
        assert "Seq Scan" not in shown, f"{name}: {shown}"
        if name != "advance_streams":
            assert "Sort" not in shown, f"{name}: {shown}"
