"""OpenAI's and Anthropic's Python SDKs, with their own helpers for streams and tools, on providers of other formats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types.beta import BetaMessage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.fruit import ANSWER, PROMPT, TOOL, answer, ask_first, check_question, check_tools
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess

ON_CHAT = by_both_doors("format", ["anthropic_messages", "gemini", "openai_responses"], is_quick=True)
"""With tools, the last one is reached by Responses although it serves chat completions."""
ON_RESPONSES = by_both_doors("format", ["anthropic_messages", "gemini", "openai_chat"], is_quick=True)
ON_MESSAGES = by_both_doors("format", ["openai_responses", "gemini", "openai_chat"], is_quick=True)
STREAMED = pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
CHAT_TOOL: Any = {"type": "function", "function": TOOL}
RESPONSES_TOOL: Any = {"type": "function", "strict": False, **TOOL}


def price_of(fruit: str, count: int) -> str:
    """Tells the price of a fruit.

    Args:
        fruit: Its name.
        count: How many.
    """
    return json.dumps({"price": f"{count} {fruit} cost {count * 3} crowns"})


@pytest.fixture
def openai_client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=GATEWAY_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, auth_token=GATEWAY_KEY, api_key=None, max_retries=0) as client:
        yield client


def complete(client: openai.OpenAI, format: str, messages: list[Any], *, is_streamed: bool) -> ChatCompletion:
    if not is_streamed:
        return client.chat.completions.create(model=TARGETS[format], messages=messages, tools=[CHAT_TOOL])
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(
        model=TARGETS[format], messages=messages, tools=[CHAT_TOOL], stream_options=options
    ) as stream:
        return stream.get_final_completion()


@ON_CHAT
@STREAMED
def test_chat_completions(
    openai_client: openai.OpenAI, start_model: StartModel, format: str, is_streamed: bool
) -> None:
    model = start_model(format, ask_first)
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    first = complete(openai_client, format, messages, is_streamed=is_streamed)
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    for call in message.tool_calls or ():
        assert call.type == "function"
        text = price_of(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
    second = complete(openai_client, format, messages, is_streamed=is_streamed)
    assert second.choices[0].message.content == ANSWER
    assert second.usage is not None
    assert (second.usage.prompt_tokens, second.usage.completion_tokens) == (1000, 50)
    check_tools(model)


def respond(client: openai.OpenAI, format: str, items: list[Any], *, is_streamed: bool) -> Response:
    parameters: Any = {"model": TARGETS[format], "input": items, "tools": [RESPONSES_TOOL], "store": False}
    parameters["include"] = ["reasoning.encrypted_content"]
    if not is_streamed:
        response: Response = client.responses.create(**parameters)
        return response
    with client.responses.stream(**parameters) as stream:
        return stream.get_final_response()


@ON_RESPONSES
@STREAMED
def test_responses(openai_client: openai.OpenAI, start_model: StartModel, format: str, is_streamed: bool) -> None:
    model = start_model(format, ask_first)
    items: list[Any] = [{"role": "user", "content": PROMPT}]
    first = respond(openai_client, format, items, is_streamed=is_streamed)
    items += (item.to_dict() for item in first.output)
    for item in first.output:
        if item.type == "function_call":
            text = price_of(**json.loads(item.arguments))
            items.append({"type": "function_call_output", "call_id": item.call_id, "output": text})
    second = respond(openai_client, format, items, is_streamed=is_streamed)
    assert second.output_text == ANSWER
    assert second.usage is not None
    assert (second.usage.input_tokens, second.usage.output_tokens) == (1000, 50)
    check_tools(model)


def text_of(message: BetaMessage) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def run_tools(client: anthropic.Anthropic, format: str, **more: Any) -> BetaMessage:
    """Let the SDK run the tools by itself."""
    runner: Iterable[Any] = client.beta.messages.tool_runner(
        model=TARGETS[format],
        max_tokens=4096,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": PROMPT}],
        tools=[anthropic.beta_tool(price_of)],
        **more,
    )
    *_, last = (said.get_final_message() if more.get("stream") else said for said in runner)
    assert isinstance(last, BetaMessage)
    return last


@ON_MESSAGES
@STREAMED
def test_messages(
    anthropic_client: anthropic.Anthropic, start_model: StartModel, format: str, is_streamed: bool
) -> None:
    model = start_model(format, ask_first)
    last = run_tools(anthropic_client, format, stream=is_streamed, thread=False)
    assert text_of(last) == ANSWER
    assert last.stop_reason == "end_turn"
    assert (last.usage.input_tokens, last.usage.output_tokens) == (1000, 50)
    check_tools(model)


@ON_MESSAGES
@STREAMED
def test_messages_that_the_provider_might_keep(
    anthropic_client: anthropic.Anthropic, start_model: StartModel, format: str, is_streamed: bool
) -> None:
    """The SDK's loop wants a thread of the provider's, and goes on without if the error says that this cannot be."""
    model = start_model(format, ask_first)
    assert text_of(run_tools(anthropic_client, format, stream=is_streamed)) == ANSWER
    check_tools(model)


@ON_MESSAGES
def test_async_messages(gateway: GatewayProcess, start_model: StartModel, format: str) -> None:
    model = start_model(format, answer)

    async def call() -> tuple[list[str], str]:
        async with (
            anthropic.AsyncAnthropic(base_url=gateway.url, auth_token=GATEWAY_KEY, api_key=None) as client,
            client.messages.stream(
                model=TARGETS[format], max_tokens=100, messages=[{"role": "user", "content": PROMPT}]
            ) as stream,
        ):
            return [piece async for piece in stream.text_stream], await stream.get_final_text()

    pieces, text = asyncio.run(call())
    assert len(pieces) > 1
    assert "".join(pieces) == text == ANSWER
    check_question(model)


@by_both_doors("format", ["anthropic_messages", "gemini"], is_quick=True)
def test_async_chat_completions(gateway: GatewayProcess, start_model: StartModel, format: str) -> None:
    model = start_model(format, answer)

    async def call() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=GATEWAY_KEY) as client:
            stream = await client.chat.completions.create(
                model=TARGETS[format], messages=[{"role": "user", "content": PROMPT}], stream=True
            )
            # Nobody asked for usage: every chunk has a choice.
            return [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert "".join(asyncio.run(call())) == ANSWER
    check_question(model)


@ON_CHAT
def test_counted_tokens(anthropic_client: anthropic.Anthropic, start_model: StartModel, format: str) -> None:
    model = start_model(format, answer)
    count = anthropic_client.messages.count_tokens(
        model=TARGETS[format], messages=[{"role": "user", "content": PROMPT}]
    )
    assert count.input_tokens == 1234
    assert model.counted == 1
