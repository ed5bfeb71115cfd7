"""One value that a database refuses does not take a call's tokens and cost along, nor the call out of the sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ai_gateway import ledger_salvage, ledger_store
from ai_gateway.journal import Journal
from ai_gateway.ledger_writer import Writer
from ai_gateway.models import UsageDaily, UsageLabelDaily, UsageRecord
from tests.ledger.made import made

ODD: dict[str, dict[str, Any]] = {
    "a name that is too long": {"key_name": "k" * 300},
    "a code that is too long": {"error_code": "e" * 101},
    "a request id that is too long": {"request_id": "r" * 129},
    "a tag that is too long": {"tags": ["t" * 300]},
    "a time that is too long": {"overhead_us": 40 * 60 * 10**6},
    "a time before the beginning": {"first_byte_ms": -1},
    "a status that is none": {"status": 40_000},
    "a size that is too large": {"bytes_out": 2**63},
    "no character in a name": {"service_tier": "a\0b"},
    "no character in the trail": {"trail": [{"error": "a\0b", "ms": 3, "why": None}]},
    "no character in metadata": {"metadata": {"a\0": {"b": ["\0"]}}},
    "no character in a tag": {"tags": ["\0b"]},
    "half of a character": {"model": "\ud800", "metadata": {"\ud800": "\ud800"}},
    "no number": {"units": {"seconds": float("inf"), "images": 2.0}},
}


@pytest.fixture(autouse=True)
def _accounting_in_utc(settings: Settings) -> None:
    settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}


@pytest.mark.usefixtures("database")
class TestWritten:
    @pytest.mark.parametrize("columns", ODD.values(), ids=ODD)
    def test_a_call_is_in_the_records_and_the_sums(self, tmp_path: Path, columns: dict[str, Any]) -> None:
        writer = Writer(ledger_store, Journal(lambda: tmp_path))
        entries = [made(), made(**columns, session="s"), made()]
        assert len(writer.write(entries)) == 3
        assert writer.rejected == 0
        assert list(UsageRecord.objects.values_list("cost_nanos", "input_tokens")) == [(10_000_000, 100)] * 3
        assert sum(UsageDaily.objects.values_list("cost_nanos", flat=True)) == 30_000_000
        assert UsageLabelDaily.objects.get(kind="session").requests == 1

    def test_more_than_any_call_uses_leaves_room_for_others(self, tmp_path: Path) -> None:
        writer = Writer(ledger_store, Journal(lambda: tmp_path))
        writer.write([made(input_tokens=10**30, cost_nanos=10**19) for _ in range(20)])
        assert writer.rejected == 0
        assert UsageDaily.objects.totals().cost_nanos == 20 * 2**53

    def test_a_call_of_nobody_who_can_be_written_down_is_put_aside(self, tmp_path: Path) -> None:
        writer = Writer(ledger_store, Journal(lambda: tmp_path))
        assert writer.write([made(key_id="nobody")]) == []
        assert writer.rejected == 1


def test_what_fits_stays_as_it_is() -> None:
    entry = made(tags=["a"], trail=[{"ms": 1.5}], metadata={"a": None}, units={"images": 2.0}, error_code="e" * 100)
    assert ledger_salvage.fitted(entry) == entry


def test_in_the_end_who_and_how_much_is_left() -> None:
    sums = {"key_id": 7, "group_id": 9, "provider": "groq", "route": "fast", "reasoning_tokens": 5, "saved_nanos": 3}
    entry = made(**sums, session="s", tags=["a"], metadata={"a": 1}, attempts=2, duration_ms=0, bytes_out=0)
    least = ledger_salvage.bare(entry)
    assert list(ledger_salvage.versions(entry)) == [least]
    assert least == made(id=entry.id, **sums, duration_ms=0, bytes_out=0)
    assert list(ledger_salvage.versions(least)) == []
