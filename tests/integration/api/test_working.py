"""People work exceptions: each step an event of the exception's own stream, one or many at once."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from api import casework
from api.working import MANY_MAX
from connectors.postgres.connections import connect
from domain.casework import EVENTS_MAX
from domain.casework_events import ExceptionCommented
from domain.event_batches import PLAIN_FORMAT
from domain.events import ExceptionResolved, RecordMatched
from domain.identity import casework_stream_id, match_id
from projections import checkpoints
from projections.exceptions import EXCEPTIONS
from projections.feed import Feed
from tests.integration.api.people import bearing, key_of
from tests.integration.api.rows import Log, add_exception
from tests.integration.api.serving import serving

API = "/api/v1"


@pytest.fixture
def exception(served):
    """An open exception of acme that nobody has worked."""
    return make_exception(served, f"W-{uuid.uuid4()}")


def make_exception(served, transaction_id, tenant_id="acme", **more) -> str:
    with served.connect() as connection:
        return add_exception(Log(connection), tenant_id, "orders", transaction_id, **more)


def ask(client, exception_id, action, body=None, **options):
    answer = client.post(f"{API}/exceptions/{exception_id}/{action}", json=body or {}, **options)
    assert answer.status_code == 202, answer.text
    return answer.json()


def refusal(client, exception_id, action, body=None, **options) -> tuple[int, str]:
    answer = client.post(f"{API}/exceptions/{exception_id}/{action}", json=body or {}, **options)
    return answer.status_code, answer.json()["error"]


def stream_of(served, exception_id, tenant_id="acme") -> list[tuple]:
    with served.connect() as connection:
        return connection.execute(
            "SELECT stream_version, event_type, data, metadata FROM events WHERE stream_id = %s"
            " ORDER BY stream_version",
            (casework_stream_id(tenant_id, exception_id),),
        ).fetchall()


def project(served, after: int) -> None:
    """Bring the read model of exceptions to the head of the log."""
    with (
        connect(served.database_url, "projections", "read") as reader,
        connect(served.database_url, "projections", "write") as writer,
    ):
        checkpoints.delete(writer, ["exceptions"])
        writer.execute(
            "INSERT INTO projection_checkpoints (name, position) VALUES ('exceptions', %s)",
            (after,),
        )
        with Feed(reader, writer) as feed:
            feed.catch_up([EXCEPTIONS], after)


def head_of(served) -> int:
    with served.connect() as connection:
        return connection.execute("SELECT position FROM log_head").fetchone()[0]


def test_a_case_is_worked_to_its_end(served, client, exception):
    steps = [
        ("assign", {"assignee": " ann "}, "ExceptionAssigned", {"assignee": "ann"}),
        ("comment", {"comment": "asked the bank"}, "ExceptionCommented",
         {"comment": "asked the bank"}),
        ("resolve", {"resolution": "write_off", "reason": "a fee"}, "ExceptionResolved",
         {"resolution": "write_off", "reason": "a fee", "match_id": None}),
        ("reopen", {"reason": "no fee"}, "ExceptionReopened", {"reason": "no fee"}),
        ("dismiss", {}, "ExceptionResolved", {"resolution": "dismissed", "reason": None}),
    ]  # fmt: skip
    before = head_of(served)
    for version, (action, body, event_type, fields) in enumerate(steps, start=1):
        done = ask(client, exception, action, body)
        assert (done["status"], done["command_type"]) == ("done", f"{action}_exception")
        assert done["outcome"] == {
            "exception_id": exception,
            "stream_id": f"acme/exception/{exception}",
            "stream_version": version,
        }
        assert client.get(f"{API}/commands/{done['command_id']}").json() == done
        found = stream_of(served, exception)[-1]
        assert found[:2] == (version, event_type)
        assert fields.items() <= found[2].items()
        assert found[2]["exception_id"] == exception
        assert found[2]["command_id"] == found[3]["causation_id"] == done["command_id"]
        assert found[3]["user_id"] == f"key:{served.acme.key_id}"
    assert head_of(served) == before + len(steps)
    project(served, before)
    shown = client.get(f"{API}/exceptions/{exception}").json()
    assert (shown["status"], shown["resolution"], shown["assignee"]) == (
        "dismissed", "dismissed", "ann",
    )  # fmt: skip
    assert (shown["version"], shown["comments"], shown["resolution_reason"]) == (5, 1, None)
    told = [(one["event_type"], one["aggregate_type"]) for one in shown["story"]]
    assert told == [
        ("RecordUnmatched", "reconciliation"),
        *((event_type, "exception") for _, _, event_type, _ in steps),
    ]
    events = client.get(
        f"{API}/events", params={"aggregate_id": exception, "aggregate_type": "exception"}
    ).json()
    assert [one["event_type"] for one in events["items"]] == [step[2] for step in steps]


def test_a_release_before_can_read_what_is_written(served, client, exception):
    """Roles change releases in any order, so the API writes what every release reads."""
    ask(client, exception, "comment", {"comment": "asked the bank"})
    with served.connect() as connection:
        stored = connection.execute(
            "SELECT format FROM event_store WHERE stream_id = %s",
            (casework_stream_id("acme", exception),),
        )
        assert stored.fetchall() == [(PLAIN_FORMAT,)]


def test_what_nobody_said_a_body_for_needs_none(client, exception):
    assert client.post(f"{API}/exceptions/{exception}/dismiss").status_code == 202
    assert client.post(f"{API}/exceptions/{exception}/reopen").status_code == 202
    answer = client.post(f"{API}/exceptions/{exception}/comment")
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("assign", {}), ("assign", {"assignee": ""}), ("assign", {"assignee": "x" * 129}),
        ("comment", {"comment": "  "}), ("comment", {"comment": "a\x00b"}),
        ("comment", {"comment": "x" * 4001}), ("resolve", {"resolution": "write_off"}),
        ("resolve", {"resolution": "late_match", "reason": "x"}),
        ("resolve", {"resolution": "dismissed", "reason": "x"}), ("dismiss", {"more": 1}),
        ("reopen", {"reason": "x" * 513}),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(served, client, exception, action, body):
    assert refusal(client, exception, action, body) == (400, "invalid_parameter")
    assert stream_of(served, exception) == []


def test_what_cannot_be_done_says_why(served, client, exception):
    assert refusal(client, exception, "reopen") == (409, "exception_open")
    ask(client, exception, "dismiss")
    write_off = {"resolution": "write_off", "reason": "x"}
    assert refusal(client, exception, "resolve", write_off) == (409, "exception_closed")
    assert refusal(client, exception, "assign", {"assignee": "ann"}) == (409, "exception_closed")
    matched = served.acme.ids["resolved"]
    for action in ("dismiss", "reopen"):
        assert refusal(client, matched, action) == (409, "exception_matched")
    assert ask(client, matched, "comment", {"comment": "good"})["status"] == "done"
    for nothing in (str(uuid.uuid4()), "nonsense"):
        assert refusal(client, nothing, "dismiss") == (404, "not_found")
    with served.client(served.globex) as globex:
        assert refusal(globex, exception, "dismiss") == (404, "not_found")
    assert len(stream_of(served, exception)) == 1


def test_if_match_holds_to_what_was_seen(served, client, exception):
    def refused(version):
        return refusal(
            client, exception, "comment", {"comment": "x"}, headers={"If-Match": version}
        )

    assert client.get(f"{API}/exceptions/{exception}").json()["version"] == 0
    ask(client, exception, "comment", {"comment": "one"}, headers={"If-Match": '"0"'})
    assert refused('"0"') == (412, "version_conflict")
    assert refused("2") == (412, "version_conflict")
    assert refused("W/1") == (400, "invalid_parameter")
    ask(client, exception, "comment", {"comment": "two"}, headers={"If-Match": "1"})
    ask(client, exception, "comment", {"comment": "three"}, headers={"If-Match": "*"})
    assert [row[0] for row in stream_of(served, exception)] == [1, 2, 3]


def test_many_at_one_case_at_once_each_get_a_version_or_are_told_to_try_again(
    served, client, exception
):
    def comment(number: int) -> tuple[int, str]:
        path = f"{API}/exceptions/{exception}/comment"
        answer = client.post(path, json={"comment": str(number)})
        return answer.status_code, answer.json().get("error", "done")

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(comment, range(16)))
    assert set(outcomes) <= {(202, "done"), (409, "exception_busy")}
    stored = stream_of(served, exception)
    assert [row[0] for row in stored] == list(range(1, outcomes.count((202, "done")) + 1))
    assert len({row[2]["comment"] for row in stored}) == len(stored) > 4
    with served.connect() as connection:
        gaps = connection.execute(
            "SELECT count(*) FROM (SELECT first_position - lag(last_position) OVER"
            " (ORDER BY last_position) AS step FROM event_store) AS steps WHERE step <> 1"
        ).fetchone()
        head = connection.execute("SELECT max(last_position) FROM event_store").fetchone()[0]
    assert gaps == (0,)
    assert head == head_of(served)


def test_a_key_makes_two_requests_one(served, client, exception):
    headers = {"Idempotency-Key": f"k-{uuid.uuid4()}"}
    first = ask(client, exception, "comment", {"comment": "once"}, headers=headers)
    assert ask(client, exception, "comment", {"comment": "once"}, headers=headers) == first
    other = refusal(client, exception, "comment", {"comment": "other"}, headers=headers)
    assert other == (409, "idempotency_conflict")
    assert len(stream_of(served, exception)) == 1


def test_a_key_makes_two_requests_one_without_redis(served, api_settings, exception):
    settings = api_settings(database_url=served.database_url, redis_url="redis://127.0.0.1:1/0")
    with serving(settings) as url:
        alone = type(served)(url, served.database_url, served.acme, served.globex)
        with alone.client(served.acme) as client:
            headers = {"Idempotency-Key": f"k-{uuid.uuid4()}"}
            answers = [
                ask(client, exception, "comment", {"comment": "once"}, headers=headers)
                for _ in range(3)
            ]
            assert answers[0] == answers[1] == answers[2]
            other = refusal(client, exception, "comment", {"comment": "two"}, headers=headers)
            assert other == (409, "idempotency_conflict")
            bulk = {"action": "comment", "exception_ids": [exception], "comment": "many"}
            key = {"Idempotency-Key": f"k-{uuid.uuid4()}"}
            path = f"{API}/exceptions/bulk"
            assert client.post(path, json=bulk, headers=key).status_code == 202
            again = client.post(path, json=bulk, headers=key)
            assert (again.status_code, again.json()["error"]) == (409, "already_done")
    assert [row[2]["comment"] for row in stream_of(served, exception)] == ["once", "many"]


def test_every_step_is_in_the_audit_log_and_no_refusal(served, client, exception):
    done = ask(client, exception, "assign", {"assignee": "ann"})
    refusal(client, exception, "reopen")
    bulk = {"action": "dismiss", "exception_ids": [exception, str(uuid.uuid4())]}
    many = client.post(f"{API}/exceptions/bulk", json=bulk).json()["items"]
    with bearing(served, key_of(served, "admin")) as admin:
        lines = admin.get(f"{API}/audit-log", params={"limit": 2}).json()["items"]
    assert [line["action"] for line in lines] == ["work_exceptions", "assign_exception"]
    assert lines[0]["details"] == {
        "command_type": "dismiss_exception", "exception_ids": [exception],
    }  # fmt: skip
    assert (lines[1]["target"], lines[1]["details"]["command_id"]) == (
        exception, done["command_id"],
    )  # fmt: skip
    assert many[1]["error"] == "not_found"


def test_many_are_worked_together_each_with_its_own_outcome(served, client):
    mine = [make_exception(served, f"B-{uuid.uuid4()}") for _ in range(3)]
    foreign = make_exception(served, f"B-{uuid.uuid4()}", "globex")
    ask(client, mine[1], "dismiss")
    asked = [mine[2], str(uuid.uuid4()), mine[0], mine[1], served.acme.ids["resolved"], foreign]
    before = head_of(served)
    body = {"action": "resolve", "resolution": "timing_difference", "reason": "cut-off"}
    answer = client.post(
        f"{API}/exceptions/bulk", json={**body, "exception_ids": asked},
        headers={"X-Correlation-Id": "month-end"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    items = answer.json()["items"]
    assert [item["exception_id"] for item in items] == asked
    assert [item["error"] or item["version"] for item in items] == [
        1, "not_found", 1, "exception_closed", "exception_matched", "not_found",
    ]  # fmt: skip
    assert [item["status"] for item in items].count("done") == 2
    assert head_of(served) == before + 2
    for exception_id, command_id in ((mine[2], items[0]["command_id"]),
                                     (mine[0], items[2]["command_id"])):  # fmt: skip
        ((_, event_type, data, metadata),) = stream_of(served, exception_id)
        assert (event_type, data["reason"]) == ("ExceptionResolved", "cut-off")
        assert metadata["correlation_id"] == "month-end"
        assert metadata["causation_id"] == command_id
        assert client.get(f"{API}/commands/{command_id}").json()["status"] == "done"
    assert stream_of(served, foreign, "globex") == []


@pytest.mark.parametrize(
    "body",
    [
        {"action": "dismiss", "exception_ids": []},
        {"action": "dismiss", "exception_ids": ["x"]},
        {"action": "dismiss", "exception_ids": [str(uuid.UUID(int=7))] * 2},
        {"action": "dismiss", "exception_ids": [str(uuid.UUID(int=n))
                                                for n in range(MANY_MAX + 1)]},
        {"action": "delete", "exception_ids": [str(uuid.UUID(int=7))]},
        {"action": "assign", "exception_ids": [str(uuid.UUID(int=7))]},
        {"exception_ids": [str(uuid.UUID(int=7))]},
    ],
)  # fmt: skip
def test_many_that_cannot_be_meant_are_refused(client, body):
    answer = client.post(f"{API}/exceptions/bulk", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_a_full_case_can_still_be_closed(served, client, exception):
    row = client.get(f"{API}/exceptions/{exception}").json()
    stream_id = casework_stream_id("acme", exception)
    event = ExceptionCommented(0, row["transaction_id"], "again", "c")
    with served.connect() as connection:
        connection.execute("SELECT set_config('settler.tenant_id', 'acme', false)")
        from domain.event_batches import encode_plain

        for version in range(EVENTS_MAX):
            connection.execute(
                "SELECT append_casework(%s, ARRAY['orders'], %s::bigint[], 1, %s,"
                " ARRAY['{}'::jsonb])",
                ([stream_id], [version], [encode_plain([event]).decode()]),
            )
    assert refusal(client, exception, "comment", {"comment": "x"}) == (409, "casework_full")
    assert ask(client, exception, "dismiss")["outcome"]["stream_version"] == EVENTS_MAX + 1


def test_lists_are_filtered_by_who_works_and_what_was_said(served, client):
    before = head_of(served)
    ann, said, idle = (make_exception(served, f"F-{uuid.uuid4()}") for _ in range(3))
    who = f"ann-{uuid.uuid4()}"
    ask(client, ann, "assign", {"assignee": who})
    ask(client, said, "comment", {"comment": "hm"})

    def listed(**query) -> set[str]:
        answer = client.get(f"{API}/exceptions", params={"limit": 200, **query})
        return {item["exception_id"] for item in answer.json()["items"]}

    assert listed(assignee=who) == set()
    project(served, before)
    # Kept answers hear of the projection by a notice.
    deadline = time.monotonic() + 15
    while not listed(assignee=who):
        assert time.monotonic() < deadline, "the old list is still given"
    assert listed(assignee=who) == listed(assignee=who, status="in_progress") == {ann}
    assert listed(status="open", assignee=who) == set()
    assert {ann} <= listed(assigned=True)
    assert not listed(assigned=True) & {said, idle}
    assert {said} <= listed(commented=True)
    assert not listed(commented=True) & {ann, idle}
    assert {ann, idle} <= listed(commented=False)


def test_a_write_may_wait_until_it_is_shown(served, client, exception):
    before = head_of(served)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, client, exception, "dismiss", params={"wait": 20})
        deadline = time.monotonic() + 15
        while head_of(served) == before:
            assert time.monotonic() < deadline, "nothing was appended"
        project(served, before)
        assert waiting.result()["status"] == "done"
    assert client.get(f"{API}/exceptions/{exception}").json()["status"] == "dismissed"
    assert refusal(client, exception, "reopen", params={"wait": 31}) == (400, "invalid_parameter")


def test_a_late_match_resolves_what_a_person_closed_and_the_story_shows_both(served, client):
    name = f"L-{uuid.uuid4()}"
    before = head_of(served)
    exception = make_exception(served, name)
    ask(client, exception, "resolve", {"resolution": "write_off", "reason": "gone"})
    made = match_id("acme", "orders", "order-reference", [name], ["T-9"], 2_000)
    events = [
        RecordMatched(
            "order-reference", "one_to_one", 1, (name,), ("T-9",), "EUR", 990, 990, 2_000
        ),
        ExceptionResolved(0, name, "late_match", made),
    ]
    with served.connect() as connection:
        Log(connection).append("acme", "orders", events)
    project(served, before)
    shown = client.get(f"{API}/exceptions/{exception}").json()
    assert (shown["status"], shown["resolution"], shown["resolution_reason"]) == (
        "resolved", "late_match", None,
    )  # fmt: skip
    told = [(one["event_type"], one["data"].get("resolution")) for one in shown["story"]]
    assert told == [
        ("RecordUnmatched", None), ("ExceptionResolved", "write_off"), ("RecordMatched", None),
        ("ExceptionResolved", "late_match"),
    ]  # fmt: skip
    assert refusal(client, exception, "reopen") == (409, "exception_matched")


@pytest.mark.parametrize("many", [False, True])
def test_one_overtaken_is_tried_again_and_claims_its_key_once(
    served, api_settings, exception, monkeypatch, many
):
    """Somebody else appends between reading the case and appending to it."""
    settings = api_settings(database_url=served.database_url, redis_url="redis://127.0.0.1:1/0")
    read_cases, reads = casework.read_cases, []

    async def overtaken(session, exception_ids):
        cases = await read_cases(session, exception_ids)
        reads.append(1)
        if len(reads) == 1:
            with served.client(served.acme) as other:
                ask(other, exception, "comment", {"comment": "first"})
        return cases

    monkeypatch.setattr(casework, "read_cases", overtaken)
    headers = {"Idempotency-Key": f"k-{uuid.uuid4()}"}
    path, body = f"{API}/exceptions/{exception}/comment", {"comment": "second"}
    if many:
        path = f"{API}/exceptions/bulk"
        body |= {"action": "comment", "exception_ids": [exception]}
    with serving(settings) as url:
        alone = type(served)(url, served.database_url, served.acme, served.globex)
        with alone.client(served.acme) as client:
            assert client.post(path, json=body, headers=headers).status_code == 202
            again = client.post(path, json=body, headers=headers)
            assert again.status_code == (409 if many else 202), again.text
    assert len(reads) >= 3
    assert [row[2]["comment"] for row in stream_of(served, exception)] == ["first", "second"]


def test_one_overtaken_again_and_again_is_told_to_come_back(client, exception, monkeypatch):
    read_cases = casework.read_cases

    async def behind(session, exception_ids):
        cases = await read_cases(session, exception_ids)
        return {
            one: (msgspec.structs.replace(case, version=0), of) for one, (case, of) in cases.items()
        }

    ask(client, exception, "comment", {"comment": "first"})
    monkeypatch.setattr(casework, "read_cases", behind)
    answer = client.post(f"{API}/exceptions/{exception}/comment", json={"comment": "x"})
    assert (answer.status_code, answer.json()["error"]) == (409, "exception_busy")
    assert answer.headers["retry-after"] == "1"
    body = {"action": "comment", "comment": "x", "exception_ids": [exception]}
    answer = client.post(f"{API}/exceptions/bulk", json=body)
    assert (answer.status_code, answer.json()["error"]) == (409, "exception_busy")
