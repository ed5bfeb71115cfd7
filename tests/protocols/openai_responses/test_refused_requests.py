"""Requests of Responses that are refused, and in whose words."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import BadRequest, GatewayError
from tests.protocols.openai_responses.requests import REFUSED
from tests.protocols.openai_responses.wire import asked


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_what_needs_storage_is_refused(name: str, code: str) -> None:
    value = True if name == "background" else "resp_123"
    with pytest.raises(BadRequest) as caught:
        asked(**{name: value})
    assert (caught.value.param, caught.value.code, caught.value.status) == (name, code, 400)


def test_a_response_that_is_not_stored_is_not_found_in_openais_words() -> None:
    with pytest.raises(BadRequest, match=r"^Previous response with id 'resp_1' not found\.$"):
        asked(previous_response_id="resp_1")


def test_a_reference_to_an_item_is_not_found() -> None:
    with pytest.raises(GatewayError, match=r"Item with id 'rs_1' not found\. Items are not persisted") as caught:
        asked(input=[{"type": "item_reference", "id": "rs_1"}])
    assert (caught.value.status, caught.value.param) == (404, "input")


CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}

MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"input": None}, "input"),
    ({"input": 1}, "input"),
    ({"input": ["a"]}, "input[0]"),
    ({"input": [{"content": "a"}]}, "input[0].role"),
    ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
        "input[0].content[0].image_url",
    ),
    ({"input": [{"type": "function_call", "call_id": "a"}]}, "input[0].name"),
    ({"input": [CALL]}, "input"),
    ({"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]}, "input"),
    ({"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]}, "input[0].type"),
    ({"instructions": []}, "instructions"),
    ({"tools": {}}, "tools"),
    ({"tools": [1]}, "tools[0]"),
    ({"tools": [{"name": "add"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "add", "parameters": []}]}, "tools[0].parameters"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": 1.5}, "max_output_tokens"),
    ({"max_output_tokens": "9"}, "max_output_tokens"),
    ({"temperature": True}, "temperature"),
    ({"reasoning": "high"}, "reasoning"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
]


@pytest.mark.parametrize(("members", "param"), MALFORMED, ids=[param for _, param in MALFORMED])
def test_what_is_malformed_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**members)
    assert caught.value.param == param


def test_a_call_without_its_result_is_refused_in_openais_words() -> None:
    with pytest.raises(BadRequest, match=r"^No tool output found for function call call_1\.$"):
        asked(input=[CALL])
