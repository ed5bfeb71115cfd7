"""What is measured: one class per scenario, each giving a sample (figures by name) for one server at a time.

Every answer is checked. An answer that is wrong or missing is a complaint, and a sample with complaints is reported
as such: a server that fails fast must not look like a fast server.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import load
from tests.benchmarks.servers import ACCOUNTED, BARE, DIRECT, DJANGO, OBVIOUS, PEERS, Running
from tests.benchmarks.wire import (
    MESSAGES_PATH,
    PLAIN,
    complaint_about_answer,
    complaint_about_messages,
    complaint_about_stream,
    get_bytes,
    messages_body,
    request_body,
    request_bytes,
)

MEBIBYTE = 1 << 20
SECONDS_TO_SETTLE = 5.0
MICRO, MILLI = 1e6, 1e3

Sample = dict[str, float]


class Failed(Exception):
    """A server gave wrong answers, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of everything."""

    rounds: int = 3
    seconds: float = 2.0
    warm_up: float = 0.7
    idle_streams: int = 1000
    disconnects: int = 10_000
    big_bodies: int = 10
    soak: int = 10_000
    """Requests in one round of the soak, of which there are ten; a tenth as many callers hang up, or get an error."""


QUICK = Effort(rounds=1, seconds=0.7, warm_up=0.4, idle_streams=200, disconnects=1000, big_bodies=4, soak=300)


class Scenario(ABC):
    """One kind of load. `units` names the figures of a sample, in the order in which they are printed."""

    name: str
    title: str
    units: Mapping[str, str]
    peers: Sequence[str] = tuple(PEERS)
    is_fresh = False
    """Whether every sample wants a server that has just been started."""
    is_long = False
    """Whether it is run only if it is named."""

    @abstractmethod
    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure once. Raises Failed if answers were wrong or missing."""


def percentile(values: Sequence[float], percent: int) -> float:
    """Give the value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def plain_request(server: Running, model: str = PLAIN, padding: int = 0) -> bytes:
    """Write a request for an answer in one piece."""
    return request_bytes(request_body(model, stream=False, padding=padding), credential=server.credential)


def stream_request(server: Running, chunks: int, interval_ms: int) -> bytes:
    """Write a request for a stream."""
    model = f"mock-{chunks}x{interval_ms}"
    return request_bytes(request_body(model, stream=True), credential=server.credential)


def _believed(tally: load.Tally) -> load.Tally:
    if tally.complaints or not tally.answers:
        raise Failed(f"{len(tally.complaints)} complaints, first: {(tally.complaints or ['no answer at all'])[0]}")
    return tally


@dataclass(frozen=True, slots=True)
class Steady:
    """A steady load on one server."""

    request: bytes
    check: load.Check
    connections: int

    async def run(self, port: int, seconds: float) -> load.Tally:
        """Run it, and believe nothing but a clean result."""
        goal = load.for_seconds(seconds)
        return _believed(await load.run(port, self.request, self.check, goal, connections=self.connections))

    async def cost(self, server: Running, effort: Effort) -> tuple[load.Tally, float]:
        """Warm up, run, and give what was seen and the CPU seconds of the server."""
        await self.run(server.port, effort.warm_up)
        before = server.process.cpu_seconds()
        tally = await self.run(server.port, effort.seconds)
        return tally, server.process.cpu_seconds() - before


class Request(Scenario):
    """Small answers over 16 busy connections."""

    name = "request"
    title = "1 KiB answers, 16 connections"
    units: Mapping[str, str] = {
        "cpu": "µs CPU/request", "rate": "requests/s", "p50": "p50 ms", "p99": "p99 ms", "memory": "MiB"
    }  # fmt: skip

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per request, and how many there are in a second."""
        steady = Steady(plain_request(server), complaint_about_answer, 16)
        tally, cpu = await steady.cost(server, effort)
        return {
            "cpu": cpu / tally.answers * MICRO,
            "rate": tally.answers / tally.elapsed,
            "p50": percentile(tally.durations, 50) * MILLI,
            "p99": percentile(tally.durations, 99) * MILLI,
            "memory": server.process.resident_bytes() / MEBIBYTE,
        }


class Latency(Scenario):
    """One request at a time: what the caller waits longer than it would without the server in between."""

    name = "latency"
    title = "one connection; latency added to the mock upstream's own"
    units: Mapping[str, str] = {
        "p50": "added p50 ms", "p99": "added p99 ms", "first": "added first byte p50 ms", "own": "upstream's own p50 ms"
    }  # fmt: skip

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure plain answers and short streams, each through the server and straight from the upstream."""
        plain = Steady(plain_request(server), complaint_about_answer, 1)
        stream = Steady(stream_request(server, 5, 2), partial(complaint_about_stream, chunks=5), 1)
        await plain.run(server.port, effort.warm_up)
        own, own_stream = await plain.run(upstream, effort.seconds / 4), await stream.run(upstream, effort.seconds / 4)
        through, streamed = await plain.run(server.port, effort.seconds), await stream.run(server.port, effort.seconds)
        added = partial(_added, through.durations, own.durations)
        first = _added(streamed.first_bytes, own_stream.first_bytes, 50)
        return {"p50": added(50), "p99": added(99), "first": first, "own": percentile(own.durations, 50) * MILLI}


def _added(through: Sequence[float], own: Sequence[float], percent: int) -> float:
    return (percentile(through, percent) - percentile(own, percent)) * MILLI


class Stream(Scenario):
    """Streams of 100 chunks that come as fast as they can."""

    name = "stream"
    title = "streams of 100 chunks without a pause, 16 connections"
    units: Mapping[str, str] = {
        "cpu": "µs CPU/stream", "chunk": "µs CPU/chunk", "rate": "chunks/s", "first": "first byte p50 ms"
    }  # fmt: skip
    connections, chunks, interval_ms = 16, 100, 0

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per stream and per chunk."""
        check = partial(complaint_about_stream, chunks=self.chunks)
        steady = Steady(stream_request(server, self.chunks, self.interval_ms), check, self.connections)
        return self._figures(*await steady.cost(server, effort))

    def _figures(self, tally: load.Tally, cpu: float) -> Sample:
        return {
            "cpu": cpu / tally.answers * MICRO,
            "chunk": cpu / tally.answers / self.chunks * MICRO,
            "rate": tally.answers * self.chunks / tally.elapsed,
            "first": percentile(tally.first_bytes, 50) * MILLI,
        }


class Translated(Stream):
    """The same streams for callers of Anthropic's Messages: the upstream speaks chat completions. The bare ASGI app
    answers small requests in the same rounds, as the yardstick."""

    name = "translated"
    title = "streams of 100 chunks, translated from chat completions to Messages (bare: small requests)"
    peers = (BARE, DJANGO, DIRECT)

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per chunk; of the bare app, the CPU time per request."""
        if server.name == BARE:
            tally, cpu = await Steady(plain_request(server), complaint_about_answer, 16).cost(server, effort)
            each = cpu / tally.answers * MICRO
            first = percentile(tally.first_bytes, 50) * MILLI
            return {"cpu": each, "chunk": each, "rate": tally.answers / tally.elapsed, "first": first}
        body = messages_body(f"openai/mock-{self.chunks}x{self.interval_ms}")
        request = request_bytes(body, credential=server.credential, path=MESSAGES_PATH)
        check = partial(complaint_about_messages, chunks=self.chunks)
        return self._figures(*await Steady(request, check, self.connections).cost(server, effort))


class Paced(Stream):
    """Streams whose chunks come one by one, as a model makes them: nothing can be sent together."""

    name = "paced"
    title = "streams of 50 chunks, 20 ms apart, 32 connections"
    connections, chunks, interval_ms = 32, 50, 20


class Idle(Scenario):
    """Many streams on which nothing happens after the first chunk."""

    name = "idle"
    title = "idle streams in one worker"
    units: Mapping[str, str] = {
        "streams": "streams", "threads": "threads", "each": "KB per stream", "busy": "CPU % while idle"
    }  # fmt: skip
    peers = (BARE, OBVIOUS, DJANGO, DIRECT)
    is_fresh = True

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure how memory and threads grow from a server that is warm but has nothing to do."""
        await Steady(plain_request(server), complaint_about_answer, 16).run(server.port, effort.warm_up)
        before = server.process.resident_bytes()
        async with load.idle_streams(server.port, stream_request(server, 2, 600_000), effort.idle_streams) as tally:
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
    is_fresh = True
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
        endless = stream_request(server, 1_000_000, 3)
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
    is_fresh = True
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
        request = plain_request(server, padding=self.size)
        bodies = asyncio.ensure_future(
            load.run(server.port, request, complaint_about_answer, load.for_requests(effort.big_bodies))
        )
        pings = await self._ping(server, lambda: not bodies.done())
        return _believed(await bodies), _believed(pings)

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
    peers = (ACCOUNTED,)
    is_fresh = is_long = True
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
            errors += _believed(seen).answers
        leavers = [plain_request(server, "mock-sleep-600000"), stream_request(server, 1_000_000, 3)]
        left = await load.leave_early(port, leavers, few, burst=50, chance=chance)
        await settled(upstream)
        return {"answers": _believed(answers).answers, "left": left, "errors": errors}

    @staticmethod
    def _memory(server: Running) -> float:
        return server.process.resident_bytes() / MEBIBYTE


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (Request(), Latency(), Stream(), Translated(), Paced(), Idle(), Disconnect(), Big(), Soak())
}
