"""A ledger with what it writes to, in memory; and databases that usage is written to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections, models
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker

from ai_gateway import ledger_store
from ai_gateway.ledger import Ledger
from ai_gateway.models import BreakerEvent, RecordedCall, UsageDaily, UsageLabelDaily, UsageRecord
from tests import databases
from tests.ledger.stores import Disk, Table, running
from tests.private_server import PrivateServer

ALIAS = "usage"
TABLES = (UsageRecord, UsageDaily, UsageLabelDaily, RecordedCall, BreakerEvent)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def ledger(table: Table, disk: Disk) -> Iterator[Ledger]:
    with running(table, disk) as made:
        yield made


class ToAlias:
    """A site that keeps its usage in a database of its own."""

    def db_for_read(self, model: type[models.Model], **hints: object) -> str | None:
        return ALIAS if model in TABLES else None

    db_for_write = db_for_read


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> databases.Database:
    return databases.sqlite(tmp_path_factory.mktemp("usage") / "db.sqlite3")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def entry(request: pytest.FixtureRequest) -> databases.Database:
    """The entry of DATABASES under ALIAS; "none" is what a site without a database has."""
    if request.param == "sqlite":
        found: databases.Database = request.getfixturevalue("sqlite_file")
        return dict(found)
    if request.param == "none":
        return {}
    if request.param == "mariadb":
        database: databases.Database = request.getfixturevalue("mariadb_server").database
        return database
    found = request.getfixturevalue("postgres_server").database
    return {**found, "OPTIONS": {"connect_timeout": 2}}


@pytest.fixture
def server(request: pytest.FixtureRequest, entry: databases.Database) -> PrivateServer:
    """The server that the entry leads to."""
    name = "postgres_server" if "postgresql" in entry["ENGINE"] else "mariadb_server"
    found: PrivateServer = request.getfixturevalue(name)
    return found


@pytest.fixture
def connectable(entry: databases.Database, settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A site with this entry; its tables may be missing."""
    settings.DATABASE_ROUTERS = [ToAlias()]
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
    ledger_store._plans.known.clear()
    with django_db_blocker.unblock():
        yield
        connections[ALIAS].close()
    ledger_store._plans.known.clear()
    del connections[ALIAS]
    del connections.settings[ALIAS]


@pytest.fixture
def database(connectable: None) -> None:
    """A database with empty tables of usage, where the ledger finds it."""
    databases.empty_tables(ALIAS, TABLES)
