"""Providers on a real socket, for a gateway that runs by itself: `rungateway`, uvicorn, a server in another thread.

One thread listens on a free port of the loopback, and speaks HTTP/1.1 in plain: a whole answer has its length, and one
of several pieces comes in chunks. It is there for what gateways send: one request after the other on a connection, with
a body of known length or in chunks.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from ai_gateway.errors import ConnectFailed, GatewayError
from ai_gateway.providers.catalog import CATALOG
from ai_gateway.test.answers import FOREVER, Step, Written
from ai_gateway.test.script import CREDENTIAL, USUAL, Scripted
from ai_gateway.test.sent import Sent

Result = TypeVar("Result")

PATIENCE = 10.0
"""Seconds for which is waited for what must happen."""

MOST_HEAD = 64 * 1024
"""Bytes that a line of a request's head may have, and all of it."""


class FakeServer(Scripted):
    """Providers on a socket, answering by a script, and what they were sent.

    The gateway is pointed at it by `settings` or by `environment`;
    any other provider, by an address that begins with `url`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        """Where it listens, once it was started."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread
        self._listening: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()
        self._is_over = False

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """Entries of AI_GATEWAY with which the usual providers are these."""
        return {"PROVIDERS": {alias: {"OPTIONS": self._options(alias)} for alias in USUAL}}

    @property
    def environment(self) -> Mapping[str, str]:
        """The same as variables, for a gateway that is configured by its environment."""
        variables = {"ALLOW_PRIVATE_UPSTREAMS": "true"}
        for alias in USUAL:
            options = self._options(alias)
            variables[f"{alias.upper()}_BASE_URL"] = options["base_url"]
            variables[f"{alias.upper()}_API_KEY"] = options["api_key"]
        return variables

    def _options(self, alias: str) -> dict[str, Any]:
        path = urlsplit(getattr(CATALOG[alias], "base_url", "")).path
        return {"base_url": self.url + path, "allow_private": True, "api_key": CREDENTIAL}

    # The beginning and the end.

    def start(self) -> Self:
        """Listen. Raises RuntimeError if it does."""
        if self._loop is not None:
            raise RuntimeError("This server is in use already: it is stopped before it is started again.")
        self._loop, self._is_over = asyncio.new_event_loop(), False
        self._thread = threading.Thread(target=self._loop.run_forever, name="ai-gateway-fake-server", daemon=True)
        self._thread.start()
        listening = _done(self._loop, asyncio.start_server(self._serve, "127.0.0.1", limit=MOST_HEAD))
        self.port = listening.sockets[0].getsockname()[1]
        self._listening = listening
        return self

    def stop(self) -> None:
        """Hang up on everybody, and end the thread. Raises what went wrong in the script."""
        loop, self._loop = self._loop, None
        if loop is not None:
            _done(loop, self._hang_up())
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(PATIENCE)
            loop.close()
        self._check_script()

    async def _hang_up(self) -> None:
        self._is_over = True
        # A server that is closed while it accepts a connection forgets to close that.
        for listening in self._listening.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        for connection in self._connections:
            connection.cancel()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        self._listening.close()

    # A connection.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while not self._is_over and (sent := await self._next(reader)) is not None:
                await Reply(self._written(sent), sent, reader, writer).send()
        except asyncio.CancelledError:
            writer.transport.abort()  # The test is over.
        except (OSError, asyncio.IncompleteReadError, HungUp):
            pass  # One of both sides has hung up, in the middle of a request or between two.
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._connections.discard(task)
            writer.close()

    async def _next(self, reader: asyncio.StreamReader) -> Sent | None:
        """Read the next request; None if there is none any more."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        path, _, query = target.partition("?")
        body = await _body(headers, reader)
        return Sent(method=method, url=self.url + target, path=path, query=query, headers=headers, body=body)

    def _written(self, sent: Sent) -> Written:
        """Answer a request. What goes wrong in the script is told to the gateway as an error of the provider's."""
        try:
            written = self.answer_to(sent)
            assert not isinstance(written.error, ConnectFailed), "who listens is there: for `is_unreachable`, stop it"
        except Exception as error:
            self._failure = self._failure or error
            body = json.dumps({"error": {"message": f"The test's script went wrong: {error}"}}).encode()
            return Written(500, {"content-type": "application/json"}, [body])
        return written


def _done(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    """Have work done in the thread of a loop."""
    return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)


async def _body(headers: Mapping[str, str], reader: asyncio.StreamReader) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    pieces = []
    while size := int((await reader.readline()).partition(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass
    return b"".join(pieces)


class HungUp(Exception):
    """The other side has hung up, or is hung up on."""


class Reply:
    """One answer on its way."""

    def __init__(
        self, written: Written, sent: Sent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._written = written
        self._sent = sent
        self._reader = reader
        self._writer = writer
        self._leaving: asyncio.Future[bytes] | None = None

    async def send(self) -> None:
        """Send it all. Raises HungUp or OSError where nothing can follow on this connection."""
        try:
            await self._send()
        except OSError:
            self._sent.was_closed_early = True
            raise
        finally:
            if self._leaving is not None:
                self._leaving.cancel()
                await asyncio.wait([self._leaving])

    async def _send(self) -> None:
        written = self._written
        await self._wait(FOREVER if written.error is not None else written.after)
        steps = written.steps or [b""]
        if len(steps) == 1 and isinstance(steps[0], bytes):
            self._writer.write(_head(written, f"content-length: {len(steps[0])}") + steps[0])
        else:
            self._writer.write(_head(written, "transfer-encoding: chunked"))
            for step in steps:
                await self._take(step)
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def _take(self, step: Step) -> None:
        if isinstance(step, GatewayError):
            await self._writer.drain()
            self._writer.close()
            raise HungUp
        if not isinstance(step, bytes):
            await self._wait(step)
        elif step:
            self._writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await self._writer.drain()

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than the other side does. Raises HungUp if it has gone."""
        if not seconds:
            return
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._reader.read(1))
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == FOREVER else seconds):
                await asyncio.shield(self._leaving)
        if self._leaving.done():
            self._sent.was_closed_early = True
            raise HungUp


def _head(written: Written, framing: str) -> bytes:
    """Write the head of an answer."""
    try:
        reason = HTTPStatus(written.status).phrase
    except ValueError:
        reason = "Made up"
    fields = [f"{name}: {value}" for name, value in written.headers.items()]
    return "\r\n".join([f"HTTP/1.1 {written.status} {reason}", *fields, framing, "", ""]).encode("latin-1")
