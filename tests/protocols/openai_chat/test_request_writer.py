"""What is written of a request for a provider of chat completions, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
)
from ai_gateway.protocols.emulation import undo
from ai_gateway.protocols.openai_chat import PROTOCOL
from tests.protocols.openai_chat.helpers import (
    PDF,
    PLAIN,
    SCHEMA,
    STRICT,
    asked,
    assistant,
    own,
    said,
    signature,
    system,
    user,
    write,
)


class TestWritingMembers:
    @pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
    def test_the_limit_has_the_providers_name(self, field: Any) -> None:
        body = write(asked(max_output_tokens=5), Capabilities(max_tokens_field=field)).body
        assert body[field] == 5

    def test_no_output_at_all_cannot_be_asked_for(self) -> None:
        with pytest.raises(Unsupported) as caught:
            write(asked(max_output_tokens=0, names={"max_output_tokens": "max_tokens"}))
        assert caught.value.param == "max_tokens"

    def test_a_stream_asks_for_usage(self) -> None:
        body = write(asked(stream=True, includes_usage=False)).body
        assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})

    def test_a_stream_where_usage_cannot_be_asked_for(self) -> None:
        assert "stream_options" not in write(asked(stream=True), Capabilities(stream_usage=False)).body

    def test_no_stream(self) -> None:
        body = write(asked()).body
        assert "stream" not in body
        assert "stream_options" not in body

    @pytest.mark.parametrize(
        ("capabilities", "fields", "written", "dropped"),
        [
            ({}, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}, []),
            ({"both_samplings": False}, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, ["top_p"]),
            ({"both_samplings": False}, {"top_p": 0.5}, {"top_p": 0.5}, []),
            ({"sampling": "never"}, {"temperature": 0.5}, {}, ["temperature"]),
            ({"sampling": "never"}, {"temperature": 1, "top_p": 1.0, "presence_penalty": 0}, {}, []),
            ({"sampling": "without_reasoning"}, {"temperature": 0.5}, {"temperature": 0.5}, []),
            (
                {"sampling": "without_reasoning", "reasoning": "effort", "reasons_by_default": True},
                {"temperature": 0.5},
                {},
                ["temperature"],
            ),
            ({}, {"top_k": 5}, {}, ["topK"]),
            ({"top_k": True}, {"top_k": 5}, {"top_k": 5}, []),
            ({"seed": False}, {"seed": 5}, {}, ["seed"]),
            ({"penalties": False}, {"presence_penalty": 0.5}, {}, ["presence_penalty"]),
            ({"max_stop": 2}, {"stop": ["a", "", "b", "c"]}, {"stop": ["a", "b"]}, []),
            ({"max_stop": 0}, {"stop": ["a"]}, {}, []),
            ({}, {"verbosity": "low", "service_tier": "flex"}, {}, ["verbosity", "service_tier"]),
            ({}, {"service_tier": "auto"}, {}, []),
            (
                {"openai_hints": True},
                {"verbosity": "low", "service_tier": "standard_only"},
                {"verbosity": "low", "service_tier": "default"},
                [],
            ),
            ({"openai_hints": True}, {"metadata": {"a": "b"}}, {}, ["metadata"]),
            (
                {"openai_hints": True},
                {"metadata": {"a": "b"}, "hints": {"store": True}},
                {"metadata": {"a": "b"}, "store": True},
                [],
            ),
            ({"openai_hints": True}, {"session": "k"}, {"prompt_cache_key": "k"}, []),
            ({}, {"session": "k"}, {}, []),
            ({}, {"user": "u-1"}, {"user": "u-1"}, []),
            ({"user_field": "safety_identifier"}, {"user": "u-1"}, {"safety_identifier": "u-1"}, []),
            ({"user_field": ""}, {"user": "u-1"}, {}, ["user"]),
            ({}, {"hints": {"diagnostics": {}}}, {}, ["diagnostics"]),
            ({"openai_hints": True}, {"hints": {"logit_bias": {"1": 1}}}, {"logit_bias": {"1": 1}}, []),
            ({}, {"hints": {"logit_bias": {"1": 1}}}, {}, ["logit_bias"]),
            ({}, {"extras": {"safetySettings": []}}, {}, ["safetySettings"]),
            ({}, {"extras": {"provider": {"order": ["x"]}}}, {"provider": {"order": ["x"]}}, []),
            (
                {"cache_marks": True},
                {"cache": CacheMark(ttl="1h")},
                {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
                [],
            ),
            ({}, {"cache": CacheMark()}, {}, []),
            ({}, {"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, []),
            ({"logprobs": False}, {"top_logprobs": 0, "count": 1}, {}, []),
        ],
    )
    def test_what_is_said_and_what_is_dropped(
        self, capabilities: dict[str, Any], fields: dict[str, Any], written: dict[str, Any], dropped: list[str]
    ) -> None:
        outgoing = write(
            asked(names={"stop": "stop_sequences", "top_k": "topK"}, **fields), Capabilities(**capabilities)
        )
        members = {name: value for name, value in outgoing.body.items() if name not in ("model", "messages")}
        assert members == written
        assert list(outgoing.dropped) == dropped

    def test_stop_sequences_that_the_model_does_not_take_are_kept_here(self) -> None:
        outgoing = write(asked(stop=["a", "b", "c"]), Capabilities(max_stop=1))
        assert outgoing.emulation is not None
        assert outgoing.emulation.stop == ("b", "c")

    @pytest.mark.parametrize("user", ["ann@example.com", "+49 170 1234567", "x" * 65])
    def test_who_the_user_is_is_not_told(self, user: str) -> None:
        told = write(asked(user=user)).body["user"]
        assert user not in told
        assert len(told) <= 64
        assert told == write(asked(user=user)).body["user"]

    @pytest.mark.parametrize(
        ("capabilities", "fields", "param"),
        [
            ({}, {"count": 2}, "n"),
            ({"logprobs": False}, {"logprobs": True}, "logprobs"),
            ({"logprobs": False}, {"top_logprobs": 2}, "top_logprobs"),
            ({"tools": False}, {"tools": [FunctionTool(name="f")]}, "tools"),
            ({}, {"tools": [HostedTool(format="x", type="c", value={"type": "c"}, at="tools[0]")]}, "tools[0].type"),
            ({}, {"tools": [HostedTool(format="x", type="c", value={}, at="tools[0].c")]}, "tools[0].c"),
            ({"images": False}, {"messages": [user(Image(url="https://x", at="here"))]}, "here"),
            ({"image_urls": False}, {"messages": [user(Image(url="https://x", at="here"))]}, "here"),
            ({}, {"messages": [user(Image(file_id="f", at="here"))]}, "here"),
            ({"files": False}, {"messages": [user(File(data=PDF, media_type="application/pdf", at="here"))]}, "here"),
            ({}, {"messages": [user(File(url="https://x", at="here"))]}, "here"),
            ({}, {"messages": [user(File(file_id="f", at="here"))]}, "here"),
            ({}, {"messages": [user(File(data="gICA", media_type="text/plain", at="here"))]}, "here"),
            ({}, {"messages": [user(Audio(data="AAAA", format="wav", at="here"))]}, "here"),
            ({}, {"messages": [user(Opaque(format="x", value={}, at="here"))]}, "here"),
            (
                {"forced_tool_choice": "never"},
                {"tools": [FunctionTool(name="f")], "tool_choice": ToolChoice(mode="required")},
                "tool_choice",
            ),
            (
                {"forced_tool_choice": "without_reasoning", "reasoning": "effort", "reasons_by_default": True},
                {"tools": [FunctionTool(name="f")], "tool_choice": ToolChoice(mode="required")},
                "tool_choice",
            ),
        ],
    )
    def test_what_would_change_the_answer_is_refused(
        self, capabilities: dict[str, Any], fields: dict[str, Any], param: str
    ) -> None:
        with pytest.raises(Unsupported) as caught:
            write(asked(names={"count": "n"}, **fields), Capabilities(**capabilities))
        assert caught.value.param == param


class TestWritingReasoning:
    @pytest.mark.parametrize(
        ("efforts", "wanted", "effort", "dropped"),
        [
            ((), Reasoning(effort="high"), "high", ()),
            (("low", "high"), Reasoning(effort="medium"), "low", ()),
            (("low", "high"), Reasoning(effort="max"), "high", ()),
            (("low", "high"), Reasoning(effort="minimal"), "low", ()),
            (("low", "high"), Reasoning(effort="none"), "low", ("reasoning",)),
            (("none", "low"), Reasoning(effort="none"), "none", ()),
            (("none", "low"), Reasoning(mode="disabled"), "none", ()),
            ((), Reasoning(budget=1024), "minimal", ()),
            (("low", "medium", "high"), Reasoning(budget=1024), "low", ()),
            ((), Reasoning(budget=4000), "low", ()),
            ((), Reasoning(budget=9000), "medium", ()),
            ((), Reasoning(budget=32000), "high", ()),
            ((), Reasoning(mode="adaptive"), None, ()),
            ((), Reasoning(is_shown=True), None, ()),
        ],
    )
    def test_the_effort(self, efforts: Any, wanted: Reasoning, effort: str | None, dropped: tuple[str, ...]) -> None:
        outgoing = write(asked(reasoning=wanted), Capabilities(reasoning="effort", efforts=efforts))
        assert outgoing.body.get("reasoning_effort") == effort
        assert outgoing.dropped == dropped

    @pytest.mark.parametrize(
        ("wanted", "dropped"),
        [
            (Reasoning(effort="high"), ("thinking",)),
            (Reasoning(effort="none"), ()),
            (Reasoning(mode="disabled"), ()),
            (Reasoning(is_shown=True), ()),
        ],
    )
    def test_a_model_that_cannot(self, wanted: Reasoning, dropped: tuple[str, ...]) -> None:
        outgoing = write(asked(reasoning=wanted, names={"reasoning": "thinking"}), PLAIN)
        assert "reasoning_effort" not in outgoing.body
        assert outgoing.dropped == dropped

    def test_a_forced_tool_ends_reasoning_where_both_cannot_be(self) -> None:
        capabilities = Capabilities(
            forced_tool_choice="without_reasoning", reasoning="effort", efforts=("none", "low"), reasons_by_default=True
        )
        forced = {"tools": [FunctionTool(name="f")], "tool_choice": ToolChoice(mode="required")}
        outgoing = write(asked(reasoning=Reasoning(effort="low"), **forced), capabilities)
        assert outgoing.body["reasoning_effort"] == "none"
        assert outgoing.dropped == ("reasoning",)
        assert write(asked(**forced), capabilities).dropped == ()

    TURN = assistant(Thinking(text="Hm", state=own("reasoning_details", '[{"type":"reasoning.text","signature":"S"}]')))

    def test_history_is_dropped_by_default(self) -> None:
        assert said(assistant(Thinking(text="Hm"), Text(text="Hi")), capabilities=PLAIN) == [
            {"role": "assistant", "content": "Hi"}
        ]

    @pytest.mark.parametrize(
        ("parts", "text"),
        [
            ([Thinking(text="A"), Thinking(text="B"), Text(text="Hi")], "AB"),
            ([ToolCall(id="a", name="f")], ""),
            ([Text(text="Hi")], None),
        ],
    )
    def test_history_as_text(self, parts: list[Part], text: str | None) -> None:
        (turn,) = said(assistant(*parts), capabilities=Capabilities(reasoning_history="reasoning_content"))
        assert turn.get("reasoning_content") == text

    def test_history_as_details(self) -> None:
        (turn,) = said(
            assistant(*self.TURN.parts, Text(text="Hi")),
            capabilities=Capabilities(reasoning_history="reasoning_details"),
        )
        assert turn["reasoning_details"] == [{"type": "reasoning.text", "signature": "S", "text": "Hm"}]

    @pytest.mark.parametrize(
        "state", [signature(), None, State(format="openai_chat", kind="reasoning_details", value="[]")]
    )
    def test_a_foreign_state_is_not_sent(self, state: State | None) -> None:
        (turn,) = said(
            assistant(Thinking(text="Hm", state=state), Text(text="Hi")),
            capabilities=Capabilities(reasoning_history="reasoning_details"),
        )
        assert turn == {"role": "assistant", "content": "Hi", "reasoning": "Hm"}

    def test_a_calls_signature_goes_back(self) -> None:
        (turn,) = said(assistant(ToolCall(id="a", name="f", state=own("signature", "S"))))
        assert turn["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "S"}}
        (turn,) = said(assistant(ToolCall(id="a", name="f", state=signature("S", "gemini"))))
        assert "extra_content" not in turn["tool_calls"][0]

    def test_a_texts_signature_and_phase_go_back(self) -> None:
        (turn,) = said(assistant(Text(text="Hi", state=own("signature", "S"), phase="commentary")))
        assert turn["extra_content"] == {"google": {"thought_signature": "S"}}
        assert turn["phase"] == "commentary"


class TestWritingOutput:
    WANTED = OutputFormat(kind="json_schema", name="out", schema=STRICT)

    @pytest.mark.parametrize(
        ("schema", "given", "strict"),
        [(STRICT, None, True), (SCHEMA, None, False), (SCHEMA, True, True), (STRICT, False, False)],
    )
    def test_a_schema(self, schema: dict[str, Any], given: bool | None, strict: bool) -> None:
        wanted = OutputFormat(kind="json_schema", schema=schema, strict=given)
        assert write(asked(output=wanted)).body["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": schema, "strict": strict},
        }

    def test_a_schema_as_the_arguments_of_a_tool(self) -> None:
        outgoing = write(asked(output=self.WANTED), Capabilities(structured_outputs=False))
        assert "response_format" not in outgoing.body
        (tool,) = outgoing.body["tools"]
        assert tool["function"]["parameters"] == STRICT
        assert outgoing.body["tool_choice"] == {"type": "function", "function": {"name": tool["function"]["name"]}}
        assert outgoing.emulation is not None
        assert outgoing.emulation.json_tool == tool["function"]["name"]

    def test_a_schema_beside_tools(self) -> None:
        capabilities = Capabilities(json_with_tools=False)
        tools = [FunctionTool(name="json_output")]
        outgoing = write(asked(output=self.WANTED, tools=tools), capabilities)
        names = [tool["function"]["name"] for tool in outgoing.body["tools"]]
        assert names == ["json_output", "json_output_"]
        assert outgoing.body["tool_choice"] == "required"

    def test_the_arguments_of_that_tool_are_the_text(self) -> None:
        outgoing = write(asked(output=self.WANTED), Capabilities(structured_outputs=False))
        assert outgoing.emulation is not None
        function = {"name": outgoing.emulation.json_tool, "arguments": '{"x":1}'}
        message = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
        answer = PROTOCOL.read_answer({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
        assert undo(answer, outgoing.emulation).parts == [Text(text='{"x":1}')]

    def test_a_schema_in_words(self) -> None:
        capabilities = Capabilities(structured_outputs=False, forced_tool_choice="never")
        body = write(asked(output=self.WANTED), capabilities).body
        assert body["response_format"] == {"type": "json_object"}
        assert body["messages"][0]["role"] == "system"
        assert '"additionalProperties":false' in body["messages"][0]["content"]

    def test_any_object(self) -> None:
        body = write(asked(output=OutputFormat(kind="json_object"))).body
        assert body["response_format"] == {"type": "json_object"}
        assert "JSON" in body["messages"][0]["content"]

    def test_any_object_where_the_caller_says_so(self) -> None:
        messages = [system(Text(text="Be kind")), user(Text(text="Answer in json."))]
        assert len(said(*messages, output=OutputFormat(kind="json_object"))) == 2

    def test_any_object_in_words(self) -> None:
        messages = [system(Text(text="Be kind")), user(Text(text="Hi"))]
        written = said(*messages, output=OutputFormat(kind="json_object"), capabilities=Capabilities(json_mode=False))
        assert [each["role"] for each in written] == ["system", "system", "user"]
