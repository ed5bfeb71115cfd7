"""`DATABASE_URL` for the three databases that this project knows.

A package for this exists and is good. These few lines stand here because the choice of options is the point, not the
parsing: a gateway answers asynchronously, where connections must come from a pool and not from each thread's own store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def parse(url: str, base_dir: Path) -> dict[str, Any]:
    """Translate a URL into an entry of `DATABASES`. Raises ImproperlyConfigured, without the password, for any other.

    `sqlite:///relative.sqlite3`, `sqlite:////absolute/path.sqlite3`, `sqlite://:memory:`,
    `postgres://user:password@host:5432/name?sslmode=require`, whose query goes to libpq, or
    `mysql://user:password@host:3306/name?ssl_mode=REQUIRED`, whose query goes to mysqlclient; MariaDB is one, too.
    """
    if url == "sqlite://:memory:":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    try:
        parts = urlsplit(url)
        if parts.scheme == "sqlite" and len(parts.path) > 1 and not parts.netloc:
            return sqlite(base_dir / unquote(parts.path[1:]))
        if parts.scheme in ("postgres", "postgresql") and len(parts.path) > 1:
            return postgres(parts)
        if parts.scheme in ("mysql", "mariadb") and len(parts.path) > 1:
            return mysql(parts)
    except ValueError as error:
        raise ImproperlyConfigured("DATABASE_URL is not a URL.") from error
    raise ImproperlyConfigured(
        "DATABASE_URL must be sqlite:///path, postgres://user:password@host:port/name or mysql://..., written alike."
    )


def folder(databases: dict[str, dict[str, Any]], base_dir: Path) -> Path:
    """Tell where what belongs to the database is kept: beside a SQLite file, else in the project's folder."""
    name = databases["default"]["NAME"]
    return name.parent if isinstance(name, Path) else base_dir


def sqlite(path: Path) -> dict[str, Any]:
    """Describe a SQLite file that several workers may write to."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "timeout": 20,
            # Readers do not wait for a writer, and a writer waits for its turn instead of failing in mid-transaction.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
        },
    }


def postgres(parts: SplitResult) -> dict[str, Any]:
    """Describe a PostgreSQL database behind a connection pool."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        **server(parts),
        "OPTIONS": {
            # A process that is cut off in the middle of a transaction does not hold its locks for hours.
            "options": "-c idle_in_transaction_session_timeout=15s",
            **dict(parse_qsl(parts.query)),
            # Each process has a pool, and asks from DJANGO_THREADS threads (8) at once.
            "pool": {"min_size": 1, "max_size": 10},
        },
    }


def mysql(parts: SplitResult) -> dict[str, Any]:
    """Describe a MySQL or MariaDB database. There is no pool for these: each thread has a connection while it works."""
    return {
        "ENGINE": "django.db.backends.mysql",
        **server(parts),
        "OPTIONS": {
            "charset": "utf8mb4",  # All characters, in every version.
            # Who waits for others reads what they wrote, and nobody locks gaps between rows.
            "isolation_level": "read committed",
            "connect_timeout": 10,
            # A process that is cut off in the middle of a transaction does not hold its locks for hours (MySQL skips
            # what is for MariaDB), and nobody waits for a lock for longer than this.
            "init_command": "SET /*M! SESSION idle_transaction_timeout = 15, */ SESSION innodb_lock_wait_timeout = 10",
            **dict(parse_qsl(parts.query)),
        },
    }


def server(parts: SplitResult) -> dict[str, Any]:
    """Read where a server is, and who asks it."""
    return {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }
