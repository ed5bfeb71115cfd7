"""The mock upstream: `python -m tests.benchmarks.upstream PORT`. As little work per request as Python allows.

It answers what `wire.py` says, and `GET /stats` with what it has seen: how many connections are open, on how many of
them an answer is owed (`busy`), and how many were closed while one was (`aborted`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from typing import cast

import httptools
import uvloop

from tests.benchmarks.wire import ANSWER, END, NO_STAMP, REFUSAL, Wish, event, read_wish, stamped

PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ERROR_HEAD = b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
WHOLE_ANSWER = PLAIN_HEAD % len(ANSWER) + ANSWER


def as_http_chunk(piece: bytes) -> bytes:
    """Frame a piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNKS = as_http_chunk(END) + b"0\r\n\r\n"


@cache
def numbered_chunk(number: int) -> bytes:
    """Write one chunk of a stream, framed; made once for each number."""
    return as_http_chunk(event(number))


@cache
def unstamped_chunk(number: int) -> bytes:
    """Write one chunk of a stream, framed, with a place for the moment at which it is sent."""
    return as_http_chunk(event(number, NO_STAMP))


@dataclass(slots=True)
class Stats:
    """What the upstream has seen."""

    requests: int = 0
    connections: int = 0
    open: int = 0
    busy: int = 0
    aborted: int = 0


class Upstream(asyncio.Protocol):
    """One connection to the mock upstream."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body: list[bytes] = []
        self.wish = Wish()
        self.is_busy = False
        self.started_at = 0.0
        self.pending: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self.transport = cast(asyncio.Transport, transport)
        self.stats.connections += 1
        self.stats.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out, and whether an answer was still owed."""
        self.stats.open -= 1
        if self.pending is not None:
            self.pending.cancel()
        if self.is_busy:
            self.stats.aborted += 1
            self._answered()

    def data_received(self, data: bytes) -> None:
        """Parse; the parser calls the methods below."""
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Keep the request's target; called by the parser, in pieces when it comes in pieces."""
        self.url += url

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the request's body; called by the parser."""
        self.body.append(piece)

    def on_message_complete(self) -> None:
        """Answer the request; called by the parser."""
        url, body = self.url, b"".join(self.body)
        self.url = b""
        self.body.clear()
        if url == b"/stats":
            self._write_stats()
        else:
            self.stats.requests += 1
            self._fulfil(read_wish(body))

    def _write_stats(self) -> None:
        body = json.dumps(asdict(self.stats)).encode()
        self.transport.write(PLAIN_HEAD % len(body) + body)

    def _fulfil(self, wish: Wish) -> None:
        self.is_busy = True
        self.stats.busy += 1
        self.wish = wish
        if wish.chunks is not None:
            self.started_at = self.loop.time()
            self.transport.write(STREAM_HEAD)
            self._write_chunk(0)
        elif wish.status != 200:
            self._fail(wish.status)
        elif wish.delay:
            self.pending = self.loop.call_later(wish.delay, self._write_answer)
        else:
            self._write_answer()

    def _fail(self, status: int | None) -> None:
        self._answered()
        if status is None:
            self.transport.abort()
        else:
            self.transport.write(ERROR_HEAD % (status, len(REFUSAL)) + REFUSAL)

    def _write_answer(self) -> None:
        self.transport.write(WHOLE_ANSWER)
        self._answered()

    def _write_chunk(self, number: int) -> None:
        """Write one chunk and plan the next: each leaves in a write of its own, as from a model that generates."""
        if number == self.wish.chunks:
            self.transport.write(LAST_CHUNKS)
            self._answered()
            return
        self.transport.write(stamped(unstamped_chunk(number)) if self.wish.is_stamped else numbered_chunk(number))
        if self.wish.interval:
            next_at = self.started_at + (number + 1) * self.wish.interval
            self.pending = self.loop.call_at(next_at, self._write_chunk, number + 1)
        else:
            self.pending = self.loop.call_soon(self._write_chunk, number + 1)

    def _answered(self) -> None:
        self.is_busy = False
        self.pending = None
        self.stats.busy -= 1


async def serve(port: int, stats: Stats) -> asyncio.Server:
    """Listen on the loopback address. Port 0 takes a free one."""
    return await asyncio.get_running_loop().create_server(lambda: Upstream(stats), "127.0.0.1", port, backlog=4096)


async def _serve_forever(port: int) -> None:
    async with await serve(port, Stats()) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve_forever(int(sys.argv[1])))
