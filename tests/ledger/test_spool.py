"""Where an entry is between the end of its call and the database: in the queue, in the batch under way, on the disk."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_gateway import spool as module
from ai_gateway.meter import Entry
from ai_gateway.spool import Spool
from tests.factories import run
from tests.ledger.entries import entry
from tests.ledger.stores import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def spool(disk: Disk) -> Spool:
    return Spool(disk, room=2)


def fill(spool: Spool, count: int) -> list[Entry]:
    entries = [entry() for _ in range(count)]
    assert [spool.put(each) for each in entries][-1] >= count
    return entries


def waiting(spool: Spool) -> list[Entry]:
    batch = spool.take(1000)
    return batch.entries if batch is not None else []


def test_what_came_first_is_taken_first(spool: Spool) -> None:
    entries = fill(spool, 5)
    taken = []
    while (batch := spool.take(2)) is not None:
        taken.append(batch.entries)
        spool.settle(batch)
    assert taken == [entries[:2], entries[2:4], entries[4:]]


def test_a_batch_that_is_given_back_comes_first_again(spool: Spool) -> None:
    entries = fill(spool, 4)
    spool.take(3)
    spool.give_back()
    spool.give_back()
    assert waiting(spool) == entries


def test_the_disk_takes_the_batch_under_way_and_all_that_waits(spool: Spool, disk: Disk) -> None:
    entries = fill(spool, 5)
    spool.take(3)
    assert spool.keep()
    assert disk.content() == entries
    assert spool.kept == 5
    spool.give_back()
    assert waiting(spool) == []


def test_what_is_safe_is_not_brought_to_the_disk_again(spool: Spool, disk: Disk) -> None:
    fill(spool, 2)
    batch = spool.take(1)
    assert batch is not None
    assert spool.keep()
    assert spool.keep()
    spool.settle(batch)
    assert spool.keep()
    assert len(disk.content()) == 2


def test_what_is_in_the_database_does_not_go_to_the_disk(spool: Spool, disk: Disk) -> None:
    fill(spool, 2)
    batch = spool.take(2)
    assert batch is not None
    spool.settle(batch)
    assert spool.keep()
    assert disk.files() == []


def test_what_a_full_disk_does_not_take_waits_in_its_order(
    spool: Spool, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    entries = fill(spool, 5)
    spool.take(2)
    disk.is_full = True
    assert [spool.keep() for _ in range(3)] == [False] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "Usage records wait in memory, the journal does not take them: no space left"
    ]
    spool.give_back()
    assert waiting(spool) == entries
    assert spool.kept == 0


class TestWhileTheDiskHangs:
    @pytest.fixture(autouse=True)
    def keeping(self, spool: Spool, disk: Disk) -> Iterator[list[Entry]]:
        """Three entries, two of them in a batch, on their way to a disk that hangs until the test is over."""
        entries = fill(spool, 3)
        spool.take(2)
        disk.answers.clear()
        thread = threading.Thread(target=spool.keep)
        thread.start()
        assert disk.is_asked.wait(10)
        yield entries
        disk.answers.set()
        thread.join(10)

    def test_put_and_take_do_not_wait(self, spool: Spool) -> None:
        later = entry()
        assert spool.put(later) == 1
        spool.give_back()
        spool.lose_rest("the test is over")

    def test_somebody_else_does_not_wait_for_long(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "DISK_PATIENCE", 0.001)
        assert not spool.keep()

    def test_what_is_given_up_is_not_what_may_get_there(
        self, spool: Spool, keeping: list[Entry], caplog: pytest.LogCaptureFixture
    ) -> None:
        later = fill(spool, 1)
        spool.lose_rest("the process ends")
        assert spool.lost == len(later) == 1
        told = [record.getMessage() for record in caplog.records]
        assert [text.startswith("Usage record may be lost") for text in told] == [False, True, True, True]
        assert all(each.id in caplog.text for each in [*keeping, *later])

    def test_a_batch_that_is_given_back_meanwhile_is_not_lost(
        self, spool: Spool, disk: Disk, keeping: list[Entry]
    ) -> None:
        spool.give_back()
        disk.is_full = True
        disk.answers.set()
        assert not spool.keep()
        assert {each.id for each in waiting(spool)} == {each.id for each in keeping}


class TestCallsThatWait:
    def test_they_are_told_when_the_database_has_their_entry(self, spool: Spool) -> None:
        async def wait() -> None:
            mine, other = entry(), entry()
            done, not_done = (spool.await_durable(each, asyncio.get_running_loop()) for each in (mine, other))
            spool.put(mine)
            spool.put(other)
            batch = spool.take(1)
            assert batch is not None
            await asyncio.to_thread(spool.settle, batch)
            await asyncio.wait_for(done, 10)
            assert not not_done.done()

        run(wait())

    def test_they_are_told_when_the_disk_has_their_entry(self, spool: Spool) -> None:
        async def wait() -> None:
            entries = [entry(), entry()]
            done = [spool.await_durable(each, asyncio.get_running_loop()) for each in entries]
            for each in entries:
                spool.put(each)
            spool.take(1)
            await asyncio.to_thread(spool.keep)
            await asyncio.wait_for(asyncio.gather(*done), 10)

        run(wait())

    def test_who_gave_up_or_is_gone_is_not_told(self, spool: Spool) -> None:
        async def begin(each: Entry) -> asyncio.Future[None]:
            return spool.await_durable(each, asyncio.get_running_loop())

        async def give_up(each: Entry) -> None:
            (await begin(each)).cancel()
            spool.tell([each])
            await asyncio.sleep(0)

        of_closed_loop, forsaken, cancelled = entry(), entry(), entry()
        run(begin(of_closed_loop))
        run(begin(forsaken))
        spool.forsake(forsaken)
        run(give_up(cancelled))
        spool.tell([of_closed_loop, forsaken, cancelled])
        assert spool._waiters == {}


class TestLoss:
    def test_there_is_room_for_some_more_than_fits_while_nothing_takes_them(self, spool: Spool) -> None:
        fill(spool, module.OVERFULL * spool.room)
        assert not spool.is_overfull
        fill(spool, 1)
        assert spool.is_overfull

    def test_what_came_last_is_lost_and_can_be_found_in_the_log(
        self, spool: Spool, caplog: pytest.LogCaptureFixture
    ) -> None:
        entries = fill(spool, 5)
        spool.lose_last()
        assert entries[-1].id in caplog.text
        assert spool.lost == 1
        assert waiting(spool) == entries[:-1]

    def test_nothing_is_lost_that_somebody_took_meanwhile(self, spool: Spool) -> None:
        spool.lose_last()
        assert spool.lost == 0

    def test_what_is_left_at_the_end_is_lost_but_for_what_the_disk_has(
        self, spool: Spool, caplog: pytest.LogCaptureFixture
    ) -> None:
        safe = fill(spool, 2)
        spool.take(2)
        spool.keep()
        unsafe = fill(spool, 2)
        with caplog.at_level(logging.ERROR):
            spool.lose_rest("the process ends")
        assert spool.lost == 2
        assert [each.id in caplog.text for each in [*safe, *unsafe]] == [False, False, True, True]
        assert waiting(spool) == []
