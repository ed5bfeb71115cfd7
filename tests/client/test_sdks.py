"""The vendors' SDKs with a client whose transport is the gateway in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai

from ai_gateway.client import async_client, sync_client
from ai_gateway.test import FakeProviders, fails, says, sends

KEY = "gw_key-of-the-sites-own-code"
TOLD: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def providers() -> Any:
    with FakeProviders(database=False, KEYS={"site": KEY}) as made:
        made.answer(says("Good morning to you"))
        yield made


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_openai(providers: FakeProviders, library: Any) -> None:
    client = openai.OpenAI(http_client=sync_client(key=KEY, library=library), api_key="unused")
    whole = client.chat.completions.create(model="gpt-5", messages=TOLD)
    assert whole.choices[0].message.content == "Good morning to you"
    stream = client.chat.completions.create(model="gpt-5", messages=TOLD, stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert pieces == ["Good", " morning", " to", " you"]
    assert client.responses.create(model="gpt-5", input="Hello").output_text == "Good morning to you"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_openai_on_an_event_loop(providers: FakeProviders, library: Any) -> None:
    async def call() -> list[str | None]:
        async with openai.AsyncOpenAI(http_client=async_client(key=KEY, library=library), api_key="unused") as client:
            stream = await client.chat.completions.create(model="gpt-5", messages=TOLD, stream=True)
            return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]

    assert "".join(filter(None, asyncio.run(call()))) == "Good morning to you"


def test_anthropic(providers: FakeProviders) -> None:
    with anthropic.Anthropic(http_client=sync_client(key=KEY, library=httpx2), api_key="unused") as client:
        whole = client.messages.create(model="claude-5", max_tokens=9, messages=TOLD)
        assert [block.text for block in whole.content if block.type == "text"] == ["Good morning to you"]
        with client.messages.stream(model="claude-5", max_tokens=9, messages=TOLD) as stream:
            assert list(stream.text_stream) == ["Good", " morning", " to", " you"]


def test_anthropic_on_an_event_loop(providers: FakeProviders) -> None:
    async def call() -> list[str]:
        http_client = async_client(key=KEY, library=httpx2)
        async with (
            anthropic.AsyncAnthropic(http_client=http_client, api_key="unused") as client,
            client.messages.stream(model="claude-5", max_tokens=9, messages=TOLD) as stream,
        ):
            return [piece async for piece in stream.text_stream]

    assert asyncio.run(call()) == ["Good", " morning", " to", " you"]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_googles(providers: FakeProviders, library: Any) -> None:
    async def call(client: genai.Client) -> list[str | None]:
        stream = await client.aio.models.generate_content_stream(model="gemini-3", contents="Hello")
        return [chunk.text async for chunk in stream]

    options = genai.types.HttpOptions(
        httpx_client=sync_client(key=KEY, library=library), httpx_async_client=async_client(key=KEY, library=library)
    )
    client = genai.Client(api_key="unused", http_options=options)
    whole = client.models.generate_content(model="gemini-3", contents="Hello")
    assert whole.text == "Good morning to you"
    assert "".join(filter(None, asyncio.run(call(client)))) == "Good morning to you"
    client.close()


def test_refusals_are_the_sdks_own_exceptions(providers: FakeProviders) -> None:
    stranger = openai.OpenAI(http_client=sync_client(key="gw_wrong"), api_key="unused", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="not known"):
        stranger.models.list()
    client = openai.OpenAI(http_client=sync_client(key=KEY), api_key="unused", max_retries=0)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="", messages=[], extra_headers={"x-provider": "nobody"})
    providers.answer(fails(429, headers={"retry-after": "0"}))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-5", messages=TOLD)
    assert caught.value.request_id == providers.usage[-1].request_id


def test_what_an_sdk_says_of_credentials_and_hosts_does_not_count(providers: FakeProviders) -> None:
    client = openai.OpenAI(
        http_client=sync_client(key=KEY), api_key="sk-somebody-elses", base_url="https://elsewhere.example/v1"
    )
    client.chat.completions.create(model="gpt-5", messages=TOLD)
    assert providers.request.url == "https://api.openai.com/v1/chat/completions"
    assert providers.request.headers["authorization"] == "Bearer sk-test"
    assert providers.usage[0].key_name == "site"


def test_an_upload_arrives_whole(providers: FakeProviders) -> None:
    providers.answer(sends({"text": "Hello"}))
    client = openai.OpenAI(http_client=sync_client(key=KEY), api_key="unused")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF" * 1000), timeout=10)
    assert heard.text == "Hello"
    assert b"RIFF" * 1000 in providers.request.body
    assert int(providers.request.headers.get("content-length", len(providers.request.body))) == len(
        providers.request.body
    )
