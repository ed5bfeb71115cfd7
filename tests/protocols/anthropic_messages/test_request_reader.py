"""Requests of Messages: what a caller's body is read as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.errors import BadRequest, Unsupported, UpstreamProtocolError
from ai_gateway.protocols.anthropic_messages.count import COUNTED, read_count, write_count, write_count_request
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    CacheMark,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tests.protocols.anthropic_messages.helpers import DESTINATION, FORMAT, read
from tests.protocols.vectors import Vector, vectors

REQUESTS = [
    vector
    for vector in vectors(FORMAT)
    if vector.status == 200 and isinstance(vector.request, dict) and "messages" in vector.request
]
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def content(*blocks: dict[str, Any], role: str = "user") -> list[Part]:
    return read({"messages": [{"role": role, "content": list(blocks)}]}).messages[0].parts


# What was recorded.


@pytest.mark.parametrize("vector", [each for each in REQUESTS if "mcp_servers" not in each.request], ids=str)
def test_a_recorded_request_is_read(vector: Vector) -> None:
    before = json.dumps(vector.request)
    request = read(vector.request)
    turns = [message for message in request.messages if message.at != "system"]
    assert [message.role for message in turns] == [message["role"] for message in vector.request["messages"]]
    for turn, message in zip(turns, vector.request["messages"], strict=True):
        assert texts(turn.parts) == [text for text in raw_texts(message["content"]) if text]
        assert calls(turn.parts) == raw_calls(message["content"])
    assert request.max_output_tokens == vector.request.get("max_tokens")
    assert json.dumps(vector.request) == before


def texts(parts: list[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text) and part.text]


def raw_texts(blocks: Any) -> list[str]:
    if isinstance(blocks, str):
        return [blocks]
    members = {"text": "text", "compaction": "content"}
    return [block[members[block["type"]]] for block in blocks if block["type"] in members]


def calls(parts: list[Part]) -> list[tuple[str, ...]]:
    return [
        (part.id, part.name) if isinstance(part, ToolCall) else (part.call_id,)
        for part in parts
        if isinstance(part, ToolCall | ToolResult)
    ]


def raw_calls(blocks: Any) -> list[tuple[str, ...]]:
    given = [] if isinstance(blocks, str) else blocks
    return [
        (block["id"], block["name"]) if block["type"] == "tool_use" else (block["tool_use_id"],)
        for block in given
        if block["type"] in ("tool_use", "tool_result")
    ]


# The instructions and the turns.


def test_the_model_and_the_stream_are_those_of_the_head() -> None:
    request = read({"model": "other", "stream": False, "messages": HI})
    assert (request.format, request.model, request.stream) == (FORMAT, "asked-for", True)


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_the_instructions_are_the_first_turn(system: Any) -> None:
    first = read({"system": system, "messages": HI}).messages[0]
    assert (first.role, first.at, texts(first.parts)) == ("system", "system", ["Be brief."])


@pytest.mark.parametrize(
    "system",
    [
        [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1a2b;"},
            {"type": "text", "text": "Hi."},
        ],
        "x-anthropic-billing-header: cc_version=2; cch=1a2b;\nHi.",
    ],
)
def test_claude_codes_line_for_the_accountants_goes_no_further(system: Any) -> None:
    assert texts(read({"system": system, "messages": HI}).messages[0].parts) == ["Hi."]


def test_instructions_may_stand_between_turns() -> None:
    messages = [*HI, {"role": "system", "content": "Now in French."}]
    assert read({"messages": messages}).messages[1] == Message(
        role="system", parts=[Text(text="Now in French.", at="messages[1].content")], at="messages[1]"
    )


def test_parts_know_where_they_stand() -> None:
    (part,) = content({"type": "text", "text": "hi"})
    assert part.at == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": []}]}
                ]
            },
            "messages[0].content[0].input",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": HI, "system": 5}, "system"),
        ({"messages": HI, "tools": {}}, "tools"),
        ({"messages": HI, "tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"messages": HI, "tools": [{"name": "f", "input_schema": "x"}]}, "tools[0].input_schema"),
        ({"messages": HI, "tool_choice": "auto"}, "tool_choice"),
        ({"messages": HI, "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"messages": HI, "max_tokens": "9"}, "max_tokens"),
        ({"messages": HI, "max_tokens": -1}, "max_tokens"),
        ({"messages": HI, "temperature": "hot"}, "temperature"),
        ({"messages": HI, "stop_sequences": "x"}, "stop_sequences"),
        ({"messages": HI, "thinking": "yes"}, "thinking"),
        ({"messages": HI, "output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
    ],
)
def test_what_is_malformed_is_refused_by_its_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read(body)
    assert raised.value.param == param


@pytest.mark.parametrize("name", ["mcp_servers", "thread"])
def test_what_only_anthropic_could_do_is_refused(name: str) -> None:
    with pytest.raises(Unsupported) as raised:
        read({"messages": HI, name: [{"type": "url"}]})
    assert raised.value.param == name


# The blocks.

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="
AT = "messages[0].content[0]"


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "hi"}, Text(text="hi", at=AT)),
        (
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text(text="hi", cache=CacheMark(ttl="1h"), at=AT),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/PNG", "data": PNG}},
            Image(data=PNG, media_type="image/png", at=AT),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://a/b"}}, Image(url="https://a/b", at=AT)),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, Image(file_id="file_1", at=AT)),
        (
            {
                "type": "document",
                "title": "D",
                "citations": {"enabled": True},
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            },
            File(data="JVBERi0=", media_type="application/pdf", name="D", cites=True, at=AT),
        ),
        ({"type": "document", "source": {"type": "text", "data": "words"}}, File(text="words", at=AT)),
        ({"type": "document", "source": {"type": "url", "url": "https://a/b"}}, File(url="https://a/b", at=AT)),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, File(file_id="file_1", at=AT)),
        (
            {"type": "search_result", "source": "s", "title": "T", "content": [{"type": "text", "text": "found"}]},
            Text(text="<s> T\nfound", at=AT),
        ),
        (
            {"type": "container_upload", "file_id": "file_1"},
            Opaque(format=FORMAT, value={"type": "container_upload", "file_id": "file_1"}, at=AT),
        ),
    ],
)
def test_every_block_has_its_part(block: dict[str, Any], part: Part) -> None:
    assert content(block) == [part]


def test_a_document_made_of_blocks_becomes_what_it_is_made_of() -> None:
    inner = [{"type": "text", "text": "one"}, {"type": "image", "source": {"type": "url", "url": "https://a/b"}}]
    block = {"type": "document", "title": "D", "context": "C", "source": {"type": "content", "content": inner}}
    parts = content(block)
    assert texts(parts) == ["C", "D", "one"]
    assert parts[-1] == Image(url="https://a/b", at=f"{AT}.source.content[1]")


def test_a_result_may_be_a_string_or_blocks_or_nothing() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://a/b"}}
    parts = content(
        {"type": "tool_result", "tool_use_id": "1", "content": "fine"},
        {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "see"}, image]},
        {"type": "tool_result", "tool_use_id": "3", "is_error": True},
    )
    results = [part for part in parts if isinstance(part, ToolResult)]
    assert [[type(inner) for inner in result.parts] for result in results] == [[Text], [Text, Image], []]
    assert [result.is_error for result in results] == [None, None, True]


def test_results_do_not_stand_inside_results() -> None:
    with pytest.raises(BadRequest) as raised:
        content({"type": "tool_result", "tool_use_id": "1", "content": [{"type": "tool_result", "tool_use_id": "2"}]})
    assert raised.value.param == f"{AT}.content[0].type"


def test_a_call_has_its_arguments_as_text() -> None:
    (part,) = content({"type": "tool_use", "id": "1", "name": "f", "input": {"a": "é"}}, role="assistant")
    assert part == ToolCall(id="1", name="f", arguments='{"a":"é"}', at=AT)


@pytest.mark.parametrize("signature", ["ErUBCkYIBRgCIkDw", "", "gw1.forged.AAAA"])
def test_a_signature_that_is_no_carrier_gives_no_state(signature: str) -> None:
    (part,) = content({"type": "thinking", "thinking": "Hm.", "signature": signature}, role="assistant")
    assert part == Thinking(text="Hm.", at=AT)


# The tools.


def tool(**members: Any) -> Any:
    return read({"messages": HI, "tools": [members]}).tools[0]


@pytest.mark.parametrize("type", [{}, {"type": "custom"}, {"type": None}])
def test_a_function_is_read(type: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {}}
    given = tool(name="f", description="d", input_schema=schema, strict=True, **type)
    assert given == FunctionTool(name="f", description="d", schema=schema, strict=True, at="tools[0]")


def test_a_tool_that_anthropic_runs_is_kept_as_it_is() -> None:
    given = tool(type="web_search_20250305", name="web_search", max_uses=3)
    value = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    assert given == HostedTool(format=FORMAT, type="web_search_20250305", value=value, at="tools[0]")


@pytest.mark.parametrize(
    ("type", "name", "member"),
    [
        ("bash_20250124", "bash", "command"),
        ("text_editor_20250728", "str_replace_based_edit_tool", "insert_line"),
        ("text_editor_20250124", "str_replace_editor", "insert_line"),
        ("memory_20250818", "memory", "old_path"),
        ("computer_20251124", "computer", "coordinate"),
        ("computer_20241022", "computer", "coordinate"),
    ],
)
def test_a_tool_that_the_client_runs_is_a_function(type: str, name: str, member: str) -> None:
    given = tool(type=type, name=name, display_width_px=1024, display_height_px=768)
    assert isinstance(given, FunctionTool)
    assert given.name == name
    assert given.description
    assert given.schema is not None
    assert member in given.schema["properties"]
    assert set(given.schema["required"]) <= set(given.schema["properties"])


def test_the_computer_knows_its_screen_and_its_actions() -> None:
    newer = tool(type="computer_20251124", name="computer", display_width_px=5, display_height_px=6, enable_zoom=True)
    older = tool(type="computer_20241022", name="computer", display_width_px=5, display_height_px=6)
    assert "5x6" in newer.description
    assert {"zoom", "scroll"} <= set(newer.schema["properties"]["action"]["enum"])
    assert not {"zoom", "scroll"} & set(older.schema["properties"]["action"]["enum"])


def test_a_toolset_is_no_tool_of_a_known_schema() -> None:
    given = tool(type="computer_toolset_20260801", configs={})
    assert isinstance(given, HostedTool)


def test_only_the_older_editor_can_undo() -> None:
    newer = tool(type="text_editor_20250728", name="str_replace_based_edit_tool").schema
    older = tool(type="text_editor_20250124", name="str_replace_editor").schema
    assert "undo_edit" not in newer["properties"]["command"]["enum"]
    assert "undo_edit" in older["properties"]["command"]["enum"]


def test_looking_for_tools_is_not_needed_where_all_are_seen() -> None:
    tools = [
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
        {"name": "f", "input_schema": {"type": "object"}, "defer_loading": True, "eager_input_streaming": True},
    ]
    request = read({"messages": HI, "tools": tools})
    assert [each.at for each in request.tools] == ["tools[1]"]
    assert set(request.hints) == {"tools[0]", "tools.defer_loading"}


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, ToolChoice(mode="auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(mode="required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice(mode="named", name="f"), None),
        ({"type": "none"}, ToolChoice(mode="none"), None),
    ],
)
def test_the_choice_of_a_tool_is_read(choice: Any, expected: ToolChoice | None, parallel: bool | None) -> None:
    request = read({"messages": HI, "tool_choice": choice})
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


# The rest.


@pytest.mark.parametrize(
    ("members", "expected", "name"),
    [
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            Reasoning(budget=2000, mode="enabled", is_shown=True),
            "thinking",
        ),
        ({"thinking": {"type": "adaptive"}}, Reasoning(mode="adaptive"), "thinking"),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
            Reasoning(effort="max", mode="adaptive", is_shown=True),
            "thinking",
        ),
        ({"thinking": {"type": "disabled"}}, Reasoning(effort="none", mode="disabled"), "thinking"),
        ({"output_config": {"effort": "low"}}, Reasoning(effort="low"), "output_config.effort"),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            Reasoning(mode="adaptive", is_shown=False),
            "thinking",
        ),
    ],
)
def test_thinking_is_read(members: dict[str, Any], expected: Reasoning, name: str) -> None:
    request = read({"messages": HI, **members})
    assert request.reasoning == expected
    assert request.name_of("reasoning") == name


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "output_config.format"),
        ({"output_format": {"type": "json_schema", "schema": {"type": "object"}}}, "output_format"),
    ],
)
def test_the_format_of_the_output_is_read(members: dict[str, Any], name: str) -> None:
    request = read({"messages": HI, **members})
    assert request.output == OutputFormat(kind="json_schema", name="output", schema={"type": "object"}, strict=False)
    assert request.name_of("output") == name


@pytest.mark.parametrize(
    ("user", "session"),
    [
        ("user_0a1b_account_2c3d_session_4e5f-66", "4e5f-66"),
        ('{"device_id":"d","account_uuid":"","session_id":"4e5f-66"}', "4e5f-66"),
        ("{broken", None),
        ('{"session_id": 5}', None),
        ("somebody", None),
    ],
)
def test_claude_codes_session_is_found_in_its_user(user: str, session: str | None) -> None:
    request = read({"messages": HI, "metadata": {"user_id": user}})
    assert (request.user, request.session) == (user, session)


def test_a_limit_of_nothing_is_kept_for_the_gateway_to_answer() -> None:
    assert read({"messages": HI, "max_tokens": 0}).max_output_tokens == 0


def test_members_that_nobody_else_knows_are_hints() -> None:
    body = {"messages": HI, "inference_geo": "eu", "context_management": {"edits": []}, "service_tier": "standard_only"}
    request = read(body)
    assert request.hints == {"inference_geo": "eu", "context_management": {"edits": []}}
    assert request.service_tier == "default"
    assert request.source is body


# Counting.


def test_a_body_of_the_counter_is_read_and_written() -> None:
    body = {
        "messages": HI,
        "system": "Be brief.",
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "any"},
    }
    request = read(body)
    assert request.max_output_tokens is None
    written = write_count_request(request, DESTINATION).body
    assert written == {"model": "its-model", **body}
    assert set(written) <= set(COUNTED)


def test_a_count_is_read_and_written() -> None:
    assert read_count(write_count(17)) == 17
    with pytest.raises(UpstreamProtocolError):
        read_count({"input_tokens": "17"})


def test_a_carrier_of_another_gateway_is_not_opened() -> None:
    sealed = Carrier([b"1" * 32]).seal(State(format="gemini", kind="signature", value="x"))
    (part,) = content({"type": "redacted_thinking", "data": sealed}, role="assistant")
    assert part == Thinking(is_redacted=True, at=AT)
