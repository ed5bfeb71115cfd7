"""`gateway_sync_prices` twice at once, on real databases: each price is brought over once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, models
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker

from ai_gateway import registry
from ai_gateway.models import ConfigurationVersion, Price
from ai_gateway.price_sync import Change, Sync, Wanted
from tests import databases

ALIAS = "prices"
TABLES = (ConfigurationVersion, Price)
PATIENCE = 20.0


class ToAlias:
    """A site that keeps its prices in a database of its own."""

    def db_for_read(self, model: type[models.Model], **hints: object) -> str | None:
        return ALIAS if model in TABLES else None

    db_for_write = db_for_read


@pytest.fixture(params=["sqlite", "sqlite as Django sets it up", "postgresql"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> databases.Database:
    if request.param == "postgresql":
        return {**request.getfixturevalue("postgres_server").database, "OPTIONS": {"connect_timeout": 2}}
    found = databases.sqlite(tmp_path / "db.sqlite3")
    return found if request.param == "sqlite" else {"ENGINE": found["ENGINE"], "NAME": found["NAME"]}


@pytest.fixture(autouse=True)
def _prices(entry: databases.Database, settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database with empty tables."""
    settings.DATABASE_ROUTERS = [ToAlias()]
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
    with django_db_blocker.unblock():
        databases.empty_tables(ALIAS, TABLES)
        yield
        for model in TABLES:
            model._base_manager.all().delete()
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.settings[ALIAS]


class Meeting:
    """Two runs that meet, if they can, while both compare prices."""

    def __init__(self, prices: dict[str, int]) -> None:
        self.prices = prices
        self.began = threading.Event()
        self.met = threading.Barrier(2)

    def find(self, row: str, model: str) -> Wanted | None:
        self.began.set()
        with suppress(threading.BrokenBarrierError):  # The other one waits until this one is done.
            self.met.wait(0.5)
        return Wanted({"input": self.prices[model]}) if model in self.prices else None

    def models(self, row: str) -> list[str]:
        return list(self.prices)


def sync(source: Any) -> list[Change]:
    return Sync(source, registry.refresh()).run({("openai", "m")})


def both(source: Meeting) -> list[list[Change]]:
    """Run twice at once, as two processes do."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(sync(source))
        except Exception as error:
            found.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert source.began.wait(PATIENCE)
    threads[1].start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(isinstance(each, Exception) for each in found), found
    return found


def rows() -> list[tuple[Any, datetime | None]]:
    return list(Price.objects.order_by("valid_from", "pk").values_list("input", "valid_until"))


def test_a_price_that_two_runs_bring_over_at_once_is_there_once() -> None:
    assert sorted(map(len, both(Meeting({"m": 1})))) == [0, 1]
    assert rows() == [(1, None)]


def test_a_price_that_two_runs_find_changed_at_once_changes_once() -> None:
    sync(Meeting({"m": 1}))
    assert sorted(map(len, both(Meeting({"m": 2})))) == [0, 1]
    (old, ended), (new, until) = rows()
    assert (old, new, until) == (1, 2, None)
    assert ended == Price.objects.get(input=2).valid_from


def test_a_price_that_two_runs_find_gone_at_once_ends_once() -> None:
    sync(Meeting({"m": 1}))
    assert sorted(map(len, both(Meeting({})))) == [0, 1]
    assert [until is None for _, until in rows()] == [False]
