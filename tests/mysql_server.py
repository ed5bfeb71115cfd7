"""A private server of MariaDB for tests, or of MySQL where only that is, if the driver is there as well."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from django.db import connection

from tests.databases import Database
from tests.private_server import PrivateServer

PATIENCE = 60.0


class Product(NamedTuple):
    """One of the two: its programs, by what they do, and what it is told that the other does not know."""

    name: str
    server: str
    client: str
    installer: str
    zones: str
    install_options: tuple[str, ...]
    options: tuple[str, ...]


PROGRAMS = ("server", "client", "installer", "zones")

MARIADB = Product(
    name="MariaDB",
    server="mariadbd",
    client="mariadb",
    installer="mariadb-install-db",
    zones="mariadb-tzinfo-to-sql",
    install_options=("--auth-root-authentication-method=normal", "--skip-test-db"),
    options=("--innodb-log-file-size=16M",),
)

MYSQL = Product(
    name="MySQL",
    server="mysqld",
    client="mysql",
    installer="mysqld",
    zones="mysql_tzinfo_to_sql",
    install_options=("--initialize-insecure",),
    # Its second protocol has a port that all servers of a machine would want.
    options=("--innodb-redo-log-capacity=16M", "--mysqlx=OFF", "--skip-log-bin", "--secure-file-priv=NULL"),
)

ZONES = Path("/usr/share/zoneinfo")


class MysqlServer(PrivateServer):
    """One of MariaDB or MySQL, without a password for local callers. It is set up as Debian sets one up (utf8mb4,
    letters alike in both cases), and knows the time zones unless it is told not to."""

    patience = PATIENCE

    def __init__(self, *, knows_zones: bool = True) -> None:
        self.product = find_mysql()
        self.name = self.product.name
        super().__init__("mariadb", "mysql")
        # Each that starts deletes the temporary tables that it finds, those of one beside it as well.
        temporary = self.folder / "temporary"
        temporary.mkdir()
        if self.user is not None:
            shutil.chown(temporary, self.user)
        self.environment = {**os.environ, "TMPDIR": str(temporary)}
        self._run(
            *(self.product.installer, "--no-defaults", f"--datadir={self.folder / 'data'}"),
            *self.product.install_options,
        )
        self.command = [self.product.server, "--no-defaults", "--skip-name-resolve", *self.product.options]
        self.command += [f"--{name}={value}" for name, value in self._options().items()]
        self.start()
        self.ask("CREATE DATABASE gateway; CREATE USER gateway@'%'; GRANT ALL ON *.* TO gateway@'%'")
        if knows_zones:
            self._teach_zones()

    @property
    def version(self) -> str:
        """Tell its version."""
        return self.ask("SELECT VERSION()").split("-")[0].strip()

    def _run(self, *command: str, text: str | None = None) -> str:
        done = subprocess.run(
            command,
            user=self.user,
            cwd=self.folder,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, statements: str, database: str = "") -> str:
        """Have it do something as its administrator, and give what it says."""
        # MySQL knows its administrator by the socket only.
        server = (f"--socket={self.folder / 'socket'}", "--user=root")
        client = (self.product.client, "--no-defaults", *server, "--skip-column-names", "--batch")
        return self._run(*client, *([database] if database else []), text=statements)

    def _teach_zones(self) -> None:
        self.ask(self._run(self.product.zones, str(ZONES)), "mysql")

    def _options(self) -> dict[str, object]:
        return {
            "datadir": self.folder / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "character-set-server": "utf8mb4",
            "performance-schema": "off",
            "innodb-buffer-pool-size": "64M",
            # What is committed is in the system's hands, and outlives the server.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-flush-method": "nosync",
        }

    def answers(self) -> bool:
        """See PrivateServer.answers()."""
        try:
            return self.ask("SELECT 1") == "1\n"
        except AssertionError:
            return False

    @property
    def database(self) -> Database:
        """Describe its database as the example project does."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "gateway",
            "USER": "gateway",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "OPTIONS": {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 2},
        }


def is_mariadb() -> bool:
    """Whether it is MariaDB that the site's database is on, and not MySQL."""
    return bool(getattr(connection, "mysql_is_mariadb", False))


def find_mysql() -> Product:
    """Find the one that is installed, with the places of its programs. Raises LookupError."""
    if importlib.util.find_spec("MySQLdb") is None:
        raise LookupError("mysqlclient, the driver of MySQL and MariaDB, is not installed")
    found = _located(MARIADB) or _located(MYSQL)
    if found is None:
        raise LookupError("neither MariaDB nor MySQL is installed")
    return found


def _located(product: Product) -> Product | None:
    places = f"{os.environ.get('PATH', '')}:/usr/sbin"
    programs = {kind: shutil.which(getattr(product, kind), path=places) for kind in PROGRAMS}
    found = {kind: place for kind, place in programs.items() if place is not None}
    return product._replace(**found) if len(found) == len(PROGRAMS) else None
