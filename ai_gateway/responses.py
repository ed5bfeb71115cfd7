"""The gateway's replies as Django's responses.

Their headers stay as the gateway wrote them until somebody looks at them: a middleware, or Django's own handler. On a
site where nobody does, `handler.py` sends them on, and nothing is made into text, checked and encoded again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.response import ResponseHeaders

from ai_gateway.calls import Headers, ReplyBody

ANY_TYPE = "application/octet-stream"
"""What Django is told the content type is, which wants one: the headers that take the place of its own have it."""


class ReplyHeaders(ResponseHeaders):
    """The headers of a reply, kept as Django keeps them (text, one of each name) from the first look at them on."""

    def __init__(self, given: Headers) -> None:
        self.given: Headers | None = given
        """As they came, or None if somebody has looked at them since, and may have changed them."""

    def __getattr__(self, name: str) -> Any:
        # All of Django's methods go to this attribute. It is missing until it is wanted.
        if name != "_store" or self.given is None:
            raise AttributeError(name)
        self._store = {name: (name, value) for name, value in joined(self.given).items()}
        self.given = None
        return self._store


def joined(headers: Headers) -> dict[str, str]:
    """Give headers as text, and one of each name: all that a name has, but only the last type."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found and key != "content-type" else text
    return found


def untouched(response: HttpResponseBase) -> Headers | None:
    """Give the headers of a reply that nobody has looked at on the way out, nor wrapped. None: it is to be sent as
    Django does."""
    if not isinstance(response.headers, ReplyHeaders) or response.cookies:
        return None
    if isinstance(response, EventStreamResponse) and response.is_wrapped:
        return None
    return response.headers.given


class WholeResponse(HttpResponse):
    """A reply whose body is there."""

    def __init__(self, body: bytes, *, status: int, headers: Headers) -> None:
        super().__init__(body, status=status, content_type=ANY_TYPE)
        self.headers = ReplyHeaders(headers)


class EventStreamResponse(StreamingHttpResponse):
    """A streaming response that closes its source for certain.

    Django closes only the iterator that it made around a source. A caller who leaves while Django is inside `send()`
    leaves the source itself open until the garbage collector comes by: with it a connection to a provider that goes on
    generating. Here the iterator that Django closes is the one that closes the source, whatever a middleware has put
    around it.
    """

    _iterator: object
    """Django's own: what there is to be sent."""

    def __init__(
        self, body: ReplyBody | AsyncGenerator[bytes, None], *, status: int, headers: Headers | None = None
    ) -> None:
        super().__init__(body, status=status, content_type=ANY_TYPE)
        self.body = body
        self._source: object = self._iterator
        if headers is not None:
            self.headers = ReplyHeaders(headers)

    @property
    def is_wrapped(self) -> bool:
        """Whether a middleware has put something in the place of the source, around it as a rule."""
        return self._iterator is not self._source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            # Not Django's `streaming_content` without need: that is one more iterator for each chunk to go through.
            async for chunk in super().__aiter__() if self.is_wrapped else self.body:
                yield chunk
        finally:
            await self.body.aclose()
