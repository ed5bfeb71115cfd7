"""Counting tokens."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import BadRequest, UpstreamProtocolError
from ai_gateway.protocols.conversation import FunctionTool, Message, Reasoning, Text
from ai_gateway.protocols.gemini.count import (
    count_target,
    read_count,
    read_count_request,
    write_count,
    write_count_request,
)
from tests.protocols.gemini.samples import CARRIER, HEAD, asked, destination

CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]


@pytest.mark.parametrize(
    "body",
    [
        {"contents": CONTENTS},
        {"generateContentRequest": {"model": "models/m", "contents": CONTENTS}},
        {"generate_content_request": {"contents": CONTENTS, "generationConfig": {"temperature": 1}}},
    ],
)
def test_a_request_is_read_in_either_form(body: dict[str, Any]) -> None:
    (message,) = read_count_request(body, HEAD, CARRIER).messages
    assert [part.text for part in message.parts if isinstance(part, Text)] == ["Hi"]


@pytest.mark.parametrize("body", [{}, {"generateContentRequest": 5}, {"generateContentRequest": {}}])
def test_what_is_malformed_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_count_request(body, HEAD, CARRIER)


def test_turns_alone_are_counted_in_the_short_form() -> None:
    request = asked(temperature=1, max_output_tokens=5, reasoning=Reasoning(effort="low"))
    assert write_count_request(request, destination()).body == {"contents": CONTENTS}


def test_the_whole_prompt_is_counted_in_the_long_form() -> None:
    messages = [
        Message(role="system", parts=[Text(text="Be brief.")]),
        Message(role="user", parts=[Text(text="Hi")]),
    ]
    request = asked(*messages, temperature=1, tools=[FunctionTool(name="f")])
    assert write_count_request(request, destination()).body == {
        "generateContentRequest": {
            "model": "models/gemini-x",
            "contents": CONTENTS,
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "f", "description": ""}]}],
        }
    }


def test_the_answer() -> None:
    assert read_count(write_count(31)) == 31
    assert read_count({"totalTokens": 31, "promptTokensDetails": []}) == 31
    assert types.CountTokensResponse.model_validate(write_count(31)).total_tokens == 31
    assert count_target("m") == "/v1beta/models/m:countTokens"


@pytest.mark.parametrize("body", [{}, {"totalTokens": "31"}, {"totalTokens": True}, {"totalTokens": -1}])
def test_what_is_no_count(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_count(body)
