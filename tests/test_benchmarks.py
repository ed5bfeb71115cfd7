"""The benchmarks' own parts: the load client and the mock upstream, run against each other. Nothing is timed here."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks import bars, lineup, load, peers, report
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
        ("any-mock-3x5-stamped", True, Wish(3, 0.005, is_stamped=True)),
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


def test_run__a_stamped_stream_tells_how_old_each_chunk_was() -> None:
    async def check(port: int, stats: Stats) -> None:
        stream = request("mock-7x1-stamped", stream=True)
        whole = partial(complaint_about_stream, chunks=7)
        tally = await load.run(port, stream, whole, load.for_requests(2), connections=2, is_stamped=True)
        assert (tally.answers, tally.complaints, len(tally.ages)) == (2, [], 14)
        assert min(tally.ages) >= 0

    in_loop(check)


def test_run__a_period_is_kept_to() -> None:
    async def check(port: int, stats: Stats) -> None:
        tally = await load.run(port, request("mock"), complaint_about_answer, load.for_requests(3), period=0.02)
        assert tally.answers == 3
        assert tally.elapsed >= 0.04

    in_loop(check)


RESULTS: bars.Results = {
    "request": {
        lineup.PASSTHROUGH: [{"cpu": 60.0, "core": 1e6 / 60, "p50": 1.0, "p99": 2.0}],
        lineup.EVERYTHING: [
            {"cpu": 95.0, "core": 1e6 / 95, "p50": 1.5, "p99": 2.5},
            {"cpu": 90.0, "core": 1e6 / 90, "p50": 1.6, "p99": 2.6},
        ],
        lineup.LITELLM: [{"cpu": 1800.0, "core": 1e6 / 1800, "p50": 400.0, "p99": 500.0}],
    }
}


@pytest.mark.parametrize(
    ("text", "value", "is_met"),
    [("everything on: x CPU of the bare passthrough", 1.5, True), ("LiteLLM: x CPU of everything on", 20, False)],
)
def test_bar__reads_the_least_of_each_server(text: str, value: float, is_met: bool) -> None:
    bar = next(bar for bar in bars.BARS if bar.text.startswith(text))
    assert bar.measured(RESULTS) == value
    assert bar.is_met(value) is is_met


def test_bar__needs_all_its_servers() -> None:
    portkey = next(bar for bar in bars.BARS if bar.text.startswith("Portkey"))
    assert portkey.measured(RESULTS) is None


def test_page__gets_its_figures_between_the_marks() -> None:
    page = f"Before.\n\n{report.BEGIN}\nstale\n{report.END}\n\nAfter.\n"
    written = report.written(page, RESULTS, {"request": {lineup.PORTKEY: "no answer in time"}})
    assert written.startswith("Before.\n\n<!-- figures: begin -->\n\nWhat it costs:\n")
    assert written.endswith("<!-- figures: end -->\n\nAfter.\n")
    assert "stale" not in written
    assert "| gateway, everything on | 90 | 11,111 |" in written
    assert "| Portkey gateway (Node) | failed | failed |" in written
    assert "| everything on: x CPU of the bare passthrough | at most 1.6 | 1.5 | met |" in written
    assert report.written(written, RESULTS, {}).count("What it costs:") == 1


@pytest.mark.parametrize("kind", peers.KINDS)
def test_peer__is_skipped_with_a_reason_if_it_is_not_installed(
    kind: type[peers.Installed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHMARK_PEERS", str(tmp_path))
    reason = kind().why_not()
    assert reason is not None
    assert f"--install --only {kind.name}" in reason
    assert kind().version() == "not installed"


@pytest.mark.parametrize("kind", peers.KINDS)
def test_peer__is_pinned_to_a_version(kind: type[peers.Installed]) -> None:
    assert re.search(r"(==|.@)\d+\.\d+\.\d+$", kind.package)


def test_peer__tells_its_own_version_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHMARK_PEERS", str(tmp_path))
    peer = peers.Portkey()
    monkeypatch.setattr(peer, "installed", lambda: ["hono 4.9.7", "@portkey-ai/gateway 1.15.2"])
    peer.install()
    assert peer.version() == "@portkey-ai/gateway 1.15.2"
