"""Adds to the rows of sums, one statement for all of a table, and puts values into the form that a database takes.

PostgreSQL, SQLite and MySQL can add to a row while they insert it. Any other database is asked by way of the ORM: an
update, or an insert where there is nothing to update yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from django.db import IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils import timezone

from ai_gateway import labels, rollups
from ai_gateway.models import UsageDaily, UsageLabelDaily
from ai_gateway.rollups import Rollup


class Table(NamedTuple):
    """A table of sums: its columns for what is summed up together, and those that are added to."""

    model: type[models.Model]
    who: Sequence[str]
    measures: Sequence[str]


DAYS = Table(UsageDaily, rollups.WHO, rollups.MEASURES)
LABELS = Table(UsageLabelDaily, labels.WHO, labels.MEASURES)

ON_CONFLICT = {
    "postgresql": ("ON CONFLICT ({unique}) DO UPDATE SET", "{column} = {table}.{column} + EXCLUDED.{column}"),
    "sqlite": ("ON CONFLICT ({unique}) DO UPDATE SET", "{column} = {table}.{column} + EXCLUDED.{column}"),
    "mysql": ("ON DUPLICATE KEY UPDATE", "{column} = {column} + VALUES({column})"),
}
"""How a statement goes on that adds to a row which is there already, by Django's name of the database."""

REMEMBERED = 1024
"""Converted keys that are kept in memory: the same few callers come again and again."""

Add = Callable[[Iterable[Rollup]], None]


def adder(alias: str, table: Table = DAYS) -> Add:
    """Give what adds rollups to what a database holds. It must be called in a transaction."""
    vendor = connections[alias].vendor
    return _Upsert(alias, table, *ON_CONFLICT[vendor]) if vendor in ON_CONFLICT else _ByModel(alias, table)


NO_CONSTANTS: Mapping[str, object] = MappingProxyType({})

LITERALS = {None: "NULL", "": "''", 0: "0"}
"""How SQL writes the constants that rows have, False among them."""


def insert_sql(
    model: type[models.Model], names: Sequence[str], alias: str, constants: Mapping[str, Any] = NO_CONSTANTS
) -> str:
    """Write the statement that inserts a row of these fields, named as the attributes of an instance are, with a
    parameter for each; and of some others, whose values are known."""
    quote = connections[alias].ops.quote_name
    columns = {field.attname: quote(str(field.column)) for field in model._meta.concrete_fields}
    into = ", ".join(columns[name] for name in (*names, *constants))
    values = ", ".join((*["%s"] * len(names), *(LITERALS[value] for value in constants.values())))
    return f"INSERT INTO {quote(model._meta.db_table)} ({into}) VALUES ({values})"


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


class _Upsert:
    """Adds by one statement."""

    def __init__(self, alias: str, table: Table, conflict: str, addition: str) -> None:
        quote = connections[alias].ops.quote_name
        fields = {field.attname: field for field in table.model._meta.concrete_fields}
        name_of_table = quote(table.model._meta.db_table)
        columns = [quote(str(fields[name].column)) for name in table.measures]
        additions = (addition.format(column=column, table=name_of_table) for column in columns)
        names = ("day", "slot", *table.who)
        conflict = conflict.format(unique=f"{quote('day')}, {quote('slot')}")
        self._alias = alias
        self._sql = f"{insert_sql(table.model, (*names, *table.measures), alias)} {conflict} {', '.join(additions)}"
        self._conversions = [conversion(fields[name], alias) for name in names]

    def __call__(self, rollups: Iterable[Rollup]) -> None:
        rows = []
        for rollup in rollups:
            values = zip(self._conversions, (rollup.day, rollup.slot, *rollup.who), strict=True)
            names = [convert(value) if convert and value is not None else value for convert, value in values]
            rows.append([*names, *rollup.sums])
        with connections[self._alias].cursor() as cursor:
            cursor.executemany(self._sql, rows)


class _ByModel:
    """Adds by way of the ORM."""

    def __init__(self, alias: str, table: Table = DAYS) -> None:
        self._alias = alias
        self._table = table
        self._rows = table.model._default_manager.using(alias)

    def __call__(self, rollups: Iterable[Rollup]) -> None:
        for rollup in rollups:
            if self._update(rollup):
                continue
            values = dict(zip((*self._table.who, *self._table.measures), (*rollup.who, *rollup.sums), strict=True))
            try:
                with transaction.atomic(using=self._alias):
                    self._rows.create(day=rollup.day, slot=rollup.slot, **values)
            except IntegrityError:
                self._update(rollup)  # Another process inserted it in between.

    def _update(self, rollup: Rollup) -> bool:
        additions = {name: F(name) + value for name, value in zip(self._table.measures, rollup.sums, strict=True)}
        return bool(self._rows.filter(day=rollup.day, slot=rollup.slot).update(**additions))
