"""Servers of Redis, and databases, for the tests of counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from ai_gateway.limits.database import DatabaseStore
from ai_gateway.models import LimitCounter, Reservation
from tests import databases
from tests.factories import run
from tests.limits.backends import Clock
from tests.limits.redis_bench import new_server
from tests.redis_server import RedisServer

ALIAS = "limits"


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    server = new_server()
    yield server
    server.remove()


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """An empty server, for tests that leave it as it is."""
    _server.ask("FLUSHALL")
    return _server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be maltreated."""
    server = new_server()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> databases.Database:
    return databases.sqlite(tmp_path_factory.mktemp("limits") / "db.sqlite3")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database with empty tables of counters, under ALIAS."""
    entry: databases.Database
    if request.param == "sqlite":
        entry = request.getfixturevalue("sqlite_file")
    elif request.param == "mariadb":
        entry = request.getfixturevalue("mariadb_server").database
    else:
        entry = dict(request.getfixturevalue("postgres_server").database)
        entry["OPTIONS"] = {"connect_timeout": 2}
    configured = connections.configure_settings({"default": {}, ALIAS: dict(entry)})
    connections.settings[ALIAS] = configured[ALIAS]
    with django_db_blocker.unblock():
        databases.empty_tables(ALIAS, (LimitCounter, Reservation))
        yield
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.settings[ALIAS]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: None, clock: Clock) -> Iterator[DatabaseStore]:
    store = DatabaseStore(using=ALIAS, clock=clock)
    yield store
    run(store.aclose())
