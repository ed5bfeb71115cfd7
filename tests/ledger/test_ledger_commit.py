"""In committed mode a call's end waits until its entry is in the database or on the disk, and never for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ai_gateway import ledger as module
from ai_gateway.ledger import BATCH, Ledger
from ai_gateway.meter import Entry
from tests.factories import run
from tests.ledger.entries import entry
from tests.ledger.stores import PATIENCE, Disk, Table


@pytest.fixture(autouse=True)
def _pace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written because time goes by, and nobody loses patience unless the test wants that."""
    settings.AI_GATEWAY = {"USAGE_INTERVAL": 3600}
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    monkeypatch.setattr(module, "RETRY", 60.0)


async def hang(ledger: Ledger, table: Table) -> asyncio.Task[None]:
    """Have a call wait for a database that hangs."""
    table.answers.clear()
    waiting = asyncio.create_task(ledger.commit(entry()))
    assert await asyncio.to_thread(table.is_asked.wait, PATIENCE)
    return waiting


def test_the_call_goes_on_when_it_is_in_the_database(ledger: Ledger, table: Table, disk: Disk) -> None:
    async def commit() -> None:
        waiting = await hang(ledger, table)
        assert not waiting.done()
        table.answers.set()
        await waiting
        assert len(table.rows) == 1

    run(commit())
    assert disk.taken == []


def test_calls_that_end_during_a_transaction_share_the_next_one(ledger: Ledger, table: Table) -> None:
    async def commit() -> None:
        first = await hang(ledger, table)
        others = [asyncio.create_task(ledger.commit(entry())) for _ in range(100)]
        await asyncio.sleep(0)  # Each has put its entry.
        table.answers.set()
        await asyncio.gather(first, *others)

    run(commit())
    assert [count for count, _ in table.asked] == [1, 100]


def test_calls_of_several_event_loops_are_each_told_in_their_own(ledger: Ledger, table: Table) -> None:
    ends: list[int] = []
    have_begun = threading.Barrier(4)

    async def commit(number: int) -> None:
        have_begun.wait(PATIENCE)
        await asyncio.gather(*(ledger.commit(entry()) for _ in range(10)))
        ends.append(number)

    threads = [threading.Thread(target=lambda number=number: run(commit(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ends) == [0, 1, 2, 3]
    assert len(table.rows) == 40


def test_a_call_that_loses_patience_has_its_entry_on_the_disk(
    ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, waits = asyncio.wait, []

    async def impatient(what: list[asyncio.Future[None]], **options: Any) -> object:
        """Wait, but the first time not at all."""
        waits.append(what)
        return await wait(what, **{**options, "timeout": 0.0} if len(waits) == 1 else options)

    async def commit() -> None:
        first = await hang(ledger, table)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "wait", impatient)
            await ledger.commit(entry())
        assert len(waits) == len(disk.taken) == 2
        await first  # The disk has it, too.

    run(commit())
    assert table.rows == {}


def test_while_the_database_is_away_the_disk_is_asked_at_once(ledger: Ledger, table: Table, disk: Disk) -> None:
    table.is_away = True
    entries = [entry() for _ in range(5)]
    for each in entries:
        run(ledger.commit(each))
        assert disk.taken[-1] == each
    assert len(table.asked) == 2  # The first one, twice.


def test_while_the_database_hangs_the_disk_is_asked_at_once(ledger: Ledger, table: Table, disk: Disk) -> None:
    async def commit() -> None:
        first = await hang(ledger, table)
        assert ledger._busy_since is not None
        ledger._busy_since -= 61  # Longer than anybody waits here.
        await ledger.commit(entry())
        assert not ledger._is_failing  # It hangs still, and nobody has given it up.
        await first

    run(commit())
    assert table.rows == {}
    assert len(disk.taken) == 2


def test_a_long_journal_makes_no_call_wait_for_its_end(ledger: Ledger, table: Table, tmp_path: Path) -> None:
    dead, left = Disk(tmp_path), [entry() for _ in range(3 * BATCH)]
    dead.append(left)
    dead.close()
    order: list[str] = []
    write = table.write

    def note(entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
        if may_be_known and not order:
            ledger.put(call)
        order.append("journal" if may_be_known else "call")
        return write(entries, may_be_known=may_be_known)

    call = entry()
    table.write = note  # type: ignore[method-assign]
    ledger.start()
    ledger._wake.set()
    table.wait([*left, call])
    assert order == ["journal", "call", "journal", "journal"]


def test_what_the_database_refuses_is_settled_too(ledger: Ledger, table: Table) -> None:
    table.poison = {"req_bad"}
    run(ledger.commit(entry(request_id="req_bad")))
    assert table.rows == {}
    assert ledger.writer.rejected == 1


def test_if_neither_takes_it_the_call_goes_on_and_its_entry_waits(
    ledger: Ledger, table: Table, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table.answers.clear()
    disk.is_full = True
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    late = entry(request_id="req_late")
    run(ledger.commit(late))
    assert "req_late: neither the database nor the journal has taken this call so far" in caplog.text
    assert ledger.spool._waiters == {}
    table.answers.set()
    table.wait([late])


def test_a_call_that_is_cancelled_is_written_down_all_the_same(ledger: Ledger, table: Table) -> None:
    async def commit() -> None:
        waiting = await hang(ledger, table)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    run(commit())
    table.answers.set()
    table.wait_for(lambda: len(table.rows) == 1)
    ledger.stop()
    assert ledger.spool._waiters == {}


@pytest.mark.parametrize("reason", ["no database", "no usage"])
def test_where_nothing_is_written_down_nobody_waits(
    ledger: Ledger, table: Table, settings: Settings, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    table.exists = reason != "no database"
    settings.AI_GATEWAY = {"USAGE": reason != "no usage"}
    run(ledger.commit(entry()))
    assert not ledger.is_running
    assert caplog.records == []
