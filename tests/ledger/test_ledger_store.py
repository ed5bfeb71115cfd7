"""Writing batches: every column, each call once whatever comes twice, and who is at fault if it does not work."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from pytest_django import Settings

from ai_gateway import ledger_store
from ai_gateway.ids import new_id
from ai_gateway.meter import NOT_COLUMNS, Entry
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.rollups import MEASURES, WHO, Days, roll_up, row_of
from tests.ledger.made import DAY, NOON, made

FULL: dict[str, Any] = {
    **{"id": new_id(), "request_id": "req_é", "started_at": NOON + 0.123456, "outcome": "failed", "status": 502},
    **{"error_code": "overloaded", "upstream_id": "up_1", "key_id": 7, "key_name": "Käte's", "user_id": 8},
    **{"group_id": 9, "project": "p", "organization": "o", "end_user": "e", "experiment": "x", "session": "s"},
    **{"agent": "a", "tags": ["ü", "'\"\\"], "metadata": {"deep": [{"a": None}], "float": 1.5}, "dialect": "gemini"},
    **{"endpoint": "v1beta/models", "model": "fast", "provider": "google", "served_model": "gemini-3", "route": "fast"},
    **{
        "variant": "spring:control",
        "is_mirror": True,
        "is_stream": True,
        "attempts": 3,
        "trail": [{"provider": "groq", "ms": 3}],
        "duration_ms": 1234,
    },
    **{
        "first_byte_ms": 5,
        "first_token_ms": 6,
        "overhead_us": 70,
        "queued_ms": 7,
        "bytes_in": 2**40,
        "bytes_out": 2**41,
    },
    **{"input_tokens": 11, "cache_read_tokens": 12, "cache_write_tokens": 13, "cache_write_1h_tokens": 14},
    **{"output_tokens": 15, "reasoning_tokens": 16, "input_audio_tokens": 17, "input_image_tokens": 18},
    **{"output_audio_tokens": 19, "output_image_tokens": 20, "units": {"images": 2.0}, "service_tier": "flex"},
    **{"is_estimated": True, "cost_nanos": 2**62, "saved_nanos": 3, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
}


def stored() -> list[uuid.UUID]:
    return list(UsageRecord.objects.order_by("id").values_list("id", flat=True))


def ids_of(entries: Sequence[Entry]) -> list[uuid.UUID]:
    return sorted(uuid.UUID(entry.id) for entry in entries)


def days() -> list[tuple[Any, ...]]:
    return list(UsageDaily.objects.order_by("day", "slot").values_list("day", "slot", *WHO, *MEASURES))


def sums_of(entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    """What `days` gives if each of these was counted once."""
    rollups = roll_up(map(row_of, entries), Days("UTC"))
    return [(rollup.day, rollup.slot, *rollup.who, *rollup.sums) for rollup in rollups]


def batch(count: int = 5) -> list[Entry]:
    return [made(key_id=1 + number % 2, started_at=NOON + number * DAY / 4) for number in range(count)]


@pytest.fixture(autouse=True)
def _accounting_in_utc(settings: Settings) -> None:
    settings.AI_GATEWAY = {"TIME_ZONE": "UTC"}


@pytest.mark.usefixtures("database")
class TestColumns:
    def test_every_column_is_written_as_it_is_given(self) -> None:
        assert [*Entry.__struct_fields__[-2:]] == [*NOT_COLUMNS]
        assert {*FULL, *NOT_COLUMNS} == set(Entry.__struct_fields__)
        ledger_store.write([Entry(**FULL, parent_span_id="00f067aa0ba902b7", is_sampled=True)])
        moment = datetime.fromtimestamp(FULL["started_at"], UTC)
        assert UsageRecord.objects.values().get() == {**FULL, "id": uuid.UUID(FULL["id"]), "started_at": moment}

    def test_what_is_not_known_is_null_or_empty(self) -> None:
        entry = Entry(id=new_id(), request_id="r", started_at=NOON, outcome="refused")
        ledger_store.write([entry])
        found = UsageRecord.objects.values().get()
        assert {**found, "id": found["id"].hex, "started_at": NOON} == {
            name: value for name, value in msgspec.structs.asdict(entry).items() if name not in NOT_COLUMNS
        }
        assert UsageRecord.objects.filter(tags__isnull=True, metadata__isnull=True, units__isnull=True).exists()

    def test_a_key_may_come_as_text(self) -> None:
        ledger_store.write([made(key_id="7", user_id="8")])
        assert UsageRecord.objects.values_list("key_id", "user_id").get() == (7, 8)
        assert UsageDaily.objects.values_list("key_id", "user_id").get() == (7, 8)

    def test_a_site_without_time_zones(self, settings: Settings) -> None:
        settings.USE_TZ = False
        settings.TIME_ZONE = "Europe/Berlin"
        ledger_store.write([made(started_at=NOON)])
        assert UsageRecord.objects.get().started_at == datetime(2026, 11, 20, 13)

    def test_days_are_those_of_the_accounting(self, settings: Settings) -> None:
        late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp()
        ledger_store.write([made(started_at=late)])
        settings.AI_GATEWAY = {"TIME_ZONE": "Europe/Berlin"}
        ledger_store.write([made(started_at=late)])
        assert [row[0] for row in days()] == [date(2026, 11, 20), date(2026, 11, 21)]

    def test_days_are_added_to(self) -> None:
        first, second = batch(), batch(8)
        assert ledger_store.write(first) == first
        ledger_store.write(second)
        assert days() == sums_of([*first, *second])


@pytest.mark.usefixtures("database")
class TestOnce:
    @pytest.mark.parametrize("may_be_known", [False, True])
    def test_a_batch_that_comes_twice(self, may_be_known: bool) -> None:
        entries = batch()
        ledger_store.write(entries)
        assert ledger_store.write(entries, may_be_known=may_be_known) == []
        assert (stored(), days()) == (ids_of(entries), sums_of(entries))

    @pytest.mark.parametrize("may_be_known", [False, True])
    def test_batches_that_overlap(self, may_be_known: bool) -> None:
        entries = batch(9)
        ledger_store.write(entries[:6])
        assert ledger_store.write(entries[3:], may_be_known=may_be_known) == entries[6:]
        assert (stored(), days()) == (ids_of(entries), sums_of(entries))

    @pytest.mark.parametrize("may_be_known", [False, True])
    def test_a_call_that_is_there_twice_in_a_batch(self, may_be_known: bool) -> None:
        entries = batch()
        assert ledger_store.write([*entries, *entries], may_be_known=may_be_known) == entries
        assert (stored(), days()) == (ids_of(entries), sums_of(entries))

    def test_two_who_write_the_same_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both have seen that nothing is written yet."""
        entries, both = batch(), threading.Barrier(2, timeout=30)
        really, met = ledger_store._without_known, threading.local()

        def look(*arguments: Any) -> list[Entry]:
            found = really(*arguments)
            if not hasattr(met, "done"):
                met.done = both.wait()
            return found

        monkeypatch.setattr(ledger_store, "_without_known", look)
        with ThreadPoolExecutor(2) as pool:
            written = list(pool.map(in_thread, [entries[:-1], entries[1:]]))
        assert sorted(map(len, written)) == [1, 4]
        assert (stored(), days()) == (ids_of(entries), sums_of(entries))

    def test_nothing_to_write_is_no_error(self) -> None:
        assert ledger_store.write([]) == []


def in_thread(entries: Sequence[Entry]) -> Sequence[Entry]:
    try:
        return ledger_store.write(entries, may_be_known=True)
    finally:
        ledger_store.release()


@pytest.mark.usefixtures("database")
class TestUncertain:
    """Entries of a journal that was left for longer than records are kept."""

    def test_of_days_whose_records_are_deleted_nobody_can_tell(self) -> None:
        old, new = batch(), [made(started_at=NOON + 9 * DAY)]
        ledger_store.write([*old, *new])
        UsageRecord.objects.filter(started_at__lt=datetime.fromtimestamp(NOON + 8 * DAY, UTC)).delete()
        unwritten = [made(started_at=NOON + number * DAY) for number in (-1, 0, 5, 9)]
        assert ledger_store.uncertain([*unwritten, *old, *new]) == [*unwritten[:2], *old]

    def test_of_all_others_the_records_tell(self) -> None:
        entries = [made(started_at=NOON + number * DAY) for number in range(3)]
        assert list(ledger_store.uncertain(entries)) == []
        ledger_store.write(entries[1:])
        assert list(ledger_store.uncertain(entries)) == []

    def test_of_a_day_that_is_being_pruned_the_records_that_are_left_tell(self) -> None:
        entries = [made(started_at=NOON + number) for number in range(4)]
        ledger_store.write(entries)
        UsageRecord.objects.filter(pk__in=[each.id for each in entries[:2]]).delete()
        later = made(started_at=NOON + DAY)
        assert list(ledger_store.uncertain([*entries, later])) == entries[:2]

    def test_a_time_that_there_is_not_stands_in_nobodys_way(self) -> None:
        odd = made(started_at=1e18)
        assert list(ledger_store.uncertain([odd])) == []
        ledger_store.write([made()])
        assert list(ledger_store.uncertain([odd])) == []

    def test_without_any_record(self) -> None:
        entries = batch()
        ledger_store.write(entries)
        UsageRecord.objects.all().delete()
        assert ledger_store.uncertain([*entries, made(started_at=NOON + 9 * DAY)]) == entries
