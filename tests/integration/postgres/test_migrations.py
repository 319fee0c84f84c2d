"""Migrations: forward only, each once, and together the schema that is written down."""

import subprocess
import threading
from hashlib import sha256
from importlib import resources

import psycopg
import pytest

from connectors.postgres.connections import WaitInterrupted, connect_as_owner, connect_when_ready
from connectors.postgres.errors import SchemaBehind
from connectors.postgres.migrations import (
    Migration,
    MigrationEdited,
    RolesMissing,
    check_migrated,
    ensure_roles,
    migrate,
    read_migrations,
)


def dump(database) -> list[str]:
    """The schema as pg_dump writes it, without what differs from run to run."""
    program = database.server._program("pg_dump")
    text = subprocess.run(
        [program, "--schema-only", database.url], capture_output=True, text=True, check=True
    ).stdout
    return [
        line for line in text.splitlines() if line and not line.startswith(("--", "\\", "SET "))
    ]


def test_all_migrations_give_the_schema_that_is_written_down(database, empty_database):
    schema = resources.files("connectors.postgres").joinpath("schema.sql").read_text("utf-8")
    with connect_as_owner(empty_database.url) as conn:
        ensure_roles(conn)
        conn.execute("SET ROLE settler_owner")
        with conn.transaction():
            conn.execute(schema.encode())
    assert dump(empty_database) == dump(database)


def test_run_twice_it_changes_nothing(empty_database):
    with connect_as_owner(empty_database.url) as conn:
        assert migrate(conn) == [migration.name for migration in read_migrations()]
        before = dump(empty_database)
        assert migrate(conn) == []
        check_migrated(conn)
        assert conn.execute("SELECT current_user = session_user").fetchone() == (True,)
    assert dump(empty_database) == before


def written(name: str, text: str) -> Migration:
    step = "pre" if "_pre_" in name else "post"
    return Migration(name, step, text, sha256(text.encode()).hexdigest())


ONE = written("0001_pre_one", "CREATE TABLE one (id integer);")
ONE_POST = written("0001_post_one", "ALTER TABLE one ALTER id SET NOT NULL;")
TWO = written("0002_pre_two", "CREATE TABLE two (id integer); SELECT 1 / 0;")


def test_an_edited_file_is_refused_before_anything_runs(empty_database):
    with connect_as_owner(empty_database.url) as conn:
        migrate(conn, migrations=[ONE])
        edited = written("0001_pre_one", "CREATE TABLE one (id bigint);")
        with pytest.raises(MigrationEdited, match="0001_pre_one"):
            migrate(conn, migrations=[written("0000_pre_new", "CREATE TABLE new ();"), edited])
        assert conn.execute("SELECT to_regclass('new')").fetchone() == (None,)


def test_pre_and_post_are_steps_of_their_own(empty_database):
    every = [ONE, ONE_POST]
    with connect_as_owner(empty_database.url) as conn:
        assert migrate(conn, ("pre",), every) == ["0001_pre_one"]
        assert migrate(conn, ("pre",), every) == []
        assert migrate(conn, ("post",), every) == ["0001_post_one"]


def test_a_file_that_fails_leaves_nothing_of_itself(empty_database):
    with connect_as_owner(empty_database.url) as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(conn, migrations=[ONE, TWO])
        tables = conn.execute("SELECT to_regclass('one')::text, to_regclass('two')::text")
        assert tables.fetchone() == ("one", None)
        assert migrate(conn, migrations=[ONE]) == []  # the lock was given back


def test_two_at_once_apply_each_file_once(empty_database):
    results = []

    def run() -> None:
        with connect_as_owner(empty_database.url) as conn:
            results.append(migrate(conn))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results)) == [0, len(read_migrations())]


def test_a_user_who_may_not_make_roles_is_told_what_to_run(empty_database):
    login = f"plain_{empty_database.name}"
    with empty_database.connect(autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x'")
        scheme, _, rest = empty_database.url.partition("://")
        url = f"{scheme}://{login}:x@{rest.rpartition('@')[2]}"
        try:
            with connect_as_owner(url) as conn:
                with pytest.raises(RolesMissing) as raised:
                    migrate(conn)
                assert f'GRANT settler_owner TO "{login}";' in raised.value.statements
                for statement in raised.value.statements:
                    owner.execute(statement.encode())
                assert migrate(conn) == [migration.name for migration in read_migrations()]
        finally:
            owner.execute(f"DROP ROLE {login}")


def test_a_process_waits_until_the_database_is_migrated(empty_database):
    waits = []

    def wait(_seconds: float) -> bool:
        with connect_as_owner(empty_database.url) as conn:
            if not waits:
                ensure_roles(conn)
            else:
                migrate(conn)
        waits.append(_seconds)
        return False

    with connect_when_ready(empty_database.url, "flow", wait=wait) as conn:
        check_migrated(conn)
    assert 1 <= len(waits) <= 2

    with pytest.raises(WaitInterrupted) as raised:
        connect_when_ready("postgresql://127.0.0.1:1/none", "flow", wait=lambda _: True)
    assert "settler_flow" in str(raised.value)


def test_an_unmigrated_database_is_named(empty_database):
    with (
        connect_as_owner(empty_database.url) as conn,
        pytest.raises(SchemaBehind, match=r"0001_pre_schema.*settler migrate"),
    ):
        check_migrated(conn)
