"""Many rows at once: by few statements in SQLite, however many rows there are, and as many as the database takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from ai_gateway.bulk_insert import inserter
from ai_gateway.models import UsageDaily
from tests.ledger.conftest import ALIAS

pytestmark = pytest.mark.usefixtures("database")

NAMES = ("day", "slot", "key_name", "provider", "served_model", "route", "requests")
DAY = date(2026, 11, 20)


def constants() -> dict[str, Any]:
    """What a row of `UsageDaily` has besides, unless it is told."""
    known = {*NAMES, "id"}
    others = (field for field in UsageDaily._meta.concrete_fields if field.attname not in known)
    return {field.attname: field.get_default() for field in others}


def rows(count: int) -> list[list[Any]]:
    return [[DAY.isoformat(), f"slot {number:03}", "é'\"", "", "", "", number] for number in range(count)]


def insert(some: Sequence[Sequence[Any]], conflict: str = "") -> None:
    add = inserter(UsageDaily, NAMES, ALIAS, constants(), conflict)
    with transaction.atomic(using=ALIAS):
        add(some)


def stored() -> list[tuple[Any, ...]]:
    return list(UsageDaily.objects.order_by("slot").values_list("day", "slot", "key_name", "requests"))


def inserts(some: Sequence[Sequence[Any]]) -> int:
    """Count the statements by which SQLite is told of rows."""
    told: list[str] = []
    connections[ALIAS].ensure_connection()
    driver = connections[ALIAS].connection
    driver.set_trace_callback(told.append)
    try:
        insert(some)
    finally:
        driver.set_trace_callback(None)
    return sum(statement.startswith("INSERT") for statement in told)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 127, 200])
def test_every_row_is_inserted_once_with_what_is_constant(count: int) -> None:
    insert(rows(count))
    assert stored() == [(DAY, f"slot {number:03}", "é'\"", number) for number in range(count)]
    assert set(UsageDaily.objects.values_list("key_id", "user_id", "cost_nanos", "errors")) <= {(None, None, 0, 0)}


def test_a_statement_may_add_to_rows_that_are_there() -> None:
    conflict = 'ON CONFLICT ("day", "slot") DO UPDATE SET "requests" = EXCLUDED."requests" + 1000'
    if connections[ALIAS].vendor == "mysql":
        conflict = "ON DUPLICATE KEY UPDATE requests = VALUES(requests) + 1000"
    insert(rows(3))
    insert(rows(100), conflict)
    assert [requests for *_, requests in stored()] == [1000, 1001, 1002, *range(3, 100)]


def test_rows_that_are_refused_are_all_refused_and_by_an_error_of_django() -> None:
    insert(rows(70)[69:])
    with pytest.raises(IntegrityError):
        insert(rows(100))
    assert len(stored()) == 1


@pytest.mark.parametrize("entry", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("count", "statements"), [(0, 0), (1, 1), (64, 1), (65, 2), (500, 8)])
def test_mariadb_is_told_of_64_rows_at_a_time(count: int, statements: int) -> None:
    """Whether constants stand among the parameters or not, which its driver would send row by row."""
    told: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        told.append(sql)
        return execute(sql, *rest)

    with connections[ALIAS].execute_wrapper(listen):
        insert(rows(count))
    assert sum(sql.startswith("INSERT") for sql in told) == statements
    assert len(stored()) == count


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
class TestSQLite:
    @pytest.mark.parametrize(("count", "statements"), [(1, 1), (63, 6), (64, 1), (500, 10)])
    def test_it_is_told_of_them_by_few_statements(self, count: int, statements: int) -> None:
        assert inserts(rows(count)) == statements

    @pytest.mark.parametrize(("most", "statements"), [(7, 100), (100, 13), (999, 3)])
    def test_one_that_takes_few_parameters_is_told_by_more(self, most: int, statements: int) -> None:
        connections[ALIAS].ensure_connection()
        driver = connections[ALIAS].connection
        before = driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, most)
        try:
            assert inserts(rows(100)) == statements
        finally:
            driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)
        assert len(stored()) == 100

    def test_another_driver_than_pythons_is_told_in_its_own_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Other:
            """What a connection of another driver is an instance of."""

        monkeypatch.setattr(sqlite3, "Connection", Other)
        assert inserts(rows(3)) == 3
        assert len(stored()) == 3

    def test_it_goes_on_over_another_connection(self) -> None:
        add = inserter(UsageDaily, NAMES, ALIAS, constants())
        connections[ALIAS].close()
        add(rows(2))
        assert len(stored()) == 2

    def test_nothing_of_it_is_kept_where_statements_are_kept_for_debugging(self) -> None:
        connection = connections[ALIAS]
        connection.force_debug_cursor = True
        try:
            insert(rows(100))
            assert not any("INSERT" in str(query["sql"]) for query in connection.queries)
        finally:
            connection.force_debug_cursor = False
