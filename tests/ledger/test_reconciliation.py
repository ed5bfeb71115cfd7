"""Are the days the sum of their calls? What is found if they are not, what is put right, and what cannot be known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pytest_django import Settings

from ai_gateway import ledger_store, reconciliation
from ai_gateway.meter import Entry
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.reconciliation import Busy, Drift, Pruned
from ai_gateway.rollups import MEASURES, WHO, Days
from tests.ledger.made import DAY, NOON, made

ZONE = Days("UTC")
TODAY = date(2026, 11, 20)
BEFORE = date(2026, 11, 19)


@pytest.fixture(autouse=True)
def _two_days(database: None, settings: Settings) -> None:
    """Calls of two keys on each of two days."""
    settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}
    ledger_store.write([call(key, day) for key in (1, 1, 2) for day in (0, 1)])


def call(key: int, days_ago: int = 0, **columns: Any) -> Entry:
    return made(key_id=key, started_at=NOON - days_ago * DAY, first_token_ms=5, **columns)


def days() -> list[tuple[Any, ...]]:
    return list(UsageDaily.objects.order_by("day", "slot").values_list("day", "slot", *WHO, *MEASURES))


def row(key: int, day: date = TODAY) -> Any:
    return UsageDaily.objects.filter(day=day, key_id=key)


def told(drifts: list[Drift]) -> list[tuple[date, int, list[tuple[str, int, int]]]]:
    return [(drift.day, drift.who[0], list(drift.columns())) for drift in drifts]


def test_what_the_ledger_wrote_is_right() -> None:
    assert reconciliation.days_with_records(ZONE) == [BEFORE, TODAY]
    assert [reconciliation.drifts(day, ZONE) for day in (BEFORE, TODAY)] == [[], []]


@pytest.mark.parametrize("column", MEASURES)
def test_a_column_that_differs_is_found_and_put_right(column: str) -> None:
    right = days()
    value = getattr(row(1).get(), column)
    row(1).update(**{column: value + 3})
    wrong = [(TODAY, 1, [(column, value + 3, value)])]
    assert told(reconciliation.drifts(TODAY, ZONE)) == wrong
    assert reconciliation.drifts(BEFORE, ZONE) == []
    assert told(reconciliation.fix(TODAY, ZONE)) == wrong
    assert (days(), reconciliation.drifts(TODAY, ZONE)) == (right, [])


def test_a_row_that_is_missing_is_made() -> None:
    right = days()
    row(1).delete()
    (drift,) = reconciliation.drifts(TODAY, ZONE)
    assert (drift.written, drift.found[0], drift.who[:2]) == (None, 2, (1, "team-a"))
    reconciliation.fix(TODAY, ZONE)
    assert days() == right


def test_a_row_without_calls_is_deleted() -> None:
    right = days()
    UsageDaily.objects.create(day=TODAY, slot="f" * 32, key_id=3, requests=1)
    assert told(reconciliation.fix(TODAY, ZONE)) == [(TODAY, 3, [("requests", 1, 0)])]
    assert days() == right


def test_calls_that_somebody_deleted_are_missed() -> None:
    UsageRecord.objects.filter(key_id=2, started_at__gte=ZONE.begin(TODAY)).delete()
    assert [drift.who[0] for drift in reconciliation.drifts(TODAY, ZONE)] == [2]


def test_days_begin_where_they_are_asked_for() -> None:
    ledger_store.write([call(1, 40)])
    assert reconciliation.days_with_records(ZONE, TODAY) == [TODAY]
    assert reconciliation.days_with_records(ZONE) == [date(2026, 10, 11), BEFORE, TODAY]


def test_a_site_without_time_zones(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.USE_TZ = False
    # How moments are written is worked out once for a connection, and was for one of a site with time zones.
    monkeypatch.setattr(ledger_store, "_plans", ledger_store._Plans())
    settings.TIME_ZONE = "Europe/Berlin"
    UsageRecord.objects.all().delete()
    UsageDaily.objects.all().delete()
    ledger_store.write([made(started_at=datetime.combine(TODAY, datetime.min.time(), UTC).timestamp())])
    assert reconciliation.days_with_records(ZONE) == [TODAY]
    assert reconciliation.drifts(TODAY, ZONE) == []


class TestSomebodyWritesInBetween:
    def test_a_day_is_read_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconciliation, "_sums_of_records", meanwhile(1, reconciliation._sums_of_records))
        assert reconciliation.drifts(TODAY, ZONE) == []
        assert row(9).get().requests == 1

    def test_a_day_that_is_written_to_all_the_time_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconciliation, "_sums_of_records", meanwhile(99, reconciliation._sums_of_records))
        with pytest.raises(Busy, match="2026-11-20 is written to all the time"):
            reconciliation.drifts(TODAY, ZONE)

    @pytest.mark.parametrize("is_missing", [False, True])
    def test_nothing_that_they_write_is_lost(self, monkeypatch: pytest.MonkeyPatch, is_missing: bool) -> None:
        if is_missing:
            row(9).delete()
        else:
            ledger_store.write([call(9)])
            row(9).update(requests=7)
        monkeypatch.setattr(reconciliation, "_fix", meanwhile(1, reconciliation._fix))
        row(1).delete()
        reconciliation.fix(TODAY, ZONE)
        assert reconciliation.drifts(TODAY, ZONE) == []
        assert row(9).get().requests == (1 if is_missing else 2)

    def test_a_row_that_they_make_first_is_left_to_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        row(1).delete()
        (drift,) = reconciliation.drifts(TODAY, ZONE)
        ledger_store.write([call(1)])
        assert not reconciliation._fix(drift)
        reconciliation.fix(TODAY, ZONE)
        assert row(1).get().requests == 3


def meanwhile(times: int, really: Callable[..., Any]) -> Callable[..., Any]:
    """Has a call of another key written down before what is really done, the first few times."""
    left = iter(range(times))

    def work(*arguments: Any) -> Any:
        if next(left, None) is not None:
            ledger_store.write([call(9)])
        return really(*arguments)

    return work


def prune(count: int) -> None:
    """Delete so many records, the oldest first."""
    UsageRecord.objects.filter(
        pk__in=list(UsageRecord.objects.order_by("started_at").values_list("pk", flat=True)[:count])
    ).delete()


class TestPruned:
    @pytest.mark.parametrize("compare", [reconciliation.drifts, reconciliation.fix])
    def test_the_oldest_day_keeps_its_sums_if_it_lost_records(self, compare: Callable[..., object]) -> None:
        right = days()
        prune(2)
        with pytest.raises(Pruned, match="2026-11-19"):
            compare(BEFORE, ZONE)
        assert days() == right

    @pytest.mark.parametrize("count", [4, 6], ids=["some records", "all records"])
    def test_so_does_a_day_that_is_pruned_while_it_is_compared(
        self, monkeypatch: pytest.MonkeyPatch, count: int
    ) -> None:
        right = days()
        really, left = reconciliation._sums_of_records, iter([count])

        def prune_first(*arguments: Any) -> Any:
            for some in left:
                prune(some)
            return really(*arguments)

        monkeypatch.setattr(reconciliation, "_sums_of_records", prune_first)
        with pytest.raises(Pruned, match="2026-11-20"):
            reconciliation.fix(TODAY, ZONE)
        assert days() == right

    def test_a_later_day_that_lost_records_was_not_pruned(self) -> None:
        UsageRecord.objects.filter(key_id=2, started_at__gte=ZONE.begin(TODAY)).delete()
        assert told(reconciliation.fix(TODAY, ZONE))[0][:2] == (TODAY, 2)

    def test_the_oldest_day_is_put_right_if_it_has_all_its_records(self) -> None:
        row(1, BEFORE).update(cost_nanos=5)
        assert told(reconciliation.fix(BEFORE, ZONE)) == [(BEFORE, 1, [("cost_nanos", 5, 20_000_000)])]
