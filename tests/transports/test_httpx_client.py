"""The gateway's transport in an `httpx.AsyncClient`: the same exchanges, in httpx's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from ai_gateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    PoolTimeout,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ai_gateway.transports.pooled import PooledTransport, httpx_error, read_timeouts
from tests.upstream import LAST_CHUNK, End, Upstream, chunk, plain_answer, play, stream_head


def run(body: Callable[[httpx.AsyncClient], Awaitable[Any]], *, allow_private: bool = True) -> Any:
    """Run a test's body with a client whose transport is the gateway's."""

    async def main() -> Any:
        async with httpx.AsyncClient(transport=PooledTransport(allow_private=allow_private)) as client:
            return await body(client)

    return asyncio.run(main())


def test_a_request_arrives_as_it_was_written(upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"hello", headers=[("X-A", "1"), ("X-A", "2")]))
    url = f"http://127.0.0.1:{upstream.port}/v1/x?a=b%20c"
    answer = run(lambda client: client.post(url, headers={"X-One": "1"}, content=b'{"a": 1}'))
    assert (answer.status_code, answer.content, answer.http_version) == (200, b"hello", "HTTP/1.1")
    assert answer.headers.get_list("x-a") == ["1", "2"]
    arrived = upstream.request
    assert (arrived.method, arrived.target, bytes(arrived.body)) == ("POST", "/v1/x?a=b%20c", b'{"a": 1}')
    assert arrived.values("host") == [f"127.0.0.1:{upstream.port}"]
    assert (arrived.values("x-one"), arrived.values("content-length")) == (["1"], ["8"])


def test_bodies_flow_in_both_directions(upstream: Upstream) -> None:
    upstream.answer(play(stream_head() + chunk(b"one"), chunk(b"two"), LAST_CHUNK))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"three"
        yield b"four"

    async def body(client: httpx.AsyncClient) -> bytes:
        async with client.stream("POST", f"http://127.0.0.1:{upstream.port}/", content=pieces()) as answer:
            return b"".join([part async for part in answer.aiter_raw()])

    assert run(body) == b"onetwo"
    assert bytes(upstream.request.body) == b"threefour"


def test_an_answer_that_breaks_off_is_an_error_of_httpx(upstream: Upstream) -> None:
    upstream.answer(play(stream_head() + chunk(b"one"), End.RESET))
    with pytest.raises(httpx.RemoteProtocolError) as raised:
        run(lambda client: client.get(f"http://127.0.0.1:{upstream.port}/"))
    assert raised.value.request.method == "GET"


def test_a_private_address_is_asked_only_if_that_is_allowed(upstream: Upstream) -> None:
    with pytest.raises(httpx.ConnectError, match="private"):
        run(lambda client: client.get(f"http://127.0.0.1:{upstream.port}/"), allow_private=False)
    assert not upstream.requests


def test_the_timeouts_of_httpx_hold_and_none_is_no_limit() -> None:
    timeout = httpx.Timeout(None, connect=1, read=2)
    timeouts = read_timeouts(httpx.Request("GET", "https://a.example", extensions={"timeout": timeout.as_dict()}))
    assert (timeouts.connect, timeouts.first_byte, timeouts.idle) == (1, 2, 2)
    assert min(timeouts.pool, timeouts.write) > 24 * 3600


@pytest.mark.parametrize(
    ("error", "theirs"),
    [
        (PoolTimeout("x"), httpx.PoolTimeout),
        (ConnectTimeout("x"), httpx.ConnectTimeout),
        (ConnectFailed("x"), httpx.ConnectError),
        (UpstreamTimeout("x"), httpx.ReadTimeout),
        (UpstreamClosed("x"), httpx.RemoteProtocolError),
        (UpstreamProtocolError("x"), httpx.RemoteProtocolError),
        (UpstreamError("x"), httpx.TransportError),
        (Draining("x"), httpx.TransportError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_every_error_has_a_name_in_httpx(error: GatewayError, theirs: type[httpx.TransportError]) -> None:
    assert type(httpx_error(error, httpx.Request("GET", "https://a.example"))) is theirs
