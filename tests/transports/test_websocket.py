"""Websockets to upstreams over real sockets: what a handshake that goes wrong is called, and what an end means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest, UpstreamResponse, UpstreamSocket
from ai_gateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    PrivateAddressRefused,
    SocketClosed,
    UpstreamClosed,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ai_gateway.transports import Transport, websocket
from ai_gateway.transports.httpx import HttpxTransport
from ai_gateway.transports.pooled import PooledTransport
from ai_gateway.transports.websocket import PONG, new_connection
from tests.factories import run
from tests.upstream import PATIENCE

QUICK = Timeouts(connect=5, first_byte=5, write=0.2)

Handler = Callable[[ServerConnection], Any]


def request_to(port: int, *headers: tuple[bytes, bytes], allow_private: bool = True) -> UpstreamRequest:
    """Write a handshake."""
    origin = Origin("http", "127.0.0.1", port, allow_private)
    return UpstreamRequest(method="GET", origin=origin, target=b"/v1/realtime?model=m", headers=[*headers])


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[int]:
    """Answer whatever comes with these bytes and hang up; None: never."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        is_over.set()

    is_over = asyncio.Event()
    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await is_over.wait()


@asynccontextmanager
async def opened(handler: Handler, transport: Transport | None = None) -> AsyncIterator[UpstreamSocket]:
    """Open a websocket to a server."""
    async with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        response = await (transport or PooledTransport()).sockets().send(request_to(port), QUICK)
        assert response.socket is not None
        try:
            yield response.socket
        finally:
            await response.aclose()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectFailed),
        (b"220 smtp.example ESMTP\r\n", ConnectFailed),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", ConnectFailed),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ConnectFailed),
        (b"HTTP/1.1 200 " + b"x" * 100_000, ConnectFailed),
        (b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", ConnectFailed),
        (None, ConnectTimeout),
    ],
)
def test_a_handshake_that_fails_may_be_tried_elsewhere(answer: bytes | None, error: type[Exception]) -> None:
    async def attempt() -> None:
        async with answering(answer) as port:
            timeouts = Timeouts(first_byte=0.1 if answer is None else 5)
            with pytest.raises(error) as failed:
                await PooledTransport().sockets().send(request_to(port), timeouts)
            assert "127.0.0.1" not in str(failed.value)

    run(attempt())


def test_who_gives_up_in_the_moment_of_success_leaves_no_session_open(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = websocket.Connection.data_received

    async def attempt() -> None:
        def accept_and_leave(connection: websocket.Connection, data: bytes) -> None:
            accept(connection, data)
            assert connection.state is State.OPEN
            sending.cancel()

        async def serve_one(other: ServerConnection) -> None:
            await other.wait_closed()
            is_over.set()

        monkeypatch.setattr(websocket.Connection, "data_received", accept_and_leave)
        is_over = asyncio.Event()
        async with serve(serve_one, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            sending = asyncio.ensure_future(PooledTransport().sockets().send(request_to(port), QUICK))
            with pytest.raises(asyncio.CancelledError):
                await sending
            async with asyncio.timeout(PATIENCE):
                await is_over.wait()

    run(attempt())


def test_a_refusal_is_an_answer() -> None:
    async def attempt() -> UpstreamResponse:
        head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\ncontent-length: 2\r\n\r\n{}"
        async with answering(head) as port:
            return await PooledTransport().sockets().send(request_to(port), QUICK)

    response = run(attempt())
    assert (response.status, response.socket, response.take_rest()) == (429, None, b"{}")
    assert (b"retry-after", b"7") in response.headers


def test_neither_credentials_nor_messages_are_logged_even_at_the_level_of_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def answer(other: ServerConnection) -> None:
        await other.send(f"canary: {await other.recv()!r}")

    async def attempt() -> None:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            credential = (b"authorization", b"Bearer canary-stored")
            response = await PooledTransport().sockets().send(request_to(port, credential), QUICK)
            assert response.socket is not None
            await response.socket.send("canary")
            assert await response.socket.receive() == "canary: 'canary'"
            await response.aclose()

    run(attempt())
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert not [line for line in ours if "canary" in line]


def test_a_private_address_is_not_dialed() -> None:
    async def attempt() -> None:
        await PooledTransport().sockets().send(request_to(9, allow_private=False), QUICK)

    with pytest.raises(PrivateAddressRefused):
        run(attempt())


@pytest.mark.parametrize("make", [PooledTransport, HttpxTransport])
def test_messages_pass_both_ways(make: Callable[[], Transport]) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk() -> list[str | bytes]:
        async with opened(echo, make()) as socket:
            for message in ("text \U0001f600", b"\x00\xff"):
                await socket.send(message)
            return [await socket.receive() for _ in range(2)]

    assert run(talk()) == ["text \U0001f600", b"\x00\xff"]


def test_an_upstream_may_answer_a_ping_late() -> None:
    """Its answer stands behind what a slow caller has not taken yet."""
    sent = UpstreamRequest(method="GET", origin=Origin("http", "upstream.test", 80), target=b"/v1/realtime", headers=[])

    async def made() -> tuple[float | None, float | None]:
        connection = new_connection(sent)
        return connection.ping_interval, connection.ping_timeout

    assert run(made()) == (20, PONG)


def test_what_an_end_means() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(4001, "enough")

    async def die(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def garbage(connection: ServerConnection) -> None:
        connection.transport.write(b"\xff\xff\xff\xff")
        await connection.wait_closed()

    async def flood(connection: ServerConnection) -> None:
        await connection.send("x" * 101)

    async def end_of(handler: Handler) -> Exception:
        async with opened(handler) as socket:
            with pytest.raises((SocketClosed, UpstreamClosed, UpstreamProtocolError)) as ended:
                await socket.receive()
            return ended.value

    closed = run(end_of(close))
    assert isinstance(closed, SocketClosed)
    assert (closed.code, closed.reason, closed.is_upstreams) == (4001, "enough", True)
    assert isinstance(run(end_of(die)), UpstreamClosed)
    assert isinstance(run(end_of(garbage)), UpstreamProtocolError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket, "LONGEST_MESSAGE", 100)
        assert isinstance(run(end_of(flood)), UpstreamProtocolError)


def test_an_upstream_that_takes_nothing() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async def shout() -> None:
        async with opened(deaf) as socket:
            while True:
                await socket.send("x" * 1_000_000)

    with pytest.raises(UpstreamTimeout):
        run(shout())
