"""Adding to days: the statement of each database does what the ORM does, for databases without such a statement."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from django.db import connections, transaction
from pytest_django import Settings

from ai_gateway import ledger_store, rollup_store
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.rollups import MEASURES, WHO, Days, Rollup, roll_up, row_of
from tests.ledger.conftest import ALIAS
from tests.ledger.made import DAY, NOON, made

pytestmark = pytest.mark.usefixtures("database")


def rollups(first: int, last: int) -> list[Rollup]:
    """Some days of some keys, and each has all that can be counted."""
    entries = (
        made(
            key_id=number % 3 or None,
            user_id=str(1 + number % 2),
            started_at=NOON + number * DAY / 3,
            outcome=("answered", "failed", "limited", "cached")[number % 4],
            is_estimated=number % 5 == 0,
            cost_nanos=number or None,
            first_token_ms=number % 4 or None,
        )
        for number in range(first, last)
    )
    return roll_up(map(row_of, entries), Days("UTC"))


def add(how: rollup_store.Add, what: Iterable[Rollup]) -> None:
    with transaction.atomic(using=ALIAS):
        how(what)


def take_all() -> list[tuple[Any, ...]]:
    """Give all rows, and delete them."""
    found = list(UsageDaily.objects.order_by("day", "slot").values_list("day", "slot", *WHO, *MEASURES))
    UsageDaily.objects.all().delete()
    return found


def test_the_databases_here_have_a_statement_and_others_are_asked_by_the_orm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(rollup_store.adder(ALIAS), rollup_store._Upsert)
    monkeypatch.setattr(connections[ALIAS], "vendor", "oracle")
    assert isinstance(rollup_store.adder(ALIAS), rollup_store._ByModel)


def test_both_ways_come_to_the_same() -> None:
    results = []
    for how in (rollup_store.adder(ALIAS), rollup_store._ByModel(ALIAS)):
        for first, last in ((0, 12), (6, 18), (0, 3)):
            add(how, rollups(first, last))
        results.append(take_all())
    assert results[0] == results[1]
    assert sum(row[2 + len(WHO)] for row in results[0]) == 12 + 12 + 3


@pytest.mark.parametrize("by", ["adder", "_ByModel"])
def test_who_used_it_stays_as_it_was_first_written(by: str) -> None:
    how = getattr(rollup_store, by)(ALIAS)
    for name in ("old", "new"):
        add(how, roll_up([row_of(made(key_id=1, key_name=name))], Days("UTC")))
    (row,) = take_all()
    assert (row[0], row[3], row[9]) == (date(2026, 11, 20), "old", 2)


def test_a_row_that_another_process_inserts_in_between_is_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    how = rollup_store._ByModel(ALIAS)
    add(how, rollups(0, 1))
    seen = iter([False])  # The first time, there is nothing to see yet.
    really = how._update
    monkeypatch.setattr(how, "_update", lambda rollup: next(seen, None) is None and really(rollup))
    add(how, rollups(0, 1))
    (row,) = take_all()
    assert row[2 + len(WHO)] == 2


def test_the_ledger_writes_by_the_orm_just_the_same(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}
    entries = [made(key_id=1 + number % 2, started_at=NOON + number * DAY / 3) for number in range(10)]
    ledger_store.write(entries)
    by_statement = take_all()
    UsageRecord.objects.all().delete()
    monkeypatch.setattr(ledger_store, "adder", rollup_store._ByModel)
    ledger_store._plans.known.clear()
    ledger_store.write(entries)
    assert take_all() == by_statement
