"""Counters in a database: the contract on SQLite and PostgreSQL, and what is particular about rows."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connections
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ai_gateway import daemons
from ai_gateway.charges import State
from ai_gateway.ids import new_id
from ai_gateway.limits import LimitStore, StoreUnavailable
from ai_gateway.limits.database import DatabaseStore, clerk, rows
from ai_gateway.limits.database import store as database_module
from ai_gateway.limits.database.clock import DatabaseClock
from ai_gateway.models import LimitCounter, Reservation
from tests.effort import times
from tests.factories import run
from tests.limits.backends import Clock, SharedBackend
from tests.limits.charging import TTL, admits, end, quota, rate, settle, slot, state, take
from tests.limits.conftest import ALIAS
from tests.limits.contract import SharedStoreContract
from tests.limits.machine import StoreMachine
from tests.patience import PATIENCE, until
from tests.private_server import PrivateServer
from tests.threads import none_can_start


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
        run_state_machine_as_test(RowsMachine, settings=settings(max_examples=times(10), stateful_step_count=15))


def care(store: DatabaseStore) -> None:
    """Have it look after reservations and counters now."""
    store.clerk.care()


def names() -> set[str]:
    return set(LimitCounter.objects.using(ALIAS).values_list("name", flat=True))


class TestRows:
    def test_a_reservation_is_gone_when_it_is_settled(self, store: DatabaseStore) -> None:
        call = new_id()
        run(take(store, quota(10), slot(), rate(), call=call))
        held = Reservation.objects.using(ALIAS).order_by("counter")
        assert [(row.call.hex, row.amount, row.is_open) for row in held] == [(call, 1, True), (call, 10, True)]
        run(settle(store, call, (quota(10), 10), (slot(), 1), (rate(), 1)))
        assert not held.all().exists()

    def test_counters_of_past_periods_are_deleted(self, store: DatabaseStore, clock: Clock) -> None:
        past, present = (quota(ends_at=clock() + hours * 3600) for hours in (1, 10))
        run(take(store, past, call="0" * 32))
        run(take(store, present))
        clock.advance(2 * 3600)
        care(store)
        assert names() == {rows.name_of(past.counter), rows.name_of(present.counter)}
        run(settle(store, "0" * 32, (past, 1)))
        clock.advance(2 * 3600)
        care(store)
        assert names() == {rows.name_of(present.counter)}

    def test_idle_counters_are_deleted(self, store: DatabaseStore, clock: Clock) -> None:
        spent, given_back = new_id(), new_id()
        run(take(store, rate(), slot(), quota(name="spent"), call=spent))
        run(take(store, quota(name="given back"), call=given_back))
        run(settle(store, spent, (slot(), 1), (quota(name="spent"), 1)))
        run(settle(store, given_back, (quota(name="given back"), 0)))
        clock.advance(25 * 3600)
        care(store)
        assert names() == {rows.name_of(quota(name="spent").counter)}

    def test_a_counter_is_not_idle_while_a_call_that_reserved_nothing_is_under_way(
        self, store: DatabaseStore, clock: Clock
    ) -> None:
        call = new_id()
        run(take(store, quota(0), call=call))
        clock.advance(3600)
        care(store)
        run(settle(store, call, (quota(0), 7)))
        assert run(state(store, quota())).used == 7

    def test_expired_reservations_are_forgotten_one_day(self, store: DatabaseStore, clock: Clock) -> None:
        dead = DatabaseStore(using=ALIAS, clock=clock)
        run(take(dead, quota(10)))
        run(dead.aclose())
        clock.advance(TTL + 1)
        care(store)
        assert list(Reservation.objects.using(ALIAS).values_list("is_open", flat=True)) == [False]
        clock.advance(25 * 3600)
        care(store)
        assert not Reservation.objects.using(ALIAS).exists()
        assert run(state(store, quota())).used == 10

    def test_a_million_nano_dollars_at_a_time_sum_up_exactly(self, store: DatabaseStore) -> None:
        charge = quota(150, 10**15)

        async def calls() -> None:
            for _ in range(4):
                ids = [new_id() for _ in range(100)]
                await asyncio.gather(*(take(store, charge, call=each) for each in ids))
                for each in ids:
                    end(store, each, (charge, 100))
            await store.flush()

        run(calls())
        assert run(state(store, charge)).used == 400 * 100


class TestFaults:
    def test_no_connection_is_held_while_a_call_is_under_way(self, store: DatabaseStore) -> None:
        """A call holds a slot all the time, and no thread is left but the one that will renew it, one day."""
        call = new_id()
        run(take(store, slot(), call=call))
        deadline = time.monotonic() + 30
        while any(thread.name.startswith("ai-gateway-limits_") for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run(settle(store, call, (slot(), 1)))

    def test_nobody_waits_for_a_connection_to_be_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        is_closing, may_close = threading.Event(), threading.Event()

        class Connections:
            def close_all(self) -> None:
                is_closing.set()
                may_close.wait(10)

        monkeypatch.setattr(clerk, "connections", Connections())
        monkeypatch.setattr(clerk, "IDLE", 0.01)
        idle = clerk.Clerk(ALIAS, time.time)
        idle._care_at = math.inf
        with idle._ready:
            idle._wake()
        try:
            assert is_closing.wait(10)
            assert idle._ready.acquire(timeout=5), "event loops would wait"
            idle._ready.release()
            ended = idle.dismiss()
            assert not ended.done()
        finally:
            may_close.set()
        ended.result(10)

    def test_others_in_the_way_are_waited_for(self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
        attempts = iter([sqlite3.OperationalError("database is locked"), Deadlock(), None])

        def take_after_all(*arguments: Any) -> Any:
            fault = next(attempts)
            if isinstance(fault, sqlite3.OperationalError):
                fault.sqlite_errorname = "SQLITE_BUSY"
            if fault is not None:
                raise OperationalError(str(fault)) from fault
            return really(*arguments)

        really = rows.admit
        monkeypatch.setattr(rows, "admit", take_after_all)
        assert run(admits(store, quota()))

    def test_what_is_wrong_with_the_database_is_told(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "admit", broken("no such table"))
        with pytest.raises(StoreUnavailable, match="the database of the limits: no such table"):
            run(take(store, quota()))

    def test_what_cannot_be_settled_now_is_settled_later(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(clerk, "PAUSE", 0.001)
        calls = [new_id() for _ in range(5)]
        for call in calls:
            run(take(store, quota(10), call=call))
        monkeypatch.setattr(rows, "settle", failing(3, rows.settle))
        for call in calls:
            end(store, call, (quota(10), 4))
        run(store.flush())
        assert run(state(store, quota())).used == 20
        messages = [record.getMessage() for record in caplog.records]
        assert messages == [
            "What calls used cannot be settled, and is kept for later: away",
            "The database of the limits answers again.",
        ]

    def test_a_settlement_that_is_at_fault_does_not_stop_the_others(
        self, store: DatabaseStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls = [new_id() for _ in range(3)]
        for call in calls:
            run(take(store, quota(10, 100), call=call))
        for call, actual in zip(calls, (4, 2**70, 4), strict=True):
            end(store, call, (quota(10, 100), actual))
        run(store.flush())
        assert run(state(store, quota(10, 100))).used == 4 + 10 + 4
        assert "cannot be settled" in caplog.text

    def test_a_queue_that_is_full_takes_no_more(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(clerk, "MOST", 2)
        monkeypatch.setattr(clerk, "PAUSE", 0.001)
        calls = [new_id() for _ in range(4)]
        for call in calls:
            run(take(store, quota(10), call=call))
        gate = threading.Event()
        really = rows.settle
        monkeypatch.setattr(rows, "settle", lambda *arguments: gate.wait(10) and really(*arguments))
        for call in calls:
            end(store, call, (quota(10), 1))
        gate.set()
        run(store.flush())
        assert run(state(store, quota())).used == 1 + 1 + 10 + 10
        assert caplog.text.count("Too much waits to be settled") == 1

    def test_what_calls_used_waits_for_a_thread_that_cannot_be_started(
        self, store: DatabaseStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls = [new_id() for _ in range(3)]
        for call in calls:
            run(take(store, rate(5), call=call))
        run(asyncio.wait_for(dismissed(store), 10))
        with none_can_start():
            for call in calls:
                end(store, call, (rate(5), 1))
        run(store.flush())
        assert run(state(store, rate())).used == 3
        assert caplog.text.count("The thread ai-gateway-limits-clerk cannot be started") == 1

    def test_a_connection_that_cannot_be_closed_ends_nothing(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(clerk, "IDLE", 0.01)
            patch.setattr(clerk, "connections", SimpleNamespace(close_all=lambda: 1 / 0))
            call = new_id()
            run(take(store, quota(10), call=call))
            until(lambda: "ZeroDivisionError" in caplog.text)
        end(store, call, (quota(10), 4))
        run(store.flush())
        assert run(state(store, quota())).used == 4

    def test_a_bug_in_settling_does_not_end_it(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(daemons, "PAUSE", 0.001)
        call = new_id()
        run(take(store, quota(10), call=call))
        faults = iter([ZeroDivisionError("a bug")])
        really = store.clerk._settle

        def settle_at_last(batch: Any) -> None:
            for fault in faults:
                raise fault
            really(batch)

        monkeypatch.setattr(store.clerk, "_settle", settle_at_last)
        end(store, call, (quota(10), 4))
        run(asyncio.wait_for(store.flush(), PATIENCE))
        assert run(state(store, quota())).used == 4
        assert "The thread ai-gateway-limits-clerk fails, and goes on" in caplog.text

    def test_a_stopping_process_does_not_wait_for_ever(
        self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(database_module, "LAST_SETTLEMENTS", 0.01)
        monkeypatch.setattr(clerk, "PAUSE", 0.001)
        call = new_id()
        run(take(store, quota(10), call=call))
        with monkeypatch.context() as patch:
            patch.setattr(rows, "settle", broken("away"))
            end(store, call, (quota(10), 1))
            run(store.aclose())
        assert "The database does not answer: 1 charges could not be settled." in caplog.text
        monkeypatch.undo()
        run(store.flush())


async def dismissed(store: DatabaseStore) -> None:
    await asyncio.wrap_future(store.clerk.dismiss())


class Deadlock(Exception):
    """As psycopg tells of one."""

    sqlstate = "40P01"


def broken(message: str) -> Callable[..., Any]:
    """What fails always."""

    def fail(*arguments: Any) -> Any:
        raise OperationalError(message)

    return fail


def failing(times: int, really: Callable[..., Any]) -> Callable[..., Any]:
    """What fails a few times."""
    faults = iter(range(times))

    def work(*arguments: Any) -> Any:
        if next(faults, None) is not None:
            raise OperationalError("away")
        return really(*arguments)

    return work


@pytest.fixture
def server(request: pytest.FixtureRequest, database: None) -> PrivateServer:
    """The server whose database it is."""
    name = "postgres_server" if connections[ALIAS].vendor == "postgresql" else "mariadb_server"
    found: PrivateServer = request.getfixturevalue(name)
    return found


TIME = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(SYSDATE(6))",
}


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
class TestServer:
    def test_a_server_that_is_restarted_has_lost_nothing(self, store: DatabaseStore, server: PrivateServer) -> None:
        call = new_id()
        run(take(store, quota(10), call=call))
        server.stop()
        try:
            with pytest.raises(StoreUnavailable):
                run(take(store, quota(10)))
            end(store, call, (quota(10), 7))
        finally:
            server.start()
        run(store.flush())
        assert run(state(store, quota())) == State(7, 53, 0.0)
        assert run(admits(store, quota()))

    def test_the_server_says_what_time_it_is(self, store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
        told = DatabaseClock(ALIAS)
        monkeypatch.setattr("ai_gateway.limits.database.clock.time.time", lambda: 0.0)
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(TIME[connections[ALIAS].vendor])
            before = float(cursor.fetchone()[0])
            now = told()
            cursor.execute(TIME[connections[ALIAS].vendor])
            after = float(cursor.fetchone()[0])
        # Half the way there and back is what nobody can know.
        assert before - (after - before) <= now <= after + (after - before)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_file_has_the_clock_of_its_host(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_gateway.limits.database.clock.time.time", lambda: 42.0)
    assert DatabaseClock(ALIAS)() == 42.0
