"""Writing tools for Google."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, ToolCall, ToolChoice, ToolResult
from tests.protocols.gemini.samples import asked, written
from tests.protocols.gemini.turns import SCHEMA, USER, WEATHER, turn


def test_tools_are_one_entry_with_whole_schemas() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"const": 1}}}
    tools = [FunctionTool(name="f", schema=schema), FunctionTool(name="g", description="G.", schema={"type": "object"})]
    body = written(asked(tools=tools)).body
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "", "parametersJsonSchema": schema},
                {"name": "g", "description": "G."},
            ]
        }
    ]
    assert "toolConfig" not in body


def test_a_function_with_free_arguments_keeps_its_schema() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    body = written(asked(tools=[FunctionTool(name="f", schema=schema)])).body
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == schema


@pytest.mark.parametrize("name", ["3d", "mcp__" + "x" * 100, "naïve tool"])
def test_names_that_are_not_allowed_are_changed_and_changed_back(name: str) -> None:
    call, result = ToolCall(id="c", name=name, arguments="{}"), ToolResult(call_id="c")
    request = asked(
        USER,
        turn("assistant", call),
        turn("user", result),
        tools=[FunctionTool(name=name)],
        tool_choice=ToolChoice(mode="named", name=name),
    )
    outgoing = written(request)
    (sent,) = {
        outgoing.body["tools"][0]["functionDeclarations"][0]["name"],
        outgoing.body["contents"][1]["parts"][0]["functionCall"]["name"],
        outgoing.body["contents"][2]["parts"][0]["functionResponse"]["name"],
        *outgoing.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"],
    }
    assert outgoing.emulation is not None
    assert outgoing.emulation.names == {sent: name}
    assert len(sent) <= 64


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="named", name="weather"), {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (ToolChoice(mode="required", allowed=["a"]), {"mode": "ANY", "allowedFunctionNames": ["a"]}),
        (ToolChoice(mode="auto", allowed=["a"]), {"mode": "VALIDATED", "allowedFunctionNames": ["a"]}),
    ],
)
def test_which_tool_must_be_called(choice: ToolChoice | None, config: dict[str, Any] | None) -> None:
    body = written(asked(tools=[WEATHER], tool_choice=choice)).body
    assert body.get("toolConfig") == ({"functionCallingConfig": config} if config else None)
    assert "toolConfig" not in written(asked(tool_choice=choice)).body


def test_strict_tools() -> None:
    tool = FunctionTool(name="f", schema=SCHEMA, strict=True, at="tools[0]")
    assert written(asked(tools=[tool])).dropped == ["tools[0].strict"]
    outgoing = written(asked(tools=[tool]), strict_tools=True)
    assert outgoing.dropped == []
    assert outgoing.body["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED"}


def test_a_tool_with_free_text_is_a_function_with_one_argument() -> None:
    call = ToolCall(id="c", name="patch", arguments="*** Begin", is_custom=True)
    outgoing = written(asked(USER, turn("assistant", call), tools=[CustomTool(name="patch")]))
    assert outgoing.emulation is not None
    assert outgoing.emulation.custom_tools == {"patch"}
    assert outgoing.body["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "*** Begin"}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    outgoing = written(asked(tools=[CustomTool(name="patch", grammar=grammar)]))
    assert "start: /.+/" in outgoing.body["tools"][0]["functionDeclarations"][0]["description"]


def test_hosted_tools() -> None:
    own = HostedTool(format="gemini", type="googleSearch", value={"googleSearch": {}})
    assert written(asked(tools=[own])).body["tools"] == [{"googleSearch": {}}]
    with pytest.raises(Unsupported) as raised:
        written(asked(tools=[HostedTool(format="openai_responses", type="web_search", value={}, at="tools[0]")]))
    assert raised.value.param == "tools[0].type"
