"""From release to release: what the one before says to the database still holds after "pre"."""

import re
from importlib import resources

import psycopg
import pytest
from psycopg import errors as pg_errors

from connectors.postgres.connections import connect_as_owner
from connectors.postgres.migrations import migrate, read_migrations
from connectors.postgres.queries import parse_queries

MIGRATIONS = read_migrations()
NUMBERS = sorted({one.name[:4] for one in MIGRATIONS})
# What came before was never one release beside another: 0007 takes a column away.
KEPT_FROM = "0008"
FOLDERS = ("connectors.postgres.sql", "projections", "api", "deploy", "deploy.cli")
COLUMNS = """
SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'v', 'p') AND c.relnamespace = 'public'::regnamespace
  AND a.attnum > 0 AND NOT a.attisdropped
"""
DEMANDED = """
SELECT c.relname || '.' || a.attname
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
  AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
"""
GRANTS = """
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants
WHERE grantee LIKE 'settler%' AND table_schema = 'public'
"""


def statements() -> dict[str, bytes]:
    """Every statement of ours that is written down, with its parameters numbered."""
    found = {}
    for folder in FOLDERS:
        for entry in resources.files(folder).iterdir():
            if not entry.name.endswith(".sql"):
                continue
            for name, text in parse_queries(entry.read_text("utf-8")).items():
                names: list[str] = []

                def number(match: re.Match, names: list[str] = names) -> str:
                    if match[1] not in names:
                        names.append(match[1])
                    return f"${names.index(match[1]) + 1}"

                numbered = re.sub(r"%\((\w+)\)s", number, text.decode()).replace("%%", "%")
                found[f"{folder}/{entry.name}: {name}"] = numbered.encode()
    return found


STATEMENTS = statements()


def understood(conn: psycopg.Connection) -> set[str]:
    """The statements that the database takes, by name."""
    taken = set()
    for name, text in STATEMENTS.items():
        result = conn.pgconn.prepare(b"", text)
        if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
            taken.add(name)
    return taken


def up_to(number: str, *steps: str):
    return [one for one in MIGRATIONS if one.name[:4] < number] + [
        one for one in MIGRATIONS if one.name[:4] == number and one.step in steps
    ]


@pytest.mark.parametrize("number", [one for one in NUMBERS if one >= KEPT_FROM])
def test_the_release_before_goes_on_after_pre(number, empty_database):
    before = NUMBERS[NUMBERS.index(number) - 1]
    with connect_as_owner(empty_database.url) as conn:
        migrate(conn, migrations=up_to(before, "pre", "post"))
        columns = dict(conn.execute(COLUMNS).fetchall())
        demanded = {one for (one,) in conn.execute(DEMANDED)}
        grants, known = set(conn.execute(GRANTS)), understood(conn)
        assert len(known) > 20
        migrate(conn, ("pre",), up_to(number, "pre"))
        now = dict(conn.execute(COLUMNS).fetchall())
        assert columns.items() <= now.items(), "a column it reads is gone or another"
        tables = {one.split(".")[0] for one in columns}
        added = {one for (one,) in conn.execute(DEMANDED)} - demanded
        assert not {one for one in added if one.split(".")[0] in tables}, "it cannot fill these"
        assert grants <= set(conn.execute(GRANTS)), "it may do less"
        assert known <= understood(conn), "it says what is understood no longer"


def test_old_rows_pre_old_statements_post(empty_database):
    """The last upgrade, walked with rows in the tables and both releases at work."""
    write = (
        "INSERT INTO streams (stream_id, tenant_id, reconciliation_id, version) "
        "VALUES ('acme/{0}', 'acme', '{0}', 1); "
        "UPDATE log_head SET position = position + 1; "
        "INSERT INTO event_store (last_position, first_position, stream_id, tenant_id, "
        "reconciliation_id, base_version, event_count, events, metadata) "
        "SELECT position, position, 'acme/{0}', 'acme', '{0}', 0, 1, "
        "'[[\"WatermarkAdvanced\",1]]', '{{}}' FROM log_head; "
        'INSERT INTO dead_letter_queue (topic, partition, "offset", side, raw, code, message) '
        "VALUES ('t', 0, (SELECT position FROM log_head), 0, 'x', 'invalid_json', 'no JSON')"
    )
    shown = "SELECT stream_id, event_type, global_position FROM events ORDER BY global_position"
    with connect_as_owner(empty_database.url) as conn:
        migrate(conn, migrations=up_to(NUMBERS[-2], "pre", "post"))
        conn.execute(write.format("before").encode())
        seen = conn.execute(shown).fetchall()
        assert migrate(conn, ("pre",))
        conn.execute(write.format("between").encode())
        assert conn.execute(shown).fetchall() == [
            *seen,
            ("acme/between", "WatermarkAdvanced", 2),
        ]
        migrate(conn, ("post",))
        assert migrate(conn) == []
        conn.execute(write.format("after").encode())
        assert len(conn.execute(shown).fetchall()) == 3
        assert conn.execute("SELECT count(*) FROM dead_letter_queue").fetchone() == (3,)


def test_a_migration_that_takes_a_column_away_would_be_noticed(empty_database):
    with connect_as_owner(empty_database.url) as conn:
        migrate(conn)
        known = understood(conn)
        conn.execute("SET ROLE settler_owner")
        conn.execute("ALTER TABLE streams DROP COLUMN wake_at")
        assert "connectors.postgres.sql/streams.sql: due_streams" in known - understood(conn)
        with pytest.raises(pg_errors.UndefinedColumn):
            conn.execute("SELECT wake_at FROM streams")
