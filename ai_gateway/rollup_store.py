"""Adds to the rows of sums.

PostgreSQL, SQLite and MySQL can add to a row while they insert it. Any other database is asked by way of the ORM: an
update, or an insert where there is nothing to update yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from django.db import IntegrityError, connections, models, transaction
from django.db.models import F

from ai_gateway import labels, rollups
from ai_gateway.bulk_insert import conversion, inserter
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

Add = Callable[[Iterable[Rollup]], None]


def adder(alias: str, table: Table = DAYS) -> Add:
    """Give what adds rollups to what a database holds. It must be called in a transaction."""
    vendor = connections[alias].vendor
    return _Upsert(alias, table, *ON_CONFLICT[vendor]) if vendor in ON_CONFLICT else _ByModel(alias, table)


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
        self._insert = inserter(
            table.model, (*names, *table.measures), alias, conflict=f"{conflict} {', '.join(additions)}"
        )
        self._conversions = [conversion(fields[name], alias) for name in names]

    def __call__(self, rollups: Iterable[Rollup]) -> None:
        rows = []
        for rollup in rollups:
            values = zip(self._conversions, (rollup.day, rollup.slot, *rollup.who), strict=True)
            names = [convert(value) if convert and value is not None else value for convert, value in values]
            rows.append([*names, *rollup.sums])
        self._insert(rows)


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
