"""The messages and tools of a request, as they are written for a provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Opaque,
    Refusal,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tests.protocols.openai_chat.helpers import (
    EVERYTHING,
    PDF,
    PIXEL,
    PLAIN,
    SCHEMA,
    STRICT,
    asked,
    assistant,
    image,
    said,
    system,
    user,
    write,
)


class TestWritingMessages:
    def test_instructions(self) -> None:
        messages = [system(Text(text="A"), Text(text="B")), system(Text(text="C")), user(Text(text="Hi"))]
        assert said(*messages, capabilities=Capabilities(system_role="developer")) == [
            {"role": "developer", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
            {"role": "developer", "content": "C"},
            {"role": "user", "content": "Hi"},
        ]

    def test_instructions_as_one_string(self) -> None:
        (first,) = said(system(Text(text="A"), Text(text="B")), capabilities=Capabilities(string_content=True))
        assert first["content"] == "A\n\nB"

    def test_instructions_in_the_middle(self) -> None:
        messages = [system(Text(text="A")), user(Text(text="Hi")), system(Text(text="B"))]
        assert [each["role"] for each in said(*messages)] == ["system", "user", "system"]
        hoisted = said(*messages, capabilities=Capabilities(mid_system=False))
        assert [each["content"] for each in hoisted] == ["A", "B", "Hi"]

    def test_a_block_that_changes_with_every_request_is_left_out(self) -> None:
        billing = Text(text="x-anthropic-billing-header: cc_version=1; cch=abc;")
        assert said(system(billing, Text(text="A")), user(Text(text="Hi")))[0]["content"] == "A"
        assert len(said(system(billing), user(Text(text="Hi")))) == 1

    def test_results_come_first(self) -> None:
        call = ToolCall(id="a", name="f", arguments="")
        results = [ToolResult(call_id="a", parts=[Text(text="x"), Text(text="y")]), ToolResult(call_id="b")]
        written = said(
            assistant(Text(text="A"), call, ToolCall(id="b", name="g", arguments='{"x":')),
            user(Text(text="Go on"), *results),
        )
        assert written == [
            {
                "role": "assistant",
                "content": "A",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":'}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "x\ny"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {"role": "user", "content": "Go on"},
        ]

    @pytest.mark.parametrize(
        ("text", "told"), [("no file", "Error: no file"), ("ERROR: x", "ERROR: x"), ("", "Error: ")]
    )
    def test_a_result_that_is_an_error(self, text: str, told: str) -> None:
        result = ToolResult(call_id="a", parts=[Text(text=text)], is_error=True)
        assert said(assistant(ToolCall(id="a", name="f")), user(result))[1]["content"] == told

    def test_what_another_format_alone_knows_is_a_result_in_json(self) -> None:
        result = ToolResult(call_id="a", parts=[Opaque(format="x", value={"type": "y"})])
        assert said(assistant(ToolCall(id="a", name="f")), user(result))[1]["content"] == '{"type":"y"}'

    def test_media_of_a_result_go_into_the_users_turn(self) -> None:
        picture = Image(data=PIXEL, media_type="image/png")
        results = [ToolResult(call_id="a", parts=[picture]), ToolResult(call_id="b", parts=[Text(text="ok")])]
        turn = assistant(ToolCall(id="a", name="f"), ToolCall(id="b", name="g"))
        written = said(turn, user(*results, Text(text="Well?")), capabilities=PLAIN)
        assert [each["role"] for each in written] == ["assistant", "tool", "tool", "user"]
        assert [each["content"] for each in written[1:3]] == ["[see the attached content below]", "ok"]
        assert [each["type"] for each in written[3]["content"]] == ["text", "image_url", "text"]
        assert "a" in written[3]["content"][0]["text"]

    def test_media_of_a_result_where_they_may_stay(self) -> None:
        result = ToolResult(call_id="a", parts=[Text(text="see"), Image(data=PIXEL, media_type="image/png")])
        written = said(assistant(ToolCall(id="a", name="f")), user(result))
        assert [each["type"] for each in written[1]["content"]] == ["text", "image_url"]

    def test_media(self) -> None:
        (turn,) = said(
            user(
                Text(text="A"),
                Image(data=PIXEL, media_type="image/png", detail="low"),
                Image(url="https://a.example/x.png"),
                File(data=PDF, media_type="application/pdf"),
                File(text="plain", name="a.txt"),
                File(data="SGVsbG8=", media_type="text/markdown"),
                File(data=PIXEL, media_type="image/png"),
                Audio(data="AAAA", format="wav"),
            )
        )
        assert turn["content"] == [
            {"type": "text", "text": "A"},
            image(f"data:image/png;base64,{PIXEL}", detail="low"),
            image("https://a.example/x.png"),
            {
                "type": "file",
                "file": {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            },
            {"type": "text", "text": "plain"},
            {"type": "text", "text": "Hello"},
            image(f"data:image/png;base64,{PIXEL}"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ]

    def test_an_assistants_texts_are_one(self) -> None:
        assert said(assistant(Text(text="A"), Text(text="B"))) == [{"role": "assistant", "content": "AB"}]

    def test_a_turn_of_calls_alone_has_no_content(self) -> None:
        assert said(assistant(ToolCall(id="a", name="f")))[0]["content"] is None

    def test_an_empty_turn_is_left_out(self) -> None:
        assert len(said(user(Text(text="Hi")), assistant(Text(text="")), user(Text(text="")))) == 1

    def test_a_refusal(self) -> None:
        turn = assistant(Refusal(text="No"))
        assert said(turn) == [{"role": "assistant", "content": None, "refusal": "No"}]
        assert said(turn, capabilities=PLAIN) == [{"role": "assistant", "content": "No"}]

    def test_the_users_turn_first(self) -> None:
        capabilities = Capabilities(user_first=True)
        written = said(system(Text(text="A")), assistant(Text(text="Hi")), capabilities=capabilities)
        assert [each["role"] for each in written] == ["system", "user", "assistant"]
        assert len(said(user(Text(text="Hi")), capabilities=capabilities)) == 1

    def test_marks_for_the_cache(self) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        messages = [
            system(Text(text="A", cache=CacheMark())),
            user(Text(text="B", cache=CacheMark(ttl="1h"))),
            assistant(ToolCall(id="a", name="f")),
            user(ToolResult(call_id="a", parts=[Text(text="C")], cache=CacheMark())),
        ]
        written = said(*messages)
        assert written[0]["content"] == [{"type": "text", "text": "A", **mark}]
        assert written[1]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
        assert written[3]["content"] == [{"type": "text", "text": "C", **mark}]
        assert "cache_control" not in json.dumps(said(*messages, capabilities=PLAIN))

    @pytest.mark.parametrize("given", ["toolu_01", "functions.f:0", "call_" + "x" * 59])
    def test_an_id_is_kept_where_it_can_be(self, given: str) -> None:
        written = said(assistant(ToolCall(id=given, name="f")), user(ToolResult(call_id=given)))
        assert written[0]["tool_calls"][0]["id"] == written[1]["tool_call_id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b"])
    def test_an_id_is_replaced_where_it_cannot(self, given: str) -> None:
        written = said(assistant(ToolCall(id=given, name="f")), user(ToolResult(call_id=given)))
        sent = written[0]["tool_calls"][0]["id"]
        assert sent == written[1]["tool_call_id"] != given
        assert 0 < len(sent) <= 64

    def test_an_id_of_nine_characters(self) -> None:
        turn = [assistant(ToolCall(id="toolu_01", name="f")), user(ToolResult(call_id="toolu_01"))]
        written = said(*turn, capabilities=Capabilities(tool_id_length=9))
        sent = written[0]["tool_calls"][0]["id"]
        assert (len(sent), sent.isalnum(), sent) == (9, True, written[1]["tool_call_id"])


class TestWritingTools:
    def test_a_function(self) -> None:
        tool = FunctionTool(name="f", description="D", schema=STRICT, strict=True)
        assert write(asked(tools=[tool])).body["tools"] == [
            {"type": "function", "function": {"name": "f", "description": "D", "parameters": STRICT, "strict": True}}
        ]

    def test_a_function_without_arguments(self) -> None:
        function = write(asked(tools=[FunctionTool(name="f")])).body["tools"][0]["function"]
        assert function == {"name": "f", "parameters": {"type": "object", "properties": {}}}

    @pytest.mark.parametrize(
        ("schema", "strict", "capabilities", "dropped"),
        [
            (STRICT, True, PLAIN, ("tools[].strict",)),
            (SCHEMA, True, EVERYTHING, ("tools[].strict",)),
            (STRICT, False, EVERYTHING, ()),
            (STRICT, None, EVERYTHING, ()),
        ],
    )
    def test_strictness_that_cannot_be(
        self, schema: dict[str, Any], strict: bool | None, capabilities: Capabilities, dropped: tuple[str, ...]
    ) -> None:
        outgoing = write(asked(tools=[FunctionTool(name="f", schema=schema, strict=strict)]), capabilities)
        assert "strict" not in outgoing.body["tools"][0]["function"]
        assert outgoing.dropped == dropped

    @pytest.mark.parametrize(
        ("choice", "written"),
        [
            (ToolChoice(mode="auto"), "auto"),
            (ToolChoice(mode="none"), "none"),
            (ToolChoice(mode="required"), "required"),
            (ToolChoice(mode="named", name="g"), {"type": "function", "function": {"name": "g"}}),
            (ToolChoice(mode="named", name="sh"), {"type": "custom", "custom": {"name": "sh"}}),
            (
                ToolChoice(mode="auto", allowed=["g"]),
                {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]},
                },
            ),
        ],
    )
    def test_choices(self, choice: ToolChoice, written: Any) -> None:
        tools = [FunctionTool(name="f"), FunctionTool(name="g"), CustomTool(name="sh")]
        assert write(asked(tools=tools, tool_choice=choice)).body["tool_choice"] == written

    def test_a_choice_without_tools_is_none(self) -> None:
        body = write(asked(tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=False)).body
        assert "tool_choice" not in body
        assert "parallel_tool_calls" not in body

    def test_tools_that_are_not_allowed_are_taken_out_where_there_is_no_word_for_it(self) -> None:
        tools = [FunctionTool(name="f"), FunctionTool(name="g")]
        body = write(asked(tools=tools, tool_choice=ToolChoice(mode="required", allowed=["g"])), PLAIN).body
        assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
        assert body["tool_choice"] == "required"

    @pytest.mark.parametrize(
        ("flag", "wanted", "written", "dropped"),
        [
            (True, False, False, ()),
            (True, None, None, ()),
            (False, False, None, ("parallel_tool_calls",)),
            (False, True, None, ()),
        ],
    )
    def test_calls_side_by_side(
        self, flag: bool, wanted: bool | None, written: bool | None, dropped: tuple[str, ...]
    ) -> None:
        request = asked(tools=[FunctionTool(name="f")], parallel_tool_calls=wanted)
        outgoing = write(request, Capabilities(parallel_flag=flag))
        assert outgoing.body.get("parallel_tool_calls") is written
        assert outgoing.dropped == dropped

    def test_names_that_are_not_allowed(self) -> None:
        long = "ns." + "x" * 80
        tools = [FunctionTool(name=name) for name in ("a.b", "a_b", "a:b", long)]
        turn = assistant(ToolCall(id="1", name="a.b"), ToolCall(id="2", name=long))
        results = user(ToolResult(call_id="1"), ToolResult(call_id="2"))
        choice = ToolChoice(mode="named", name="a.b")
        outgoing = write(asked(tools=tools, messages=[turn, results], tool_choice=choice))
        sent = [tool["function"]["name"] for tool in outgoing.body["tools"]]
        assert len(set(sent)) == 4
        assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in sent)
        assert [call["function"]["name"] for call in outgoing.body["messages"][0]["tool_calls"]] == [sent[0], sent[3]]
        assert outgoing.body["tool_choice"]["function"]["name"] == sent[0]
        assert outgoing.emulation is not None
        assert {**outgoing.emulation.names, "a_b": "a_b"} == dict(zip(sent, ("a.b", "a_b", "a:b", long), strict=True))

    def test_a_custom_tool(self) -> None:
        grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
        outgoing = write(asked(tools=[CustomTool(name="sh", description="D", grammar=grammar)]))
        nested = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
        assert outgoing.body["tools"] == [
            {"type": "custom", "custom": {"name": "sh", "description": "D", "format": nested}}
        ]
        assert outgoing.emulation is None

    def test_a_custom_tool_as_a_function(self) -> None:
        grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
        turn = assistant(ToolCall(id="1", name="sh", arguments="ls", is_custom=True))
        messages = [turn, user(ToolResult(call_id="1", is_custom=True))]
        outgoing = write(asked(tools=[CustomTool(name="sh", grammar=grammar)], messages=messages), PLAIN)
        function = outgoing.body["tools"][0]["function"]
        assert list(function["parameters"]["properties"]) == ["input"]
        assert "start: /a/" in function["description"]
        call = outgoing.body["messages"][0]["tool_calls"][0]
        assert call["function"] == {"name": "sh", "arguments": '{"input":"ls"}'}
        assert outgoing.emulation is not None
        assert outgoing.emulation.custom_tools == {"sh"}

    def test_a_web_search(self) -> None:
        tool = HostedTool(format="openai_chat", type="web_search_options", value={}, at="web_search_options")
        body = write(asked(tools=[tool])).body
        assert body["web_search_options"] == {}
        assert "tools" not in body
