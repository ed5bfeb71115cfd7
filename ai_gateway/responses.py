"""The one streaming response that the Django door gives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import MappingProxyType

from django.http import StreamingHttpResponse

from ai_gateway.calls import ReplyBody


class EventStreamResponse(StreamingHttpResponse):
    """A streaming response that closes its source for certain.

    Django closes only the iterator that it made around a source. A caller who leaves while Django is inside `send()`
    leaves the source itself open until the garbage collector comes by: with it a connection to a provider that goes on
    generating. Here the iterator that Django closes is the one that closes the source.
    """

    def __init__(
        self,
        body: ReplyBody | AsyncGenerator[bytes, None],
        *,
        status: int,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(body, status=status, headers=dict(headers))
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        finally:
            await self._body.aclose()
