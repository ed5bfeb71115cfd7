"""What every transport promises. One suite, run against the gateway's own and against the one that wraps httpx's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import (
    ConnectFailed,
    Draining,
    GatewayError,
    PoolTimeout,
    PrivateAddressRefused,
    UpstreamClosed,
    UpstreamError,
    UpstreamTimeout,
)
from ai_gateway.transports import Transport
from ai_gateway.transports.httpx import HttpxTransport
from ai_gateway.transports.pooled import PooledTransport
from tests.upstream import LAST_CHUNK, PATIENCE, End, Exchange, Upstream, chunk, head, plain_answer, play, stream_head

Make = Callable[..., Transport]
Body = Callable[[Transport], Awaitable[Any]]


@pytest.fixture(params=[PooledTransport, HttpxTransport], ids=["pooled", "httpx"])
def make(request: pytest.FixtureRequest) -> Make:
    """A transport with some options."""
    kind: Make = request.param
    return kind


def run(make: Make, body: Body, **options: Any) -> Any:
    """Run a test's body with a transport, and close that."""

    async def main() -> Any:
        transport = make(**options)
        try:
            return await body(transport)
        finally:
            await transport.aclose()

    return asyncio.run(main())


def request(
    upstream: Upstream, method: str = "POST", body: bytes | AsyncIterator[bytes] = b"{}", **more: Any
) -> UpstreamRequest:
    """A request to the fake upstream."""
    origin = Origin("http", "127.0.0.1", more.pop("port", upstream.port), True)
    return UpstreamRequest(
        method=method, origin=origin, target=b"/v1/x?a=b%20c", headers=[(b"x-one", b"1")], body=body, **more
    )


SOON = Timeouts(connect=2, pool=0.3, write=2, first_byte=0.3, idle=0.3)
LATER = Timeouts(connect=PATIENCE, pool=PATIENCE, write=PATIENCE, first_byte=PATIENCE, idle=PATIENCE)


async def exchange(transport: Transport, sent: UpstreamRequest, timeouts: Timeouts = LATER) -> tuple[int, bytes]:
    """Send a request and read the whole answer."""
    response = await transport.send(sent, timeouts)
    try:
        parts = []
        while part := await response.read():
            parts.append(part)
        return response.status, b"".join(parts)
    finally:
        await response.aclose()


def test_a_request_arrives_as_it_was_written(make: Make, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"hello"))
    assert run(make, lambda transport: exchange(transport, request(upstream, body=b'{"a": 1}'))) == (200, b"hello")
    arrived = upstream.request
    assert (arrived.method, arrived.target, bytes(arrived.body)) == ("POST", "/v1/x?a=b%20c", b'{"a": 1}')
    assert arrived.header("host") == f"127.0.0.1:{upstream.port}"
    assert (arrived.header("x-one"), arrived.header("content-length")) == ("1", "8")
    assert set(arrived.names()) <= {"host", "x-one", "content-length", "connection"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_a_request_without_body_has_no_framing(make: Make, upstream: Upstream, method: str) -> None:
    upstream.answer(plain_answer(b"ok"))
    assert run(make, lambda transport: exchange(transport, request(upstream, method, b""))) == (200, b"ok")
    assert not {"content-length", "transfer-encoding"} & set(upstream.request.names())


def test_headers_of_the_answer_keep_their_order_and_repetitions(make: Make, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"ok", headers=[("X-A", "1"), ("x-b", "2"), ("X-A", "3")]))

    async def body(transport: Transport) -> list[tuple[bytes, bytes]]:
        response = await transport.send(request(upstream), LATER)
        await response.aclose()
        return response.headers

    headers = run(make, body)
    assert [header for header in headers if header[0].startswith(b"x-")] == [
        (b"x-a", b"1"),
        (b"x-b", b"2"),
        (b"x-a", b"3"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        stream_head() + chunk(b"one") + chunk(b"two") + LAST_CHUNK,
        stream_head() + b"3;ext=1\r\none\r\n" + b"3\r\ntwo\r\n" + b"0\r\nx-trailer: yes\r\n\r\n",
        head(200, [("content-length", "6")]) + b"onetwo",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        + head(200, [("content-length", "6")])
        + b"onetwo",
        head(200, [("content-length", "3"), ("transfer-encoding", "chunked")]) + chunk(b"onetwo") + LAST_CHUNK,
    ],
    ids=["chunked", "chunk extensions and trailers", "length", "after informational answers", "chunked with a length"],
)
def test_every_framing_gives_the_same_body(make: Make, upstream: Upstream, answer: bytes) -> None:
    upstream.answer(play(answer))
    assert run(make, lambda transport: exchange(transport, request(upstream))) == (200, b"onetwo")


def test_a_length_that_does_not_count_is_not_told(make: Make, upstream: Upstream) -> None:
    """Beside a body in chunks. Whoever passes it on would be held to it."""
    upstream.answer(play(head(200, [("content-length", "3"), ("transfer-encoding", "chunked")]) + LAST_CHUNK))

    async def body(transport: Transport) -> list[tuple[bytes, bytes]]:
        response = await transport.send(request(upstream), LATER)
        await response.aclose()
        return response.headers

    assert b"content-length" not in dict(run(make, body))


def test_a_body_without_length_ends_with_the_connection(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(head(200, [("connection", "close")]) + b"one", b"two", End.CLOSE))
    assert run(make, lambda transport: exchange(transport, request(upstream))) == (200, b"onetwo")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("GET", 304)])
def test_answers_without_body_do_not_spoil_the_next(make: Make, upstream: Upstream, method: str, status: int) -> None:
    length = [("content-length", "1000")] if status != 204 else []
    upstream.answer(play(head(status, length)), plain_answer(b"next"))

    async def body(transport: Transport) -> list[tuple[int, bytes]]:
        first = await exchange(transport, request(upstream, method, b""))
        return [first, await exchange(transport, request(upstream))]

    assert run(make, body) == [(status, b""), (200, b"next")]


def test_connections_are_kept_and_used_again(make: Make, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"ok"))

    async def body(transport: Transport) -> None:
        for _ in range(5):
            assert await exchange(transport, request(upstream)) == (200, b"ok")

    run(make, body)
    assert len({arrived.connection for arrived in upstream.requests}) == 1


def test_a_connection_that_says_close_is_not_used_again(make: Make, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"ok", headers=[("connection", "close")]))

    async def body(transport: Transport) -> None:
        for _ in range(2):
            assert await exchange(transport, request(upstream)) == (200, b"ok")

    run(make, body)
    assert len({arrived.connection for arrived in upstream.requests}) == 2


def test_a_connection_closed_while_idle_is_not_used(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(head(200, [("content-length", "2")]) + b"ok", End.CLOSE), plain_answer(b"new"))

    async def body(transport: Transport) -> None:
        assert await exchange(transport, request(upstream)) == (200, b"ok")
        await asyncio.to_thread(upstream.wait_for, "the connection is closed", lambda: upstream.open == 0)
        await asyncio.sleep(0.05)
        assert await exchange(transport, request(upstream)) == (200, b"new")

    run(make, body)


def test_idle_connections_expire(make: Make, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"ok"))

    async def body(transport: Transport) -> None:
        await exchange(transport, request(upstream))
        await asyncio.sleep(0.4)
        await exchange(transport, request(upstream))

    run(make, body, keep_alive=0.2)
    assert len({arrived.connection for arrived in upstream.requests}) == 2


def test_a_large_body_arrives_whole(make: Make, upstream: Upstream) -> None:
    body = bytes(range(256)) * 20_000
    upstream.answer(plain_answer(b"ok"))
    assert run(make, lambda transport: exchange(transport, request(upstream, body=body))) == (200, b"ok")
    assert upstream.request.body == body


@pytest.mark.parametrize("length", [None, 9], ids=["chunked", "with a length"])
def test_a_streamed_body_flows_while_it_is_made(make: Make, upstream: Upstream, length: int | None) -> None:
    upstream.answer(plain_answer(b"ok"))
    seen: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.to_thread(upstream.wait_for, "the first piece is there", lambda: len(upstream.requests) == 1)
        await asyncio.to_thread(upstream.wait_for, "it was read", lambda: bytes(upstream.request.body) == b"one")
        seen.append(bytes(upstream.request.body))
        yield b"two"
        yield b"six"

    sent = request(upstream, body=pieces(), body_length=length)
    assert run(make, lambda transport: exchange(transport, sent)) == (200, b"ok")
    assert (seen, bytes(upstream.request.body)) == ([b"one"], b"onetwosix")
    framing = upstream.request.header("content-length"), upstream.request.header("transfer-encoding")
    assert framing == ((None, "chunked") if length is None else ("9", None))


def test_an_error_of_the_body_is_the_error_of_the_exchange(make: Make, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise Draining("stop")

    with pytest.raises(Draining):
        run(make, lambda transport: exchange(transport, request(upstream, body=pieces())))
    upstream.wait_for("the connection is closed", lambda: upstream.open == 0)


def test_impatience_loses_nothing(make: Make, upstream: Upstream) -> None:
    gate = upstream.gate()
    upstream.answer(play(stream_head(), gate, chunk(b"late"), LAST_CHUNK))

    async def body(transport: Transport) -> list[bytes | None]:
        response = await transport.send(request(upstream), LATER)
        reads = [await response.read(0.05)]
        gate.open()
        reads += [await response.read(PATIENCE), await response.read(PATIENCE)]
        await response.aclose()
        return reads

    assert run(make, body) == [None, b"late", b""]


def test_a_silent_upstream_is_given_up_before_its_answer(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(End.STALL))
    with pytest.raises(UpstreamTimeout):
        run(make, lambda transport: exchange(transport, request(upstream), SOON))
    upstream.wait_for("the connection is closed", lambda: upstream.open == 0)


def test_the_time_for_the_first_byte_is_not_that_between_two(make: Make, upstream: Upstream) -> None:
    hasty = Timeouts(connect=PATIENCE, pool=PATIENCE, write=PATIENCE, first_byte=0.2, idle=PATIENCE)
    upstream.answer(play(End.STALL))
    with pytest.raises(UpstreamTimeout):
        run(make, lambda transport: asyncio.wait_for(exchange(transport, request(upstream), hasty), PATIENCE / 2))
    upstream.wait_for("the connection is closed", lambda: upstream.open == 0)
    upstream.answer(play(stream_head(), 0.5, chunk(b"one") + LAST_CHUNK))
    assert run(make, lambda transport: exchange(transport, request(upstream), hasty)) == (200, b"one")


def test_the_time_for_the_first_byte_counts_from_the_end_of_the_request(make: Make, upstream: Upstream) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x"
            await asyncio.sleep(0.15)

    hasty = Timeouts(connect=PATIENCE, pool=PATIENCE, write=PATIENCE, first_byte=0.4, idle=PATIENCE)
    upstream.answer(plain_answer(b"ok"))
    assert run(make, lambda transport: exchange(transport, request(upstream, body=slowly()), hasty)) == (200, b"ok")


def test_a_silent_upstream_is_given_up_in_the_middle(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(stream_head() + chunk(b"one"), End.STALL))
    with pytest.raises(UpstreamTimeout):
        run(make, lambda transport: exchange(transport, request(upstream), SOON))


@pytest.mark.parametrize(
    "steps",
    [
        (End.CLOSE,),
        (End.RESET,),
        (b"HTTP/1.1 200 OK\r\ncontent-le", End.CLOSE),
        (head(200, [("content-length", "10")]) + b"short", End.CLOSE),
        (stream_head() + chunk(b"one"), End.CLOSE),
        (stream_head() + b"20\r\nhalf", End.RESET),
        (b"this is no HTTP\r\n\r\n", End.CLOSE),
        (b"HTTP/1.1 abc OK\r\n\r\n", End.CLOSE),
        (b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n", End.STALL),
        (b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n", End.STALL),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", End.CLOSE),
        (stream_head() + b"zz\r\nbad\r\n", End.CLOSE),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000 + b"\r\n\r\n", End.CLOSE),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", End.CLOSE),
        (b"HTTP/1.1 200 OK\r\nx: a\x01b\r\ncontent-length: 0\r\n\r\n", End.STALL),
        (b"HTTP/1.1 200 OK\r\nx: a\x7fb\r\ncontent-length: 0\r\n\r\n", End.STALL),
    ],
    ids=[
        "closes without a word",
        "resets",
        "closes in the head",
        "too few bytes",
        "no last chunk",
        "resets in a chunk",
        "no HTTP",
        "no status",
        "too high a status",
        "too low a status",
        "two lengths",
        "bad chunk size",
        "endless header",
        "switches protocols",
        "a header with a control character",
        "a header with the last of them",
    ],
)
def test_a_broken_answer_is_an_upstream_error_and_nothing_stays_open(
    make: Make, upstream: Upstream, steps: tuple[bytes | End, ...]
) -> None:
    upstream.answer(play(*steps))
    with pytest.raises(UpstreamError) as caught:
        run(make, lambda transport: exchange(transport, request(upstream)))
    assert not isinstance(caught.value, ConnectFailed)  # Bytes were sent, so it must not be tried again.
    upstream.wait_for("the connection is closed", lambda: upstream.open == 0)
    assert len(upstream.requests) == 1


def test_bytes_before_a_break_can_still_be_read(make: Make, upstream: Upstream) -> None:
    gate = upstream.gate()
    upstream.answer(play(stream_head() + chunk(b"one"), gate, End.RESET))

    async def body(transport: Transport) -> bytes | None:
        response = await transport.send(request(upstream), LATER)
        gate.open()  # The bytes have arrived, together with the head.
        await asyncio.to_thread(upstream.wait_for, "it broke", lambda: upstream.open == 0)
        first = await response.read()
        with pytest.raises(UpstreamClosed):
            await response.read()
        await response.aclose()
        return first

    assert run(make, body) == b"one"


def test_an_early_answer_is_given_although_the_body_is_not_sent(make: Make, upstream: Upstream) -> None:
    async def refuse(arrived: Exchange) -> None:
        await arrived.send(head(413, [("content-length", "3"), ("connection", "close")]) + b"big")
        await arrived.read_body()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 10_000
            await asyncio.sleep(0)

    upstream.answer(refuse)

    sent = request(upstream, body=pieces())
    assert run(make, lambda transport: exchange(transport, sent)) == (413, b"big")


def test_nobody_listening_is_a_failure_to_connect(make: Make, upstream: Upstream) -> None:
    with pytest.raises(ConnectFailed):
        run(make, lambda transport: exchange(transport, request(upstream, port=9)))


def test_a_name_that_does_not_resolve_is_a_failure_to_connect(make: Make) -> None:
    sent = UpstreamRequest(method="GET", origin=Origin("http", "gateway-test.invalid", 80), target=b"/", headers=[])
    with pytest.raises(ConnectFailed):
        run(make, lambda transport: exchange(transport, sent))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "169.254.169.254", "2130706433", "10.0.0.1"]
)
def test_private_addresses_are_refused_where_they_are_not_allowed(make: Make, host: str) -> None:
    sent = UpstreamRequest(method="GET", origin=Origin("http", host, 80), target=b"/", headers=[])
    with pytest.raises(PrivateAddressRefused):
        run(make, lambda transport: exchange(transport, sent))


def test_who_finds_no_connection_free_is_told_in_time(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(stream_head(), End.STALL))

    async def body(transport: Transport) -> None:
        held = await transport.send(request(upstream), LATER)
        with pytest.raises(PoolTimeout):
            await transport.send(request(upstream), SOON)
        await held.aclose()

    run(make, body, max_connections=1)


async def wait_in(phase: str, transport: Transport, upstream: Upstream) -> asyncio.Task[Any]:
    """Make a task that waits for the head of an answer, or for its body."""
    task: asyncio.Task[Any]
    if phase == "before the head":
        task = asyncio.create_task(exchange(transport, request(upstream)))
        await asyncio.to_thread(upstream.wait_for_requests, 1)
        return task
    headed = asyncio.Event()

    async def read() -> None:
        response = await transport.send(request(upstream), LATER)
        headed.set()
        try:
            await response.read()
        finally:
            await response.aclose()

    task = asyncio.create_task(read())
    await headed.wait()
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("phase", ["before the head", "in the body"])
def test_cancelling_closes_the_connection(make: Make, upstream: Upstream, phase: str) -> None:
    upstream.answer(play(*([] if phase == "before the head" else [stream_head()]), End.STALL))

    async def body(transport: Transport) -> None:
        task = await wait_in(phase, transport, upstream)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(upstream.wait_for, "the connection is closed", lambda: upstream.open == 0)

    run(make, body)


@pytest.mark.parametrize("phase", ["before the head", "in the body"])
def test_an_interruption_reaches_whoever_waits(make: Make, upstream: Upstream, phase: str) -> None:
    if make is HttpxTransport and phase == "before the head":
        pytest.skip("httpx's transport gives no hold on a request before its head is there")
    upstream.answer(play(*([] if phase == "before the head" else [stream_head()]), End.STALL))

    async def body(transport: Transport) -> None:
        task = await wait_in(phase, transport, upstream)
        transport.interrupt(Draining("enough"))
        with pytest.raises(Draining):
            await task

    run(make, body)


def test_a_slow_reader_holds_the_upstream_back(make: Make, upstream: Upstream) -> None:
    size = 200 * 65_536
    upstream.answer(play(head(200, [("content-length", str(size))]), *[b"x" * 65_536] * 200))

    async def body(transport: Transport) -> int:
        response = await transport.send(request(upstream), LATER)
        await asyncio.sleep(0.3)
        held_back = upstream.exchanges[0].sent
        total = 0
        while part := await response.read():
            total += len(part)
        await response.aclose()
        assert total == size
        return held_back

    assert run(make, body) < size


def test_tls_needs_a_certificate_that_is_trusted(
    make: Make, upstream: Upstream, tls: tuple[ssl.SSLContext, str]
) -> None:
    context, ca_file = tls
    port = upstream.listen(context)
    upstream.answer(plain_answer(b"secret"))

    def sent(host: str) -> UpstreamRequest:
        return UpstreamRequest(method="GET", origin=Origin("https", host, port, True), target=b"/", headers=[])

    assert run(make, lambda transport: exchange(transport, sent("localhost")), ca_file=ca_file) == (200, b"secret")
    with pytest.raises(ConnectFailed):
        run(make, lambda transport: exchange(transport, sent("localhost")))
    with pytest.raises(ConnectFailed):  # The certificate is for localhost, not for this name of the same machine.
        run(make, lambda transport: exchange(transport, sent("127.0.0.1")), ca_file=ca_file)


def test_every_error_of_a_transport_is_one_of_the_gateways(make: Make, upstream: Upstream) -> None:
    upstream.answer(play(b"\x00\xff\r\n\r\n", End.CLOSE))
    with pytest.raises(GatewayError) as caught:
        run(make, lambda transport: exchange(transport, request(upstream)))
    assert "127.0.0.1" not in caught.value.message
