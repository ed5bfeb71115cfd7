"""A fake provider on bare sockets: it answers by a script, and remembers every byte that arrived.

It runs in a thread with a loop of its own, so that ordinary tests can drive it. A test says how requests are to be
answered (`upstream.answer(...)`), lets the gateway call it, and looks at `upstream.requests` afterwards. A script is a
coroutine function that gets an `Exchange`; `play` makes one of a list of steps. No HTTP library has a part in this, so
that it can send what no library would.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Pairs = Iterable[tuple[str, str]]
PATIENCE = 20.0
"""How many seconds a test waits for something that must happen, before it fails."""


class End(Enum):
    """Steps of a script that end an exchange."""

    CLOSE = "close the connection"
    RESET = "close it with a RST"
    STALL = "say nothing more until the other side hangs up"


class Gate:
    """A place in a script where it waits until the test opens the gate."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._opened = asyncio.Event()
        self._reached = threading.Event()

    def open(self) -> None:
        """Let the script go on. Called by the test."""
        self._loop.call_soon_threadsafe(self._opened.set)

    def wait_until_reached(self) -> None:
        """Wait until the script stands at the gate. Called by the test."""
        assert self._reached.wait(PATIENCE), "the upstream's script never came to its gate"

    async def passed(self) -> None:
        """Wait until the gate is open. Called by the script."""
        self._reached.set()
        await self._opened.wait()


Step = bytes | float | Gate | End


@dataclass(slots=True, kw_only=True)
class Request:
    """One request as it arrived. `body` is without the chunked framing and grows while it is read."""

    raw_head: bytes
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    received_at: float
    connection: int
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    @classmethod
    def parse(cls, head: bytes, connection: int) -> Request:
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        headers = [(name, value.strip()) for name, _, value in (item.partition(":") for item in fields)]
        return cls(
            raw_head=head,
            method=method,
            target=target,
            version=version,
            headers=headers,
            received_at=time.monotonic(),
            connection=connection,
        )

    def values(self, name: str) -> list[str]:
        """All values of a header, by its name in any case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header that must not stand twice; None without it."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def names(self) -> list[str]:
        """The header names in lower case."""
        return [name.lower() for name, _ in self.headers]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(bytes(self.body))


class Exchange:
    """A request and the means to answer it: what a script works with."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.sent = 0
        """How many bytes of the answer the socket has taken."""
        self._remaining = int(request.header("content-length") or 0)
        self._is_chunked = (request.header("transfer-encoding") or "").lower() == "chunked"
        self._chunk_left = 0
        request.is_whole = not self._is_chunked and not self._remaining

    async def read_some(self) -> bytes:
        """Read the next bytes of the body; b"" at its end."""
        if self.request.is_whole:
            return b""
        data = await (self._read_chunk() if self._is_chunked else self._read_counted())
        self.request.body += data
        return data

    async def read_body(self) -> bytes:
        """Read the body to its end."""
        while await self.read_some():
            pass
        return bytes(self.request.body)

    async def _read_counted(self) -> bytes:
        data = await self.connection.read(self._remaining)
        self._remaining -= len(data)
        self.request.is_whole = self._remaining == 0
        return data

    async def _read_chunk(self) -> bytes:
        if not self._chunk_left:
            self._chunk_left = int((await self.connection.read_line()).split(b";")[0], 16)
            if not self._chunk_left:
                while await self.connection.read_line():
                    pass
                self.request.is_whole = True
                return b""
        data = await self.connection.read(self._chunk_left)
        self._chunk_left -= len(data)
        if not self._chunk_left:
            assert await self.connection.read_line() == b"", "a chunk is longer than it said"
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait while the other side does not take them."""
        await self.connection.write(data)
        self.sent += len(data)

    def close(self) -> None:
        """Close the connection."""
        self.connection.hang_up(abruptly=False)

    def reset(self) -> None:
        """Close the connection so that the other side gets a RST."""
        self.connection.hang_up(abruptly=True)

    def pause_reading(self) -> None:
        """Take no more bytes from the other side."""
        self.connection.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self.connection.transport.resume_reading()


Script = Callable[[Exchange], Awaitable[None]]


class PeerGone(Exception):
    """The other side closed the connection between two requests."""


class Connection(asyncio.Protocol):
    """One socket: reads requests and hands each to a script."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.exchange: Exchange | None = None
        self.is_closed = False
        self._buffer = bytearray()
        self._is_gone = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.upstream.opened += 1
        self.number = self.upstream.opened
        self.upstream.connections.add(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._readable.set()

    def eof_received(self) -> None:
        self._peer_gone()

    def connection_lost(self, error: Exception | None) -> None:
        self._peer_gone()
        self.upstream.connections.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _peer_gone(self) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        self._readable.set()
        self._writable.set()
        if self.exchange is not None and not self.is_closed:
            self.upstream.aborted += 1
            self.task.cancel()

    async def read(self, limit: int) -> bytes:
        while not self._buffer:
            if self._is_gone:
                raise PeerGone
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return data

    async def read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if self._is_gone:
                raise PeerGone
            self._readable.clear()
            await self._readable.wait()
        data, _, rest = bytes(self._buffer).partition(mark)
        self._buffer[:] = rest
        return data

    async def read_line(self) -> bytes:
        return await self.read_until(b"\r\n")

    async def write(self, data: bytes) -> None:
        self.transport.write(data)
        # Let the loop see what the other side did: a transport that is being closed takes bytes without a word.
        await asyncio.sleep(0)
        await self._writable.wait()

    def hang_up(self, *, abruptly: bool) -> None:
        self.is_closed = True
        if abruptly:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        else:
            self.transport.close()

    async def _serve(self) -> None:
        try:
            while not self.is_closed:
                request = Request.parse(await self.read_until(b"\r\n\r\n"), self.number)
                self.exchange = Exchange(self, request)
                script = self.upstream.next_script(self.exchange)
                await script(self.exchange)
                if not request.is_whole and not self.is_closed:
                    self.hang_up(abruptly=False)
                self.exchange = None
        except (PeerGone, asyncio.CancelledError):
            pass
        except Exception as error:
            self.upstream.failures.append(error)
        finally:
            self.exchange = None
            if not self.is_closed:
                self.hang_up(abruptly=False)


class Upstream:
    """The server, its record of what happened, and its scripts."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Request] = []
        self.exchanges: list[Exchange] = []
        self.failures: list[Exception] = []
        """What went wrong in a script: a mistake in the test."""
        self.connections: set[Connection] = set()
        self.opened = 0
        """How many connections were ever opened."""
        self.aborted = 0
        """How many exchanges the other side broke off."""
        self._scripts: deque[Script] = deque()
        self._default: Script = json_answer({"ok": True})
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self.port = self.listen(host=host, port=port)

    def listen(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on another port, and say which."""

        async def start() -> asyncio.Server:
            return await self._loop.create_server(
                lambda: Connection(self), host, port, ssl=tls, backlog=2048, reuse_address=True
            )

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(PATIENCE)
        self._servers.append(server)
        listening: int = server.sockets[0].getsockname()[1]
        return listening

    def listen_rudely(self) -> int:
        """Listen on another port, where nobody is who could shake hands for TLS, and say which: every caller is told
        something that is no TLS, or nothing, or hung up on."""
        turns = itertools.cycle((b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x16\x03\x01\0\x02oh", None))

        async def be_rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            said = next(turns)
            if said is None:
                await reader.read(-1)
            else:
                writer.write(said)
            writer.close()

        async def start() -> asyncio.Server:
            return await asyncio.start_server(be_rude, "127.0.0.1", 0)

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(PATIENCE)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        """Close everything and end the thread."""

        async def close() -> None:
            for server in self._servers:
                server.close()
            for connection in list(self.connections):
                connection.transport.abort()
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def forget(self) -> None:
        """Start anew: break off what still runs, forget what was recorded, go back to the default answer."""

        async def break_off() -> None:
            for connection in list(self.connections):
                if connection.exchange is not None:
                    connection.transport.abort()

        asyncio.run_coroutine_threadsafe(break_off(), self._loop).result(PATIENCE)
        self.requests.clear()
        self.exchanges.clear()
        self.failures.clear()
        self._scripts.clear()
        self._default = json_answer({"ok": True})
        self.aborted = 0

    def answer(self, *scripts: Script) -> None:
        """Answer the next requests by these scripts, one each; the last one serves all further requests as well."""
        *first, self._default = scripts
        self._scripts = deque(first)

    def gate(self) -> Gate:
        """Make a gate for a script."""
        return Gate(self._loop)

    def next_script(self, exchange: Exchange) -> Script:
        """Record a request that has begun, and choose who answers it."""
        self.requests.append(exchange.request)
        self.exchanges.append(exchange)
        return self._scripts.popleft() if self._scripts else self._default

    @property
    def request(self) -> Request:
        """The only request that came."""
        assert len(self.requests) == 1, [f"{request.method} {request.target}" for request in self.requests]
        return self.requests[0]

    @property
    def busy(self) -> int:
        """How many connections are in the middle of an exchange."""
        return sum(connection.exchange is not None for connection in list(self.connections))

    @property
    def open(self) -> int:
        """How many connections are open, busy or idle."""
        return len(self.connections)

    def wait_for(self, what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            time.sleep(0.005)

    def wait_for_requests(self, count: int = 1) -> None:
        """Wait until so many requests have begun."""
        self.wait_for(f"{count} requests came, got {len(self.requests)}", lambda: len(self.requests) >= count)


def head(status: int = 200, headers: Pairs = (), reason: str = "Whatever") -> bytes:
    """Write the head of an answer."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Write one piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def stream_head(headers: Pairs = (), content_type: str = "text/event-stream") -> bytes:
    """Write the head of an answer whose body comes in chunks."""
    return head(200, [("content-type", content_type), ("transfer-encoding", "chunked"), *headers])


def play(*steps: Step, reads_body: bool = True) -> Script:
    """Make a script of steps: bytes are sent, a number is a pause in seconds, a gate is waited at."""

    async def script(exchange: Exchange) -> None:
        if reads_body:
            await exchange.read_body()
        for step in steps:
            await _take(step, exchange)

    return script


async def _take(step: Step, exchange: Exchange) -> None:
    if isinstance(step, bytes):
        await exchange.send(step)
    elif isinstance(step, Gate):
        await step.passed()
    elif isinstance(step, End):
        if step is End.STALL:
            await asyncio.Event().wait()
        elif step is End.RESET:
            exchange.reset()
        else:
            exchange.close()
    else:
        await asyncio.sleep(step)


def plain_answer(
    body: bytes, content_type: str = "application/octet-stream", status: int = 200, headers: Pairs = ()
) -> Script:
    """Answer with a body of known length."""
    fields = [("content-type", content_type), ("content-length", str(len(body))), *headers]
    return play(head(status, fields) + body)


def json_answer(value: Any, status: int = 200, headers: Pairs = ()) -> Script:
    """Answer with JSON."""
    return plain_answer(json.dumps(value).encode(), "application/json", status, headers)


def event_stream(*events: bytes | float | Gate | End, ends: bool = True, headers: Pairs = ()) -> Script:
    """Answer with a stream, every event in a chunk of its own; `ends` sends the last, empty chunk.

    The first event leaves together with the head, so that no pause of a busy machine comes between them.
    """
    steps: list[Step] = [chunk(event) if isinstance(event, bytes) else event for event in events]
    if steps and isinstance(steps[0], bytes):
        steps[0] = stream_head(headers) + steps[0]
    else:
        steps.insert(0, stream_head(headers))
    return play(*steps, *([LAST_CHUNK] if ends else []))
