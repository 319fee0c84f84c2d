"""The schema's history: numbered files, applied forward only, each once and in its transaction.

`0007_pre_….sql` goes before the new code and leaves the old code working, `0007_post_….sql` after
it. A file that was applied is never edited: its checksum is kept and compared.

Roles come first, for they belong to the whole server. They cannot log in: a login user is granted
the roles it may act as, and every connection says which one it is (`connections.connect`).
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from typing import Any, Literal, NamedTuple

import structlog
from psycopg import Connection, sql
from psycopg import errors as pg_errors

from connectors.postgres.errors import SchemaBehind, StoreError
from connectors.postgres.queries import load_queries

log = structlog.get_logger(__name__)

Step = Literal["pre", "post"]
OWNER = "settler_owner"
# COPY refuses a table with row-level security unless the role bypasses it, hence BYPASSRLS for who
# writes; settler_api never has it, and the owner needs it for nothing.
ROLES = {
    OWNER: "NOLOGIN",
    "settler_flow": "NOLOGIN BYPASSRLS",
    "settler_projections": "NOLOGIN BYPASSRLS",
    "settler_operator": "NOLOGIN BYPASSRLS",
    "settler_api": "NOLOGIN",
}
_SQL = load_queries("migrations")
_FILE = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+\.sql")


class RolesMissing(StoreError):
    """The migrating user may not make the roles; someone who may has to."""

    code = "store.roles_missing"

    def __init__(self, statements: list[str]) -> None:
        self.statements = statements
        super().__init__(
            "the database user may not set up Settler's roles. Let an administrator run this in "
            "the same database, then run `settler migrate` again:\n  " + "\n  ".join(statements)
        )


class MigrationEdited(StoreError):
    """An applied migration is not what it was when it was applied."""

    code = "store.migration_edited"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"migration {name} was applied with another content than it has now. Migrations are "
            "never edited: restore the file and put the change into a new one"
        )


class Migration(NamedTuple):
    """One file. `name` is its name without the ending, `checksum` SHA-256 of its text."""

    name: str
    step: Step
    text: str
    checksum: str


def read_migrations() -> list[Migration]:
    """Read every migration of this release, in the order they apply."""
    found = []
    for entry in resources.files("connectors.postgres").joinpath("migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE.fullmatch(entry.name)
        assert match, f"{entry.name} is not named NNNN_pre_….sql or NNNN_post_….sql"
        text = entry.read_text("utf-8")
        step: Step = "pre" if match[2] == "pre" else "post"
        name = entry.name.removesuffix(".sql")
        found.append(Migration(name, step, text, sha256(text.encode()).hexdigest()))
    # Of one number "pre" comes before "post"; two files of one number and step have no order.
    found.sort(key=lambda migration: (migration.name[:4], migration.step == "post"))
    places = [(migration.name[:4], migration.step) for migration in found]
    assert len(places) == len(set(places)), f"two migrations share a number: {places}"
    return found


def migrate(
    conn: Connection[Any],
    steps: Sequence[Step] = ("pre", "post"),
    migrations: Sequence[Migration] | None = None,
) -> list[str]:
    """Bring the roles and the schema up to this release; run twice it changes nothing.

    Waits for another migration under way. Each file is one transaction, so a failure leaves the
    ones before it applied and itself not at all.

    Args:
        conn: An autocommit connection of a user who may create roles, or who is a member of the
            existing ones.
        steps: Which kind of files to apply.
        migrations: The files; None means this release's.

    Returns:
        Names of the migrations applied now.

    Raises:
        RolesMissing: The roles are not there and this user may not make them.
        MigrationEdited: An applied file has changed.
    """
    assert conn.autocommit, "each migration opens its own transaction"
    wanted = read_migrations() if migrations is None else migrations
    if not _scalar(conn, "try_lock"):
        log.info("migrate.waiting", reason="another migration is under way")
        conn.execute(_SQL["take_lock"])
    try:
        ensure_roles(conn)
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        try:
            return _apply(conn, steps, wanted)
        finally:
            if not conn.broken:
                conn.execute("RESET ROLE")
    finally:
        if not conn.broken:
            conn.execute(_SQL["release_lock"])


def _apply(conn: Connection[Any], steps: Sequence[Step], wanted: Sequence[Migration]) -> list[str]:
    conn.execute(_SQL["create_table"])
    applied: dict[str, str] = dict(conn.execute(_SQL["read_applied"]).fetchall())
    for migration in wanted:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationEdited(migration.name)
    newer = sorted(applied.keys() - {migration.name for migration in wanted})
    if newer:
        log.warning("migrate.database_is_newer", migrations=newer)
    done = []
    for migration in wanted:
        if migration.step not in steps or migration.name in applied:
            continue
        with conn.transaction():
            conn.execute(migration.text.encode())
            conn.execute(_SQL["record"], {"name": migration.name, "checksum": migration.checksum})
        log.info("migrate.applied", migration=migration.name)
        done.append(migration.name)
    return done


def check_migrated(conn: Connection[Any]) -> None:
    """Hold that every "pre" migration of this release is applied.

    Raises:
        SchemaBehind: Some are not; the sentence names the first.
    """
    wanted = [migration.name for migration in read_migrations() if migration.step == "pre"]
    try:
        applied = {name for name, _ in conn.execute(_SQL["read_applied"])}
    except pg_errors.UndefinedTable:
        applied = set()
    missing = [name for name in wanted if name not in applied]
    if missing:
        raise SchemaBehind(missing)


def ensure_roles(conn: Connection[Any]) -> None:
    """Make the roles that are missing and let this user act as all of them.

    Raises:
        RolesMissing: This user may not; the error lists what an administrator has to run.
    """
    statements = _role_statements(conn)
    try:
        with conn.transaction():
            for statement in statements:
                conn.execute(statement.encode())
    except (pg_errors.InsufficientPrivilege, pg_errors.InvalidGrantOperation) as exc:
        raise RolesMissing(statements) from exc
    except pg_errors.DuplicateObject:
        # Roles belong to the server: a migration of another database was quicker.
        ensure_roles(conn)


def _role_statements(conn: Connection[Any]) -> list[str]:
    found: dict[str, bool] = dict(conn.execute(_SQL["read_roles"], {"roles": list(ROLES)}))
    row = conn.execute(_SQL["read_login"]).fetchone()
    assert row is not None, "the current user is a role"
    login, is_superuser, schema, database = row
    statements = []
    for role, attributes in ROLES.items():
        if role not in found:
            statements.append(f"CREATE ROLE {role} {attributes};")
        elif "BYPASSRLS" in attributes and not found[role]:
            statements.append(f"ALTER ROLE {role} BYPASSRLS;")
    quoted_login, quoted_schema, quoted_database = (
        sql.Identifier(name).as_string(conn) for name in (login, schema, database)
    )
    if not is_superuser:
        statements += [
            f"GRANT {role} TO {quoted_login};"
            for role in ROLES
            if role not in found or not _scalar(conn, "is_member", {"role": role})
        ]
    if OWNER not in found or not _scalar(conn, "may_create"):
        statements.append(f"GRANT CREATE ON DATABASE {quoted_database} TO {OWNER};")
        statements.append(f"GRANT USAGE, CREATE ON SCHEMA {quoted_schema} TO {OWNER};")
        statements.append(f"GRANT USAGE ON SCHEMA {quoted_schema} TO {', '.join(ROLES)};")
    return statements


def _scalar(conn: Connection[Any], query: str, parameters: dict[str, Any] | None = None) -> Any:
    row = conn.execute(_SQL[query], parameters).fetchone()
    assert row is not None, f"{query} always gives a row"
    return row[0]
