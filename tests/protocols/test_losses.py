"""No part of a conversation is lost without a word: it is refused, said otherwise, or reported as dropped."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.jsontext import dumps
from tests.protocols.test_writing import written

NEW_BLOCK = {"type": "new_block", "secret": "IMPORTANT"}
TARGETS = ["openai_chat", "openai_responses", "gemini", "bedrock_converse"]


def asked(*content: dict[str, Any]) -> dict[str, Any]:
    """A body whose last turn is the user's, behind a call."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    return {
        "max_tokens": 5,
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": list(content)},
        ],
    }


def result(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": list(content)}


@pytest.mark.parametrize("to", TARGETS)
def test_a_block_of_the_users_that_is_not_known_is_refused(to: str) -> None:
    with pytest.raises(Unsupported) as raised:
        written("anthropic_messages", asked(result(), NEW_BLOCK), to)
    assert raised.value.param == "messages[2].content[1]"


@pytest.mark.parametrize("to", TARGETS)
def test_a_block_of_a_result_that_is_not_known_is_said_as_json_or_reported(to: str) -> None:
    body = asked(result({"type": "text", "text": "a"}, NEW_BLOCK))
    outgoing = written("anthropic_messages", body, to)
    is_said = b"IMPORTANT" in dumps(outgoing.body)
    assert is_said != ("messages[2].content[0].content[1]" in outgoing.dropped)
    assert is_said or to == "bedrock_converse"


@pytest.mark.parametrize("to", TARGETS)
def test_what_the_model_did_with_its_providers_tools_is_reported(to: str) -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    body = asked()
    body["messages"] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [search, found, {"type": "text", "text": "ok"}]},
        {"role": "user", "content": "y"},
    ]
    assert list(written("anthropic_messages", body, to).dropped) == [
        "messages[1].content[0]",
        "messages[1].content[1]",
    ]


@pytest.mark.parametrize("to", TARGETS)
def test_what_the_operator_tells_the_providers_machinery_is_reported(to: str) -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}
    body = asked(result())
    body["messages"].append({"role": "system", "content": [added]})
    assert "messages[3].content[0]" in written("anthropic_messages", body, to).dropped


SOUND = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}


@pytest.mark.parametrize("to", ["openai_chat", "openai_responses", "anthropic_messages"])
def test_sound_that_a_tool_gave_back_is_refused(to: str) -> None:
    call = {"functionCall": {"name": "f", "args": {}, "id": "i"}}
    response = {"name": "f", "id": "i", "response": {"result": "r"}, "parts": [SOUND]}
    contents = [("user", {"text": "x"}), ("model", call), ("user", {"functionResponse": response})]
    body = {"contents": [{"role": role, "parts": [part]} for role, part in contents]}
    with pytest.raises(Unsupported) as raised:
        written("gemini", body, to, audio=True)
    assert "functionResponse.parts[0]" in str(raised.value.param)


@pytest.mark.parametrize("to", ["openai_chat", "openai_responses"])
def test_a_picture_of_the_models_is_refused(to: str) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    contents = [("user", {"text": "Draw"}), ("model", picture), ("user", {"text": "Again"})]
    body = {"contents": [{"role": role, "parts": [part]} for role, part in contents]}
    with pytest.raises(Unsupported) as raised:
        written("gemini", body, to)
    assert raised.value.param == "contents[1].parts[0].inlineData"
