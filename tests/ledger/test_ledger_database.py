"""The ledger and real databases, not migrated, locked or restarted: in the end each call is there and counted once."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from pytest_django import Settings

from ai_gateway import ledger as module
from ai_gateway import ledger_store
from ai_gateway.journal import REJECTED, Journal
from ai_gateway.ledger import Ledger
from ai_gateway.meter import Entry
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.reconciliation import drifts
from ai_gateway.rollups import Days
from tests.ledger.conftest import ALIAS, TABLES
from tests.ledger.made import DAY, NOON, made
from tests.ledger.stores import PATIENCE
from tests.private_server import PrivateServer


@pytest.fixture
def new_ledger(
    connectable: None, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Ledger]]:
    """Makes ledgers, as several processes have them, which are stopped before their database is."""
    settings.AI_GATEWAY = {"USAGE_INTERVAL": 0.01, "TIME_ZONE": "UTC"}
    for name, seconds in (("PATIENCE", 0.1), ("RETRY", 0.02), ("REPLAY", 0.02)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    made: list[Ledger] = []

    def make() -> Ledger:
        made.append(Ledger(ledger_store, Journal(lambda: tmp_path)))
        return made[-1]

    yield make
    for each in made:
        each.stop()
        atexit.unregister(each.stop)


@pytest.fixture
def ledger(new_ledger: Callable[[], Ledger]) -> Ledger:
    return new_ledger()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so in the database, which tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put(ledger: Ledger, count: int) -> list[Entry]:
    entries = [made(key_id=1 + number % 2) for number in range(count)]
    for entry in entries:
        ledger.put(entry)
    return entries


def written() -> set[str]:
    return {each.hex for each in UsageRecord.objects.values_list("id", flat=True)}


def assert_counted_once(entries: list[Entry]) -> None:
    """Wait until all entries are in the database, and fail if any sum is not theirs."""
    eventually(lambda: written() == {entry.id for entry in entries})
    assert sum(UsageDaily.objects.values_list("requests", flat=True)) == len(entries)
    zone = Days("UTC")
    assert drifts(zone.of(entries[0].started_at), zone) == []


LOCKS = {
    "postgresql": "LOCK TABLE ai_gateway_usagerecord IN ACCESS EXCLUSIVE MODE",
    "mysql": "LOCK TABLES ai_gateway_usagerecord WRITE",
}
"""What locks a table until the connection is closed. A transaction locks the whole of a SQLite file from its beginning
on."""


@contextmanager
def locked() -> Iterator[None]:
    """Let nobody else write. Whoever tries waits, and comes through afterwards."""
    locks, free = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
                if statement := LOCKS.get(connections[ALIAS].vendor):
                    cursor.execute(statement)
                locks.set()
                free.wait(PATIENCE)
        finally:
            connections[ALIAS].close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert locks.wait(PATIENCE)
    try:
        yield
    finally:
        free.set()
        thread.join()


def test_calls_wait_in_the_journal_until_the_tables_are_made(ledger: Ledger) -> None:
    with connections[ALIAS].schema_editor() as editor:
        for model in TABLES:
            if model._meta.db_table in connections[ALIAS].introspection.table_names():
                editor.delete_model(model)
    entries = put(ledger, 10)
    eventually(lambda: ledger.spool.kept >= 10)
    with connections[ALIAS].schema_editor() as editor:
        for model in TABLES:
            editor.create_model(model)
    entries += put(ledger, 10)
    assert_counted_once(entries)
    assert ledger.writer.rejected == 0


@pytest.mark.usefixtures("database")
def test_a_database_that_hangs_and_comes_through_after_all(ledger: Ledger) -> None:
    with locked():
        entries = put(ledger, 10)
        eventually(lambda: ledger.spool.kept == 10)
        entries += put(ledger, 10)
        eventually(lambda: ledger.spool.kept == 20)
    entries += put(ledger, 10)
    assert_counted_once(entries)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("entry", ["postgresql", "mariadb"], indirect=True)
def test_a_server_that_is_restarted(ledger: Ledger, entry: object, server: PrivateServer) -> None:
    entries = put(ledger, 10)
    eventually(lambda: len(written()) == 10)
    connections[ALIAS].close()
    server.stop()
    try:
        entries += put(ledger, 10)
        eventually(lambda: ledger.spool.kept == 10)
    finally:
        server.start()
    entries += put(ledger, 10)
    assert_counted_once(entries)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("entry", ["postgresql", "mariadb"], indirect=True)
def test_what_a_server_refuses_is_put_aside_and_the_others_are_there(ledger: Ledger, entry: object) -> None:
    bad = made(key_id="nobody")
    entries = put(ledger, 10)
    ledger.put(bad)
    entries += put(ledger, 10)
    assert_counted_once(entries)
    eventually(lambda: ledger.writer.rejected == 1)


@pytest.mark.usefixtures("database")
def test_what_the_dead_left_is_counted_once_by_however_many_find_it(
    new_ledger: Callable[[], Ledger], tmp_path: Path
) -> None:
    """Some of it was written already: the database came through after the keeper had lost patience."""
    entries = [made(key_id=1 + number % 2) for number in range(40)]
    for first in range(0, 40, 10):
        dead = Journal(lambda: tmp_path)
        dead.append(entries[first : first + 10])
        dead.append(entries[first : first + 5])
        dead.close()
    ledger_store.write(entries[15:25])
    for _ in range(3):
        new_ledger().start()
    assert_counted_once(entries)
    eventually(lambda: not list(tmp_path.glob("*.journal")))


@pytest.mark.usefixtures("database")
def test_what_the_dead_left_for_longer_than_records_are_kept_is_not_counted_again(
    new_ledger: Callable[[], Ledger], tmp_path: Path
) -> None:
    """It came through after the keeper had lost patience, and its records were deleted before the journal was found."""
    old, new = made(started_at=NOON - 10 * DAY), made(started_at=NOON)
    ledger_store.write([old, new])
    dead = Journal(lambda: tmp_path)
    dead.append([old, new])
    dead.close()
    call_command("gateway_prune_usage", older_than="2026-11-20", verbosity=0)
    ledger = new_ledger()
    ledger.start()
    eventually(lambda: not list(tmp_path.glob("*.journal")))
    assert sum(UsageDaily.objects.values_list("requests", flat=True)) == 2
    assert written() == {new.id}
    assert ledger.writer.rejected == 1
    assert old.id in (tmp_path / REJECTED).read_text()
