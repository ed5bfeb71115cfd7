"""What the gateway's own doors bear: idle streams, callers that hang up, bodies of five megabytes, and days of use."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
import urllib.request
from collections.abc import Mapping

from tests.benchmarks import load
from tests.benchmarks.lineup import BARE, DIRECT, DJANGO, EVERYTHING, OBVIOUS
from tests.benchmarks.scenarios import (
    MEBIBYTE,
    MICRO,
    MILLI,
    Effort,
    Failed,
    Sample,
    Scenario,
    Steady,
    believed,
    plain_request,
    stream_request,
)
from tests.benchmarks.servers import Running
from tests.benchmarks.wire import complaint_about_answer, get_bytes

SECONDS_TO_SETTLE = 5.0


class Idle(Scenario):
    """Many streams on which nothing happens after the first chunk."""

    name = "idle"
    title = "idle streams in one worker"
    units: Mapping[str, str] = {
        "streams": "streams", "threads": "threads", "each": "KB per stream", "busy": "CPU % while idle"
    }  # fmt: skip
    peers = (BARE, OBVIOUS, DJANGO, DIRECT)
    is_fresh = is_own = True

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure how memory and threads grow from a server that is warm but has nothing to do."""
        await Steady(plain_request(server), complaint_about_answer, 16).run(server.port, effort.warm_up)
        before = server.process.resident_bytes()
        async with load.idle_streams(
            server.port, stream_request(server, "mock-2x600000"), effort.idle_streams
        ) as tally:
            if tally.complaints:
                raise Failed(f"{len(tally.complaints)} complaints, first: {tally.complaints[0]}")
            grown, cpu = server.process.resident_bytes() - before, server.process.cpu_seconds()
            await asyncio.sleep(effort.seconds)
            busy = (server.process.cpu_seconds() - cpu) / effort.seconds
            threads = server.process.threads()
        return {
            "streams": effort.idle_streams,
            "threads": threads,
            "each": grown / effort.idle_streams / 1000,
            "busy": busy * 100,
        }


class Disconnect(Scenario):
    """Callers that hang up at any moment, on answers that would never end."""

    name = "disconnect"
    title = "callers that hang up in the middle"
    units: Mapping[str, str] = {
        "count": "hung up", "leaked": "leaked upstream sockets", "reached": "calls at the upstream",
        "aborted": "aborted there", "pooled": "idle in the pool", "settled": "s until all were closed",
        "cpu": "µs CPU/call"
    }  # fmt: skip
    peers = (OBVIOUS, DJANGO, DIRECT)
    is_fresh = is_own = True
    burst = 100

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Count the upstream connections on which an answer is still owed some seconds after everybody has left."""
        count = effort.disconnects if server.name != OBVIOUS else effort.disconnects // 10
        before, cpu = _stats(upstream), server.process.cpu_seconds()
        chance = random.Random(20_000)
        made = await load.leave_early(server.port, self._requests(server), count, burst=self.burst, chance=chance)
        seconds = await settled(upstream)
        after = _stats(upstream)
        await Steady(plain_request(server), complaint_about_answer, 1).run(server.port, 0.2)
        return {
            "count": made,
            "leaked": after["busy"],
            "reached": after["requests"] - before["requests"],
            "aborted": after["aborted"] - before["aborted"],
            "pooled": after["open"] - after["busy"] - 1,
            "settled": seconds,
            "cpu": (server.process.cpu_seconds() - cpu) / made * MICRO,
        }

    def _requests(self, server: Running) -> list[bytes]:
        """Answers that come at once, that come late, and streams that go on until somebody closes them."""
        endless = stream_request(server, "mock-1000000x3")
        return [plain_request(server), plain_request(server, "mock-sleep-600000"), endless, endless]


async def settled(upstream: int) -> float:
    """Wait until no answer is owed any more at the upstream, and give the seconds that it took."""
    started_at = time.perf_counter()
    for _ in range(int(SECONDS_TO_SETTLE / 0.02)):
        if not _stats(upstream)["busy"]:
            break
        await asyncio.sleep(0.02)
    return time.perf_counter() - started_at


def _stats(upstream: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/stats", timeout=10) as answer:
        stats: dict[str, int] = json.load(answer)
    return stats


class Big(Scenario):
    """A 5 MiB JSON body, as a few images in a chat make it, while another caller wants something small."""

    name = "big"
    title = "5 MiB JSON bodies one after another, and a ping every 2 ms"
    units: Mapping[str, str] = {
        "cpu": "ms CPU/request", "p50": "p50 ms", "block": "longest ping ms", "typical": "median ping ms",
        "copies": "bodies held at once"
    }  # fmt: skip
    peers = (BARE, OBVIOUS, DJANGO, DIRECT)
    is_fresh = is_own = True
    size = 5 * MEBIBYTE

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the cost of a body, the memory it takes, and how long it keeps others waiting."""
        await Steady(plain_request(server), complaint_about_answer, 1).run(server.port, effort.warm_up)
        server.process.forget_peak()
        before, cpu = server.process.peak_bytes(), server.process.cpu_seconds()
        tally, pings = await self._bodies_and_pings(server, effort)
        cpu = server.process.cpu_seconds() - cpu - await self._cost_of_pings(server, pings.answers)
        return {
            "cpu": cpu / tally.answers * MILLI,
            "p50": statistics.median(tally.durations) * MILLI,
            "block": max(pings.durations) * MILLI,
            "typical": statistics.median(pings.durations) * MILLI,
            "copies": (server.process.peak_bytes() - before) / self.size,
        }

    async def _bodies_and_pings(self, server: Running, effort: Effort) -> tuple[load.Tally, load.Tally]:
        request = plain_request(server, system="z" * self.size)
        bodies = asyncio.ensure_future(
            load.run(server.port, request, complaint_about_answer, load.for_requests(effort.big_bodies))
        )
        pings = await self._ping(server, lambda: not bodies.done())
        return believed(await bodies), believed(pings)

    async def _ping(self, server: Running, goal: load.Goal) -> load.Tally:
        return await load.run(server.port, get_bytes("/health"), lambda body: None, goal, pause=0.002)

    async def _cost_of_pings(self, server: Running, count: int) -> float:
        before = server.process.cpu_seconds()
        await self._ping(server, load.for_requests(count))
        return server.process.cpu_seconds() - before


class Soak(Scenario):
    """Ten rounds of whatever happens to a gateway: answers, callers that hang up, and providers that fail."""

    name = "soak"
    title = "ten rounds of answers, of callers that hang up, and of errors"
    units: Mapping[str, str] = {
        "answers": "answers", "left": "hung up", "errors": "errors", "grown": "MiB grown", "late": "in the last half",
        "memory": "MiB in the end", "threads": "threads more", "sockets": "sockets more", "leaked": "leaked upstream"
    }  # fmt: skip
    peers = (EVERYTHING,)
    is_fresh = is_own = is_long = True
    rounds = 10

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure what memory, threads and sockets have grown by since the end of a first round, which does not
        count."""
        chance = random.Random(17)
        await self._round(server, upstream, effort, chance)
        before, threads, sockets = self._memory(server), server.process.threads(), server.process.open_sockets()
        sample: Sample = {"answers": 0, "left": 0, "errors": 0}
        for number in range(self.rounds):
            if number == self.rounds // 2:
                halfway = self._memory(server)
            for name, count in (await self._round(server, upstream, effort, chance)).items():
                sample[name] += count
        memory = self._memory(server)
        sample |= {"grown": memory - before, "late": memory - halfway, "memory": memory}
        sample |= {"threads": server.process.threads() - threads, "sockets": server.process.open_sockets() - sockets}
        return {**sample, "leaked": _stats(upstream)["busy"]}

    async def _round(self, server: Running, upstream: int, effort: Effort, chance: random.Random) -> Sample:
        port, few = server.port, effort.soak // 10
        answers = await load.run(
            port, plain_request(server), complaint_about_answer, load.for_requests(effort.soak), connections=16
        )
        errors = 0
        for told, given in ((503, 503), (0, 502)):
            request = plain_request(server, f"mock-fail-{told}")
            goal = load.for_requests(few // 2)
            seen = await load.run(port, request, lambda body: None, goal, connections=16, status=given)
            errors += believed(seen).answers
        leavers = [plain_request(server, "mock-sleep-600000"), stream_request(server, "mock-1000000x3")]
        left = await load.leave_early(port, leavers, few, burst=50, chance=chance)
        await settled(upstream)
        return {"answers": believed(answers).answers, "left": left, "errors": errors}

    @staticmethod
    def _memory(server: Running) -> float:
        return server.process.resident_bytes() / MEBIBYTE
