"""Callers on bare sockets, many at once: what each of them does is drawn from the seed, hanging up included."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.raw_client import write_request
from tests.wire.samples import BEARER, CHAT_DIALECT, JSON, MESSAGES_DIALECT, Dialect

AT_ONCE = 40
"""Callers at the same time."""

PATIENCE = 30.0
"""Seconds after which a call hangs, which none may."""

ROUTES = ("chat", "chat", "mixed", "mixed", "mirrored", "ill", "lone", "claude")


class Leaving(Enum):
    """When a caller hangs up."""

    NEVER = "never"
    IN_ITS_REQUEST = "before its request is whole"
    AT_ONCE = "as soon as its request is sent"
    SOON = "after some milliseconds"
    IN_THE_ANSWER = "in the middle of the answer"


@dataclass(frozen=True)
class Plan:
    """What a caller does."""

    seed: int
    number: int
    dialect: Dialect = field(repr=False)
    route: str
    is_stream: bool
    asks_usage: bool
    leaving: Leaving
    leaves_abruptly: bool
    leaves_after: int
    """Of the request, the milliseconds, or the answer's bytes: as `leaving` says."""

    @property
    def request_id(self) -> str:
        return f"chaos-{self.seed}-{self.number}"

    def request(self) -> bytes:
        """Write the request."""
        messages = [{"role": "user", "content": f"{self.request_id} {'z' * (self.number % 7) * 100}"}]
        body: dict[str, Any] = {"model": self.route, "messages": messages, "stream": self.is_stream}
        if self.dialect is MESSAGES_DIALECT:
            body["max_tokens"] = 100
        elif self.is_stream and self.asks_usage:
            body["stream_options"] = {"include_usage": True}
        fields = [BEARER, JSON, ("x-request-id", self.request_id)]
        return write_request("POST", self.dialect.path, fields, json.dumps(body).encode())


def draw_plan(seed: int, number: int) -> Plan:
    """Draw what a caller does."""
    dice = random.Random(f"{seed}/caller/{number}")
    leaving = Leaving.NEVER if dice.random() < 0.75 else dice.choice(list(Leaving)[1:])
    return Plan(
        seed=seed,
        number=number,
        dialect=dice.choice((CHAT_DIALECT, MESSAGES_DIALECT)),
        route=dice.choice(ROUTES),
        is_stream=dice.random() < 0.65,
        asks_usage=dice.random() < 0.5,
        leaving=leaving,
        leaves_abruptly=dice.random() < 0.5,
        leaves_after=dice.randrange(400),
    )


@dataclass
class Got:
    """What a caller got."""

    plan: Plan
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""
    is_whole: bool = False
    """Whether the answer came to its end, framing included."""
    has_left: bool = False
    is_hanging: bool = False
    stacks: str = field(default="", repr=False)
    """Where the gateway's tasks and threads were while it hung."""

    @property
    def has_answer(self) -> bool:
        return bool(self.status)


class Caller:
    """One caller after the other on one connection, as long as it can be used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, plan: Plan) -> Got:
        """Make a call."""
        got = Got(plan)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._call(plan, got)
        except TimeoutError:
            got.is_hanging = True
            got.stacks = await _stacks(self._port)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The answer is not whole, and the verdict will be about that.
        if not got.is_whole or got.headers.get("connection") == "close":
            await self.hang_up(abruptly=got.has_left and plan.leaves_abruptly)
        return got

    async def _call(self, plan: Plan, got: Got) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        request = plan.request()
        if plan.leaving is Leaving.IN_ITS_REQUEST:
            got.has_left = True
            self._writer.write(request[: 1 + len(request) * plan.leaves_after // 400])
            await self._writer.drain()
            return
        self._writer.write(request)
        await self._writer.drain()
        if plan.leaving is Leaving.AT_ONCE:
            got.has_left = True
            return
        try:
            async with asyncio.timeout(plan.leaves_after / 1000 if plan.leaving is Leaving.SOON else None):
                await self._read(plan, got)
        except TimeoutError:
            if plan.leaving is not Leaving.SOON:
                raise
            got.has_left = True

    async def _read(self, plan: Plan, got: Got) -> None:
        assert self._reader is not None
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        got.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        got.status = int(lines[0].split(" ")[1])
        length = got.headers.get("content-length")
        wanted = plan.leaves_after if plan.leaving is Leaving.IN_THE_ANSWER else None
        if length is not None:
            left = int(length)
            while left:
                piece = await self._reader.read(min(left, 65536))
                if not piece:
                    return
                left -= len(piece)
                got.body += piece
        else:
            while (size := int((await self._reader.readuntil(b"\r\n"))[:-2], 16)) > 0:
                got.body += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
                if wanted is not None and len(got.body) >= wanted:
                    got.has_left = True
                    return
            await self._reader.readexactly(2)
        got.is_whole = True

    async def hang_up(self, *, abruptly: bool = False) -> None:
        """Close the connection."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if abruptly:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()


async def _stacks(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(write_request("GET", "/stacks", [("connection", "close")]))
    try:
        async with asyncio.timeout(PATIENCE):
            return (await reader.read()).decode(errors="replace")
    except TimeoutError:
        return "The gateway does not answer at all."
    finally:
        writer.close()


async def make_calls(port: int, plans: list[Plan], at_once: int = AT_ONCE) -> list[Got]:
    """Make all of these calls."""
    waiting: Iterator[Plan] = iter(plans)
    results: list[Got] = []

    async def work() -> None:
        caller = Caller(port)
        for plan in waiting:
            results.append(await caller.call(plan))
        await caller.hang_up()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return results
