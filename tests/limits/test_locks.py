"""Others in the way, on MariaDB: what loses in a deadlock, or waits too long, is tried again and counted once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction

from ai_gateway.ids import new_id
from ai_gateway.limits.database import DatabaseStore, rows
from ai_gateway.models import LimitCounter
from tests.factories import run
from tests.limits.charging import TTL, Charge, of_call, quota, state, take
from tests.limits.conftest import ALIAS
from tests.patience import until

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

COUNTERS = LimitCounter._meta.db_table


@contextmanager
def holding(*statements: str) -> Iterator[Callable[..., None]]:
    """Let somebody else lock rows in a transaction, over a connection of its own. What is given has it do more."""
    orders: queue.Queue[str | None] = queue.Queue()
    is_holding = threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                is_holding.set()
                while (order := orders.get(timeout=30)) is not None:
                    cursor.execute(order)
        finally:
            connections[ALIAS].close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_holding.wait(30)
    try:
        yield orders.put
    finally:
        orders.put(None)
        thread.join()


def is_waited() -> bool:
    """Whether somebody waits for a lock. Who asks more often than every 0.1 s is told the same as before."""
    time.sleep(0.15)
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        return bool(cursor.fetchone()[0])


def touch(charge: Charge) -> str:
    """Add to a counter, and lock its row."""
    return f"UPDATE {COUNTERS} SET spent = spent + 1 WHERE name = '{rows.name_of(charge.counter)}'"


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The numbers of the errors after which something is tried again."""
    seen: list[Any] = []
    really = rows.is_in_the_way

    def look(error: Any) -> bool:
        seen.append(error.args[0])
        return really(error)

    monkeypatch.setattr(rows, "is_in_the_way", look)
    return seen


def admit(store: DatabaseStore, *charges: Charge) -> Any:
    """Have a call admitted by one of the store's threads."""
    return store._workers.submit(lambda: store._admit(of_call(new_id(), *charges), TTL))


def test_who_loses_in_a_deadlock_begins_anew(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = quota(name="a"), quota(name="b")
    run(take(store, first, second))
    seen = watched(monkeypatch)
    # The server gives up whoever has written less.
    rest = ", ".join(f"('heavy {number}', 0, 0, 0, 0)" for number in range(50))
    much = f"INSERT INTO {COUNTERS} (name, spent, reserved, arrival_at, ends_at) VALUES {rest}"
    with holding(much, touch(second)) as do:
        future = admit(store, first, second)
        until(is_waited)
        do(touch(first))
        until(lambda: 1213 in seen)
    assert future.result(30).is_admitted
    # One by the first call, one by who was in the way, one by the second.
    assert [run(state(store, each)).used for each in (first, second)] == [3, 3]


def test_who_waited_too_long_for_a_lock_tries_again(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    shortly = "SET SESSION innodb_lock_wait_timeout = 1"
    monkeypatch.setitem(connections.settings[ALIAS]["OPTIONS"], "init_command", shortly)
    run(take(store, quota()))
    seen = watched(monkeypatch)
    with holding(touch(quota())):
        future = admit(store, quota())
        until(lambda: 1205 in seen)
    assert future.result(30).is_admitted
    assert run(state(store, quota())).used == 3
