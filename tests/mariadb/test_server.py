"""What a server has to know, and is told: time zones, characters, how long to wait."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from ai_gateway.checks.mysql import check_mysql
from ai_gateway.models import UsageRecord
from tests.mysql_server import MysqlServer, is_mariadb
from tests.usage.rows import record, save

LATE = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
"""The next day, in Vienna."""


def ask(question: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(question)
        found: tuple[Any, ...] = cursor.fetchone()
    return found


@pytest.mark.usefixtures("site")
class TestTimeZones:
    def test_a_day_is_one_of_the_accounting_zone(self, settings: Settings) -> None:
        settings.AI_GATEWAY = {"TIME_ZONE": "Europe/Vienna"}
        save(record(LATE))
        (group,) = UsageRecord.objects.all().group_totals("day")
        assert group.by["day"] == date(2026, 11, 21)
        assert check_mysql(None, databases=["default"]) == []

    def test_a_server_that_does_not_know_the_zone(self, settings: Settings, mariadb_server: MysqlServer) -> None:
        mariadb_server.ask("DELETE FROM time_zone_name WHERE Name = 'Pacific/Chatham'", "mysql")
        settings.AI_GATEWAY = {"TIME_ZONE": "Pacific/Chatham"}
        save(record(LATE))
        (group,) = UsageRecord.objects.all().group_totals("day")
        assert group.by["day"] is None
        (message,) = check_mysql(None, databases=["default"])
        assert message.id == "ai_gateway.W088"
        assert "'Pacific/Chatham'" in message.msg
        assert "mariadb-tzinfo-to-sql" in str(message.hint)

    def test_the_zone_of_the_connection_is_not_translated(self, settings: Settings) -> None:
        settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}
        settings.TIME_ZONE = "UTC"
        assert check_mysql(None, databases=["default"]) == []


@pytest.mark.usefixtures("site")
def test_a_database_whose_tables_do_not_take_every_character() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION character_set_database = latin1")
    assert "ai_gateway.W089" in [message.id for message in check_mysql(None, databases=["default"])]


@pytest.mark.parametrize("databases", [None, [], ["other"]])
def test_no_database_is_asked_that_is_not_to_be_checked(databases: list[str] | None) -> None:
    assert check_mysql(None, databases=databases) == []


@pytest.mark.usefixtures("site")
def test_the_example_project_says_how_long_to_wait_and_what_is_seen_meanwhile() -> None:
    assert ask("SELECT @@innodb_lock_wait_timeout, @@character_set_connection") == (10, "utf8mb4")
    if is_mariadb():
        assert ask("SELECT @@tx_isolation, @@idle_transaction_timeout") == ("READ-COMMITTED", 15)
    else:  # Which has no such timeout.
        assert ask("SELECT @@transaction_isolation") == ("READ-COMMITTED",)
