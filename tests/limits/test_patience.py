"""One time limit for many who wait."""

from __future__ import annotations

import asyncio

import pytest

from ai_gateway.limits.patience import Patience
from tests.factories import run

LONG, SHORT = 60.0, 0.01


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_what_is_done_in_time_is_given() -> None:
    async def steps() -> list[str]:
        patience = Patience(LONG, asyncio.get_running_loop())
        return await asyncio.gather(*(patience.wait(after(0)) for _ in range(3)))

    assert run(steps()) == ["done"] * 3


def test_what_fails_fails() -> None:
    async def fail() -> None:
        raise OSError("away")

    async def steps() -> None:
        await Patience(LONG, asyncio.get_running_loop()).wait(fail())

    with pytest.raises(OSError, match="away"):
        run(steps())


def test_who_is_late_hears_of_it_and_is_not_cancelled_after_that() -> None:
    async def steps() -> tuple[list[type], int]:
        patience, late = Patience(SHORT, asyncio.get_running_loop()), []
        for _ in range(2):
            try:
                await patience.wait(after(LONG))
            except TimeoutError as error:
                late.append(type(error))
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return late, task.cancelling()

    assert run(steps()) == ([TimeoutError, TimeoutError], 0)


def test_all_who_are_late_hear_of_it() -> None:
    async def steps() -> list[object]:
        patience = Patience(SHORT, asyncio.get_running_loop())
        waits = [patience.wait(after(0)), *(patience.wait(after(LONG)) for _ in range(3))]
        return [type(each) for each in await asyncio.gather(*waits, return_exceptions=True)]

    assert run(steps()) == [str, TimeoutError, TimeoutError, TimeoutError]


def test_who_is_cancelled_meanwhile_is_cancelled() -> None:
    async def steps() -> bool:
        patience = Patience(LONG, asyncio.get_running_loop())
        task = asyncio.create_task(patience.wait(after(LONG)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(steps())


def test_who_is_late_and_cancelled_at_once_is_cancelled() -> None:
    async def steps() -> bool:
        patience = Patience(SHORT, asyncio.get_running_loop())
        task = asyncio.create_task(patience.wait(after(LONG)))
        await asyncio.sleep(0)
        patience._queue[0].until = 0.0
        patience._look()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(steps())


def test_one_timer_is_for_all() -> None:
    async def steps() -> int:
        loop = asyncio.get_running_loop()
        patience = Patience(LONG, loop)
        timers: list[object] = []
        original = loop.call_at
        loop.call_at = lambda *arguments, **options: timers.append(arguments) or original(*arguments, **options)  # type: ignore[method-assign, func-returns-value]
        await asyncio.gather(*(patience.wait(asyncio.sleep(0)) for _ in range(50)))
        return len(timers)

    assert run(steps()) == 1
