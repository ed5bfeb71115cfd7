"""The vendors' SDKs read a stream that two providers made, and take it for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import GATEWAY_KEY, StartGateway
from tests.dying_streams import chat, chat_end, messages, messages_end
from tests.gateway_process import GatewayProcess
from tests.test_continuation import HAIKU
from tests.upstream import End, Upstream, chunk, event_stream, play, stream_head

GROQ = "groq/llama-4"
ROUTES = {
    "claude-first": {"targets": [HAIKU, GROQ], "continue_streams": True},
    "groq-first": {"targets": [GROQ, HAIKU], "continue_streams": True},
}
FIRST = {
    "claude-first": (messages("Good ", "morning"), [*chat(" to", " you"), *chat_end()]),
    "groq-first": (chat("Good ", "morning"), [*messages(" to", " you"), *messages_end()]),
}
ASKED: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def going_on(start_gateway: StartGateway) -> GatewayProcess:
    return start_gateway(ROUTES=ROUTES, CAPABILITIES={GROQ: {"prefill": "prefix", "formats": ["openai_chat"]}})


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[str]:
    died, rest = FIRST[request.param]
    upstream.answer(play(stream_head() + b"".join(map(chunk, died)), End.CLOSE), event_stream(*rest))
    yield request.param
    assert len(upstream.requests) == 2


def test_chat_completions(going_on: GatewayProcess, route: str) -> None:
    with (
        openai.OpenAI(base_url=f"{going_on.url}/v1", api_key=GATEWAY_KEY, max_retries=0) as client,
        client.chat.completions.stream(model=route, messages=ASKED, stream_options={"include_usage": True}) as stream,
    ):
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == "Good morning to you"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 7


def test_responses(going_on: GatewayProcess, route: str) -> None:
    with (
        openai.OpenAI(base_url=f"{going_on.url}/v1", api_key=GATEWAY_KEY, max_retries=0) as client,
        client.responses.stream(model=route, input="Hello") as stream,
    ):
        numbers = [event.sequence_number for event in stream]
        answer = stream.get_final_response()
    assert answer.output_text == "Good morning to you"
    assert numbers == list(range(len(numbers)))


def test_messages(going_on: GatewayProcess, route: str) -> None:
    with (
        anthropic.Anthropic(base_url=going_on.url, api_key=GATEWAY_KEY, max_retries=0) as client,
        client.messages.stream(model=route, max_tokens=64, messages=ASKED) as stream,
    ):
        answer = stream.get_final_message()
    assert [block.text for block in answer.content if block.type == "text"] == ["Good morning to you"]
    assert answer.stop_reason == "end_turn"


def test_the_request_for_the_rest_names_what_was_said(going_on: GatewayProcess, route: str, upstream: Upstream) -> None:
    with openai.OpenAI(base_url=f"{going_on.url}/v1", api_key=GATEWAY_KEY, max_retries=0) as client:
        parts = list(client.chat.completions.create(model=route, messages=ASKED, stream=True))
    assert len({part.id for part in parts}) == 1
    last = json.loads(bytes(upstream.requests[1].body))["messages"][-1]
    assert (last["role"], last["content"]) == ("assistant", "Good morning")
