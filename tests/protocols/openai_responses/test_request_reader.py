"""What is read of requests of Responses."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.conversation import (
    CacheMark,
    Citation,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Request,
    State,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps
from tests.protocols.openai_responses.requests import PARAMS, RECORDED, TRANSLATED, function, needs_storage
from tests.protocols.openai_responses.wire import SEALING, asked, read, sent
from tests.protocols.vectors import Vector


def parts(value: dict[str, Any] | list[Any], **members: Any) -> list[Part]:
    """What is read of one item or several."""
    items = value if isinstance(value, list) else [value]
    return [part for message in asked(input=items, **members).messages for part in message.parts]


@pytest.mark.parametrize("vector", TRANSLATED, ids=str)
def test_recorded_requests_are_read_and_written_back(vector: Vector) -> None:
    read_first = read(vector.request)
    outgoing = sent(read_first)
    again = read(outgoing.body)
    assert shown(again) == shown(read_first)
    assert [plain(tool) for tool in again.tools] == [plain(tool) for tool in read_first.tools]


def shown(request: Request) -> list[Any]:
    """What another provider's model sees of a conversation: nothing of what is empty."""
    turns = [
        (message.role, [plain(part) for part in message.parts if not is_silent(part)]) for message in request.messages
    ]
    return [turn for turn in turns if turn[1]]


def is_silent(part: Part) -> bool:
    return isinstance(part, Thinking) or (isinstance(part, Text) and not part.text)


def plain(node: Any) -> Any:
    """A value without its place, and without what is filled in."""
    if isinstance(node, FunctionTool):
        return node.name, node.description
    if isinstance(node, ToolResult):
        return node.call_id, [plain(part) for part in node.parts]
    if isinstance(node, Text):
        return node.text, node.phase
    if isinstance(node, Image):
        return node.data, node.url
    return msgspec.structs.replace(node, at="") if not isinstance(node, HostedTool) else node.value


@pytest.mark.parametrize("vector", TRANSLATED, ids=str)
def test_what_is_written_is_what_the_sdk_sends(vector: Vector) -> None:
    body = sent(read(vector.request)).body
    assert PARAMS.validate_python({**body, "stream": False, "input": [completed(item) for item in body["input"]]})


def completed(item: dict[str, Any]) -> dict[str, Any]:
    """Add to what the model said what the SDK's types want of it; the API takes it without, as was recorded."""
    if item.get("type") == "reasoning":
        return {"id": "rs_1", **item}
    if item.get("type") == "message":
        return {
            "id": "msg_1",
            "status": "completed",
            **item,
            "content": [{"annotations": [], **part} for part in item["content"]],
        }
    return item


@pytest.mark.parametrize("vector", TRANSLATED, ids=str)
def test_the_same_request_is_written_the_same(vector: Vector) -> None:
    before = copy.deepcopy(vector.request)
    assert dumps(sent(read(vector.request)).body) == dumps(sent(read(vector.request)).body)
    assert vector.request == before


@pytest.mark.parametrize("vector", [v for v in RECORDED if needs_storage(v)], ids=str)
def test_recorded_requests_that_go_on_from_a_stored_response_are_refused(vector: Vector) -> None:
    with pytest.raises(BadRequest):
        read(vector.request)


# Turns.


def test_a_string_is_what_the_user_says() -> None:
    assert asked(input="Hello!").messages == [Message(role="user", parts=[Text(text="Hello!", at="input")], at="input")]


def test_instructions_come_first() -> None:
    roles = [message.role for message in asked(instructions="Be brief.").messages]
    assert roles == ["system", "user"]


@pytest.mark.parametrize(
    ("role", "neutral"), [("system", "system"), ("developer", "system"), ("assistant", "assistant")]
)
def test_a_message_needs_no_type(role: str, neutral: str) -> None:
    messages = asked(input=[{"role": role, "content": "So be it."}]).messages
    assert [(message.role, message.at) for message in messages] == [(neutral, "input[0]")]


def test_what_the_model_said_and_called_is_one_turn_and_so_are_the_results() -> None:
    items = [
        {"role": "user", "content": "Add and multiply."},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Two calls."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Both."}], "phase": "commentary"},
        {"type": "function_call", "call_id": "a", "name": "add", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "multiply", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": "3"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
        {"role": "user", "content": "Thanks."},
    ]
    messages = asked(input=items).messages
    assert [message.role for message in messages] == ["user", "assistant", "user", "user"]
    assert messages[1].parts == [
        Thinking(text="Two calls.", at="input[1]"),
        Text(text="Both.", phase="commentary", at="input[2].content[0]"),
        ToolCall(id="a", name="add", arguments="{}", at="input[3]"),
        ToolCall(id="b", name="multiply", arguments="", at="input[4]"),
    ]
    assert messages[2].parts == [
        ToolResult(call_id="a", parts=[Text(text="3", at="input[5].output")], at="input[5]"),
        ToolResult(call_id="b", parts=[Text(text="2", at="input[6].output[0]")], at="input[6]"),
    ]


def test_calls_and_results_by_turns_are_turns() -> None:
    items = []
    for name in ("a", "b"):
        items.append({"type": "function_call", "call_id": name, "name": "add", "arguments": "{}"})
        items.append({"type": "function_call_output", "call_id": name, "output": ""})
    assert [message.role for message in asked(input=items).messages] == ["assistant", "user", "assistant", "user"]


def test_free_text_stays_as_it_is() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin Patch"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "Done."}
    assert parts([call, output]) == [
        ToolCall(id="c", name="apply_patch", arguments="*** Begin Patch", is_custom=True, at="input[0]"),
        ToolResult(call_id="c", is_custom=True, parts=[Text(text="Done.", at="input[1].output")], at="input[1]"),
    ]


CONTENT: list[tuple[dict[str, Any], Part]] = [
    ({"type": "input_text", "text": "a"}, Text(text="a")),
    ({"type": "refusal", "refusal": "No."}, Refusal(text="No.")),
    (
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        Image(url="https://x.test/a.png", detail="low"),
    ),
    (
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
        Image(data="iVBORw0KGgo=", media_type="image/png"),
    ),
    (
        {"type": "input_image", "image_url": "DATA:image/jpeg;base64,iVBORw0KGgo="},
        Image(data="iVBORw0KGgo=", media_type="image/png"),
    ),
    ({"type": "input_image", "file_id": "file-1"}, Image(file_id="file-1")),
    (
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
        File(data="JVBERi0=", media_type="application/pdf", name="a.pdf"),
    ),
    ({"type": "input_file", "file_data": "JVBERi0="}, File(data="JVBERi0=", media_type="application/pdf")),
    ({"type": "input_file", "file_url": "https://x.test/a.pdf"}, File(url="https://x.test/a.pdf")),
    (
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        Text(text="a", cache=CacheMark(ttl="1h")),
    ),
    (
        {
            "type": "output_text",
            "text": "So",
            "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}],
        },
        Text(text="So", citations=[Citation(url="u", title="t", start=0, end=2)]),
    ),
]


@pytest.mark.parametrize(("part", "neutral"), CONTENT, ids=[part["type"] for part, _ in CONTENT])
def test_content(part: dict[str, Any], neutral: Part) -> None:
    found = parts({"role": "user", "content": [part]})
    assert found == [msgspec.structs.replace(neutral, at="input[0].content[0]")]


# Reasoning that comes back.


def sealed(kind: str, id: str = "") -> str:
    return SEALING.seal(State(format="anthropic_messages", kind=kind, value="c2ln", id=id))


@pytest.mark.parametrize("kind", ["signature", "redacted"])
def test_a_sealed_state_is_opened(kind: str) -> None:
    (thinking,) = parts({"type": "reasoning", "summary": [], "encrypted_content": sealed(kind)})
    assert isinstance(thinking, Thinking)
    assert thinking.is_redacted == (kind == "redacted")
    assert thinking.state is not None
    assert (thinking.state.value, thinking.state.provider, thinking.state.model) == ("c2ln", "acme", "thinker-1")


def test_reasoning_that_another_provider_encrypted_and_shows_nothing_of_is_dropped() -> None:
    assert parts({"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABo"}) == []


def test_reasoning_is_shown_as_its_summary_or_else_as_it_is() -> None:
    summary = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    content = [{"type": "reasoning_text", "text": "At length."}]
    assert parts({"type": "reasoning", "summary": summary, "content": content}) == [
        Thinking(text="One.\n\nTwo.", at="input[0]")
    ]
    assert parts({"type": "reasoning", "summary": [], "content": content}) == [
        Thinking(text="At length.", at="input[0]")
    ]


# Tools.


def test_functions_and_tools_with_free_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    tools: list[Tool] = [
        FunctionTool(
            name="add", description="Adds.", schema={"type": "object", "properties": {}}, strict=True, at="tools[0]"
        ),
        FunctionTool(name="now", at="tools[1]"),
        CustomTool(name="apply_patch", grammar=grammar, at="tools[2]"),
        CustomTool(name="say", at="tools[3]"),
    ]
    given = [
        function("add", description="Adds.", strict=True),
        {"type": "function", "name": "now", "parameters": None},
        {"type": "custom", "name": "apply_patch", "format": grammar},
        {"type": "custom", "name": "say", "format": {"type": "text"}},
    ]
    assert asked(tools=given).tools == tools


def test_a_tool_that_the_provider_runs_is_kept_as_it_is() -> None:
    tool = {"type": "web_search", "external_web_access": False}
    neutral = HostedTool(format="openai_responses", type="web_search", value=tool, at="tools[0]")
    assert asked(tools=[tool]).tools == [neutral]


def test_a_namespace_is_functions_with_longer_names() -> None:
    namespace = {"type": "namespace", "name": "mail", "description": "Mail.", "tools": [function("send")]}
    call = {"type": "function_call", "call_id": "a", "namespace": "mail", "name": "send", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "a", "output": "Sent."}
    found = asked(input=[call, output], tools=[namespace])
    assert [tool.name for tool in found.tools if isinstance(tool, FunctionTool)] == ["mail__send"]
    assert [part.name for part in found.messages[0].parts if isinstance(part, ToolCall)] == ["mail__send"]


def test_tools_that_came_later_are_offered_too() -> None:
    later = {"type": "additional_tools", "role": "developer", "tools": [function("refund")]}
    found = asked(input=[{"role": "user", "content": "Hi"}, later], tools=[function("add")])
    assert [tool.name for tool in found.tools if isinstance(tool, FunctionTool)] == ["add", "refund"]


def test_a_search_for_tools_that_the_provider_runs_is_not_needed() -> None:
    found = asked(tools=[function("add", defer_loading=True), {"type": "tool_search"}])
    assert [tool.at for tool in found.tools] == ["tools[0]"]
    assert list(found.hints) == ["tools[1]"]


def test_a_search_for_tools_that_the_caller_runs_is_a_function() -> None:
    search = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": {"type": "object"}}
    call = {"type": "tool_search_call", "execution": "client", "call_id": "s", "arguments": {"query": "mail"}}
    output = {"type": "tool_search_output", "execution": "client", "call_id": "s", "tools": [function("send")]}
    found = asked(input=[call, output], tools=[search])
    assert [tool.name for tool in found.tools if isinstance(tool, FunctionTool)] == ["tool_search", "send"]
    assert [type(part) for message in found.messages for part in message.parts] == [ToolCall, ToolResult]


@pytest.mark.parametrize(
    ("given", "neutral"),
    [
        ("auto", ToolChoice(mode="auto")),
        ("required", ToolChoice(mode="required")),
        ("none", ToolChoice(mode="none")),
        ({"type": "function", "name": "add"}, ToolChoice(mode="named", name="add")),
        ({"type": "custom", "name": "say"}, ToolChoice(mode="named", name="say")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]},
            ToolChoice(mode="required", allowed=["add"]),
        ),
    ],
)
def test_the_choice_of_a_tool_is_read_and_written_back(given: Any, neutral: ToolChoice) -> None:
    tools = [function("add"), {"type": "custom", "name": "say"}]
    found = asked(tools=tools, tool_choice=given)
    assert found.tool_choice == neutral
    assert sent(found).body["tool_choice"] == given


# Other members.


def test_the_members_of_a_request() -> None:
    found = asked(
        stream=True,
        max_output_tokens=100.0,
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        reasoning={"effort": "high", "summary": "auto"},
        text={
            "verbosity": "low",
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
        },
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        user="a",
        safety_identifier="b",
        prompt_cache_key="k",
        service_tier="flex",
        metadata={"m": "1"},
        thinking={"type": "adaptive"},
    )
    assert found.stream is True
    assert (found.max_output_tokens, found.temperature, found.top_p) == (100, 0.5, 0.9)
    assert found.parallel_tool_calls is False
    assert found.reasoning == Reasoning(effort="high", is_shown=True)
    assert found.output == OutputFormat(kind="json_schema", name="n", schema={"type": "object"}, strict=True)
    assert (found.verbosity, found.user, found.session, found.service_tier) == ("low", "b", "k", "flex")
    assert found.logprobs is True
    assert found.metadata == {"m": "1"}
    assert found.extras == {"thinking": {"type": "adaptive"}}
    assert (found.name_of("user"), found.name_of("output")) == ("safety_identifier", "text.format")
    assert found.hints == {}


def test_what_has_no_effect_is_no_hint() -> None:
    neutral = {
        "store": False,
        "truncation": "disabled",
        "max_tool_calls": None,
        "background": False,
        "frequency_penalty": 0,
        "stream_options": {"include_obfuscation": False},
    }
    assert asked(**neutral).hints == {}


def test_what_cannot_be_said_in_other_words_is_a_hint() -> None:
    found = asked(
        store=True, truncation="auto", max_tool_calls=3, reasoning={"context": "all_turns"}, client_metadata={"a": "b"}
    )
    assert set(found.hints) == {"store", "truncation", "max_tool_calls", "reasoning.context", "client_metadata"}


def test_what_codex_sends() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"}
    body = {
        "model": "thinker-1",
        "instructions": "You are a coding agent.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandboxed."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": sealed("signature")},
            {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "main.py"},
            {
                "type": "custom_tool_call",
                "status": "completed",
                "call_id": "call_2",
                "name": "apply_patch",
                "input": "+",
            },
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done."},
        ],
        "tools": [function("shell", strict=False), {"type": "custom", "name": "apply_patch", "format": grammar}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "018f-session",
        "text": {"verbosity": "medium"},
    }
    found = read(body)
    assert [message.role for message in found.messages] == [
        "system",
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert [type(part) for part in found.messages[3].parts] == [Thinking, ToolCall]
    assert (found.hints, found.session, found.stream) == ({}, "018f-session", True)
    assert sent(found).dropped == []
