"""What is measured: one class per scenario, each giving a sample (figures by name) for one server at a time.

Every answer is checked. An answer that is wrong or missing is a complaint, and a sample with complaints is reported
as such: a server that fails fast must not look like a fast server.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import load
from tests.benchmarks.lineup import (
    ACCOUNTING,
    ACCOUNTING_IN_REDIS,
    BARE,
    DIRECT,
    DJANGO,
    EVERYTHING,
    PEERS,
    PLAIN_UVICORN,
    TWO_WORKERS,
)
from tests.benchmarks.servers import Running
from tests.benchmarks.wire import (
    BURST,
    CODE,
    CROWD,
    MESSAGES_PATH,
    PACED,
    PLAIN,
    SHORT,
    complaint_about_answer,
    complaint_about_messages,
    complaint_about_stream,
    messages_body,
    request_body,
    request_bytes,
)

SPECIAL = frozenset((TWO_WORKERS, PLAIN_UVICORN, ACCOUNTING, ACCOUNTING_IN_REDIS))
"""Servers that only some scenarios are about."""

MEBIBYTE = 1 << 20
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
    peers: Sequence[str] = tuple(name for name in PEERS if name not in SPECIAL)
    is_own = False
    """Whether it is about the gateway's own doors, and no comparison."""
    rounds: int | None = None
    """How many rounds are enough, whatever was asked for."""
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


def plain_request(server: Running, model: str = PLAIN, system: str = "") -> bytes:
    """Write a request for an answer in one piece."""
    return _request(server, request_body(server.prefix + model, stream=False, system=system))


def stream_request(server: Running, model: str) -> bytes:
    """Write a request for a stream."""
    return _request(server, request_body(server.prefix + model, stream=True))


def _request(server: Running, body: bytes) -> bytes:
    return request_bytes(body, credential=server.credential, path=server.path, headers=server.headers)


def believed(tally: load.Tally) -> load.Tally:
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
        return believed(await load.run(port, self.request, self.check, goal, connections=self.connections))

    async def cost(self, server: Running, effort: Effort) -> tuple[load.Tally, float]:
        """Warm up, run, and give what was seen and the CPU seconds of the server."""
        await self.run(server.port, effort.warm_up)
        before = server.process.cpu_seconds()
        tally = await self.run(server.port, effort.seconds)
        return tally, server.process.cpu_seconds() - before


def steady_answers(server: Running) -> Steady:
    """Small answers, over as many connections as keep a server busy."""
    return Steady(plain_request(server), complaint_about_answer, min(16, server.most))


class Request(Scenario):
    """Small answers over 16 busy connections."""

    name = "request"
    title = "1 KiB answers, 16 connections"
    units: Mapping[str, str] = {
        "cpu": "µs CPU/request", "core": "requests/s of a core", "rate": "requests/s", "p50": "p50 ms",
        "p99": "p99 ms", "memory": "MiB"
    }  # fmt: skip
    peers: Sequence[str] = tuple(name for name in PEERS if name != TWO_WORKERS)

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per request, and how many there are in a second."""
        return self._figures(server, *await steady_answers(server).cost(server, effort))

    def _figures(self, server: Running, tally: load.Tally, cpu: float) -> Sample:
        return {
            "cpu": cpu / tally.answers * MICRO,
            "core": tally.answers / cpu,
            "rate": tally.answers / tally.elapsed,
            "p50": percentile(tally.durations, 50) * MILLI,
            "p99": percentile(tally.durations, 99) * MILLI,
            "memory": server.process.resident_bytes() / MEBIBYTE,
        }


class Prompt(Request):
    """Long prompts, as coding agents send them with each step, over a few busy connections."""

    name = "prompt"
    title = "1 KiB answers to prompts of 200 KiB, 4 connections"
    peers: Sequence[str] = tuple(name for name in PEERS if name not in SPECIAL)
    size = 200 * 1024

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per request, and how many there are in a second."""
        request = plain_request(server, system=CODE * (self.size // len(CODE)))
        steady = Steady(request, complaint_about_answer, min(4, server.most))
        return self._figures(server, *await steady.cost(server, effort))


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
        stream = Steady(stream_request(server, SHORT), partial(complaint_about_stream, chunks=5), 1)
        await plain.run(server.port, effort.warm_up)
        own, own_stream = await plain.run(upstream, effort.seconds / 4), await stream.run(upstream, effort.seconds / 4)
        through, streamed = await plain.run(server.port, effort.seconds), await stream.run(server.port, effort.seconds)
        added = partial(_added, through.durations, own.durations)
        first = _added(streamed.first_bytes, own_stream.first_bytes, 50)
        return {"p50": added(50), "p99": added(99), "first": first, "own": percentile(own.durations, 50) * MILLI}


class Rate(Scenario):
    """Fifty requests in a second, by the clock: how a gateway is mostly used, with its caches cold in between."""

    name = "rate"
    title = "50 requests in a second; latency added to the mock upstream's own"
    units: Mapping[str, str] = {"p50": "added p50 ms", "p99": "added p99 ms", "cpu": "µs CPU/request"}
    connections, period = 10, 0.2

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure through the server, and straight from the upstream."""
        own = await self._run(upstream, server, effort.seconds / 2)
        await self._run(server.port, server, effort.warm_up)
        before = server.process.cpu_seconds()
        through = await self._run(server.port, server, effort.seconds)
        added = partial(_added, through.durations, own.durations)
        cpu = (server.process.cpu_seconds() - before) / through.answers * MICRO
        return {"p50": added(50), "p99": added(99), "cpu": cpu}

    async def _run(self, port: int, server: Running, seconds: float) -> load.Tally:
        connections = min(self.connections, server.most)
        return believed(
            await load.run(
                port, plain_request(server), complaint_about_answer, load.for_seconds(seconds), connections=connections,
                ramp=self.period, period=self.period * connections / self.connections,
            )
        )  # fmt: skip


def _added(through: Sequence[float], own: Sequence[float], percent: int) -> float:
    return (percentile(through, percent) - percentile(own, percent)) * MILLI


class Stream(Scenario):
    """Streams of 100 chunks that come as fast as they can."""

    name = "stream"
    title = "streams of 100 chunks without a pause, 16 connections"
    units: Mapping[str, str] = {
        "cpu": "µs CPU/stream", "chunk": "µs CPU/chunk", "rate": "chunks/s", "first": "first byte p50 ms"
    }  # fmt: skip
    connections, chunks = 16, 100

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per stream and per chunk."""
        check = partial(complaint_about_stream, chunks=self.chunks)
        steady = Steady(stream_request(server, BURST), check, min(self.connections, server.most))
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
    is_own = True

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per chunk; of the bare app, the CPU time per request."""
        if server.name == BARE:
            tally, cpu = await Steady(plain_request(server), complaint_about_answer, 16).cost(server, effort)
            each = cpu / tally.answers * MICRO
            first = percentile(tally.first_bytes, 50) * MILLI
            return {"cpu": each, "chunk": each, "rate": tally.answers / tally.elapsed, "first": first}
        body = messages_body(f"openai/{BURST}")
        request = request_bytes(body, credential=server.credential, path=MESSAGES_PATH)
        check = partial(complaint_about_messages, chunks=self.chunks)
        return self._figures(*await Steady(request, check, self.connections).cost(server, effort))


class Paced(Scenario):
    """Streams whose chunks come one by one, as a model makes them: nothing can be sent together."""

    name = "paced"
    title = "200 streams at once of 50 chunks, 20 ms apart"
    units: Mapping[str, str] = {
        "chunk": "µs CPU/chunk", "p50": "age of a chunk p50 ms", "p99": "age p99 ms", "failed": "% failed"
    }  # fmt: skip
    connections, chunks, ramp = 200, 50, 1.0

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure the CPU time per chunk, and how old chunks are when they come."""
        before = server.process.cpu_seconds()
        goal = load.for_seconds(self.ramp + effort.seconds)
        check = partial(complaint_about_stream, chunks=self.chunks)
        tally = await load.run(
            server.port, stream_request(server, PACED), check, goal, connections=min(self.connections, server.most),
            ramp=self.ramp, is_stamped=True,
        )  # fmt: skip
        if len(tally.complaints) > tally.answers or not tally.ages:
            first = next(iter(tally.complaints), "no chunk told when it was sent")
            raise Failed(f"{tally.answers} good streams, {len(tally.complaints)} bad, first: {first}")
        return {**_ages(tally), "chunk": (server.process.cpu_seconds() - before) / len(tally.ages) * MICRO}


def _ages(tally: load.Tally) -> Sample:
    """Give how old chunks were, and how many streams did not end well."""
    failed = len(tally.complaints)
    return {
        "p50": percentile(tally.ages or [math.inf], 50) * MILLI,
        "p99": percentile(tally.ages or [math.inf], 99) * MILLI,
        "failed": failed / (tally.answers + failed) * 100,
    }


class Crowd(Scenario):
    """A thousand streams at once, on a server that has just been started."""

    name = "crowd"
    title = "start, then 1,000 streams at once of 25 chunks, 200 ms apart"
    units: Mapping[str, str] = {
        "started": "start s", "idle": "MiB idle", "warm": "MiB after requests", "each": "KB per stream",
        "after": "MiB after streams", "p99": "age of a chunk p99 ms", "failed": "% failed"
    }  # fmt: skip
    is_fresh = True
    rounds = 1
    chunks, ramp = 25, 2.0

    async def measure(self, server: Running, upstream: int, effort: Effort) -> Sample:
        """Measure what memory grows by while all of them are open."""
        idle = server.process.resident_bytes()
        await steady_answers(server).run(server.port, effort.warm_up)
        warm = server.process.resident_bytes()
        check = partial(complaint_about_stream, chunks=self.chunks)
        connections = min(effort.idle_streams, server.most)
        crowd = asyncio.ensure_future(
            load.run(
                server.port, stream_request(server, CROWD), check, load.for_requests(connections),
                connections=connections, ramp=self.ramp, is_stamped=True,
            )
        )  # fmt: skip
        await asyncio.sleep(self.ramp + 2)
        most = server.process.resident_bytes()
        figures = _ages(await crowd)
        sizes = {"idle": idle, "warm": warm, "after": server.process.resident_bytes()}
        return {
            **figures,
            "started": server.started,
            "each": (most - warm) / connections / 1000,
            **{name: size / MEBIBYTE for name, size in sizes.items()},
        }


class Workers(Request):
    """One worker on the CPU for servers, and two on all CPUs: a request must not cost more for there being others."""

    name = "workers"
    title = "1 KiB answers, 16 connections, one worker and two"
    peers = (EVERYTHING, TWO_WORKERS)
