"""The official SDKs, connected to the echo provider by a transport that has no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anthropic
import httpx2
import openai

from ai_gateway.calls import Call, Timeouts, UpstreamResponse
from ai_gateway.protocols import dialect_of
from ai_gateway.providers import Provider, build_provider
from tests.providers.samples import NOBODY


def echo(**options: Any) -> Provider:
    """The echo provider, as the settings would set it up."""
    return build_provider("echo", {"OPTIONS": options})


async def ask(provider: Provider, call: Call) -> UpstreamResponse:
    """Let the provider answer a call of somebody without a key."""
    assert provider.send is not None
    response: UpstreamResponse = await provider.send(provider.build(call, NOBODY, None), Timeouts())
    return response


async def read_all(response: UpstreamResponse) -> list[bytes]:
    """Read an answer to its end, piece by piece."""
    pieces: list[bytes] = []
    while piece := await response.read():
        pieces.append(piece)
    await response.aclose()
    return pieces


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: UpstreamResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._response.read():
            yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


class EchoTransport(httpx2.AsyncBaseTransport):
    """Hands what an SDK sends to the provider, and its answer back."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        fields: Mapping[bytes, bytes] = dict(headers)
        path, _, query = request.url.raw_path.partition(b"?")
        is_json = fields.get(b"content-type", b"application/json").startswith(b"application/json")
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        body = b"".join([piece async for piece in request.stream]) if is_json else aiter(request.stream)
        call = Call(
            method=request.method,
            path=path.decode(),
            query=query,
            headers=headers,
            fields=fields,
            body=body,
            dialect=dialect_of(path.decode(), fields),
            request_id="req_0123456789abcdef01234567",
            received_at=0.0,
        )
        response = await ask(self._provider, call)
        return httpx2.Response(response.status, headers=response.headers, stream=_Body(response))


def openai_client(**options: Any) -> openai.AsyncOpenAI:
    """OpenAI's SDK, asking the echo provider."""
    http_client = httpx2.AsyncClient(transport=EchoTransport(echo(**options)))
    return openai.AsyncOpenAI(
        api_key="none", base_url="http://gateway.example.com/v1", http_client=http_client, max_retries=0
    )


def anthropic_client(**options: Any) -> anthropic.AsyncAnthropic:
    """Anthropic's SDK, asking the echo provider."""
    http_client = httpx2.AsyncClient(transport=EchoTransport(echo(**options)))
    return anthropic.AsyncAnthropic(
        api_key="none", base_url="http://gateway.example.com", http_client=http_client, max_retries=0
    )
