"""What the site is told of limits that are nearly used up, or are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.dispatch import Signal

from ai_gateway import breakers, lifespan, notices
from ai_gateway.allowances import Due, LimitRule, read_limit
from ai_gateway.breakers import Breaker, BreakerPolicy, Event
from ai_gateway.calls import Target
from ai_gateway.charges import Counter, State
from ai_gateway.signals import breaker_closed, breaker_opened, limit_reached, limit_warning
from ai_gateway.thread_pools import ThreadPool
from tests.factories import HOLDER
from tests.patience import until


class Ear:
    """Hears a signal, and waits for it."""

    def __init__(self, signal: Signal, sender: type = LimitRule) -> None:
        self.signal = signal
        self.heard: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        signal.connect(self, sender=sender)

    def __call__(self, sender: type, signal: Signal, **what: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.heard.append(what)

    def wait(self) -> list[dict[str, Any]]:
        """Give what was heard, once everything was told."""
        notices._thread.submit(lambda: None).result(10)
        return self.heard


@pytest.fixture
def warned() -> Iterator[Ear]:
    ear = Ear(limit_warning)
    yield ear
    limit_warning.disconnect(ear, sender=LimitRule)


@pytest.fixture
def reached() -> Iterator[Ear]:
    ear = Ear(limit_reached)
    yield ear
    limit_reached.disconnect(ear, sender=LimitRule)


def counter(rule: LimitRule, at: float = 0.0) -> Counter:
    return Due(rule, "7").counter(at)


DAY = read_limit({"name": "day", "window": "day", "amount": 10, "soft_percent": 80}, id="1", zone="UTC")
MINUTE = read_limit({"name": "minute", "window": "minute", "amount": 10}, id="2", zone="UTC")
STATE = State(8, 2, 60.0)
NOW = 4_000_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which a test may set."""
    now = [NOW]
    monkeypatch.setattr("ai_gateway.notices.time.time", lambda: now[0])
    yield now
    monkeypatch.undo()


def test_a_warning_says_which_limit_and_who_came_to_it(warned: Ear) -> None:
    notices.warn(DAY, counter(DAY, NOW), STATE, HOLDER)
    (heard,) = warned.wait()
    assert (heard["rule"], heard["used"], heard["caller"]) == (DAY, 8, HOLDER)
    assert "MainThread" not in warned.threads


def test_a_budget_warns_once_in_its_period(warned: Ear, clock: list[float]) -> None:
    for _ in range(5):
        notices.warn(DAY, counter(DAY, NOW), STATE, HOLDER)
    assert len(warned.wait()) == 1
    clock[0] += 86_400
    notices.warn(DAY, counter(DAY, clock[0]), STATE, HOLDER)
    assert len(warned.wait()) == 2


def test_a_rate_is_told_of_once_in_a_minute(reached: Ear, clock: list[float]) -> None:
    for _ in range(3):
        notices.refuse(MINUTE, counter(MINUTE), HOLDER)
    assert len(reached.wait()) == 1
    clock[0] += notices.AGAIN
    notices.refuse(MINUTE, counter(MINUTE), HOLDER)
    assert len(reached.wait()) == 2


def test_a_warning_and_a_refusal_are_two_things(warned: Ear, reached: Ear) -> None:
    notices.warn(DAY, counter(DAY, NOW), STATE, HOLDER)
    notices.refuse(DAY, counter(DAY, NOW), HOLDER)
    assert (len(warned.wait()), len(reached.wait())) == (1, 1)


def test_a_receiver_that_fails_harms_nobody(warned: Ear) -> None:
    def fail(**what: Any) -> None:
        raise RuntimeError("not mine")

    limit_warning.connect(fail, sender=LimitRule)
    try:
        notices.warn(DAY, counter(DAY, NOW), STATE, HOLDER)
        assert len(warned.wait()) == 1
    finally:
        limit_warning.disconnect(fail, sender=LimitRule)


def test_nothing_is_remembered_for_nobody() -> None:
    notices.warn(DAY, counter(DAY, NOW), STATE, HOLDER)
    assert notices._told == {}


def test_the_memory_is_bounded(reached: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "REMEMBERED", 3)
    for number in range(10):
        notices.refuse(MINUTE, Due(MINUTE, str(number)).counter(0.0), HOLDER)
    assert len(notices._told) <= 3
    assert len(reached.wait()) == 10


def test_what_was_told_is_heard_before_the_process_ends(reached: Ear) -> None:
    for number in range(10):
        notices.refuse(MINUTE, Due(MINUTE, str(number)).counter(0.0), HOLDER)
    lifespan._end()
    assert len(reached.heard) == 10


class TestBreakers:
    @pytest.fixture
    def heard(self) -> Iterator[Ear]:
        ear = Ear(breaker_opened, Breaker)
        breaker_closed.connect(ear, sender=Breaker)
        yield ear
        breaker_closed.disconnect(ear, sender=Breaker)
        breaker_opened.disconnect(ear, sender=Breaker)

    def test_that_one_opened_or_closed_is_told(self, heard: Ear) -> None:
        breakers.listeners.append(notices.tell_of_breaker)
        target = Target("openai", "gpt-5")
        policy = BreakerPolicy(consecutive=1, open=30)
        breakers.note(target, policy, is_good=False)
        breakers.rest(target, 5, policy)
        breakers.close(target, "closed by ada")
        opened, closed = heard.wait()
        assert (opened["target"], opened["reason"], opened["seconds"]) == (target, "1 failure in a row", 30)
        assert (closed["reason"], closed["seconds"], closed["at"]) == ("closed by ada", 0.0, NOW)
        assert "MainThread" not in heard.threads

    def test_more_than_receivers_can_take_is_dropped(
        self, heard: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(notices, "_thread", ThreadPool("a-few-notices", size=1, most=3))
        is_free = threading.Event()
        notices._thread.submit(is_free.wait, 10)
        for _ in range(5):
            notices.tell_of_breaker(Event(Target("a", "m"), "opened", "why", 1.0, NOW))
        is_free.set()
        until(lambda: not notices._thread.pending)
        assert len(heard.heard) == 2
        assert caplog.text.count("A notice is dropped") == 3
