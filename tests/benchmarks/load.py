"""The load client: keep-alive connections on asyncio protocols, request bytes made beforehand, every answer checked."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

from tests.benchmarks.wire import ages

Check = Callable[[bytes], str | None]
"""Says what is wrong with the body of an answer, or None."""

Goal = Callable[[], bool]
"""Says whether a connection sends another request; asked before each."""

SECONDS_OF_GRACE = 15.0
"""How long an answer may take: with 16 connections no server that works needs as much."""

LONGEST_STAY = 0.2
"""Seconds after which the most patient of those who hang up has left: enough for a slow server to have begun."""


@dataclass(slots=True)
class Tally:
    """What a run saw. Times in seconds; `complaints` says what was wrong with each answer that does not count."""

    durations: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    """How old each chunk of a stamped stream was when it came."""
    complaints: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def answers(self) -> int:
        """How many good answers there were."""
        return len(self.durations)


def for_seconds(seconds: float) -> Goal:
    """Go on until so much time has passed."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def for_requests(requests: int) -> Goal:
    """Go on until so many requests were sent, over all connections together."""
    left = iter(range(requests))
    return lambda: next(left, None) is not None


class Connection(asyncio.Protocol):
    """One keep-alive connection: sends the request, checks the answer, and begins anew until the goal is reached.

    `pause` is in seconds, between an answer and the next request; `period` between one request and the next, if the
    answer has come by then. `status` is that of a good answer. A crowd of streams is `is_stamped`.
    """

    def __init__(
        self,
        request: bytes,
        check: Check,
        goal: Goal,
        tally: Tally,
        *,
        pause: float = 0.0,
        period: float = 0.0,
        status: int = 200,
        is_stamped: bool = False,
    ) -> None:
        self.request = request
        self.check = check
        self.goal = goal
        self.tally = tally
        self.pause = pause
        self.period = period
        self.status = status
        self.is_stamped = is_stamped
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        """Done when the first byte of a body has come, or none ever will."""
        self.finished: asyncio.Future[None] = loop.create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.is_waiting = False
        self.started_at = 0.0
        self.first_byte_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast(asyncio.Transport, transport)
        self._send_or_finish()

    def _send_or_finish(self) -> None:
        if not self.goal():
            self.transport.close()
            return
        self.is_waiting = True
        self.first_byte_at = 0.0
        self.started_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Parse; the parser calls the methods below."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.give_up(f"not HTTP: {error!r}: {data[:200]!r}")

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the answer; called by the parser."""
        if not self.first_byte_at:
            self.first_byte_at = time.perf_counter()
            if not self.begun.done():
                self.begun.set_result(None)
        if self.is_stamped:
            self.tally.ages += ages(piece)
        self.body.append(piece)

    def on_message_complete(self) -> None:
        """Check the answer; called by the parser."""
        now = time.perf_counter()
        body = b"".join(self.body)
        self.body.clear()
        self.is_waiting = False
        status = self.parser.get_status_code()
        complaint = self.check(body) if status == self.status else f"status {status}: {body[:300]!r}"
        if complaint:
            self.give_up(complaint)
            return
        self.tally.durations.append(now - self.started_at)
        self.tally.first_bytes.append(self.first_byte_at - self.started_at)
        if self.pause or self.period:
            wait = max(self.pause, self.started_at + self.period - now)
            asyncio.get_running_loop().call_later(wait, self._send_or_finish)
        else:
            self._send_or_finish()

    def give_up(self, complaint: str) -> None:
        """Close at once, for a reason that counts against the server."""
        self.is_waiting = False
        self.tally.complaints.append(complaint)
        self.transport.abort()

    def give_up_if_late(self) -> None:
        """Do so if the answer has taken too long."""
        if self.is_waiting and time.perf_counter() - self.started_at > SECONDS_OF_GRACE:
            self.give_up("no answer in time")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an answer that will not come any more."""
        if self.is_waiting:
            self.tally.complaints.append(f"closed without an answer ({exc!r})")
        for future in (self.begun, self.finished):
            if not future.done():
                future.set_result(None)


async def _connect(port: int, make: Callable[[], Connection]) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
    return connection


async def run(
    port: int,
    request: bytes,
    check: Check,
    goal: Goal,
    *,
    connections: int = 1,
    ramp: float = 0.0,
    **manner: Any,
) -> Tally:
    """Send the request over so many connections until the goal is reached, and all answers are there or given up.

    The connections are opened one after the other over `ramp` seconds; `manner` is how each behaves.
    """
    tally = Tally()
    started_at = time.perf_counter()
    opened = []
    for number in range(connections):
        if ramp:
            await asyncio.sleep(max(0.0, started_at + ramp * number / connections - time.perf_counter()))
        opened.append(await _connect(port, lambda: Connection(request, check, goal, tally, **manner)))
    while unfinished := [connection for connection in opened if not connection.finished.done()]:
        await asyncio.wait([connection.finished for connection in unfinished], timeout=1)
        for connection in unfinished:
            connection.give_up_if_late()
    tally.elapsed = time.perf_counter() - started_at
    return tally


@asynccontextmanager
async def idle_streams(port: int, request: bytes, count: int) -> AsyncIterator[Tally]:
    """Hold `count` streams open that have each had a first chunk. `complaints` tells of those that had none."""
    tally = Tally()
    opened: list[Connection] = []
    try:
        while len(opened) < count:
            few = [await _connect(port, lambda: _idle_connection(request, tally)) for _ in range(min(50, count))]
            opened += few
            await asyncio.wait([one.begun for one in few], timeout=SECONDS_OF_GRACE)
        tally.complaints += ["no first chunk" for one in opened if not one.first_byte_at]
        yield tally
    finally:
        for one in opened:
            one.is_waiting = False
            one.transport.abort()


def _idle_connection(request: bytes, tally: Tally) -> Connection:
    return Connection(request, lambda body: None, for_requests(1), tally)


async def leave_early(port: int, requests: list[bytes], count: int, *, burst: int, chance: random.Random) -> int:
    """Connect `count` times in bursts and hang up at a random moment, in the middle of the request or of the answer.

    Half of them leave within 25 ms, the last of a burst after LONGEST_STAY. Gives how many connections could be made.
    """
    made = 0
    for _ in range(0, count, burst):
        leavers = (_leave(port, chance.choice(requests), chance) for _ in range(burst))
        made += sum(await asyncio.gather(*leavers))
    return made


async def _leave(port: int, request: bytes, chance: random.Random) -> bool:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(chance.random() * 0.01)
    try:
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    except OSError:
        return False
    is_cut_short = chance.random() < 0.1
    transport.write(request[: chance.randrange(len(request))] if is_cut_short else request)
    await asyncio.sleep(chance.random() ** 3 * LONGEST_STAY)
    transport.abort()
    return True
