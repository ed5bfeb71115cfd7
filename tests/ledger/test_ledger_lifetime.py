"""The ledger's threads begin with the first call at the latest, and nothing is lost when they, or the process, end."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from ai_gateway import ledger as module
from ai_gateway import spool as spools
from ai_gateway.journal import REJECTED
from ai_gateway.ledger import Ledger
from tests.ledger.entries import entry
from tests.ledger.stores import PATIENCE, Disk, Table
from tests.patience import until
from tests.threads import none_can_start

PROCESS = """
import signal, sys, threading
from pathlib import Path
from ai_gateway.journal import Journal
from ai_gateway.ledger import Ledger
from tests.ledger.entries import entry
from tests.ledger.stores import Table
is_ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: is_ended.set())  # As a server does.
table = Table()
table.is_away = True
ledger = Ledger(table, Journal(lambda: Path(sys.argv[1])))
ledger.put(entry(request_id="req_first"))
"""
FORKS = """
import os
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    ledger.put(entry(request_id="req_child"))
"""
IS_KILLED_AFTER_A_SIGNAL = """
import os
print("ready", flush=True)
assert is_ended.wait(10)
ledger.put(entry(request_id="req_last"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _pace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written because time goes by."""
    settings.AI_GATEWAY = {"USAGE_INTERVAL": 3600}
    monkeypatch.setattr(module, "PATIENCE", 60.0)


def threads_of(ledger: Ledger) -> list[threading.Thread]:
    until(lambda: ledger._keeper.thread is not None and ledger._keeper.thread.is_alive())
    assert ledger._scribe.thread is not None
    assert ledger._keeper.thread is not None
    return [ledger._scribe.thread, ledger._keeper.thread]


class TestBeginning:
    def test_the_first_call_starts_the_threads(self, ledger: Ledger, table: Table) -> None:
        assert not ledger.is_running
        ledger.put(entry())
        threads = threads_of(ledger)
        assert all(thread.is_alive() and thread.daemon for thread in threads)
        ledger.start()
        ledger.put(entry())
        assert threads_of(ledger) == threads

    def test_it_sees_to_their_end_and_a_server_does_that_itself(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handlers: list[int] = []
        registered: list[object] = []
        monkeypatch.setattr(signal, "getsignal", lambda number: print)
        monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(number))
        monkeypatch.setattr(atexit, "register", registered.append)
        ledger.start()
        assert handlers == []
        ledger.stop()
        ledger.put(entry())
        ledger.stop()
        ledger.put(entry())
        assert handlers == [signal.SIGTERM]
        assert registered == [ledger.stop] * 3

    def test_a_signal_that_comes_while_the_keeper_is_told_does_not_wait_for_itself(
        self, ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handlers: list[Callable[..., None]] = []
        told: list[int] = []
        monkeypatch.setattr(signal, "getsignal", lambda number: lambda number, frame: told.append(number))
        monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(handler))
        table.answers.clear()
        early = entry()
        ledger.put(early)
        handled = threading.Thread(target=handlers[0], args=(signal.SIGTERM, None), daemon=True)
        with vars(ledger._keep_wanted)["_cond"]:  # As who sets it does.
            handled.start()
            handled.join(PATIENCE)
            assert not handled.is_alive()
        assert told == [signal.SIGTERM]
        disk.wait([early])

    @pytest.mark.parametrize("reason", ["usage is not wanted", "there is no database"])
    def test_nothing_is_begun(self, ledger: Ledger, table: Table, disk: Disk, settings: Settings, reason: str) -> None:
        if reason == "usage is not wanted":
            settings.AI_GATEWAY = {"USAGE": False}
        else:
            table.exists = False
        ledger.start()
        ledger.put(entry())
        ledger.stop()
        assert not ledger.is_running
        assert (table.asked, disk.files()) == ([], [])

    def test_where_no_thread_can_be_started_any_more_the_disk_takes_the_call_at_once(
        self, ledger: Ledger, disk: Disk
    ) -> None:
        late = entry()
        with none_can_start():
            ledger.put(late)
        assert disk.taken == [late]

    def test_without_a_thread_a_call_that_waits_for_its_record_waits_for_the_disk_alone(
        self, ledger: Ledger, disk: Disk
    ) -> None:
        late = entry()
        with none_can_start():
            asyncio.run(asyncio.wait_for(ledger.commit(late), PATIENCE))
        assert disk.taken == [late]

    def test_where_one_can_be_started_again_the_database_takes_the_calls(
        self, ledger: Ledger, table: Table, disk: Disk
    ) -> None:
        with none_can_start():
            ledger.put(entry())
        later = entry()
        ledger.put(later)
        assert all(thread.is_alive() for thread in threads_of(ledger))
        ledger.stop()
        assert later.id in table.rows
        assert len(disk.taken) == 1


class TestEnd:
    def test_everything_is_written(self, ledger: Ledger, table: Table, disk: Disk) -> None:
        entries = [entry() for _ in range(1200)]
        for each in entries[:3]:
            ledger.put(each)
        threads = threads_of(ledger)
        for each in entries[3:]:
            ledger.put(each)
        ledger.stop()
        assert list(table.rows.values()) == entries
        assert disk.taken == []
        assert not any(thread.is_alive() for thread in threads)

    def test_what_the_database_does_not_take_in_time_is_on_the_disk(
        self, ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LAST_WRITE", 0.01)
        entries = [entry() for _ in range(module.BATCH + 3)]
        table.answers.clear()
        for each in entries:
            ledger.put(each)
        assert table.is_asked.wait(PATIENCE)
        ledger.stop()
        assert disk.content() == entries

    def test_while_the_database_is_away_everything_goes_to_the_disk(
        self, ledger: Ledger, table: Table, disk: Disk
    ) -> None:
        table.is_away = True
        entries = [entry(), entry()]
        for each in entries:
            ledger.put(each)
        ledger.stop()
        assert disk.content() == entries

    def test_what_neither_takes_is_lost_and_can_be_found_in_the_log(
        self, ledger: Ledger, table: Table, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        table.is_away = disk.is_full = True
        entries = [entry(), entry()]
        for each in entries:
            ledger.put(each)
        ledger.stop()
        assert ledger.spool.lost == 2
        assert all(each.id in caplog.text for each in entries)

    def test_a_disk_that_takes_its_time_is_waited_for(
        self, ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spools, "DISK_PATIENCE", 0.001)
        table.answers.clear()
        ledger.put(first := entry())
        ledger._wake.set()
        assert table.is_asked.wait(PATIENCE)
        disk.answers.clear()
        ledger._keep_wanted.set()
        assert disk.is_asked.wait(PATIENCE)
        ledger.put(second := entry())
        monkeypatch.setattr(ledger._scribe, "end", lambda within: threading.Timer(0.2, disk.answers.set).start())
        ledger.stop()
        assert ledger.spool.lost == 0
        assert disk.taken == [first, second]

    def test_a_call_that_ends_later_is_written_too(self, ledger: Ledger, table: Table) -> None:
        ledger.put(entry())
        ledger.stop()
        ledger.put(entry())
        ledger.stop()
        assert len(table.rows) == 2

    def test_it_can_come_twice_or_without_a_beginning(self, ledger: Ledger, disk: Disk) -> None:
        ledger.stop()
        ledger.start()
        ledger.stop()
        ledger.stop()
        assert disk.files() == []


class TestProcess:
    def test_one_that_ends_without_a_server_loses_nothing(self, disk: Disk, tmp_path: Path) -> None:
        command = [sys.executable, "-c", PROCESS, str(tmp_path)]
        assert subprocess.run(command, timeout=60).returncode == 0
        assert [each.request_id for each in disk.content()] == ["req_first"]

    @pytest.mark.skipif(os.name != "posix", reason="signals")
    def test_one_that_was_told_to_end_has_every_call_on_the_disk_when_put_returns(
        self, disk: Disk, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-c", PROCESS + IS_KILLED_AFTER_A_SIGNAL, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.terminate()
            assert process.wait(60) == -signal.SIGKILL
        assert sorted(each.request_id for each in disk.content()) == ["req_first", "req_last"]
        assert not (tmp_path / REJECTED).exists()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
    def test_a_forked_one_begins_anew_and_writes_what_is_its_own(self, disk: Disk, tmp_path: Path) -> None:
        command = [sys.executable, "-c", PROCESS + FORKS, str(tmp_path)]
        assert subprocess.run(command, timeout=60).returncode == 0
        assert sorted(each.request_id for each in disk.content()) == ["req_child", "req_first"]
