"""A private MariaDB server for tests, where its programs and the driver are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.databases import Database, user_exists
from tests.redis_server import free_port

PATIENCE = 60.0

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-tzinfo-to-sql")

ZONES = Path("/usr/share/zoneinfo")


class MariadbServer:
    """A server of its own in a temporary folder, on a free port, without a password for local callers. It is set up as
    Debian sets one up (utf8mb4, letters alike in both cases), and knows the time zones unless it is told not to."""

    def __init__(self, *, knows_zones: bool = True) -> None:
        self.programs = find_mariadb()
        # Not one of pytest's folders, which it closes to all other users.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="gateway-mariadb-"))
        # The server refuses to run as root.
        self.user = ("mysql" if user_exists("mysql") else "nobody") if os.geteuid() == 0 else None
        # Each that starts deletes the temporary tables that it finds, those of one beside it as well.
        self.environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
        (folder / "temporary").mkdir()
        if self.user is not None:
            shutil.chown(folder, self.user)
            shutil.chown(folder / "temporary", self.user)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._run(
            *(self.programs["mariadb-install-db"], "--no-defaults", f"--datadir={folder / 'data'}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )
        self.start()
        self.ask("CREATE DATABASE gateway; CREATE USER gateway@'%'; GRANT ALL ON *.* TO gateway@'%'")
        if knows_zones:
            self._teach_zones()

    def program(self, name: str) -> str:
        """Tell where one of its programs is."""
        return self.programs[name]

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
        server = ("--host=127.0.0.1", f"--port={self.port}", "--user=root")
        client = (self.programs["mariadb"], "--no-defaults", *server, "--skip-column-names", "--batch")
        return self._run(*client, *([database] if database else []), text=statements)

    def _teach_zones(self) -> None:
        self.ask(self._run(self.programs["mariadb-tzinfo-to-sql"], "--skip-write-binlog", str(ZONES)), "mysql")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "datadir": self.folder / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "character-set-server": "utf8mb4",
            "performance-schema": "off",
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "16M",
            # What is committed is in the system's hands, and outlives the server.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-flush-method": "nosync",
        }
        command = [self.programs["mariadbd"], "--no-defaults", "--skip-name-resolve"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, user=self.user, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            is_coming = time.monotonic() < deadline and self.process.poll() is None
            assert is_coming, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.ask("SELECT 1") == "1\n"
        except AssertionError:
            return False

    def stop(self) -> None:
        """Kill it, with every connection. What was committed is in its files."""
        if self.process is not None:
            self.process.kill()
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
        """Describe its database as the example project does."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "gateway",
            "USER": "gateway",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "OPTIONS": {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 2},
        }


def find_mariadb() -> dict[str, str]:
    """Find the server's programs, by their names. Raises LookupError."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin"
    found = {name: shutil.which(name, path=places) for name in PROGRAMS}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise LookupError(f"MariaDB is not installed: there is no {missing[0]}")
    if importlib.util.find_spec("MySQLdb") is None:
        raise LookupError("mysqlclient, the driver of MySQL and MariaDB, is not installed")
    return {name: place for name, place in found.items() if place is not None}
