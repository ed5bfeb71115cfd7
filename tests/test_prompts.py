"""What is asked by a form, as a request of every format and back; and what came back, as events for a page."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ai_gateway import prompts, registry
from ai_gateway.errors import BadRequest
from ai_gateway.hearing import Hearing
from ai_gateway.prompts import Call, Prompt, Thought, Turn, Written
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Answer, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay

PIXEL = "data:image/png;base64,aGVsbG8="
TOOLS = '[{"name": "weather", "description": "Tells it", "parameters": {"type": "object", "properties": {}}}]'
SCHEMA = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}'

each_format = pytest.mark.parametrize("format", prompts.FORMATS)


def asked(format: str, **fields: Any) -> Prompt:
    messages = fields.pop("messages", [Turn(role="user", text="Hello")])
    return Prompt(**{"model": "echo/echo-1", "format": format, "messages": messages, **fields})


def written(prompt: Prompt) -> Written:
    return prompts.write(prompt, registry.snapshot())


def conversation() -> list[Turn]:
    state = {"format": "anthropic_messages", "kind": "signature", "value": "sealed", "id": ""}
    return [
        Turn(role="user", text="How is the weather?", images=[PIXEL]),
        Turn(
            role="assistant",
            text="I look.",
            model="echo/echo-1",
            thoughts=[Thought(text="Hm.", state=state)],
            calls=[Call(id="call_1", name="weather", arguments='{"city": "Bern"}')],
        ),
        Turn(role="tool", call_id="call_1", name="weather", text="It rains."),
        Turn(role="user", text="And tomorrow?"),
    ]


@each_format
def test_write__what_was_asked_is_read_again(format: str) -> None:
    prompt = asked(
        format, messages=conversation(), system="Be brief.", max_tokens=300, temperature=0.5, tools=TOOLS, schema=SCHEMA
    )
    request = written(prompt)
    back = prompts.read_request(format, request.path, json.loads(request.content), registry.snapshot().carrier)
    assert (back.model, back.format, back.system, back.stream) == ("echo/echo-1", format, "Be brief.", True)
    assert (back.max_tokens, back.temperature) == (300, 0.5)
    assert json.loads(back.tools)[0]["name"] == "weather"
    assert json.loads(back.schema)["required"] == ["a"]
    assert [turn.role for turn in back.messages] == ["user", "assistant", "tool", "user"]
    first, said, result, last = back.messages
    assert (first.text, first.images) == ("How is the weather?", [PIXEL])
    assert (said.text, said.calls[0].name, json.loads(said.calls[0].arguments)) == (
        "I look.",
        "weather",
        {"city": "Bern"},
    )
    assert "It rains." in result.text
    assert result.call_id == said.calls[0].id
    assert last.text == "And tomorrow?"


@each_format
def test_write__the_path_says_how_it_is_asked(format: str) -> None:
    streamed, whole = (written(asked(format, stream=stream)) for stream in (True, False))
    assert (streamed.stream, whole.stream) == (True, False)
    assert PROTOCOLS[format].target("echo/echo-1", True) == (streamed.path, streamed.query.encode())


def test_write__what_the_writer_does_not_know_is_added_and_wins() -> None:
    request = written(asked("openai_chat", temperature=1.5, extra='{"temperature": 0, "min_p": 0.1}'))
    body = json.loads(request.content)
    assert (body["temperature"], body["min_p"]) == (0, 0.1)
    assert "min_p" not in request.body


def test_write__an_effort_is_asked_for_where_nobody_knows_the_model() -> None:
    assert written(asked("openai_chat", effort="high")).body["reasoning_effort"] == "high"
    assert written(asked("anthropic_messages", effort="low", max_tokens=9000)).body["thinking"]["type"] == "enabled"


def test_write__states_go_back_to_the_model_that_they_came_from_only() -> None:
    ours = written(asked("anthropic_messages", messages=conversation())).body["messages"][1]["content"]
    others = written(asked("anthropic_messages", model="echo/echo-2", messages=conversation())).body["messages"][1]
    assert ours[0] == {"type": "thinking", "thinking": "Hm.", "signature": "sealed"}
    assert [part["type"] for part in others["content"]] == ["text", "tool_use"]


@pytest.mark.parametrize(
    "tools",
    [
        TOOLS,
        '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}',
        '[{"name": "weather", "input_schema": {"type": "object"}}]',
        '[{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}]',
    ],
)
def test_write__tools_may_have_the_shape_of_any_format(tools: str) -> None:
    (tool,) = written(asked("anthropic_messages", tools=tools)).body["tools"]
    assert (tool["name"], tool["input_schema"]["type"]) == ("weather", "object")


def test_write__a_tool_of_the_provider_goes_as_it_is() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    assert written(asked("anthropic_messages", tools=json.dumps([tool]))).body["tools"] == [tool]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": ""}, "model", "Choose a model"),
        ({"messages": []}, "messages", "no message"),
        ({"tools": '[{"name": "a",\n  "parameters": {]}}]'}, "tools", "Line 2, column 18"),
        ({"tools": "3"}, "tools", "a list of objects"),
        ({"tools": '[{"type": "function"}]'}, "tools", "has no name"),
        ({"tools": '["weather"]'}, "tools", "is no object"),
        ({"tools": '[{"name": "a", "parameters": 3}]'}, "tools", "The schema of a"),
        ({"schema": "[]"}, "schema", "no JSON object"),
        ({"extra": "{\n\n'a': 1}"}, "extra", "Line 3, column 1"),
        ({"messages": [Turn(role="user", images=["javascript:x"])]}, "messages", "An image is"),
    ],
)
def test_write__what_is_wrong_is_said_with_its_field(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as raised:
        written(asked("openai_chat", **fields))
    assert raised.value.param == field


def test_read__what_is_no_prompt_is_refused() -> None:
    assert prompts.read(b'{"model": "m", "messages": [{"role": "user"}]}').model == "m"
    for wrong in (b"", b"[]", b'{"colour": "red"}', b'{"format": "smoke"}', b'{"messages": [{"role": "system"}]}'):
        with pytest.raises(BadRequest, match="no prompt"):
            prompts.read(wrong)


def test_read_request__what_was_no_call_for_text_is_refused() -> None:
    with pytest.raises(BadRequest, match="no call for a text"):
        prompts.read_request("openai", "/v1/embeddings", {}, registry.snapshot().carrier)


# What came back.

ANSWER = Answer(
    id="x",
    model="m",
    parts=[Thinking(text="Hm."), Text(text="Hello ü"), ToolCall(id="call_1", name="weather", arguments='{"a": 1}')],
    stop=Stop.TOOL_USE,
    usage=TokenUsage(input=3, cache_read=4, output=5),
)


def bytes_of(format: str, *, stream: bool) -> bytes:
    """Write the answer as a provider does."""
    protocol, carrier = PROTOCOLS[format], registry.snapshot().carrier
    request = prompts._request(asked(format), destination=None)  # type: ignore[arg-type]
    if not stream:
        return msgspec.json.encode(protocol.write_answer(ANSWER, request, carrier))
    writer = protocol.stream_writer(request, carrier, Head(model="m", stream=True))
    return b"".join(writer.write(event) for event in replay(ANSWER))


def told(format: str, *, stream: bool) -> list[dict[str, Any]]:
    """Hear the answer byte by byte."""
    hearing = Hearing(format, is_stream=stream)
    content = bytes_of(format, stream=stream)
    events = [event for place in range(len(content)) for event in hearing.hear(content[place : place + 1])]
    return events + hearing.end()


@each_format
@pytest.mark.parametrize("stream", [True, False])
def test_hearing__tells_text_calls_and_tokens(format: str, stream: bool) -> None:
    events = told(format, stream=stream)
    kinds = {event["key"]: event["what"] for event in events if event["what"] in ("text", "call", "thought")}
    said: dict[str, str] = {}
    for event in events:
        if "key" in event and "text" in event:
            said[kinds[event["key"]]] = said.get(kinds[event["key"]], "") + event["text"]
    assert said["text"] == "Hello ü"
    assert json.loads(said["call"]) == {"a": 1}
    assert next(event["name"] for event in events if event["what"] == "call") == "weather"
    last = events[-1]
    assert (last["what"], last["output"]) == ("finished", 5)
    assert last["tokens"] == {"input": 3, "cache_read": 4, "output": 5}


def test_hearing__what_breaks_off_or_is_no_answer_has_failed() -> None:
    broken = Hearing("openai_chat", is_stream=True)
    broken.hear(bytes_of("openai_chat", stream=True)[:200])
    assert broken.end()[-1]["what"] == "failed"
    nonsense = Hearing("openai_chat", is_stream=False)
    nonsense.hear(b"<html>")
    assert nonsense.end()[-1]["what"] == "failed"
