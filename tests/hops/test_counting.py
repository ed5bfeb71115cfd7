"""Counts of tokens: by the provider's own counter in whatever format it has one, else by estimate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import BadRequest, ProviderError, UpstreamRefusedCredential
from ai_gateway.protocols.conversation import (
    Audio,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Opaque,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.counting import estimate, tokens_of
from tests.factories import JSON, Answer
from tests.hops.conftest import Exchange

Ask = Callable[..., Exchange]
MESSAGES = {"model": "m", "system": "Be brief", "messages": [{"role": "user", "content": "Hello there"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
INPUT = {"model": "m", "input": "Hello there"}


def answer(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status=status, headers=[JSON])


def test_claude_code_on_gemini_is_told_what_gemini_counts(exchange: Ask) -> None:
    done = exchange("/v1/messages/count_tokens?beta=true", MESSAGES, "google/gemini-x", answer({"totalTokens": 31}))
    assert done.target == "generativelanguage.googleapis.com/v1beta/models/gemini-x:countTokens"
    assert done.json() == {"input_tokens": 31}
    assert done.headers[b"x-gateway-provider"] == b"google"
    assert b"x-gateway-estimated" not in done.headers


def test_claude_code_on_openai_is_told_what_openai_counts(exchange: Ask) -> None:
    reply = {"object": "response.input_tokens", "input_tokens": 12}
    done = exchange("/v1/messages/count_tokens", MESSAGES, "openai/gpt-5", answer(reply))
    assert done.target == "api.openai.com/v1/responses/input_tokens"
    assert "stream" not in done.sent
    assert "max_output_tokens" not in done.sent
    assert done.json() == {"input_tokens": 12}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1beta/models/m:countTokens", CONTENTS, {"totalTokens": 9}),
        ("/v1/responses/input_tokens", INPUT, {"object": "response.input_tokens", "input_tokens": 9}),
    ],
)
def test_other_callers_are_told_what_anthropic_counts(exchange: Ask, path: str, body: Any, expected: Any) -> None:
    done = exchange(path, body, "messages/claude-x", answer({"input_tokens": 9}))
    assert done.target == "api.anthropic.com/v1/messages/count_tokens"
    assert "max_tokens" not in done.sent
    assert done.json() == expected


@pytest.mark.parametrize("to", ["chat", "converse"])
def test_where_nobody_counts_the_answer_is_an_estimate_that_says_so(exchange: Ask, to: str) -> None:
    done = exchange("/v1/messages/count_tokens", MESSAGES, to)
    assert not done.transport.requests
    assert 1 <= done.json()["input_tokens"] < 30
    assert done.headers[b"x-gateway-estimated"] == b"input_tokens"
    assert done.reply.status == 200


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_counter_that_is_not_there_after_all_is_replaced_by_an_estimate(exchange: Ask, status: int) -> None:
    done = exchange("/v1/messages/count_tokens", MESSAGES, "google/g", answer({"error": {"code": status}}, status))
    assert done.json()["input_tokens"] >= 1
    assert done.headers[b"x-gateway-estimated"] == b"input_tokens"


def test_any_other_error_of_a_counter_is_an_error(exchange: Ask) -> None:
    error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(ProviderError) as raised:
        exchange("/v1/messages/count_tokens", MESSAGES, "google/g", answer(error, 429))
    assert raised.value.status == 429


BAD_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    }
}
"""How Google refuses a key: with the status of a bad request."""


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/messages/count_tokens", MESSAGES), ("/v1/responses/input_tokens", INPUT)]
)
def test_a_credential_of_the_gateways_that_is_refused_is_not_the_callers_fault(
    exchange: Ask, path: str, body: Any
) -> None:
    """Claude Code takes a 401 for a refusal of its own key, and asks to log in."""
    with pytest.raises(UpstreamRefusedCredential) as raised:
        exchange(path, body, "google/g", answer(BAD_KEY, 400))
    assert "API key" not in str(raised.value)


def test_a_request_without_a_model_is_refused(exchange: Ask) -> None:
    with pytest.raises(BadRequest) as raised:
        exchange("/v1/messages/count_tokens", {"messages": []}, "chat")
    assert raised.value.param == "model"


def prompt(*parts: Any) -> Request:
    return Request(format="openai_chat", model="m", messages=[Message(role="user", parts=list(parts))])


def test_an_estimate_grows_with_what_is_said() -> None:
    assert estimate(prompt(Text(text="word " * 1000))) == pytest.approx(1250, rel=0.1)
    assert tokens_of("漢字かな" * 100) == pytest.approx(400, rel=0.1)
    assert tokens_of("\u2e7f" * 3 + "\u2e80 \U0010ffff" + "ab") == 2 + 6 / 3
    assert estimate(prompt(Image(url="https://example.org/a.png"))) > 1000
    assert estimate(prompt(File(data="A" * 40_000))) > estimate(prompt(File(data="A" * 4_000)))
    assert estimate(prompt(ToolCall(id="c", name="f", arguments='{"a":"' + "x" * 4000 + '"}'))) > 900


def test_all_that_is_sent_counts() -> None:
    heard = prompt(Audio(data="A" * 40_000, format="wav"))
    assert estimate(heard) > estimate(prompt(Audio(data="A" * 4_000, format="wav")))
    result = ToolResult(call_id="c", parts=[Text(text="word " * 1000)])
    assert estimate(prompt(result)) == pytest.approx(1250, rel=0.1)
    assert estimate(prompt(Opaque(format="gemini", value={"code": "x" * 4000}))) == pytest.approx(1000, rel=0.1)
    alone = estimate(prompt(Text(text="Hello")))
    tools: list[Any] = [
        FunctionTool(name="f", description="word " * 1000, schema={"type": "object"}),
        CustomTool(name="f", description="word " * 1000),
        HostedTool(format="openai_responses", type="web_search", value={"filter": "x" * 4000}),
    ]
    for tool in tools:
        offered = msgspec.structs.replace(prompt(Text(text="Hello")), tools=[tool])
        assert estimate(offered) - alone > 900


def test_an_estimate_is_never_nothing() -> None:
    assert estimate(Request(format="openai_chat", model="m", messages=[])) == 1
