"""Whatever the database does, each call is written down once, and no call waits for that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from ai_gateway import ledger as module
from ai_gateway.ledger import BATCH, Ledger
from ai_gateway.meter import Entry
from ai_gateway.signals import call_finished
from tests.ledger.entries import entry
from tests.ledger.stores import PATIENCE, Disk, Table


@pytest.fixture(autouse=True)
def _pace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once, and nobody loses patience unless the test wants that."""
    settings.AI_GATEWAY = {"USAGE_INTERVAL": 0.01}
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "REPLAY", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 60.0)


@pytest.fixture
def heard(table: Table, ledger: Ledger) -> Iterator[list[str]]:
    """The ids of the calls that the site was told of, which were written down by then, all by the same thread."""
    ids: list[str] = []

    def receive(entry: Entry, **_: object) -> None:
        if entry.id in table.rows and threading.current_thread().name == "ai-gateway-ledger":
            ids.append(entry.id)

    call_finished.connect(receive, sender=Entry)
    yield ids
    call_finished.disconnect(receive, sender=Entry)


def put(ledger: Ledger, count: int = 1) -> list[Entry]:
    entries = [entry() for _ in range(count)]
    for each in entries:
        ledger.put(each)
    return entries


def hang(ledger: Ledger, table: Table) -> list[Entry]:
    """Have the writer hang in the database with one entry."""
    table.answers.clear()
    table.is_asked.clear()
    first = put(ledger)
    assert table.is_asked.wait(PATIENCE)
    return first


def assert_written_once(ledger: Ledger, table: Table, disk: Disk, heard: list[str], entries: list[Entry]) -> None:
    table.wait(entries)
    ledger.stop()
    assert sorted(heard) == sorted(table.rows) == sorted(each.id for each in entries)
    assert all(each.id in table.rows for each in disk.content())


def test_calls_do_not_wait_for_the_database(ledger: Ledger, table: Table, disk: Disk, heard: list[str]) -> None:
    entries = hang(ledger, table) + put(ledger, 1200)
    assert table.rows == {}
    table.answers.set()
    assert_written_once(ledger, table, disk, heard, entries)
    assert [count for count, _ in table.asked] == [1, BATCH, BATCH, 200]
    assert disk.taken == []


def test_a_full_batch_is_not_waited_for(ledger: Ledger, table: Table, settings: Settings) -> None:
    settings.AI_GATEWAY = {"USAGE_INTERVAL": 3600}
    table.wait(put(ledger, BATCH))


def test_what_the_database_does_not_take_goes_to_the_disk_and_comes_back(
    ledger: Ledger, table: Table, disk: Disk, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = put(ledger, 3)
    table.wait(before)
    with caplog.at_level(logging.WARNING):
        table.is_away = True
        disk.wait(during := put(ledger, 3))
        disk.wait(still := put(ledger, 3))
        table.is_away = False
        table.wait(during + still)
        assert_written_once(ledger, table, disk, heard, before + during + still + put(ledger, 3))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "The database does not take usage records, they go to the journal: connection refused"
    assert messages.count(messages[0]) == messages.count("The database takes usage records again.") == 1


def test_what_neither_takes_waits_in_memory(ledger: Ledger, table: Table, disk: Disk, heard: list[str]) -> None:
    table.is_away = disk.is_full = True
    entries = put(ledger, 3)
    assert disk.is_asked.wait(PATIENCE)
    table.is_away = False
    assert_written_once(ledger, table, disk, heard, entries)


def test_an_answer_that_is_lost_loses_no_call_and_writes_none_twice(ledger: Ledger, table: Table) -> None:
    table.loses_answers = True
    entries = put(ledger, 3)
    table.wait(entries)
    ledger.stop()
    assert len(table.rows) == 3


def test_an_error_that_nobody_expects_ends_nothing(
    ledger: Ledger, table: Table, disk: Disk, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(table, "write", lambda *_, **__: 1 / 0)
        entries = put(ledger, 3)
        disk.wait(entries)
    assert_written_once(ledger, table, disk, heard, entries + put(ledger))


def test_the_journal_of_a_dead_process_is_written_down(ledger: Ledger, table: Table, tmp_path: Path) -> None:
    dead, left = Disk(tmp_path), [entry(), entry()]
    dead.append(left)
    dead.close()
    ledger.start()
    table.wait(left)


class TestDatabaseThatHangs:
    def test_what_is_being_written_and_what_waits_go_to_the_disk(
        self, ledger: Ledger, table: Table, disk: Disk, heard: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        entries = hang(ledger, table) + put(ledger, 3)
        disk.wait(entries)
        table.answers.set()  # What hung comes through after all.
        assert_written_once(ledger, table, disk, heard, entries + put(ledger))

    def test_what_hung_and_fails_in_the_end_is_not_lost(
        self, ledger: Ledger, table: Table, disk: Disk, heard: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        entries = hang(ledger, table)
        disk.wait(entries)
        table.is_away = True
        table.answers.set()
        disk.wait(later := put(ledger))
        table.is_away = False
        assert_written_once(ledger, table, disk, heard, entries + later)


class TestWriterThatIsKeptElsewhere:
    """What waits meanwhile is on the disk, in case that the process is killed."""

    def test_by_a_journal_that_the_database_takes_its_time_for(
        self, ledger: Ledger, table: Table, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        dead = Disk(tmp_path)
        dead.append(left := [entry()])
        dead.close()
        table.answers.clear()
        ledger.start()
        assert table.is_asked.wait(PATIENCE)
        disk.wait(waiting := put(ledger, 3))
        table.answers.set()
        table.wait(left + waiting)

    def test_by_whoever_is_told_of_finished_calls(
        self, ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        is_told, goes_on = threading.Event(), threading.Event()

        def receive(**_: object) -> None:
            is_told.set()
            assert goes_on.wait(PATIENCE)

        call_finished.connect(receive, sender=Entry)
        try:
            put(ledger)
            assert is_told.wait(PATIENCE)
            disk.wait(waiting := put(ledger, 3))
        finally:
            goes_on.set()
            call_finished.disconnect(receive, sender=Entry)
        table.wait(waiting)


class TestQueue:
    def test_what_does_not_fit_goes_to_the_disk(
        self, ledger: Ledger, table: Table, disk: Disk, heard: list[str], settings: Settings
    ) -> None:
        settings.AI_GATEWAY = {"USAGE_INTERVAL": 0.01, "USAGE_QUEUE": 3}
        entries = hang(ledger, table) + put(ledger, 4)
        disk.wait(entries)
        table.answers.set()
        assert_written_once(ledger, table, disk, heard, entries)

    def test_the_memory_is_bounded_and_what_is_lost_is_counted(
        self, ledger: Ledger, table: Table, disk: Disk, settings: Settings
    ) -> None:
        settings.AI_GATEWAY = {"USAGE_INTERVAL": 0.01, "USAGE_QUEUE": 2}
        hang(ledger, table)
        disk.answers.clear()
        put(ledger, 3)
        assert disk.is_asked.wait(PATIENCE)
        put(ledger, 100)
        lost = ledger.spool.lost
        assert lost > 90
        disk.is_full = True
        for resource in (disk, table):
            resource.answers.set()
        table.wait_for(lambda: len(table.rows) == 104 - lost)
