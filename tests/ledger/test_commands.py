"""The commands: old records go and their sums stay; sums that are wrong are reported, and put right if asked to."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ai_gateway import ledger_store, reconciliation
from ai_gateway.management import progress
from ai_gateway.management.commands import gateway_prune_usage as pruning
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.rollups import Days
from tests.commands import failing, run
from tests.ledger.made import DAY, made

# Half an hour before it is the 20th in Berlin.
NOW = datetime(2026, 11, 19, 22, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _calls(database: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls on each of the last ten days: at this time of the day, and an hour later, when it is the next one."""
    settings.AI_GATEWAY = {"TIME_ZONE": "Europe/Berlin"}
    monkeypatch.setattr(pruning, "timezone", SimpleNamespace(now=lambda: NOW))
    moments = (NOW.timestamp() - day * DAY for day in range(1, 11))
    ledger_store.write([made(key_id=1, started_at=at) for moment in moments for at in (moment, moment + 3600)])


def days() -> list[int]:
    """The days of the records, as the accounting has them."""
    zone = Days("Europe/Berlin")
    moments = UsageRecord.objects.order_by("started_at").values_list("started_at", flat=True)
    return [zone.of(moment.timestamp()).day for moment in moments]


@pytest.fixture(autouse=True)
def nothing_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands tell of how far they are after a second, which on a busy machine is soon over."""
    monkeypatch.setattr(progress, "BEGINS", math.inf)


class TestPrune:
    @pytest.mark.parametrize(
        ("older_than", "first"), [("3d", 16), ("1d", 18), ("0d", 19), ("2026-11-14", 14), ("9d", 10), ("90d", 9)]
    )
    def test_records_of_whole_days_go(self, older_than: str, first: int) -> None:
        kept = [day for day in days() if day >= first]
        out, _ = run("gateway_prune_usage", "--older-than", older_than)
        assert days() == kept
        assert out.startswith(f"{20 - len(kept)} records from before 2026-")

    def test_the_sums_stay(self) -> None:
        before = list(UsageDaily.objects.order_by("pk").values())
        run("gateway_prune_usage", "--older-than", "3d")
        assert list(UsageDaily.objects.order_by("pk").values()) == before

    def test_a_dry_run_counts(self) -> None:
        out, _ = run("gateway_prune_usage", "--older-than", "3d", "--dry-run")
        assert out == "13 records from before 2026-11-16 would be deleted.\n"
        assert len(days()) == 20

    def test_they_go_in_batches_the_oldest_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 5)
        begin = Days("Europe/Berlin").begin(date(2026, 11, 16))
        before = days()
        counts = []
        while count := pruning.delete_some(begin):
            counts.append(count)
            assert days() == before[sum(counts) :]
        assert counts == [5, 5, 3]

    def test_a_terminal_sees_the_progress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 1)
        monkeypatch.setattr(progress, "BEGINS", 0.0)
        monkeypatch.setattr(progress, "REDRAWS", 0.0)
        err = Terminal()
        call_command("gateway_prune_usage", "--older-than", "3d", stdout=io.StringIO(), stderr=err)
        assert "13 of 13 (100 %)" in err.getvalue()
        assert err.getvalue().endswith(" \r")

    def test_a_site_without_time_zones(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.USE_TZ = False
        # How moments are written is worked out once for a connection, and was for one of a site with time zones.
        monkeypatch.setattr(ledger_store, "_plans", ledger_store._Plans())
        UsageRecord.objects.all().delete()
        ledger_store.write([made(started_at=NOW.timestamp() - day * DAY) for day in range(5)])
        run("gateway_prune_usage", "--older-than", "2026-11-18")
        assert UsageRecord.objects.count() == 2

    @pytest.mark.parametrize("wrong", ["90", "d", "-3d", "soon", "2026-11", "2026-02-31", "1w"])
    def test_what_is_no_age_is_refused(self, wrong: str) -> None:
        with pytest.raises(CommandError, match="neither a number of days"):
            run("gateway_prune_usage", f"--older-than={wrong}")

    def test_today_is_kept(self) -> None:
        with pytest.raises(CommandError, match="yet to come"):
            run("gateway_prune_usage", "--older-than", "2026-11-20")

    def test_there_is_no_default(self) -> None:
        with pytest.raises(CommandError, match="older-than"):
            run("gateway_prune_usage")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestReconcile:
    def test_nothing_is_wrong(self) -> None:
        assert run("gateway_reconcile_usage") == ("Days compared: 11. Rows of rollups that were wrong: 0.\n", "")

    def test_what_is_wrong_is_printed_and_the_command_fails(self) -> None:
        UsageDaily.objects.filter(day="2026-11-15").update(cost_nanos=5, requests=3)
        out, _ = failing("gateway_reconcile_usage")
        who = "key_id=1 key_name=team-a provider=openai served_model=gpt-5-mini"
        assert out.splitlines() == [
            f"2026-11-15  {who}  requests: 3 -> 2",
            f"2026-11-15  {who}  cost_nanos: 5 -> 20000000",
            "Days compared: 11. Rows of rollups that were wrong: 1.",
        ]
        assert failing("gateway_reconcile_usage")[0] == out

    def test_it_is_put_right_if_asked_to(self) -> None:
        before = list(UsageDaily.objects.order_by("day").values())
        UsageDaily.objects.filter(day="2026-11-15").update(cost_nanos=5)
        out, _ = run("gateway_reconcile_usage", "--fix")
        assert out.endswith("  cost_nanos: 5 -> 20000000\nDays compared: 11. Rows of rollups that were put right: 1.\n")
        assert list(UsageDaily.objects.order_by("day").values()) == before

    def test_days_from_before_are_left_alone(self) -> None:
        UsageDaily.objects.filter(day="2026-11-15").update(cost_nanos=5)
        assert run("gateway_reconcile_usage", "--since", "2026-11-16")[0].startswith("Days compared: 4.")
        failing("gateway_reconcile_usage", "--since", "2026-11-15")

    @pytest.mark.parametrize("arguments", [(), ("--fix",)], ids=str)
    def test_a_day_that_is_pruned_is_left_out(self, arguments: tuple[str, ...]) -> None:
        oldest = UsageRecord.objects.filter(started_at__lt=Days("Europe/Berlin").begin(date(2026, 11, 10)))
        UsageRecord.objects.filter(pk__in=[oldest.order_by("pk")[0].pk, *days_of(10)[:1]]).delete()
        before = list(UsageDaily.objects.order_by("day").values())
        out, err = run("gateway_reconcile_usage", *arguments)
        assert out.startswith("Days compared: 9.")
        assert err == "2026-11-10 is left out: some of its records are pruned.\n"
        assert list(UsageDaily.objects.order_by("day").values()) == before

    def test_after_whole_days_were_pruned_nothing_is_left_out(self) -> None:
        run("gateway_prune_usage", "--older-than", "3d")
        assert run("gateway_reconcile_usage") == ("Days compared: 4. Rows of rollups that were wrong: 0.\n", "")

    def test_a_day_that_is_written_to_all_the_time_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def busy(*arguments: Any) -> Any:
            raise reconciliation.Busy("2026-11-15 is written to all the time")

        monkeypatch.setattr(reconciliation, "fix", busy)
        out, err = failing("gateway_reconcile_usage", "--fix")
        assert out.startswith("Days compared: 0.")
        assert "2026-11-15 is written to all the time. Try again." in err

    @pytest.mark.parametrize("wrong", ["yesterday", "2026-02-31", "90d"])
    def test_what_is_no_day_is_refused(self, wrong: str) -> None:
        with pytest.raises(CommandError, match="is not a date"):
            run("gateway_reconcile_usage", "--since", wrong)


def days_of(day: int) -> list[Any]:
    """The keys of the records of a day."""
    begin, end = (Days("Europe/Berlin").begin(date(2026, 11, each)) for each in (day, day + 1))
    return list(UsageRecord.objects.filter(started_at__gte=begin, started_at__lt=end).values_list("pk", flat=True))
