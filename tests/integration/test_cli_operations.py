"""The operating commands against a real database, as a person would type them."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def settler(environment, tmp_path):
    """Run the command; give exit code, standard output and standard error."""

    def run(*arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", *arguments],
            env={"PATH": "/usr/bin:/bin", **environment, **variables},
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_migrate_changes_nothing_the_second_time(settler, empty_database):
    first = settler("migrate", "--json", SETTLER_DATABASE_URL=empty_database.url)
    second = settler("migrate", "--json", SETTLER_DATABASE_URL=empty_database.url)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert json.loads(first.stdout)["applied"]
    assert json.loads(second.stdout)["applied"] == []


def test_a_database_that_was_not_migrated_is_said_to_be_so(settler, empty_database):
    result = settler("keys", "list", SETTLER_DATABASE_URL=empty_database.url)
    assert result.returncode == 1
    assert "settler migrate" in result.stderr


def test_a_database_that_is_not_there_is_said_to_be_so(settler):
    url = "postgresql://settler:hunter2@127.0.0.1:1/settler"
    result = settler("keys", "list", SETTLER_DATABASE_URL=url)
    assert result.returncode == 1
    assert "SETTLER_DATABASE_URL" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


def test_tenants_and_keys_from_birth_to_end(settler, database):
    assert settler("tenants", "create", "acme", "--name", "Acme Ltd").returncode == 0
    again = settler("tenants", "create", "acme")
    assert again.returncode == 1
    assert "acme exists already" in again.stderr
    made = json.loads(settler("keys", "create", "acme", "--name", "till", "--json").stdout)
    assert made["key"].startswith(f"rk_{made['key_id']}_")
    with database.connect() as connection:
        kept = connection.execute("SELECT api_keys::text FROM api_keys").fetchone()[0]
    assert made["key"].removeprefix(f"rk_{made['key_id']}_") not in kept
    assert settler("keys", "revoke", made["key_id"]).returncode == 0
    (listed,) = json.loads(settler("keys", "list", "acme", "--json").stdout)
    assert listed["name"] == "till"
    assert listed["revoked_at"] is not None
    assert settler("tenants", "suspend", "acme").returncode == 0
    (tenant,) = json.loads(settler("tenants", "list", "--json").stdout)
    assert tenant["suspended_at"] is not None
    assert settler("tenants").stdout.startswith("acme\tAcme Ltd\t")


def test_a_key_is_rotated(settler, database):
    settler("tenants", "create", "acme")
    made = json.loads(
        settler("keys", "create", "acme", "--role", "viewer", "--scope", "read", "--json").stdout
    )
    rotated = json.loads(settler("keys", "rotate", made["key_id"], "--json").stdout)
    assert rotated["rotated_from"] == made["key_id"]
    assert rotated["key"].startswith(f"rk_{rotated['key_id']}_")
    old, new = json.loads(settler("keys", "list", "acme", "--json").stdout)
    assert old["expires_at"] is not None
    assert (new["role"], new["scopes"], new["expires_at"]) == ("viewer", ["read"], None)
    assert settler("keys", "revoke", made["key_id"]).returncode == 0
    again = settler("keys", "rotate", made["key_id"])
    assert (again.returncode, again.stdout) == (1, "")
    with database.connect() as connection:
        log = connection.execute("SELECT action, target FROM audit_log ORDER BY audit_id")
        assert log.fetchall() == [
            ("tenant_created", "acme"), ("key_created", made["key_id"]),
            ("key_rotated", made["key_id"]), ("key_revoked", made["key_id"]),
        ]  # fmt: skip


def test_users_from_birth_to_end(settler, database):
    settler("tenants", "create", "acme")
    ada = ("acme", "Ada@Example.com")
    made = settler(
        "users", "create", *ada, "--role", "owner", "--password-stdin", "--json",
        given="a long password\n",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["email"] == "ada@example.com"
    twice = settler("users", "create", *ada, "--password-stdin", given="a long password\n")
    assert (twice.returncode, "has a user ada@example.com already" in twice.stderr) == (1, True)
    weak = settler("users", "set-password", *ada, "--password-stdin", given="ada\n")
    assert (weak.returncode, "has 3 characters" in weak.stderr) == (2, True)
    assert (
        settler(
            "users", "set-password", *ada, "--password-stdin", given="x long, y long"
        ).returncode
        == 0
    )
    assert settler("users", "set-role", *ada, "admin").returncode == 0
    assert settler("users", "disable", *ada).returncode == 0
    (listed,) = json.loads(settler("users", "list", "acme", "--json").stdout)
    assert (listed["role"], listed["disabled_at"] is None) == ("admin", False)
    assert settler("users", "enable", *ada).returncode == 0
    (listed,) = json.loads(settler("users", "list", "--json").stdout)
    assert listed["disabled_at"] is None
    with database.connect() as connection:
        log = connection.execute("SELECT action, details::text FROM audit_log ORDER BY audit_id")
        actions, details = zip(*log.fetchall(), strict=True)
    assert actions == (
        "tenant_created", "user_created", "password_set", "role_changed", "user_disabled",
        "user_enabled",
    )  # fmt: skip
    assert "long" not in "".join(details)


def test_signing_keys_are_rotated(settler):
    first = json.loads(settler("signing-keys", "rotate", "--json").stdout)["kid"]
    second = json.loads(settler("signing-keys", "rotate", "--json").stdout)["kid"]
    listed = json.loads(settler("signing-keys", "list", "--json").stdout)
    assert [key["kid"] for key in listed] == [second, first]
    assert [key["retires_at"] is None for key in listed] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("keys", "create", "nobody"), 1, "no tenant nobody"),
        (("keys", "revoke", "0000"), 2, "no key 0000"),
        (("keys", "rotate", "0000"), 1, "no live key 0000"),
        (("keys", "create", "acme", "--role", "root"), 2, "no role 'root'"),
        (("keys", "create", "acme", "--scope", "all"), 2, "no scope 'all'"),
        (("users", "create", "nobody", "a@b.cc", "--password-stdin"), 2, "the password has 0"),
        (("users", "create", "nobody", "a@b.cc"), 2, "use --password-stdin"),
        (("users", "set-role", "nobody", "a@b.cc", "admin"), 1, "no user a@b.cc"),
        (("users", "disable", "nobody", "nonsense"), 2, "no e-mail address"),
        (("tenants", "create", "No Such Form"), 1, "not 1 to 64"),
        (("dlq", "show", "17"), 2, "no id of a dead letter"),
        (("dlq", "show", "0b7c2f6e-9c0a-3a52-a4a1-5d5f0d6c1b11"), 2, "no dead letter"),
        (("dlq", "redrive"), 2, "name either"),
        (("definitions", "show", "acme", "shop"), 2, "no definition of acme/shop"),
        (("events", "--aggregate-id", "shop"), 2, "needs --tenant"),
        (("projections", "rebuild"), 2, "--all"),
        (("projections", "rebuild", "nothing"), 1, "no projection 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(settler, arguments, code, said):
    result = settler(*arguments)
    assert said in result.stderr
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_a_definition_that_cannot_mean_anything_is_refused_before_it_is_sent(
    settler, database, tmp_path
):
    (tmp_path / "bad.yaml").write_text("tenant_id: acme\nreconciliation_id: shop\nrules: []\n")
    result = settler("definitions", "put", "bad.yaml")
    assert result.returncode == 2
    assert "rules" in result.stderr
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


def test_a_definition_without_a_flow_stays_pending_and_says_so(settler, database, tmp_path):
    (tmp_path / "shop.yaml").write_text(
        "tenant_id: acme\nreconciliation_id: shop\nname: Shop\n"
        "source: {system: shop}\ntarget: {system: bank}\n"
        "rules:\n  - name: reference\n    match_type: one_to_one\n"
        "    conditions: [{field: reference, operator: exact}]\n"
    )
    result = settler("definitions", "put", "shop.yaml", "--wait-seconds", "0.2")
    assert result.returncode == 1, result.stderr
    assert "no flow decided within 0.2 s" in result.stderr
    with database.connect() as connection:
        row = connection.execute("SELECT tenant_id, command_type, status FROM inbox").fetchone()
    assert row == ("acme", "define", "pending")


def test_dead_letters_are_listed_shown_and_redriven(settler, database):
    with database.connect() as connection:
        connection.execute(
            'INSERT INTO dead_letter_queue (topic, partition, "offset", tenant_id, side, raw,'
            " code, message) VALUES ('t', 0, 7, 'acme', 0, '\\x7bff', 'invalid_json', 'broken')"
        )
    (letter,) = json.loads(settler("dlq", "list", "--tenant", "acme", "--json").stdout)
    assert (letter["code"], letter["side"], letter["raw"]) == ("invalid_json", "source", "{\\xff")
    shown = settler("dlq", "show", letter["dead_letter_id"])
    assert "invalid_json" in shown.stdout
    assert settler("dlq", "redrive", "--code", "invalid_json").returncode == 0
    assert settler("dlq", "redrive", "--code", "too_old").returncode == 1
    with database.connect() as connection:
        row = connection.execute("SELECT redrive_requested_at FROM dead_letter_queue").fetchone()
    assert row[0] is not None


def test_events_are_printed_in_commit_order_from_where_one_likes(settler, database):
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO event_store (last_position, first_position, stream_id, tenant_id,"
            " reconciliation_id, base_version, event_count, events, metadata)"
            """ VALUES (2, 1, 'acme/shop', 'acme', 'shop', 0, 2,"""
            """ '[["WatermarkAdvanced",1],["WatermarkAdvanced",2]]', '{"correlation_id":"c"}')"""
        )
        connection.execute("UPDATE log_head SET position = 2")
    printed = settler("events", "--json").stdout.splitlines()
    assert [json.loads(line)["stream_version"] for line in printed] == [1, 2]
    (last,) = settler("events", "--correlation-id", "c", "--after", "1").stdout.splitlines()
    assert "acme/shop@2\tWatermarkAdvanced" in last
    assert settler("events", "--tenant", "other").stdout == ""
    rows = json.loads(settler("projections", "list", "--json").stdout)
    assert {row["lag_events"] for row in rows} == {2}


def test_topics_are_created_once(settler):
    listed = json.loads(settler("topics", "list", "--json").stdout)
    assert [row["partitions"] for row in listed] == [4, 4, 4, 4]
    made = settler("topics", "create", "--partitions", "2", SETTLER_TOPIC_PREFIX="another")
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("created another.") == 4
    again = settler("topics", "create", SETTLER_TOPIC_PREFIX="another")
    assert again.stderr.count("is there with 2 partitions") == 4


def test_no_flow_is_told_by_the_exit_code(settler):
    result = settler("flow", "status", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["running"] is False


def test_offsets_are_not_reset_under_a_running_flow(settler, database):
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO leases VALUES ('flow', 'someone', now(), now() + interval '1 minute')"
        )
    result = settler("flow", "reset-offsets")
    assert result.returncode == 1
    assert "flow someone is running" in result.stderr
    with database.connect() as connection:
        connection.execute("DELETE FROM leases")
    assert "forgot the offsets of 0 partitions" in settler("flow", "reset-offsets").stderr


def test_verify_says_what_is_wrong_and_what_to_do(settler, database):
    right = settler("verify", "--no-kafka")
    assert (right.returncode, right.stdout) == (0, "")
    assert "verify: holds: 0 events in 0 batches" in right.stderr
    with database.connect() as connection:
        connection.execute("UPDATE log_head SET position = 7")
        connection.execute(
            "INSERT INTO streams (stream_id, tenant_id, reconciliation_id, version) "
            "VALUES ('acme/orders', 'acme', 'orders', 3)"
        )
    wrong = settler("verify", "--no-kafka")
    assert wrong.returncode == 1
    said = [line for line in wrong.stderr.splitlines() if "DOES NOT HOLD" in line]
    assert len(said) == 2
    assert "the log ends at position 0, its head says 7. The log was changed" in said[0]
    assert "acme/orders, version 0: the row of streams is at version 3" in said[1]
    unknown = settler("verify", "--tenant", "nobody")
    assert unknown.returncode == 2
    assert "there is no stream nobody/*" in unknown.stderr


def test_verify_of_a_database_that_was_not_migrated_is_no_difference(settler, empty_database):
    result = settler("verify", SETTLER_DATABASE_URL=empty_database.url)
    assert result.returncode == 2
    assert "settler migrate" in result.stderr
