"""Google's Python SDK on providers of other formats."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.fruit import ANSWER, PROMPT, answer, ask_first, check_question, check_tools
from tests.clients.models.turns import Seen, Turn
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

FORMATS = ["openai_chat", "anthropic_messages", "openai_responses"]
ON_A_PROVIDER = by_both_doors("format", FORMATS, is_quick=True)


def price_of(fruit: str, count: int) -> dict[str, str]:
    """Tells the price of a fruit."""
    return {"price": f"{count} {fruit} cost {count * 3} crowns"}


def config() -> types.GenerateContentConfig:
    """Offer a function that the SDK calls by itself."""
    return types.GenerateContentConfig(
        tools=[price_of],
        system_instruction="You know about fruit.",
        max_output_tokens=9000,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2048),
    )


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key=GATEWAY_KEY, vertexai=False, http_options=options) as client:
        yield client


def check_answer(said: types.GenerateContentResponse) -> None:
    assert said.text == ANSWER
    assert said.candidates is not None
    assert said.candidates[0].finish_reason == types.FinishReason.STOP
    check_end(said)


def check_end(said: types.GenerateContentResponse) -> None:
    usage = said.usage_metadata
    assert usage is not None
    assert usage.prompt_token_count == 1000
    assert (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) == 50
    assert usage.total_token_count == 1050


@ON_A_PROVIDER
def test_an_answer(client: genai.Client, start_model: StartModel, format: str) -> None:
    model = start_model(format, answer)
    said = client.models.generate_content(model=TARGETS[format], contents=PROMPT)
    check_answer(said)
    assert said.model_version
    assert said.model_version in TARGETS[format]
    check_question(model)


@ON_A_PROVIDER
def test_a_stream(client: genai.Client, start_model: StartModel, format: str) -> None:
    model = start_model(format, answer)
    chunks = list(client.models.generate_content_stream(model=TARGETS[format], contents=PROMPT))
    assert len(chunks) > 2
    assert "".join(chunk.text or "" for chunk in chunks) == ANSWER
    check_end(chunks[-1])
    check_question(model)


@ON_A_PROVIDER
def test_async_calls(client: genai.Client, start_model: StartModel, format: str) -> None:
    start_model(format, answer)

    async def call() -> tuple[types.GenerateContentResponse, str]:
        whole = await client.aio.models.generate_content(model=TARGETS[format], contents=PROMPT)
        stream = await client.aio.models.generate_content_stream(model=TARGETS[format], contents=PROMPT)
        text = "".join([chunk.text or "" async for chunk in stream])
        await client.aio.aclose()
        return whole, text

    whole, streamed = asyncio.run(call())
    check_answer(whole)
    assert streamed == ANSWER


@ON_A_PROVIDER
def test_a_tool_loop(client: genai.Client, start_model: StartModel, format: str) -> None:
    model = start_model(format, ask_first)
    said = client.chats.create(model=TARGETS[format], config=config()).send_message(PROMPT)
    check_answer(said)
    check_tools(model)
    assert model.last.instructions == "You know about fruit."


@ON_A_PROVIDER
def test_a_streamed_tool_loop(client: genai.Client, start_model: StartModel, format: str) -> None:
    model = start_model(format, ask_first)
    chat = client.chats.create(model=TARGETS[format], config=config())
    text = "".join(chunk.text or "" for chunk in chat.send_message_stream(PROMPT))
    assert text == f"Let me ask.{ANSWER}"
    check_tools(model)


@ON_A_PROVIDER
def test_an_async_tool_loop(client: genai.Client, start_model: StartModel, format: str) -> None:
    model = start_model(format, ask_first)

    async def call() -> types.GenerateContentResponse:
        said = await client.aio.chats.create(model=TARGETS[format], config=config()).send_message(PROMPT)
        await client.aio.aclose()
        return said

    check_answer(asyncio.run(call()))
    check_tools(model)


@ON_A_PROVIDER
def test_structured_output(client: genai.Client, start_model: StartModel, format: str) -> None:
    def brain(seen: Seen) -> Turn:
        return Turn(text='{"fruit": "pears", "count": 2}')

    start_model(format, brain)
    schema = {"type": "object", "properties": {"fruit": {"type": "string"}, "count": {"type": "integer"}}}
    wanted = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema)
    said = client.models.generate_content(model=TARGETS[format], contents=PROMPT, config=wanted)
    assert said.parsed == {"fruit": "pears", "count": 2}


@ON_A_PROVIDER
def test_an_error_of_the_provider(client: genai.Client, upstream: Upstream, format: str) -> None:
    error: dict[str, Any] = {"type": "rate_limit_error", "message": "Slower, please.", "code": None}
    upstream.answer(json_answer({"type": "error", "error": error}, 429))
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=TARGETS[format], contents=PROMPT)
    assert caught.value.code == 429
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    assert "Slower, please." in str(caught.value)


@ON_A_PROVIDER
def test_a_stream_that_breaks(client: genai.Client, start_model: StartModel, format: str) -> None:
    start_model(format, answer).breaks_after = 6
    stream = client.models.generate_content_stream(model=TARGETS[format], contents=PROMPT)
    with pytest.raises(errors.APIError):
        list(stream)


VERSIONS = by_both_doors("version", ["v1", "v1beta"], is_quick=True)
"""What the SDK puts before `/models` depends on its own version."""


def lister(gateway: GatewayProcess, key: str, version: str) -> genai.Client:
    options = types.HttpOptions(base_url=gateway.url, api_version=version)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


@VERSIONS
def test_models_are_listed_page_by_page_and_one_by_one(gateway: GatewayProcess, version: str) -> None:
    with lister(gateway, GATEWAY_KEY, version) as client:
        whole = {model.name: model for model in client.models.list()}
        pages = [model.name for model in client.models.list(config={"page_size": 3})]
        assert pages == list(whole)
        assert {"models/gemini-2.5-flash", "models/echo/echo-1"} <= whole.keys()
        echo = client.models.get(model="echo/echo-1")
        assert echo == whole["models/echo/echo-1"]
        assert echo.supported_actions == ["generateContent", "countTokens"]
        assert client.models.generate_content(model=echo.name or "", contents=PROMPT).text == PROMPT
        with pytest.raises(errors.ClientError) as caught:
            client.models.get(model="gemini/none-such")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@VERSIONS
def test_who_brings_a_key_of_googles_is_told_what_google_says(
    gateway: GatewayProcess, upstream: Upstream, version: str
) -> None:
    flash = {"name": "models/gemini-flash", "inputTokenLimit": 1048576, "supportedGenerationMethods": ["embedContent"]}
    upstream.answer(json_answer({"models": [flash]}))
    with lister(gateway, "AIza-own", version) as client:
        model = client.models.get(model="gemini-flash")
    assert (model.name, model.input_token_limit) == ("models/gemini-flash", 1048576)
    assert model.supported_actions == ["embedContent"]
    assert upstream.request.target == "/v1beta/models?pageSize=1000"
    assert upstream.request.header("x-goog-api-key") == "AIza-own"
