"""The benchmarks' own parts: the load client and the mock upstream, run against each other. Nothing is timed here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.benchmarks import load, report, scenarios
from tests.benchmarks.upstream import Stats, serve
from tests.benchmarks.wire import (
    ANSWER,
    END,
    Wish,
    complaint_about_answer,
    complaint_about_stream,
    event,
    read_wish,
    request_body,
    request_bytes,
)
from tests.upstream import PATIENCE


@asynccontextmanager
async def mock_upstream() -> AsyncIterator[tuple[int, Stats]]:
    """Run the mock upstream; gives its port and what it has seen."""
    stats = Stats()
    async with await serve(0, stats) as server:
        yield server.sockets[0].getsockname()[1], stats
        await until(lambda: stats.open == 0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until something is so."""
    async with asyncio.timeout(PATIENCE):
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)


def in_loop(check: Callable[[int, Stats], Awaitable[None]]) -> None:
    """Run a check against the mock upstream."""

    async def run() -> None:
        async with mock_upstream() as (port, stats):
            await check(port, stats)

    asyncio.run(run())


def request(model: str, *, stream: bool = False) -> bytes:
    """Write a request for the mock upstream."""
    return request_bytes(request_body(model, stream=stream), credential="sk-test")


def test_answer__is_one_kibibyte() -> None:
    assert len(ANSWER) == 1024
    assert complaint_about_answer(ANSWER) is None
    assert complaint_about_answer(ANSWER[:-200]) is not None


@pytest.mark.parametrize(
    ("numbers", "end", "is_good"),
    [([0, 1, 2], END, True), ([0, 2, 1], END, False), ([0, 2], END, False), ([0, 1, 2], b"", False)],
)
def test_stream__must_be_whole_and_in_order(numbers: list[int], end: bytes, is_good: bool) -> None:
    body = b"".join(event(number) for number in numbers) + end
    assert (complaint_about_stream(body, 3) is None) is is_good


@pytest.mark.parametrize(
    ("model", "stream", "wish"),
    [
        ("mock", False, Wish()),
        ("mock-sleep-250", False, Wish(delay=0.25)),
        ("mock-100x20", True, Wish(100, 0.02)),
        ("openai/mock-3x0", True, Wish(3)),
    ],
)
def test_model__says_what_the_upstream_does(model: str, stream: bool, wish: Wish) -> None:
    assert read_wish(request_body(model, stream=stream)) == wish


def test_run__answers() -> None:
    async def check(port: int, stats: Stats) -> None:
        goal = load.for_requests(20)
        tally = await load.run(port, request("mock"), complaint_about_answer, goal, connections=4)
        assert (tally.answers, tally.complaints, stats.requests) == (20, [], 20)

    in_loop(check)


def test_run__streams() -> None:
    async def check(port: int, stats: Stats) -> None:
        whole = partial(complaint_about_stream, chunks=7)
        tally = await load.run(port, request("mock-7x1", stream=True), whole, load.for_requests(4), connections=2)
        assert (tally.answers, tally.complaints, stats.aborted) == (4, [], 0)
        assert all(first <= all_of_it for first, all_of_it in zip(tally.first_bytes, tally.durations, strict=True))

    in_loop(check)


def test_run__wrong_answers_are_complaints() -> None:
    async def check(port: int, stats: Stats) -> None:
        whole = partial(complaint_about_stream, chunks=8)
        tally = await load.run(port, request("mock-7x0", stream=True), whole, load.for_requests(2), connections=2)
        assert (tally.answers, len(tally.complaints)) == (0, 2)

    in_loop(check)


def test_idle_streams__are_open_until_left() -> None:
    async def check(port: int, stats: Stats) -> None:
        async with load.idle_streams(port, request("mock-2x600000", stream=True), 10) as tally:
            assert (stats.busy, tally.complaints) == (10, [])
        await until(lambda: stats.busy == 0)
        assert stats.aborted == 10

    in_loop(check)


def test_leave_early__leaves_nothing_behind() -> None:
    async def check(port: int, stats: Stats) -> None:
        requests = [request("mock"), request("mock-1000000x1", stream=True)]
        assert await load.leave_early(port, requests, 20, burst=10, chance=random.Random(1)) == 20
        await until(lambda: stats.busy == 0)
        assert stats.connections == 20

    in_loop(check)


def test_bar__says_whether_it_is_met() -> None:
    bar = next(bar for bar in report.BARS if bar.scenario == "request")
    bare: list[scenarios.Sample] = [{"cpu": 50.0}]
    met = {"request": {"bare": bare, "direct-door": [{"cpu": 180.0}, {"cpu": 140.0}]}}
    missed = {"request": {"bare": bare, "direct-door": [{"cpu": 180.0}]}}
    assert str(bar.line(met)).startswith("ok")
    assert str(bar.line(missed)).startswith("MISSED")
    assert bar.line({"request": {"bare": bare}}) is None
