"""Checks of a MySQL or MariaDB server. They run where databases are checked: with `migrate`, and `check --database`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from django.conf import settings as site
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.models import UsageRecord, VirtualKey

SUMMER = "2026-07-01 12:00:00"
"""A moment that every zone has. A server without zones translates none."""


@register(TAG, Tags.database)
def check_mysql(app_configs: object, databases: Collection[str] | None = None, **kwargs: object) -> list[CheckMessage]:
    """Check that the server translates the time zones that are asked for, and takes every character."""
    parts: list[Callable[[str], Iterator[CheckMessage]]] = [_check_zones, _check_characters]
    try:
        return [message for alias in _ours(databases or ()) for part in parts for message in part(alias)]
    except (DatabaseError, ImproperlyConfigured):
        return []  # Django says more about it.


def _ours(databases: Collection[str]) -> list[str]:
    ours = {router.db_for_read(UsageRecord) or "default", router.db_for_read(VirtualKey) or "default"}
    return [alias for alias in databases if alias in ours and connections[alias].vendor == "mysql"]


def _check_zones(alias: str) -> Iterator[CheckMessage]:
    """Ask for the zones of accounting and of the site, which Django has the server translate times into."""
    connection = connections[alias]
    wanted = [settings.TIME_ZONE] if is_sound("TIME_ZONE") else []
    if site.USE_TZ:
        wanted.append(site.TIME_ZONE)
    for zone in dict.fromkeys(wanted):
        if zone != connection.timezone_name and not _translates(alias, connection.timezone_name, zone):
            yield Warning(
                f"The server of DATABASES[{alias!r}] does not know the time zone {zone!r}: calls that are "
                "summed up by day have none, and lists that go by days end in an error.",
                hint="Load the zones: mariadb-tzinfo-to-sql /usr/share/zoneinfo | mariadb mysql (with MySQL: "
                "mysql_tzinfo_to_sql and mysql).",
                id="ai_gateway.W088",
            )


def _translates(alias: str, origin: str, zone: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT CONVERT_TZ(%s, %s, %s)", [SUMMER, origin, zone])
        (found,) = cursor.fetchone()
    return found is not None


def _check_characters(alias: str) -> Iterator[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@character_set_database")
        (found,) = cursor.fetchone()
    if found != "utf8mb4":
        yield Warning(
            f"What DATABASES[{alias!r}] names has the character set {found}: Django's own tables and the texts of "
            "alerts do not take every character, emoji among them.",
            hint="Before the first migrate: ALTER DATABASE ... CHARACTER SET utf8mb4. The gateway's own names are "
            "utf8mb4 in any case.",
            id="ai_gateway.W089",
        )
