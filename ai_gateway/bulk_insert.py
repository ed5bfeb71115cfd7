"""Inserts many rows by few statements, and puts values into the form that a database takes.

With SQLite, how many statements there are is more than a matter of speed. Python's driver lets go of the interpreter
for each of them, for `executemany` as often as it has rows. A thread that writes beside a busy event loop gets the
interpreter back only after the interval in which threads take turns, 5 ms: a worker that has two CPUs and no pause
would write 200 rows in a second, and fall behind by thousands. PostgreSQL's driver sends many rows at once by itself.
MySQL's does so only if no constant stands among the parameters; else the server is asked once for each row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

NO_CONSTANTS: Mapping[str, Any] = MappingProxyType({})

LITERALS = {None: "NULL", "": "''", 0: "0"}
"""How SQL writes the constants that rows have, False among them."""

AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""How many rows a statement for SQLite has: few different ones, so that they stay prepared."""

AT_ONCE_IN_MYSQL = 64
"""How many rows a statement for MySQL has: with all that a row may have, fewer bytes than any server takes."""

REMEMBERED = 1024
"""Converted keys that are kept in memory: the same few callers come again and again."""

Row = Sequence[Any]
"""The parameters of a row."""


def inserter(
    model: type[models.Model],
    names: Sequence[str],
    alias: str,
    constants: Mapping[str, Any] = NO_CONSTANTS,
    conflict: str = "",
) -> Callable[[Sequence[Row]], None]:
    """Give what inserts rows of these fields, named as the attributes of an instance are, over this thread's
    connection.

    `constants` are the values of some other fields; `conflict` is how the statement goes on behind the values.
    """
    connection = connections[alias]
    quote = connection.ops.quote_name
    columns = {field.attname: quote(str(field.column)) for field in model._meta.concrete_fields}
    into = ", ".join(columns[name] for name in (*names, *constants))
    values = ", ".join((*["%s"] * len(names), *(LITERALS[value] for value in constants.values())))
    head = f"INSERT INTO {quote(model._meta.db_table)} ({into}) VALUES"
    if _speaks_sqlite(connection):
        return _InSQLite(alias, len(names), head, f"({values.replace('%s', '?')})", conflict)
    if connection.vendor == "mysql":
        return _InMySQL(alias, head, f"({values})", conflict)
    return _ByDriver(alias, f"{head} ({values}) {conflict}")


def _speaks_sqlite(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is Python's own driver that is asked: other backends that are SQLite to Django have other ones."""
    if connection.vendor != "sqlite":
        return False
    connection.ensure_connection()
    return isinstance(connection.connection, sqlite3.Connection)


class _ByDriver:
    """Inserts in the way of the database's driver."""

    def __init__(self, alias: str, sql: str) -> None:
        self._alias = alias
        self._sql = sql

    def __call__(self, rows: Sequence[Row]) -> None:
        with connections[self._alias].cursor() as cursor:
            cursor.executemany(self._sql, rows)


class _InMySQL:
    """Inserts up to 64 rows by a statement, whatever stands in a row."""

    def __init__(self, alias: str, head: str, row: str, conflict: str) -> None:
        self._alias = alias
        self._head, self._row, self._conflict = head, row, conflict

    def __call__(self, rows: Sequence[Row]) -> None:
        with connections[self._alias].cursor() as cursor:
            for start in range(0, len(rows), AT_ONCE_IN_MYSQL):
                some = rows[start : start + AT_ONCE_IN_MYSQL]
                values = ", ".join([self._row] * len(some))
                cursor.execute(f"{self._head} {values} {self._conflict}", list(chain.from_iterable(some)))


class _InSQLite:
    """Inserts up to 64 rows by a statement.

    The connection is asked without Django's cursor, which would look for each of the thousands of parameters in the
    text, every time, and with DEBUG would keep them all.
    """

    def __init__(self, alias: str, parameters: int, head: str, row: str, conflict: str) -> None:
        self._alias = alias
        most = connections[alias].connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // parameters
        self._statements = [
            (size, f"{head} {', '.join([row] * size)} {conflict}") for size in AT_ONCE if size <= max(1, most)
        ]

    def __call__(self, rows: Sequence[Row]) -> None:
        connection = connections[self._alias]
        connection.ensure_connection()
        with connection.wrap_database_errors:
            for sql, some in self._portions(rows):
                connection.connection.execute(sql, list(chain.from_iterable(some)))

    def _portions(self, rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Row]]]:
        done = 0
        for size, sql in self._statements:
            while len(rows) - done >= size:
                yield sql, rows[done : done + size]
                done += size


def conversion(field: models.Field[Any, Any], alias: str) -> Callable[[Any], Any] | None:
    """Give what turns a value into what the database's driver takes, for those fields that need it.

    A moment comes in seconds since 1970, a key in any form of its type, and an id as 32 hexadecimal digits: databases
    with a type for ids take them as well.
    """
    connection = connections[alias]
    if isinstance(field, models.DateTimeField):
        return _moment(connection)
    if isinstance(field, models.DateField):
        return connection.ops.adapt_datefield_value
    if isinstance(field, models.JSONField):
        return lambda value: connection.ops.adapt_json_value(value, None)
    if isinstance(field, models.ForeignKey):
        return lru_cache(REMEMBERED, typed=True)(lambda key: field.get_db_prep_save(key, connection))
    return None


def _moment(connection: BaseDatabaseWrapper) -> Callable[[float], Any]:
    # Without USE_TZ, moments are stored as the clock of the site's own time zone shows them.
    zone = timezone.now().tzinfo
    if connection.vendor in ("sqlite", "mysql"):
        # What Django's adaptation comes to, for a third of its cost: every entry has a moment.
        stored = connection.timezone if zone is not None else None
        return lambda seconds: str(datetime.fromtimestamp(seconds, stored).replace(tzinfo=None))
    adapt = connection.ops.adapt_datetimefield_value
    return lambda seconds: adapt(datetime.fromtimestamp(seconds, zone))
