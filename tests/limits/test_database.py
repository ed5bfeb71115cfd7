"""Counters in a database: the contract on SQLite and PostgreSQL, and what is particular about rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from django.db import connections
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django.plugin import DjangoDbBlocker

from ai_gateway.limits import LimitStore
from ai_gateway.limits.database import DatabaseStore
from ai_gateway.models import LimitCounter, Reservation
from tests import databases
from tests.limits.contract import SharedBackend, SharedStoreContract
from tests.limits.machine import StoreMachine

ALIAS = "limits"


class InRows(SharedBackend):
    """Stores of one database."""

    def new_store(self) -> DatabaseStore:
        return DatabaseStore(using=ALIAS, clock=self.clock)

    async def renew(self, store: LimitStore) -> None:
        assert isinstance(store, DatabaseStore)
        await asyncio.to_thread(self._care, store)

    @staticmethod
    def _care(store: DatabaseStore) -> None:
        try:
            store.clerk.care()
        finally:
            connections.close_all()

    async def kill(self, store: LimitStore) -> None:
        """It renews only when it is told to: time stands still for its thread."""


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> databases.Database:
    return databases.sqlite(tmp_path_factory.mktemp("limits") / "db.sqlite3")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database with empty tables of counters, under ALIAS."""
    entry: databases.Database
    if request.param == "sqlite":
        entry = request.getfixturevalue("sqlite_file")
    else:
        entry = dict(request.getfixturevalue("postgres_server").database)
        entry["OPTIONS"] = {"connect_timeout": 2}
    configured = connections.configure_settings({"default": {}, ALIAS: dict(entry)})
    connections.settings[ALIAS] = configured[ALIAS]
    with django_db_blocker.unblock():
        connection = connections[ALIAS]
        tables = connection.introspection.table_names()
        with connection.schema_editor() as editor:
            for model in (LimitCounter, Reservation):
                if model._meta.db_table not in tables:
                    editor.create_model(model)
        for each in (LimitCounter, Reservation):
            each._base_manager.using(ALIAS).all().delete()
        yield
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.settings[ALIAS]


class TestContract(SharedStoreContract):
    @pytest.fixture
    def backend(self, database: None) -> SharedBackend:
        return InRows()


class RowsMachine(StoreMachine):
    def new_backend(self) -> SharedBackend:
        for model in (Reservation, LimitCounter):
            model._base_manager.using(ALIAS).all().delete()
        return InRows()


@pytest.mark.usefixtures("database")
class TestAgainstTheModel:
    def test_any_order_of_events(self) -> None:
        run_state_machine_as_test(RowsMachine, settings=settings(max_examples=15, stateful_step_count=15))  # type: ignore[no-untyped-call]
