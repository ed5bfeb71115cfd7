"""A process that begins to count where others stopped: what was spent before, and what happens if nobody can tell."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User

from ai_gateway import registry, seeding
from ai_gateway.allowances import Due
from ai_gateway.charges import Counter, State
from ai_gateway.ids import new_id
from ai_gateway.limits import StoreUnavailable, sowing
from ai_gateway.limits.memory.store import FEW, UNTOUCHED, MemoryStore
from ai_gateway.models import UsageDaily, UsageRecord
from tests.factories import run
from tests.limits.backends import Clock
from tests.limits.charging import admits, end, of_call, quota, rate, settle, slot, state, take
from tests.threads import none_can_start

NOW = datetime(2026, 3, 18, 12, 30, tzinfo=UTC)
"""A Wednesday."""


class Past:
    """What was spent of any counter, for whoever asks."""

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.spent_since = 0
        self.asked: list[str] = []
        self.since: list[float | None] = []
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, counter: Counter, since: float | None = None, /) -> int:
        self.asked.append(counter.name)
        self.since.append(since)
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return self.spent + (self.spent_since if since is None else 0)


class TestSowing:
    def test_a_counter_begins_with_what_was_spent(self) -> None:
        past = Past(50)
        store = MemoryStore(past)
        assert run(state(store, quota())) == State(50, 10, 0.0)
        assert [run(admits(store, quota(10))) for _ in range(2)] == [True, False]
        assert past.asked == [quota().counter.name]
        assert past.threads == {"ai-gateway-seeds_0"}

    def test_what_has_to_be_asked_for_is_not_taken_at_once_nor_is_anything_else(self) -> None:
        store = MemoryStore(Past(40))
        charges = of_call("call", rate(5), quota(5))
        assert store.admit_now(charges) is None
        assert run(state(store, rate())).used == 0
        run(store.admit(charges, 60.0))
        assert [run(state(store, charge)).used for charge in (rate(), quota())] == [5, 45]
        assert store.admit_now(of_call("other", rate(5), quota(5))) is not None

    def test_rates_and_slots_begin_anew(self) -> None:
        past = Past(50)
        run(take(MemoryStore(past), rate(), slot()))
        assert past.asked == []

    def test_many_calls_at_once_ask_once(self) -> None:
        past = Past(10)
        store = MemoryStore(past)

        async def calls() -> list[bool]:
            past.gate.clear()
            asking = [asyncio.create_task(admits(store, quota(1, 30), quota(1, 1000, name="b"))) for _ in range(50)]
            await asyncio.sleep(0.01)
            past.gate.set()
            return await asyncio.gather(*asking)

        assert sum(run(calls())) == 20
        assert sorted(past.asked) == sorted([quota().counter.name, quota(name="b").counter.name])

    def test_what_cannot_be_known_begins_at_nothing_and_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        past = Past()
        past.error = OSError("no database")
        store = MemoryStore(past)
        assert run(admits(store, quota(60), quota(60, name="b")))
        assert [record.getMessage() for record in caplog.records] == [
            "What was spent before cannot be read, limits begin at 0: no database"
        ]

    def test_what_could_not_be_asked_for_is_asked_for_by_the_next_call(self) -> None:
        store = MemoryStore(Past(50))
        with none_can_start(), pytest.raises(StoreUnavailable):
            run(admits(store, quota(10)))
        assert run(state(store, quota())) == State(50, 10, 0.0)

    def test_what_is_known_late_is_added(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(sowing, "PATIENCE", 0.01)
        past, call = Past(50), new_id()
        store = MemoryStore(past)

        async def calls() -> int:
            past.gate.clear()
            assert await admits(store, quota(10))
            await take(store, quota(20), call=call)
            await settle(store, call, (quota(20), 5))
            assert (await state(store, quota())).used == 15
            past.gate.set()
            for _ in range(10_000):
                if (found := await state(store, quota())).used != 15:
                    break
                await asyncio.sleep(0.001)
            return found.used

        assert run(calls()) == 65
        assert "not known yet" in caplog.text

    @pytest.mark.parametrize("is_queued", [False, True])
    def test_what_is_known_late_is_added_without_what_was_counted_meanwhile(
        self, monkeypatch: pytest.MonkeyPatch, is_queued: bool
    ) -> None:
        """Whether the question is put before the counter begins without an answer, or has to wait that long itself."""
        monkeypatch.setattr(sowing, "PATIENCE", 0.05)
        monkeypatch.setattr(sowing, "THREADS", 1)
        past, call, clock = Past(50), new_id(), Clock()
        store = MemoryStore(past, clock.nanoseconds, clock)

        async def calls() -> int:
            past.gate.clear()
            if is_queued:
                await take(store, quota(1, name="other"))
            clock.advance(7)
            await take(store, quota(20), call=call)
            await settle(store, call, (quota(20), 20))
            past.spent_since = 20  # The ledger has written it down.
            past.gate.set()
            for _ in range(1000):
                if (found := await state(store, quota())).used != 20:
                    break
                await asyncio.sleep(0.001)
            return found.used

        assert run(calls()) == 70
        assert past.since[-1] == pytest.approx(clock() - 1)

    def test_a_call_that_is_cancelled_does_not_take_the_answer_from_others(self) -> None:
        past = Past(50)
        store = MemoryStore(past)

        async def calls() -> State:
            past.gate.clear()
            first, second = (asyncio.create_task(take(store, quota(5))) for _ in range(2))
            await asyncio.sleep(0.01)
            first.cancel()
            past.gate.set()
            await second
            return await state(store, quota())

        assert run(calls()) == State(55, 5, 0.0)

    def test_a_counter_in_all_that_is_long_idle_is_forgotten_and_asked_for_again(self) -> None:
        past, clock = Past(7), Clock()
        store = MemoryStore(past, clock=clock.nanoseconds, calendar=clock)

        async def calls() -> None:
            for number in range(FEW):
                name = f"user {number}"
                await take(store, quota(name=name), call=name)
                end(store, name, (quota(name=name), 1))

        run(calls())
        clock.advance(UNTOUCHED + 1)
        run(admits(store, quota(name="user 5")))
        assert len(store._tallies) == 0 + 1
        assert past.asked.count(quota(name="user 5").counter.name) == 2


@pytest.fixture
def limits(settings: Any) -> Any:
    """Put limits into the settings, and give what was spent of a counter of one of them."""

    def spent(of: str, /, **entry: Any) -> int:
        settings.AI_GATEWAY = {"TIME_ZONE": "Europe/Vienna", "LIMITS": [{"name": "it", "amount": 1, **entry}]}
        registry.forget()
        (rule,) = registry.snapshot().limits.rules
        return seeding.spent(Due(rule, of).counter(NOW.timestamp()))

    return spent


def day(number: int, month: int = 3, **columns: Any) -> None:
    """The sum of a day."""
    UsageDaily.objects.create(day=date(2026, month, number), slot=new_id(), **columns)


def record(at: datetime = NOW, **columns: Any) -> None:
    """A call."""
    usual = {"id": new_id(), "outcome": "answered", "provider": "openai", "attempts": 1}
    UsageRecord.objects.create(started_at=at, **{**usual, **columns})


@pytest.mark.django_db
class TestWhatIsWrittenDown:
    @pytest.mark.parametrize(
        ("window", "expected"), [("day", 8), ("week", 8 + 4), ("month", 8 + 4 + 2), ("total", 8 + 4 + 2 + 1)]
    )
    def test_days_are_summed_up(self, limits: Any, window: str, expected: int) -> None:
        for number, month, cost in ((18, 3, 8), (16, 3, 4), (15, 3, 2), (28, 2, 1)):
            day(number, month, cost_nanos=cost)
        assert limits("all", scope="everyone", measure="cost", window=window) == expected

    def test_a_day_of_the_future_does_not_count(self, limits: Any) -> None:
        day(19, cost_nanos=5)
        assert limits("all", measure="cost", window="day") == 0

    def test_tokens_of_every_kind(self, limits: Any) -> None:
        day(18, input_tokens=1, cache_read_tokens=2, cache_write_1h_tokens=4, output_tokens=8, reasoning_tokens=16)
        day(18, output_image_tokens=32)
        assert limits("all", measure="tokens", window="day") == 63

    def test_requests_are_those_that_no_limit_refused(self, limits: Any) -> None:
        day(18, provider="openai", requests=10, limited=3)
        record()
        record(outcome="limited")
        assert limits("all", measure="requests", window="day") == 7
        assert limits("all", measure="requests", window="hour") == 1

    def test_requests_answered_from_the_cache_are_none_of_a_provider(self, limits: Any) -> None:
        day(18, provider="openai", requests=10, cached=4)
        record(provider="openai")
        record(provider="openai", outcome="cached")
        requests = {"measure": "requests", "scope": "provider"}
        assert limits("openai", **requests, window="day") == 6
        assert limits("openai", **requests, window="hour") == 1
        assert limits("all", measure="requests", window="day") == 10

    @pytest.mark.parametrize("outcome", ["refused", "blocked", "disconnected", "stopped", "cancelled", "limited"])
    def test_requests_that_never_had_a_target_took_nothing(self, limits: Any, outcome: str) -> None:
        day(18, requests=10)
        day(18, provider="openai", requests=3)
        record(outcome=outcome, provider="", attempts=0)
        record(outcome=outcome)
        assert limits("all", measure="requests", window="day") == 3
        assert limits("all", measure="requests", window="hour") == (outcome != "limited")
        assert limits("*", scope="provider", subject="*", measure="requests", window="day") == 3

    def test_requests_that_the_gateway_answers_itself_took_nothing(self, limits: Any) -> None:
        record(attempts=0)
        record(attempts=0, outcome="cached")
        assert limits("all", measure="requests", window="hour") == 1

    def test_an_hour_is_summed_up_from_its_calls(self, limits: Any) -> None:
        record(cost_nanos=3)
        record(NOW.replace(minute=0), cost_nanos=4)
        record(NOW.replace(hour=11, minute=59), cost_nanos=100)
        record(NOW.replace(hour=13, minute=0), cost_nanos=100)
        record(cost_nanos=None)
        assert limits("all", measure="cost", window="hour") == 7

    def test_another_time_zones_day_is_summed_up_from_its_calls(self, limits: Any) -> None:
        tokyo = ZoneInfo("Asia/Tokyo")
        record(datetime(2026, 3, 18, 0, 0, tzinfo=tokyo), cost_nanos=3)
        record(datetime(2026, 3, 17, 23, 59, tzinfo=tokyo), cost_nanos=100)
        day(18, cost_nanos=100)
        assert limits("all", measure="cost", window="day", time_zone="Asia/Tokyo") == 3

    def test_a_total_does_not_depend_on_a_time_zone(self, limits: Any) -> None:
        day(18, cost_nanos=5)
        day(28, 2, cost_nanos=100)  # The records of both may be gone.
        assert limits("all", measure="cost", window="total", time_zone="Asia/Tokyo") == 105

    def test_a_month_of_another_time_zone_is_its_days_and_the_hours_at_its_ends(self, limits: Any) -> None:
        tokyo = ZoneInfo("Asia/Tokyo")  # March begins there on 28 February at 16:00 in Vienna, and ends at 17:00.
        for number, month, cost in ((28, 2, 1000), (1, 3, 1), (30, 3, 2), (31, 3, 2000), (1, 4, 4000)):
            day(number, month, cost_nanos=cost)
        for moment, cost in (
            (datetime(2026, 2, 28, 23, 59, tzinfo=tokyo), 8000),
            (datetime(2026, 3, 1, tzinfo=tokyo), 4),
            (datetime(2026, 3, 18, tzinfo=tokyo), 16_000),  # One of the day's.
            (datetime(2026, 3, 31, 23, 59, tzinfo=tokyo), 8),
            (datetime(2026, 4, 1, tzinfo=tokyo), 32_000),
        ):
            record(moment, cost_nanos=cost)
        assert limits("all", measure="cost", window="month", time_zone="Asia/Tokyo") == 1 + 2 + 4 + 8

    def test_a_time_zone_with_the_same_days_is_no_other(self, limits: Any) -> None:
        day(18, cost_nanos=5)
        assert limits("all", measure="cost", window="day", time_zone="Europe/Berlin") == 5

    def test_of_a_site_without_time_zones(self, limits: Any, settings: Any) -> None:
        settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
        record(datetime(2026, 3, 18, 13, 5), cost_nanos=3, end_user="ann")  # As its clocks show it.
        record(datetime(2026, 3, 18, 12, 5), cost_nanos=100)
        assert limits("all", measure="cost", window="hour") == 3
        assert limits("all", measure="cost", window="day", time_zone="Asia/Tokyo") == 103
        header = {"scope": "header", "header": "x-user-id", "measure": "cost"}
        assert [limits("ann", **header, window=window) for window in ("month", "total")] == [3, 3]

    def test_of_a_key(self, limits: Any) -> None:
        day(18, key_id=7, key_name="seven", cost_nanos=3)
        day(18, key_id=8, key_name="seven", cost_nanos=100)
        assert limits("7", scope="key", measure="cost", window="day") == 3

    def test_of_a_key_of_the_settings(self, limits: Any) -> None:
        day(18, key_name="team-a", cost_nanos=3)
        day(18, key_name="team-b", cost_nanos=100)
        assert limits("team-a", scope="key", measure="cost", window="day") == 3

    def test_of_a_key_of_the_settings_that_is_named_like_a_virtual_keys_number(self, limits: Any) -> None:
        day(18, key_name="7", cost_nanos=3)
        day(18, key_id=7, key_name="seven", cost_nanos=100)
        assert limits("name:7", scope="key", measure="cost", window="day") == 3
        assert limits("7", scope="key", measure="cost", window="day") == 100

    def test_of_a_user_and_a_group(self, limits: Any) -> None:
        user = User.objects.create(username="ann")
        day(18, user=user, group_id=4, cost_nanos=3)
        day(18, user_id=user.pk + 1, group_id=4, cost_nanos=4)
        day(18, user=None, cost_nanos=100)
        assert limits(str(user.pk), scope="user", measure="cost", window="day") == 3
        assert limits("4", scope="group", measure="cost", window="day") == 7
        assert limits("nobody", scope="user", measure="cost", window="day") == 0

    def test_of_a_route_and_a_provider(self, limits: Any) -> None:
        day(18, route="fast", provider="openai", cost_nanos=3)
        day(18, route="slow", provider="groq", cost_nanos=4)
        assert limits("fast", scope="route", measure="cost", window="day") == 3
        assert limits("groq", scope="provider", measure="cost", window="day") == 4

    def test_of_a_pattern(self, limits: Any) -> None:
        for route, cost in (("team-a", 3), ("team-b", 4), ("other", 100)):
            day(18, route=route, cost_nanos=cost)
        assert limits("team-*", scope="route", subject="team-*", measure="cost", window="day") == 7

    @pytest.mark.parametrize(
        ("subject", "expected"),
        [
            ("gpt-5", 3 + 8),
            ("openai/gpt-5", 3),
            ("gpt-*", 3 + 4 + 8),
            ("GPT-*", 3 + 4 + 8),
            ("openai/GPT-5", 3),
            ("openai/*", 3 + 4),
            ("meta/llama-4", 16),
            ("meta/*", 16),
        ],
    )
    def test_of_a_model(self, limits: Any, subject: str, expected: int) -> None:
        for provider, model, cost in (
            ("openai", "gpt-5", 3),
            ("openai", "gpt-5-mini", 4),
            ("azure", "GPT-5", 8),
            ("openrouter", "meta/llama-4", 16),
        ):
            day(18, provider=provider, served_model=model, cost_nanos=cost)
        assert limits(subject, scope="model", subject=subject, measure="cost", window="day") == expected

    def test_of_a_header_that_is_recorded(self, limits: Any) -> None:
        record(end_user="ann", cost_nanos=3)
        record(end_user="bob", cost_nanos=100)
        entry = {"scope": "header", "header": "X-User-Id", "measure": "cost", "window": "month"}
        assert limits("ann", **entry) == 3

    def test_of_a_header_that_is_not(self, limits: Any, caplog: pytest.LogCaptureFixture) -> None:
        seeding._reported.clear()
        entry = {"scope": "header", "header": "x-tenant", "measure": "cost", "window": "month"}
        with caplog.at_level(logging.WARNING):
            assert [limits("a", **entry), limits("b", **entry)] == [0, 0]
        assert caplog.text.count("is of a header that is not recorded") == 1

    @pytest.mark.parametrize("window", ["hour", "day", "month", "total"])
    def test_calls_that_were_admitted_since_a_time_are_left_out(self, limits: Any, window: str) -> None:
        """Their ids tell it: the time of a call is that of its arrival, which may be long before."""
        began_at, entry = NOW.timestamp(), {"scope": "route", "measure": "cost", "window": window}
        limits("fast", **entry)
        (rule,) = registry.snapshot().limits.rules
        for seconds, cost in ((-0.001, 1), (0, 2), (0.5, 4)):
            admitted = f"{round((began_at + seconds) * 1000):012x}{new_id()[12:]}"
            record(NOW.replace(minute=10), id=admitted, cost_nanos=cost, route="fast")
        record(cost_nanos=100, route="slow")
        day(18, cost_nanos=1 + 2 + 4, route="fast")
        assert seeding.spent(Due(rule, "fast").counter(began_at), began_at) == 1

    def test_a_counter_of_a_limit_that_is_gone(self, limits: Any) -> None:
        limits("all", measure="cost", window="day")
        assert seeding.spent(quota(name="settings:gone").counter) == 0


def test_a_subject_may_have_any_name(settings: Any) -> None:
    settings.AI_GATEWAY = {
        "LIMITS": [
            {"name": name, "scope": "route", "measure": "cost", "window": "hour", "amount": 1} for name in ("a", "a:b")
        ]
    }
    rules = registry.snapshot().limits.rules
    for rule in rules:
        for subject in ("x", "c:d", ":", "2026-03"):
            counter = Due(rule, subject).counter(NOW.timestamp())
            assert seeding.find(counter.name, rules) == (rule, subject)
