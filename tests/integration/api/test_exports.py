"""Exports: the list as a file, of one moment, of one tenant, and never whole in memory."""

import collections
import csv
import io
import json
import socket
import time
import tracemalloc
from decimal import Decimal

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from api import exports
from tests.integration.api.rows import Log, add_exception, add_match

EXCEPTIONS = "/api/v1/exceptions/export"
MATCHES = "/api/v1/matches/export"
HOSTILE = ["=1+1", "+1", "-2+3", "@SUM(A1)", "\tx", "'=kept", 'a,"b"\r\nc', "ünï", "plain"]


def lines(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def table(answer: httpx.Response) -> pa.Table:
    assert answer.status_code == 200, answer.text
    return pq.read_table(io.BytesIO(answer.content))


def listed(client, path: str, **query) -> list[dict]:
    items, cursor = [], {}
    while cursor is not None:
        page = client.get(path, params={"limit": 200, "order": "oldest", **query, **cursor}).json()
        items += page["items"]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    return items


@pytest.fixture(scope="module")
def hostile(served):
    """Exceptions whose ids a spreadsheet would run, in currencies of no to four digits."""
    with served.connect() as connection:
        log = Log(connection)
        for number, name in enumerate(HOSTILE):
            currency, minor = [("EUR", -1250), ("JPY", 7), ("KWD", 1), ("CLF", 12)][number % 4]
            add_exception(log, "acme", "refunds", name, currency=currency, amount_minor=minor)
        add_match(log, "acme", "refunds", 4321)
        add_exception(log, "globex", "refunds", "foreign")


@pytest.mark.parametrize(
    "filters",
    [
        {}, {"status": "open", "currency": "JPY"}, {"overdue": True}, {"rule": "nothing"},
        {"reconciliation_id": "refunds"},
    ],
)  # fmt: skip
def test_exceptions_are_those_of_the_list(hostile, client, filters):
    expected = listed(client, "/api/v1/exceptions", **filters)
    found = lines(client.get(EXCEPTIONS, params=filters))
    assert [one["exception_id"] for one in found] == [one["exception_id"] for one in expected]
    assert [one["amount"] for one in found] == [one["amount"] for one in expected]
    for one, shown in zip(found, expected, strict=True):
        assert json.loads(one["candidates"]) == shown["candidates"]
        for name in ("opened_at", "due_at", "occurred_at", "currency", "status", "side"):
            assert one[name] == shown[name]
        assert (one["overdue"] == "true") == shown["overdue"]
        assert one["assignee"] == (shown["assignee"] or "")


def test_matches_are_those_of_the_list(hostile, client):
    for filters in ({}, {"status": "any"}, {"reconciliation_id": "refunds"}):
        expected = listed(client, "/api/v1/matches", **filters)
        assert expected
        found = lines(client.get(MATCHES, params=filters))
        assert [one["match_id"] for one in found] == [one["match_id"] for one in expected]
        typed = table(client.get(MATCHES, params={**filters, "format": "parquet"})).to_pylist()
        for one, row, shown in zip(found, typed, expected, strict=True):
            assert json.loads(one["source_ids"]) == shown["source_ids"] == row["source_ids"]
            for name in ("source_amount", "target_amount", "difference"):
                assert one[name] == shown[name]
                assert row[name] == Decimal(shown[name])


def test_parquet_has_exact_types(hostile, client):
    query = {"format": "parquet", "reconciliation_id": "refunds"}
    answer = client.get(EXCEPTIONS, params=query)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"] == 'attachment; filename="exceptions.parquet"'
    found = table(answer)
    assert found.schema.field("amount").type == pa.decimal128(38, 4)
    assert found.schema.field("opened_at").type == pa.timestamp("us", tz="UTC")
    amounts = {row["transaction_id"]: row["amount"] for row in found.to_pylist()}
    assert amounts["=1+1"] == Decimal("-12.50")
    assert amounts["+1"] == Decimal(7)
    assert amounts["-2+3"] == Decimal("0.001")
    assert amounts["@SUM(A1)"] == Decimal("0.0012")
    assert set(HOSTILE) <= amounts.keys()
    empty = table(client.get(EXCEPTIONS, params={**query, "rule": "nothing"}))
    assert (empty.num_rows, empty.schema) == (0, found.schema)


def test_no_text_is_a_formula_and_no_amount_is_changed(hostile, client):
    answer = client.get(EXCEPTIONS, params={"reconciliation_id": "refunds"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="exceptions.csv"'
    found = {one["transaction_id"]: one for one in lines(answer)}
    for text in HOSTILE:
        guarded = text.lstrip("'")[0] in "=+-@\t"
        assert (f"'{text}" if guarded else text) in found
    assert not [name for name in found if name.startswith(("=", "+", "-", "@", "\t"))]
    assert found["'=1+1"]["amount"] == "-12.50"


def test_nobody_exports_another_tenants_rows(hostile, served, client):
    with served.client(served.globex) as globex:
        own = {one["exception_id"] for one in lines(globex.get(EXCEPTIONS))}
        matches = {one["match_id"] for one in lines(globex.get(MATCHES, params={"status": "any"}))}
    foreign = {one["exception_id"] for one in lines(client.get(EXCEPTIONS))}
    assert own
    assert not own & foreign
    assert not matches & {one["match_id"] for one in lines(client.get(MATCHES))}
    for query in ({"tenant_id": "globex"}, {"format": "xlsx"}, {"limit": 1}, {"cursor": "x"}):
        assert client.get(EXCEPTIONS, params=query).status_code == 400
    with served.client() as anonymous:
        assert anonymous.get(EXCEPTIONS).status_code == 401


# Size, and how it ends ----------------------------------------------------------------------

ROWS = 40_000


@pytest.fixture(scope="module")
def large(served):
    """A tenant's reconciliation with many exceptions, some 20 MB of CSV."""
    with served.connect() as connection:
        connection.execute(
            "INSERT INTO exceptions (exception_id, tenant_id, reconciliation_id, position, side,"
            " transaction_id, category, severity, status, amount_minor, currency, occurred_at,"
            " reason, candidates, definition_version, opened_at, updated_at, updated_position)"
            " SELECT gen_random_uuid(), 'acme', 'large', 5000000 + n, 'source', 's' || n,"
            " 'missing_in_target', 'low', 'open', n, 'EUR', now(), repeat('because ', 30), '[]',"
            " 1, now(), now(), n FROM generate_series(1, %s) AS n",
            (ROWS,),
        )
        yield
        connection.execute("DELETE FROM exceptions WHERE reconciliation_id = 'large'")


def running() -> float:
    return REGISTRY.get_sample_value("settler_api_exports_running") or 0.0


def until_none_runs(client) -> None:
    deadline = time.monotonic() + 60
    while running():
        assert time.monotonic() < deadline, "an export goes on though nobody takes it"
        client.get("/health/live")


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_file_of_any_size_takes_little_memory(large, client, file_format):
    query = {"reconciliation_id": "large", "format": file_format}
    size, parts = 0, []
    tracemalloc.start()
    try:
        with client.stream("GET", EXCEPTIONS, params=query) as answer:
            assert answer.status_code == 200
            tracemalloc.reset_peak()
            for part in answer.iter_bytes():
                size += len(part)
                if file_format == "parquet":
                    parts.append(part)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if file_format == "csv":
        assert size > 15_000_000
        # Of the server, which runs in this process: a page of rows, and its text.
        assert peak < 12_000_000, peak
    else:
        file = pq.ParquetFile(io.BytesIO(b"".join(parts)))
        assert file.metadata.num_rows == ROWS
        assert file.metadata.num_row_groups == ROWS // exports.PAGE_ROWS
        assert file.read(["amount"])["amount"].to_pylist()[-1] == Decimal(ROWS) / 100
    until_none_runs(client)


def test_a_file_shows_one_moment(large, served, client):
    with (
        client.stream("GET", EXCEPTIONS, params={"reconciliation_id": "large"}) as answer,
        served.connect() as connection,
    ):
        pieces = answer.iter_text()
        text = [next(pieces)]
        connection.execute(
            "UPDATE exceptions SET reason = 'changed meanwhile', status = 'dismissed'"
            " WHERE reconciliation_id = 'large'"
        )
        text += list(pieces)
    found = list(csv.DictReader(io.StringIO("".join(text), newline="")))
    assert len(found) == ROWS
    assert {one["status"] for one in found} == {"open"}
    with served.connect() as connection:
        connection.execute(
            "UPDATE exceptions SET status = 'open' WHERE reconciliation_id = 'large'"
        )


def test_a_client_that_leaves_ends_the_reading(large, client, served):
    until_none_runs(client)
    with client.stream("GET", EXCEPTIONS, params={"reconciliation_id": "large"}) as answer:
        pieces = answer.iter_bytes()  # without the name it would end, and the connection with it
        next(pieces)
        assert running() == 1
    until_none_runs(client)
    with served.connect() as connection:
        deadline = time.monotonic() + 10
        while connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'settler-api' AND state LIKE 'idle in transaction%'"
        ).fetchone() != (0,):
            assert time.monotonic() < deadline, "its transaction is still open"


def test_so_many_at_a_time_and_the_next_is_told_to_come_back(large, served, client):
    until_none_runs(client)
    host, port = served.url.removeprefix("http://").split(":")
    request = (
        f"GET {EXCEPTIONS}?reconciliation_id=large HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {served.acme.key}\r\n\r\n"
    ).encode()
    slow = [socket.create_connection((host, int(port))) for _ in range(exports.EXPORTS_MAX)]
    try:
        for one in slow:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(request)
            assert one.recv(12) == b"HTTP/1.1 200"
        answer = client.get(EXCEPTIONS)
        assert (answer.status_code, answer.json()["error"]) == (503, "export_busy")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/api/v1/exceptions").status_code == 200
    finally:
        for one in slow:
            one.close()
    until_none_runs(client)
    assert client.get(EXCEPTIONS, params={"rule": "nothing"}).status_code == 200


def test_what_takes_too_long_breaks_off(large, served, client, monkeypatch):
    monkeypatch.setattr(exports, "EXPORT_SECONDS_MAX", 2)
    query = {"reconciliation_id": "large"}
    with (
        client.stream("GET", EXCEPTIONS, params=query, timeout=90) as answer,
        served.client() as other,
    ):
        assert answer.status_code == 200
        # Nobody reads, so the file is never sent to its end.
        until_none_runs(other)
        with pytest.raises(httpx.RemoteProtocolError):
            collections.deque(answer.iter_bytes(), maxlen=0)
