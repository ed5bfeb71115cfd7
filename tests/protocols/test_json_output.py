"""Asking for JSON of a model that cannot be held to it."""

from __future__ import annotations

from ai_gateway.protocols.conversation import Message, Refusal, Text
from ai_gateway.protocols.json_output import instruction, says_json, tool_name


def test_the_words_have_the_schema_and_the_word_that_openai_demands() -> None:
    assert "JSON" in instruction(None)
    assert "JSON" in instruction({})
    assert instruction({"type": "object", "title": "Grüße"}).endswith('\n{"type":"object","title":"Grüße"}')


def test_the_word_may_stand_in_any_text() -> None:
    texts = [
        Message(role="system", parts=[Text(text="Hi")]),
        Message(role="user", parts=[Text(text="as Json, please")]),
    ]
    assert says_json(texts)
    assert not says_json(texts[:1])
    assert not says_json([Message(role="assistant", parts=[Refusal(text="no JSON")])])


def test_no_other_tool_has_the_name() -> None:
    assert tool_name(()) == "json_output"
    assert tool_name({"json_output", "json_output_"}) == "json_output__"
