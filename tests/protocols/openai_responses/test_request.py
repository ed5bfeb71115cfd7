"""Requests of Responses: what is read of them, and what is written."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from ai_gateway.errors import BadRequest, GatewayError, Unsupported
from ai_gateway.protocols.capabilities import Capabilities
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
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Emulation
from tests.protocols.openai_responses.wire import CARRIER, OPENAI, SEALING, asked, destination, read, sent
from tests.protocols.vectors import Vector, vectors

PARAMS: TypeAdapter[Any] = TypeAdapter(response_create_params.ResponseCreateParamsNonStreaming)

REFUSED = {
    "previous_response_id": "previous_response_not_found",
    "conversation": "invalid_request",
    "background": "unsupported_value",
    "prompt": "unsupported_value",
}
"""What nothing is kept for, with the code of the refusal."""

RECORDED = [v for v in vectors("openai_responses") if isinstance(v.request, dict) and v.path.endswith("/responses")]


def needs_storage(vector: Vector) -> bool:
    items = vector.request["input"] if isinstance(vector.request["input"], list) else []
    return any(vector.request.get(name) for name in REFUSED) or any(item.get("type") == "compaction" for item in items)


TRANSLATED = [vector for vector in RECORDED if not needs_storage(vector)]


def function(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **members}


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def request(*messages: Message, **fields: Any) -> Request:
    """A request of another format."""
    return Request(
        format="anthropic_messages", model="thinker-1", messages=list(messages or [user(Text(text="Hi"))]), **fields
    )


def parts(value: dict[str, Any] | list[Any], **members: Any) -> list[Part]:
    """What is read of one item or several."""
    items = value if isinstance(value, list) else [value]
    return [part for message in asked(input=items, **members).messages for part in message.parts]


# Reading what was recorded.


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


# Refusals.


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


# Writing.


def test_nothing_is_stored_and_reasoning_comes_back_encrypted() -> None:
    assert sent(request(stream=True)).body == {
        "model": "thinker-1",
        "input": [{"role": "user", "content": "Hi"}],
        "include": ["reasoning.encrypted_content"],
        "stream": True,
        "store": False,
    }


def test_instructions_stand_where_they_stood() -> None:
    system = Message(role="system", parts=[Text(text="Now in French.")])
    body = sent(request(system, user(Text(text="Hi")), system, user(Text(text="Ho")))).body
    assert [item["role"] for item in body["input"]] == ["developer", "user", "developer", "user"]


def test_a_turn_of_the_model() -> None:
    turn = assistant(
        Text(text="One. ", phase="commentary"),
        Text(text="Two.", phase="commentary"),
        Text(text="Three."),
        Text(text=""),
        Refusal(text="No."),
        ToolCall(id="call_1", name="add", arguments=""),
        ToolCall(id="call_2", name="say", arguments="hello", is_custom=True),
    )
    assert sent(request(turn)).body["input"] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "One. "}, {"type": "output_text", "text": "Two."}],
            "phase": "commentary",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Three."}, {"type": "refusal", "refusal": "No."}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "say", "input": "hello"},
    ]


ENCRYPTED = State(
    format="openai_responses", kind="encrypted", value="gAAA", id="rs_1", provider="acme", model="thinker-1"
)


def test_reasoning_goes_back_to_who_made_it_in_front_of_what_followed() -> None:
    turn = assistant(Thinking(text="Hm.", state=ENCRYPTED), ToolCall(id="a", name="add", arguments="{}"))
    items = sent(request(turn)).body["input"]
    assert items[0] == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    }
    assert items[1]["type"] == "function_call"


def test_reasoning_that_nothing_followed_from_is_left_out() -> None:
    turns = [assistant(Thinking(state=ENCRYPTED)), user(Text(text="Go on."))]
    assert [item.get("type") for item in sent(request(*turns)).body["input"]] == [None]


@pytest.mark.parametrize("field", ["provider", "model", "format"])
def test_reasoning_of_others_is_left_out(field: str) -> None:
    foreign = msgspec.structs.replace(ENCRYPTED, **{field: "other"})
    items = sent(request(assistant(Thinking(text="Hm.", state=foreign), Text(text="So.")))).body["input"]
    assert [item["type"] for item in items] == ["message"]


def test_reasoning_in_words_goes_to_who_wants_it() -> None:
    capabilities = msgspec.structs.replace(OPENAI, reasoning_history="reasoning_content")
    items = sent(request(assistant(Thinking(text="Hm."), Text(text="So."))), capabilities).body["input"]
    assert items[0] == {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}


RESULT = user(
    Text(text="Look."),
    ToolResult(
        call_id="a", parts=[Text(text="One"), Text(text="two"), Image(data="iVBORw0KGgo=", media_type="image/png")]
    ),
)
IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def test_results_come_first_and_may_hold_images() -> None:
    items = sent(request(assistant(ToolCall(id="a", name="see")), RESULT)).body["input"]
    output = [{"type": "input_text", "text": "One\ntwo"}, IMAGE]
    assert items[1:] == [
        {"type": "function_call_output", "call_id": "a", "output": output},
        {"role": "user", "content": "Look."},
    ]


def test_images_of_results_stand_below_where_a_result_is_text() -> None:
    capabilities = msgspec.structs.replace(OPENAI, result_media=False)
    items = sent(request(assistant(ToolCall(id="a", name="see")), RESULT), capabilities).body["input"]
    assert items[1]["output"] == "One\ntwo"
    assert [part["type"] for part in items[2]["content"]] == ["input_text", "input_image", "input_text"]


@pytest.mark.parametrize(("text", "output"), [("404", "Error: 404"), ("Error 404", "Error 404"), ("", "Error: ")])
def test_a_failed_result_says_so(text: str, output: str) -> None:
    result = user(ToolResult(call_id="a", parts=[Text(text=text)], is_error=True))
    assert sent(request(assistant(ToolCall(id="a", name="see")), result)).body["input"][1]["output"] == output


def test_a_user_who_said_nothing_did_so() -> None:
    assert sent(request(user(Text(text="")))).body["input"] == [{"role": "user", "content": ""}]


def test_a_schema_that_is_none_is_not_strict() -> None:
    tool = FunctionTool(
        name="a", schema={"type": "object", "properties": [{}], "additionalProperties": False}, strict=True
    )
    assert sent(request(tools=[tool])).body["tools"][0]["strict"] is False


def test_ids_and_names_that_are_not_allowed_are_changed_alike() -> None:
    turns = [
        assistant(ToolCall(id="functions.add:0", name="math.add", arguments="{}")),
        user(ToolResult(call_id="functions.add:0")),
    ]
    outgoing = sent(request(*turns, tools=[FunctionTool(name="math.add")]))
    call, output = outgoing.body["input"]
    assert call["call_id"] == output["call_id"] != "functions.add:0"
    assert call["name"] == outgoing.body["tools"][0]["name"]
    assert outgoing.emulation is not None
    assert outgoing.emulation.names == {call["name"]: "math.add"}


def test_strict_is_always_said() -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    tools: list[Tool] = [
        FunctionTool(name="a"),
        FunctionTool(name="b", schema=closed, strict=True),
        FunctionTool(name="c", schema={"type": "object", "properties": {"x": {}}}, strict=True, at="tools[2]"),
    ]
    outgoing = sent(request(tools=tools))
    assert [tool["strict"] for tool in outgoing.body["tools"]] == [False, True, False]
    assert outgoing.dropped == ["tools[2].strict"]
    assert outgoing.body["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_a_tool_with_free_text_is_a_function_where_there_is_none() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    turn = assistant(ToolCall(id="a", name="patch", arguments="+ x", is_custom=True))
    result = user(ToolResult(call_id="a", is_custom=True, parts=[Text(text="ok")]))
    capabilities = msgspec.structs.replace(OPENAI, custom_tools=False)
    tools: list[Tool] = [CustomTool(name="patch", description="Patches.", grammar=grammar)]
    outgoing = sent(
        request(turn, result, tools=tools, tool_choice=ToolChoice(mode="named", name="patch")), capabilities
    )
    assert outgoing.emulation is not None
    assert outgoing.emulation.custom_tools == {"patch"}
    assert outgoing.body["tools"][0]["parameters"]["required"] == ["input"]
    assert "start: /.+/" in outgoing.body["tools"][0]["description"]
    assert outgoing.body["tool_choice"] == {"type": "function", "name": "patch"}
    assert outgoing.body["input"][0]["arguments"] == '{"input":"+ x"}'
    assert outgoing.body["input"][1]["type"] == "function_call_output"


def test_a_search_of_the_web_is_openais_own() -> None:
    value = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.test"], "max_uses": 3}
    tool = HostedTool(format="anthropic_messages", type="web_search_20250305", value=value, at="tools[0]")
    search = {"type": "web_search", "filters": {"allowed_domains": ["a.test"]}}
    assert sent(request(tools=[tool])).body["tools"] == [search]


SAMPLING = [
    ("any", None, {"temperature": 0.5, "top_p": 0.9}, []),
    ("without_reasoning", None, {}, ["temperature", "top_p"]),
    ("without_reasoning", "none", {"temperature": 0.5, "top_p": 0.9}, []),
    ("never", "none", {}, ["temperature", "top_p"]),
]


@pytest.mark.parametrize(("rule", "effort", "expected", "dropped"), SAMPLING)
def test_sampling(rule: str, effort: str | None, expected: dict[str, float], dropped: list[str]) -> None:
    capabilities = msgspec.structs.replace(OPENAI, sampling=rule)
    outgoing = sent(request(temperature=0.5, top_p=0.9, reasoning=Reasoning(effort=effort)), capabilities)
    assert {name: outgoing.body[name] for name in ("temperature", "top_p") if name in outgoing.body} == expected
    assert outgoing.dropped == dropped


EFFORTS: list[tuple[Reasoning, dict[str, str] | None]] = [
    (Reasoning(effort="low"), {"effort": "low"}),
    (Reasoning(effort="max", is_shown=True), {"effort": "high", "summary": "auto"}),
    (Reasoning(effort="none", is_shown=True), {"effort": "none"}),
    (Reasoning(mode="disabled"), {"effort": "none"}),
    (Reasoning(mode="adaptive", is_shown=True), {"summary": "auto"}),
    (Reasoning(mode="adaptive"), None),
    (Reasoning(mode="enabled", budget=1024), {"effort": "minimal"}),
    (Reasoning(mode="enabled", budget=4000), {"effort": "low"}),
    (Reasoning(mode="enabled", budget=10000), {"effort": "medium"}),
    (Reasoning(mode="enabled", budget=32000), {"effort": "high"}),
]


@pytest.mark.parametrize(("reasoning", "expected"), EFFORTS)
def test_reasoning(reasoning: Reasoning, expected: dict[str, str] | None) -> None:
    assert sent(request(reasoning=reasoning)).body.get("reasoning") == expected


def test_reasoning_that_cannot_be_switched_off_is_as_weak_as_it_can_be() -> None:
    capabilities = msgspec.structs.replace(OPENAI, efforts=("low", "high"))
    outgoing = sent(request(reasoning=Reasoning(effort="none")), capabilities)
    assert (outgoing.body["reasoning"], outgoing.dropped) == ({"effort": "low"}, ["reasoning"])


def test_a_schema() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    written = sent(request(output=OutputFormat(kind="json_schema", schema=closed))).body["text"]
    assert written == {"format": {"type": "json_schema", "name": "output", "schema": closed, "strict": True}}


def test_json_is_asked_for_in_words_where_it_must_be() -> None:
    instruction, first = sent(request(output=OutputFormat(kind="json_object"))).body["input"]
    assert (instruction["role"], first["role"]) == ("developer", "user")
    spoken = sent(request(user(Text(text="As JSON, please.")), output=OutputFormat(kind="json_object")))
    assert [item["role"] for item in spoken.body["input"]] == ["user"]
    without = msgspec.structs.replace(OPENAI, structured_outputs=False)
    asked_for = sent(request(output=OutputFormat(kind="json_schema", schema={"type": "object"})), without)
    assert "text" not in asked_for.body
    assert '{"type": "object"}' in asked_for.body["input"][0]["content"]


def test_users_and_sessions() -> None:
    body = sent(request(user="someone@x.test", session="s" * 80, metadata={"a": "b"}, service_tier="flex")).body
    assert len(body["safety_identifier"]) == len(body["prompt_cache_key"]) == 64
    assert "someone" not in body["safety_identifier"]
    assert (body["metadata"], body["service_tier"]) == ({"a": "b"}, "flex")


def test_hints_that_only_openai_knows_are_not_sent_to_others() -> None:
    fields: dict[str, Any] = {
        "user": "u",
        "session": "s",
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "verbosity": "low",
    }
    outgoing = sent(request(**fields), Capabilities())
    assert set(outgoing.body) == {"model", "input", "user", "stream", "store"}
    assert set(outgoing.dropped) == {"session", "metadata", "service_tier", "verbosity"}


def test_what_is_dropped_is_reported_as_the_caller_calls_it() -> None:
    outgoing = sent(
        request(
            top_k=5,
            seed=1,
            frequency_penalty=0,
            presence_penalty=0.5,
            count=1,
            max_output_tokens=5,
            hints={"logit_bias": {"1": 2}, "prompt_cache_retention": "24h"},
            extras={"container": "c", "truncation": "auto"},
            names={"top_k": "topK", "max_output_tokens": "max_tokens"},
        )
    )
    assert set(outgoing.dropped) == {"topK", "seed", "presence_penalty", "max_tokens", "logit_bias", "container"}
    assert outgoing.body["max_output_tokens"] == 16
    assert (outgoing.body["prompt_cache_retention"], outgoing.body["truncation"]) == ("24h", "auto")


UNSUPPORTED: list[tuple[Request, str]] = [
    (request(count=2, names={"count": "n"}), "n"),
    (request(user(Image(file_id="f", at="messages[0].content[0]"))), "messages[0].content[0]"),
    (request(tools=[HostedTool(format="gemini", type="codeExecution", value={}, at="tools[0]")]), "tools[0].type"),
]


@pytest.mark.parametrize(("given", "param"), UNSUPPORTED, ids=[param for _, param in UNSUPPORTED])
def test_what_would_change_the_answer_is_refused(given: Request, param: str) -> None:
    with pytest.raises(Unsupported) as caught:
        sent(given)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["images", "files", "audio"])
def test_what_a_model_does_not_take_is_refused(name: str) -> None:
    content = {
        "images": {"type": "input_image", "image_url": "https://x.test/a.png"},
        "files": {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        "audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    }[name]
    capabilities = msgspec.structs.replace(OPENAI, **{name: False})
    with pytest.raises(Unsupported) as caught:
        sent(asked(input=[{"role": "user", "content": [content]}]), capabilities)
    assert caught.value.param == "input[0].content[0]"


def test_the_path() -> None:
    assert PROTOCOL.target("thinker-1", True) == ("/v1/responses", b"")


# The native way back.


def test_states_are_put_back_for_who_made_them_and_taken_out_for_others() -> None:
    own = SEALING.seal(State(format="openai_responses", kind="encrypted", value="gAAA"))
    foreign = CARRIER.bound("acme", "other").seal(State(format="openai_responses", kind="encrypted", value="gBBB"))
    reasoning: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    items = [
        {**reasoning, "encrypted_content": own},
        {**reasoning, "encrypted_content": foreign},
        {**reasoning, "encrypted_content": own + "x"},
        {**reasoning, "encrypted_content": "gCCC"},
        {"role": "user", "content": "gw1. is no word"},
    ]
    body = {"model": "thinker-1", "input": items, "unknown": 1}
    before = copy.deepcopy(body)
    restored = PROTOCOL.restore(body, CARRIER, destination())
    assert restored["input"] == [
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {**reasoning, "encrypted_content": "gCCC"},
        {"role": "user", "content": "gw1. is no word"},
    ]
    assert restored["unknown"] == 1
    assert body == before


def test_stop_sequences_are_kept_here_because_responses_have_none() -> None:
    outgoing = sent(request(stop=["END", ""], names={"stop": "stop_sequences"}))
    assert "stop" not in outgoing.body
    assert outgoing.emulation == Emulation(stop=("END",))
    assert "stop_sequences" not in outgoing.dropped


def test_sound_and_films_are_no_files_of_others() -> None:
    film = File(url="https://x.test/a.mp4", media_type="video/mp4", at="contents[0].parts[0]")
    with pytest.raises(Unsupported, match="films") as raised:
        sent(Request(format="gemini", model="m", messages=[user(film)]))
    assert raised.value.param == "contents[0].parts[0]"


def test_a_file_that_is_an_image_keeps_its_address() -> None:
    image = File(url="https://x.test/a.png", media_type="image/png")
    [item] = sent(Request(format="gemini", model="m", messages=[user(image)])).body["input"]
    assert item["content"] == [{"type": "input_image", "detail": "auto", "image_url": "https://x.test/a.png"}]
