"""What a day's calls sum up to: which of them belong together, which day it is, and what each column counts."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ai_gateway import rollups
from ai_gateway.meter import Entry, Outcome
from ai_gateway.models import UsageDaily
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.rollups import COLUMNS, MEASURES, WHO, Days, Rollup, roll_up, row_of, slot_of
from tests.ledger.made import DAY, NOON, made

UTC_DAYS = Days("UTC")


def summed(*entries: Entry, days: Days = UTC_DAYS) -> list[Rollup]:
    return roll_up(map(row_of, entries), days)


def measures(*entries: Entry) -> dict[str, int]:
    """Sum up calls that belong together."""
    (rollup,) = summed(*entries)
    return dict(zip(MEASURES, rollup.sums, strict=True))


class TestColumns:
    def test_every_column_of_a_day_is_who_or_is_counted(self) -> None:
        columns = {field.attname for field in UsageDaily._meta.concrete_fields}
        assert columns == {"id", "day", "slot", *WHO, *MEASURES}

    @pytest.mark.parametrize("outcome", [each.value for each in Outcome])
    def test_every_outcome_is_a_request(self, outcome: str) -> None:
        assert measures(made(outcome=outcome), made(outcome=outcome))["requests"] == 2

    def test_an_error_is_what_the_caller_was_told_of(self) -> None:
        counted = {each.value for each in Outcome if measures(made(outcome=each.value))["errors"]}
        assert counted == {"refused", "blocked", "failed", "timed_out", "stopped", "cancelled"}

    @pytest.mark.parametrize("column", ["limited", "cached"])
    def test_some_outcomes_have_a_column_of_their_own(self, column: str) -> None:
        counts = {each.value: measures(made(outcome=each.value))[column] for each in Outcome}
        assert counts == {**dict.fromkeys(counts, 0), column: 1}

    def test_estimates_are_counted(self) -> None:
        assert measures(made(is_estimated=True), made(is_estimated=False), made(is_estimated=True))["estimated"] == 2

    def test_a_call_without_a_price_costs_nothing_and_is_counted(self) -> None:
        found = measures(made(cost_nanos=None), made(cost_nanos=0), made(cost_nanos=7), made(cost_nanos=8))
        assert (found["unpriced"], found["cost_nanos"]) == (1, 15)

    def test_money_sums_up_exactly(self) -> None:
        assert measures(made(cost_nanos=2**60 + 1), made(cost_nanos=1))["cost_nanos"] == 2**60 + 2

    def test_the_time_to_the_first_token_is_that_of_calls_which_had_one(self) -> None:
        found = measures(made(first_token_ms=None), made(first_token_ms=0), made(first_token_ms=400))
        assert (found["first_tokens"], found["first_token_ms"]) == (2, 400)

    @pytest.mark.parametrize("column", ["duration_ms", "bytes_out", *BUCKETS])
    def test_all_others_are_sums(self, column: str) -> None:
        zero = dict.fromkeys(("duration_ms", "bytes_out", *BUCKETS), 0)
        found = measures(made(**{**zero, column: 5}), made(**{**zero, column: 6}))
        assert {name: value for name, value in found.items() if name in zero} == {**zero, column: 11}

    def test_a_record_sums_up_as_its_entry_does(self) -> None:
        entry = made(key_id=3, started_at=NOON + 0.25, first_token_ms=5)
        record = (datetime.fromtimestamp(NOON + 0.25, UTC), *row_of(entry)[1:])
        assert COLUMNS[0] == "started_at"
        assert roll_up([record], UTC_DAYS) == summed(entry)


class TestWhatBelongsTogether:
    @pytest.mark.parametrize(
        "other",
        [
            *({"key_id": 1}, {"key_name": "b"}, {"user_id": 1}, {"group_id": 1}),
            *({"provider": "b"}, {"served_model": "b"}, {"route": "b"}, {"started_at": NOON + DAY}),
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_calls_that_differ_in_who_or_when_do_not(self, other: dict[str, Any]) -> None:
        assert len(summed(made(), made(**other))) == 2

    def test_all_other_columns_do_not_matter(self) -> None:
        assert len(summed(made(), made(model="b", session="b", outcome="failed", tags=["b"]))) == 1

    def test_a_user_is_not_the_group_of_the_same_number(self) -> None:
        assert len(summed(made(user_id=1), made(group_id=1))) == 2

    def test_a_key_that_was_renamed_is_still_the_same(self) -> None:
        (found,) = summed(
            made(key_id=3, key_name="old"), made(key_id=3, key_name="new"), made(key_id=3, key_name="old")
        )
        assert (found.who[:2], found.sums[0]) == ((3, "old"), 3)

    def test_an_absent_key_is_not_the_one_called_none(self) -> None:
        assert slot_of(row_of(made(user_id=None))[1:8]) != slot_of(row_of(made(user_id="None"))[1:8])

    @pytest.mark.parametrize("key", [7, uuid.UUID(int=7)], ids=type)
    def test_the_slot_is_the_same_for_a_key_and_for_its_text(self, key: object) -> None:
        (as_key,), (as_text,) = summed(made(key_id=key)), summed(made(key_id=str(key)))
        assert as_key.slot == as_text.slot

    def test_a_key_and_its_text_are_one_row(self) -> None:
        assert [rollup.sums[0] for rollup in summed(made(key_id=7), made(key_id="7"))] == [2]

    def test_the_slot_is_the_same_in_every_process(self) -> None:
        """It is stored: this one may never change."""
        assert slot_of((7, "any", None, 2, "openai", "gpt-5-mini", "")) == "2d512a542b8d2bf9f6613bfd2e1f50aa"

    def test_slots_that_are_remembered_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rollups, "REMEMBERED", 3)
        monkeypatch.setattr(rollups, "_slots", {})
        slots = [slot_of((number, "", None, None, "", "", "")) for number in range(10)]
        assert len(set(slots)) == 10
        assert len(rollups._slots) <= 3

    def test_rows_come_in_the_order_of_day_and_slot(self) -> None:
        found = summed(*(made(key_id=number % 5, started_at=NOON - number * DAY) for number in range(20)))
        assert [(each.day, each.slot) for each in found] == sorted((each.day, each.slot) for each in found)

    def test_nothing_sums_up_to_nothing(self) -> None:
        assert summed() == []


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class TestDays:
    def test_the_day_is_one_of_the_accounting_time_zone(self) -> None:
        late = at("2026-11-20T23:30:00Z")
        days = {zone: Days(zone).of(late).day for zone in ("UTC", "Europe/Berlin", "America/New_York")}
        assert days == {"UTC": 20, "Europe/Berlin": 21, "America/New_York": 20}

    @pytest.mark.parametrize(
        ("zone", "day", "begin", "hours"),
        [
            ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00:00Z", 23),
            ("Europe/Berlin", date(2026, 10, 25), "2026-10-24T22:00:00Z", 25),
            # Here it is midnight that is left out, or that comes again.
            ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00Z", 23),
            ("America/Sao_Paulo", date(2018, 2, 17), "2018-02-17T02:00:00Z", 25),
            ("America/Havana", date(2024, 11, 3), "2024-11-03T04:00:00Z", 25),
        ],
    )
    def test_days_on_which_summer_time_begins_or_ends(self, zone: str, day: date, begin: str, hours: int) -> None:
        first, end = at(begin), at(begin) + hours * 3600
        moments = (first - 0.001, first, first + 12 * 3600, end - 0.001, end)
        expected = [day - timedelta(days=1), day, day, day, day + timedelta(days=1)]
        days = Days(zone)
        assert [days.of(moment) for moment in moments] == expected
        assert [Days(zone).of(moment) for moment in moments] == expected
        assert (days.begin(day).timestamp(), days.begin(day + timedelta(days=1)).timestamp()) == (first, end)

    def test_the_remembered_day_does_not_stick(self) -> None:
        days = Days("UTC")
        moments = (NOON, NOON + DAY, NOON, NOON - DAY, NOON)
        assert [days.of(moment).day for moment in moments] == [20, 21, 20, 19, 20]
