"""A reply's headers stay as they came until somebody looks; and the streaming response closes its source, however it
ends."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

import pytest

from ai_gateway.calls import ReplyBody
from ai_gateway.responses import EventStreamResponse, WholeResponse, untouched
from tests.factories import run

HEADERS = [(b"content-type", b"application/json"), (b"x-warning", b"one"), (b"x-warning", b"tw\xf6")]


def reply() -> WholeResponse:
    """A reply as a view gives it."""
    return WholeResponse(b"{}", status=200, headers=list(HEADERS))


def test_headers_that_nobody_looked_at_are_sent_as_they_came() -> None:
    response = reply()
    assert untouched(response) == HEADERS
    assert (response.status_code, response.content) == (200, b"{}")


@pytest.mark.parametrize(
    "look",
    [
        lambda response: response["X-Warning"],
        lambda response: response.has_header("vary"),
        lambda response: list(response.items()),
        lambda response: response.headers.setdefault("x-frame-options", "DENY"),
        lambda response: response.headers.pop("x-warning"),
        lambda response: response.set_cookie("theme", "dark"),
        lambda response: setattr(response, "headers", dict(response.headers)),
    ],
    ids=["read", "search", "list", "set", "remove", "cookie", "replace"],
)
def test_headers_that_somebody_looked_at_are_djangos(look: Callable[[WholeResponse], object]) -> None:
    response = reply()
    look(response)
    assert untouched(response) is None


def test_django_sees_text_and_one_header_of_each_name() -> None:
    response = reply()
    assert response.headers == {"Content-Type": "application/json", "X-Warning": "one, tw\xf6"}
    assert dict(response.items()) == {"content-type": "application/json", "x-warning": "one, tw\xf6"}


def test_a_reply_without_a_content_type_gets_none() -> None:
    assert "content-type" not in WholeResponse(b"", status=204, headers=[])


def test_a_reply_can_be_kept_in_a_cache() -> None:
    assert pickle.loads(pickle.dumps(reply())).headers == reply().headers


class Endless(ReplyBody):
    """A body without an end."""

    is_broken = False

    def __init__(self) -> None:
        self.is_closed = False

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        return b"chunk"

    async def aclose(self) -> None:
        self.is_closed = True


def chunks_of(body: ReplyBody) -> AsyncGenerator[bytes, None]:
    """The iterator that Django makes of the response, and closes."""
    return cast("AsyncGenerator[bytes, None]", aiter(EventStreamResponse(body, status=200)))


async def shouted(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What a middleware may put around a stream."""
    async for chunk in chunks:
        yield chunk.upper()


def test_what_a_middleware_puts_around_a_stream_is_asked_and_the_source_closed() -> None:
    body = Endless()
    response = EventStreamResponse(body, status=200, headers=[])
    assert untouched(response) == []
    response.streaming_content = shouted(cast("AsyncIterator[bytes]", response.streaming_content))
    assert untouched(response) is None

    async def main() -> None:
        async with aclosing(cast("AsyncGenerator[bytes, None]", aiter(response))) as chunks:
            assert await anext(chunks) == b"CHUNK"

    run(main())
    assert body.is_closed


def test_a_reader_that_stops_closes_the_source() -> None:
    body = Endless()

    async def main() -> None:
        async with aclosing(chunks_of(body)) as chunks:
            assert await anext(chunks) == b"chunk"

    run(main())
    assert body.is_closed


def test_a_reader_that_is_cancelled_outside_the_source_closes_it() -> None:
    body = Endless()

    async def deliver() -> None:
        async with aclosing(chunks_of(body)) as chunks:
            async for _ in chunks:
                await asyncio.Event().wait()  # The caller takes nothing any more.

    async def main() -> None:
        task = asyncio.ensure_future(deliver())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert body.is_closed
