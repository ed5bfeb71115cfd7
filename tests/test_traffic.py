"""How many calls are under way with a target, counted by several threads."""

from __future__ import annotations

import threading
import time

import pytest

from ai_gateway import traffic
from ai_gateway.calls import Target

TARGET = Target("openai", "m")
THREADS, CALLS = 4, 100


class Slow(Target):
    """A target that lets other threads go on whenever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return super().__hash__()


def test_several_threads_lose_no_count() -> None:
    failed: list[BaseException] = []
    seen: list[int] = []

    def work() -> None:
        target = Slow("openai", "m")
        try:
            for _ in range(CALLS):
                traffic.begin(target)
                traffic.begin(target)
                traffic.end(target)
                seen.append(traffic.under_way(target))
                traffic.end(target, 0.1)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert traffic.under_way(TARGET) == 0
    assert 0 < min(seen) <= max(seen) <= 2 * THREADS


def test_a_call_that_was_forgotten_ends_like_any_other() -> None:
    traffic.begin(TARGET)
    traffic.forget()
    traffic.end(TARGET)
    assert traffic.under_way(TARGET) == 0


def test_targets_without_calls_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "REMEMBERED", 3)
    traffic.begin(TARGET)
    for number in range(10):
        other = Target("openai", f"made up {number}")
        traffic.begin(other)
        traffic.end(other, 0.1)
    assert len(traffic._under_way) <= 3
    assert len(traffic._paces) <= 3
    assert traffic.under_way(TARGET) == 1
    traffic.end(TARGET)
