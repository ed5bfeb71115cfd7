"""Databases for gateway processes: a SQLite file each, and a private PostgreSQL server where its programs are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from django.db import connections, models

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


class Server(Protocol):
    """A server of the tests' own, which they may stop and start again."""

    @property
    def is_running(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class PostgresServer:
    """A server of its own in a temporary folder, on a free port, without a password for local callers."""

    name = "PostgreSQL"

    def __init__(self) -> None:
        self.programs = find_postgres()
        # Not one of pytest's folders, which it closes to all other users.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        # The server refuses to run as root.
        self.user = ("postgres" if user_exists("postgres") else "nobody") if os.geteuid() == 0 else None
        if self.user is not None:
            shutil.chown(folder, self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.data = folder / "data"
        self._run("initdb", "-D", str(self.data), "-U", "gateway", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.process: subprocess.Popen[bytes] | None = None
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

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, user=self.user, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "gateway"]
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with every connection."""
        if self.process is not None:
            self.process.send_signal(3)
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def is_running(self) -> bool:
        return self.process is not None

    def remove(self) -> None:
        """End it, and delete what it wrote."""
        self.stop()
        shutil.rmtree(self.folder)

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


def user_exists(user: str) -> bool:
    """Whether this machine has such a user."""
    return any(line.startswith(f"{user}:") for line in Path("/etc/passwd").read_text().splitlines())
