"""Requests of Messages: how tools and JSON are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import (
    CustomTool,
    FunctionTool,
    HostedTool,
    OutputFormat,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.emulation import undo
from ai_gateway.protocols.protocol import Outgoing
from tests.protocols.anthropic_messages.building import (
    ADAPTIVE,
    HI,
    PERSON,
    F,
    G,
    body,
    outgoing,
    refused,
    request,
    turn,
)
from tests.protocols.anthropic_messages.helpers import DESTINATION, FORMAT, destination

# The tools.


def tools(*given: Tool, where: Destination = DESTINATION, **members: Any) -> list[Any]:
    return list(body(request(tools=list(given), **members), where)["tools"])


def test_a_function_has_a_schema_of_type_object() -> None:
    assert tools(F, G) == [
        {"name": "f", "input_schema": F.schema},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_strict_needs_a_model_and_a_schema_that_can_be_held_to() -> None:
    strict = FunctionTool(
        name="f",
        strict=True,
        at="tools[0]",
        schema={"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]},
    )
    open_ended = FunctionTool(name="f", strict=True, schema={"type": "object"}, at="tools[0]")
    able = destination(strict_tools=True)
    (written,) = tools(strict, where=able)
    assert written["strict"] is True
    assert written["input_schema"]["properties"]["a"] == {"type": "integer", "description": "{minimum: 1}"}
    assert written["input_schema"]["additionalProperties"] is False
    for tool, where in ((strict, DESTINATION), (open_ended, able)):
        dropped = outgoing(request(tools=[tool]), where)
        assert "strict" not in dropped.body["tools"][0]
        assert dropped.dropped == ["tools[0].strict"]


def test_a_tool_with_free_text_is_a_function_with_one_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: 'x'"}
    call = ToolCall(id="1", name="apply_patch", arguments="*** Begin", is_custom=True)
    given = request(
        HI,
        turn("assistant", call),
        turn("user", ToolResult(call_id="1", is_custom=True)),
        tools=[CustomTool(name="apply_patch", description="Patch.", grammar=grammar)],
    )
    written = outgoing(given)
    (tool,) = written.body["tools"]
    assert tool["input_schema"]["required"] == ["input"]
    assert "start: 'x'" in tool["description"]
    assert written.body["messages"][1]["content"][0]["input"] == {"input": "*** Begin"}
    assert written.emulation is not None
    answer = PROTOCOL.read_answer(
        {"content": [{"type": "tool_use", "id": "2", "name": "apply_patch", "input": {"input": "x"}}]}
    )
    (undone,) = undo(answer, written.emulation).parts
    assert undone == ToolCall(id="2", name="apply_patch", arguments="x", is_custom=True)


def test_names_that_anthropic_refuses_are_changed_and_changed_back() -> None:
    given = request(
        HI,
        turn("assistant", ToolCall(id="1", name="a.b:c")),
        turn("user", ToolResult(call_id="1")),
        tools=[FunctionTool(name="a.b:c"), FunctionTool(name="a_b.c")],
        tool_choice=ToolChoice(mode="named", name="a.b:c"),
    )
    written = outgoing(given)
    first, second = (tool["name"] for tool in written.body["tools"])
    assert first != second
    assert written.body["messages"][1]["content"][0]["name"] == written.body["tool_choice"]["name"] == first
    assert written.emulation is not None
    assert written.emulation.names == {first: "a.b:c", second: "a_b.c"}


def test_hosted_tools() -> None:
    own = {"type": "computer_20251124", "name": "computer", "display_width_px": 1, "display_height_px": 1}
    search = {"type": "web_search", "filters": {"allowed_domains": ["a.example"]}}
    search |= {"user_location": {"type": "approximate", "city": "Bern"}}
    written = outgoing(
        request(
            tools=[
                HostedTool(format=FORMAT, type="computer_20251124", value=own),
                HostedTool(format="openai_responses", type="web_search", value=search),
            ]
        )
    )
    assert written.headers == ((b"anthropic-beta", b"computer-use-2025-11-24"),)
    assert written.body["tools"] == [
        own,
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "allowed_domains": ["a.example"],
            "user_location": {"type": "approximate", "city": "Bern"},
        },
    ]
    foreign = HostedTool(format="openai_responses", type="file_search", value={}, at="tools[0]")
    assert refused(request(tools=[foreign])) == "tools[0]"


def test_a_model_without_tools_gets_none() -> None:
    assert refused(request(tools=[F]), destination(tools=False)) == "tools"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="auto"), None, None),
        (ToolChoice(mode="required"), None, {"type": "any"}),
        (ToolChoice(mode="required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="named", name="f"), False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="none"), False, {"type": "none"}),
    ],
)
def test_the_choice_of_a_tool_holds_the_wish_for_one_at_a_time(
    choice: ToolChoice | None, parallel: bool | None, expected: Any
) -> None:
    written = body(request(tools=[F, G], tool_choice=choice, parallel_tool_calls=parallel))
    assert written.get("tool_choice") == expected
    assert len(written["tools"]) == 2
    assert "tool_choice" not in body(request(tool_choice=choice, parallel_tool_calls=parallel))


def test_allowed_tools_are_the_only_ones_there() -> None:
    choice = ToolChoice(mode="required", allowed=["g"])
    written = body(request(tools=[F, G], tool_choice=choice))
    assert ([tool["name"] for tool in written["tools"]], written["tool_choice"]) == (["g"], {"type": "any"})
    assert "tools" not in body(request(tools=[F, G], tool_choice=ToolChoice(mode="auto", allowed=[])))


@pytest.mark.parametrize(
    ("forced", "way", "thinking"),
    [
        ("always", "adaptive", {"type": "adaptive"}),
        ("adaptive", "adaptive", {"type": "adaptive"}),
        ("adaptive", "budget", None),
        ("without_reasoning", "adaptive", None),
    ],
)
def test_thinking_gives_way_to_a_forced_tool(forced: str, way: str, thinking: Any) -> None:
    where = destination(reasoning=way, forced_tool_choice=forced, max_output_tokens=64000)
    written = outgoing(
        request(tools=[F], tool_choice=ToolChoice(mode="required"), reasoning=Reasoning(effort="low")), where
    )
    assert written.body.get("thinking") == thinking
    assert written.dropped == ([] if thinking else ["reasoning"])


def test_a_model_that_cannot_be_forced_is_not() -> None:
    given = request(tools=[F], tool_choice=ToolChoice(mode="required"))
    assert refused(given, destination(forced_tool_choice="never")) == "tool_choice"


# JSON.


def output(where: Destination = DESTINATION, schema: Any = None, **members: Any) -> Outgoing:
    wanted = OutputFormat(kind="json_schema", name="person", description="A person.", schema=schema or PERSON)
    return outgoing(request(output=wanted, **members), where)


def test_a_schema_is_the_format_of_the_output() -> None:
    assert output().body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {**PERSON, "additionalProperties": False, "description": "A person."},
    }


def test_format_and_effort_stand_side_by_side() -> None:
    written = output(ADAPTIVE, reasoning=Reasoning(effort="low")).body["output_config"]
    assert set(written) == {"effort", "format"}


def test_without_structured_outputs_a_tool_takes_the_answer() -> None:
    written = output(destination(structured_outputs=False))
    (tool,) = written.body["tools"]
    assert (tool["name"], tool["input_schema"]) == ("json_output", PERSON)
    assert written.body["tool_choice"] == {"type": "tool", "name": "json_output", "disable_parallel_tool_use": True}
    assert written.emulation is not None
    answer = PROTOCOL.read_answer(
        {
            "content": [{"type": "tool_use", "id": "1", "name": "json_output", "input": {"age": 5}}],
            "stop_reason": "tool_use",
        }
    )
    assert undo(answer, written.emulation).parts == [Text(text='{"age":5}')]


def test_beside_the_callers_tools_it_is_one_of_them() -> None:
    taken = FunctionTool(name="json_output")
    written = output(destination(structured_outputs=False), tools=[F, taken]).body
    assert [tool["name"] for tool in written["tools"]] == ["f", "json_output", "json_output_"]
    assert written["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    "where",
    [
        destination(structured_outputs=False, forced_tool_choice="never"),
        destination(structured_outputs=False, tools=False),
        destination(structured_outputs=False, forced_tool_choice="without_reasoning", reasons_by_default=True),
    ],
)
def test_where_no_tool_can_be_forced_the_model_is_told(where: Destination) -> None:
    written = output(where)
    assert '"age"' in written.body["system"]
    assert written.emulation is None


def test_a_schema_that_cannot_be_held_to_is_refused_only_if_it_must_be() -> None:
    anything = {"type": "object", "additionalProperties": {"type": "string"}}
    assert output(schema=anything).emulation is not None
    strict = OutputFormat(kind="json_schema", schema=anything, strict=True)
    assert refused(request(output=strict, names={"output": "response_format"})) == "response_format"


def test_any_object_is_an_instruction_at_the_end() -> None:
    wanted = OutputFormat(kind="json_object")
    written = body(request(turn("system", "Be brief."), HI, output=wanted))["system"]
    assert written[0]["text"] == "Be brief."
    assert "JSON object" in written[1]["text"]
    assert isinstance(body(request(output=wanted))["system"], str)
