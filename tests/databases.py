"""Databases for gateway processes: a SQLite file each, and a private PostgreSQL server where its programs are."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from django.db import connections, models

from tests.private_server import PrivateServer

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
MIGRATE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""

Row = TypeVar("Row", bound=models.Model)

Database = dict[str, Any]
"""An entry of DATABASES that is written as JSON."""


def sqlite(path: Path) -> Database:
    """Describe a file that several processes may write to."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
        },
    }


def empty_tables(alias: str, kinds: Collection[type[models.Model]]) -> None:
    """Have a database with the tables of some models and nothing in them, whether or not they are there."""
    connection = connections[alias]
    tables = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in kinds:
            if model._meta.db_table not in tables:
                editor.create_model(model)
    for model in kinds:
        model._base_manager.using(alias).all().delete()


def created(rows: Iterable[Row]) -> list[Row]:
    """Write rows whose keys the database makes, all at once, and give them with these, which MySQL does not tell."""
    rows = list(rows)
    manager = type(rows[0])._default_manager
    manager.bulk_create(rows)
    return rows if all(row.pk for row in rows) else list(manager.order_by("pk"))


def copy_of(database: Database, folder: Path) -> Database:
    """Copy a file that no process has open into a folder."""
    return sqlite(Path(shutil.copy(database["NAME"], folder / "db.sqlite3")))


def migrate(environment: dict[str, str]) -> None:
    """Make the tables, in a process that is set up as the gateway's are."""
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class PostgresServer(PrivateServer):
    """One of PostgreSQL, without a password for local callers."""

    name = "PostgreSQL"
    ending = signal.SIGQUIT
    patience = PATIENCE

    def __init__(self) -> None:
        self.programs = find_postgres()
        super().__init__("postgres", "postgres")
        self.data = self.folder / "data"
        self._run("initdb", "-D", str(self.data), "-U", "gateway", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        self.command = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            self.command += ["-c", f"{name}={value}"]
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "gateway", "gateway")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @property
    def version(self) -> str:
        """Tell its version."""
        told = subprocess.check_output([str(self.programs / "postgres"), "--version"], text=True)
        return told.split()[2]

    def answers(self) -> bool:
        """See PrivateServer.answers()."""
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "gateway"]
        return subprocess.run(ready, check=False).returncode == 0

    @property
    def database(self) -> Database:
        """Describe its database, behind a pool as in production."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "gateway",
            "USER": "gateway",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "OPTIONS": {"connect_timeout": 2, "pool": {"min_size": 1, "max_size": 10, "timeout": 3}},
        }


def find_postgres() -> Path:
    """Find the server's programs, the newest ones. Raises LookupError."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [folder for folder in folders if (folder / "initdb").exists()]
    if not found:
        raise LookupError("PostgreSQL is not installed")
    return found[-1]
