"""Requests of chat completions, as they are recorded; and what is read of a caller's members and tools."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    OutputFormat,
    Part,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.protocol import Head
from tests.protocols.openai_chat.helpers import (
    CARRIER,
    HEAD,
    HELLO,
    SCHEMA,
    VECTORS,
    read,
    write,
)
from tests.protocols.vectors import Vector

REFUSED = {
    "openai-async-chat-completion-multiple-choices-0": "n",
    "openai-async-chat-completion-multiple-choices-streaming-0": "n",
    "openai-chat-text-to-audio-0": "modalities",
    "openai-chat-bad-request-0": "max_tokens",
}
"""Recorded requests that are refused, and by what."""

REQUESTS = [vector for vector in VECTORS if vector.request is not None]

READ = [vector for vector in REQUESTS if vector.name not in REFUSED]

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

PARAMS = TypeAdapter(CompletionCreateParamsNonStreaming)


def read_whole(body: dict[str, Any]) -> Request:
    """Read a whole body."""
    return PROTOCOL.read_request(body, HEAD, CARRIER)


def placeless(part: Part) -> Part:
    """Leave out where a part stood."""
    return msgspec.structs.replace(part, at="")


class TestRecordedRequests:
    @pytest.mark.parametrize("vector", READ, ids=str)
    def test_they_are_read_and_written_again(self, vector: Vector) -> None:
        body = copy.deepcopy(vector.request)
        request = read_whole(body)
        outgoing = write(request)
        assert body == vector.request
        assert request.source == vector.request
        PARAMS.validate_python({name: value for name, value in outgoing.body.items() if name != "stream"})
        assert outgoing.body["model"] == "upstream"
        assert [each["role"] for each in outgoing.body["messages"]] == [
            "system" if each["role"] == "developer" else each["role"]
            for each in vector.request["messages"]
            if each != {"role": "assistant", "content": ""}
        ]

    @pytest.mark.parametrize("vector", READ, ids=str)
    def test_what_is_written_reads_as_the_same(self, vector: Vector) -> None:
        request = read_whole(vector.request)
        again = read_whole(write(request).body)
        spoken = [each for each in request.messages if each.parts != [Text(at=f"{each.at}.content")]]
        for one, other in zip(spoken, again.messages, strict=True):
            assert one.role == other.role
            texts = ["".join(part.text for part in each.parts if isinstance(part, Text)) for each in (one, other)]
            assert texts[0] == texts[1]
            for kind in (ToolCall, Image, File, Audio):
                kept = [[placeless(part) for part in each.parts if isinstance(part, kind)] for each in (one, other)]
                assert kept[0] == kept[1]
            results = [[part for part in each.parts if isinstance(part, ToolResult)] for each in (one, other)]
            assert [part.call_id for part in results[0]] == [part.call_id for part in results[1]]
        names = [[tool.name for tool in each.tools if isinstance(tool, FunctionTool)] for each in (request, again)]
        assert names[0] == names[1]
        for field in ("stream", "tool_choice", "max_output_tokens", "temperature", "top_p", "stop", "seed"):
            assert getattr(again, field) == getattr(request, field), field

    @pytest.mark.parametrize("vector", READ, ids=str)
    def test_the_same_input_gives_the_same_bytes(self, vector: Vector) -> None:
        first, second = (write(read_whole(copy.deepcopy(vector.request))) for _ in range(2))
        assert dumps(first.body) == dumps(second.body)

    @pytest.mark.parametrize("vector", [each for each in REQUESTS if each.name in REFUSED], ids=str)
    def test_what_cannot_be_had_is_refused(self, vector: Vector) -> None:
        with pytest.raises(BadRequest) as caught:
            write(read_whole(vector.request))
        assert caught.value.param == REFUSED[vector.name]


class TestReadingMembers:
    @pytest.mark.parametrize(
        ("body", "field", "value", "name"),
        [
            ({"max_tokens": 5}, "max_output_tokens", 5, "max_tokens"),
            ({"max_completion_tokens": 5.0}, "max_output_tokens", 5, "max_completion_tokens"),
            ({"max_tokens": 5, "max_completion_tokens": 6}, "max_output_tokens", 6, "max_completion_tokens"),
            ({"temperature": 0.5}, "temperature", 0.5, "temperature"),
            ({"top_p": 0.5}, "top_p", 0.5, "top_p"),
            ({"top_k": 5}, "top_k", 5, "top_k"),
            ({"seed": 5}, "seed", 5, "seed"),
            ({"random_seed": 5}, "seed", 5, "random_seed"),
            ({"n": 1}, "count", 1, "n"),
            ({"user": "u", "safety_identifier": "s"}, "user", "s", "safety_identifier"),
            ({"user": "u"}, "user", "u", "user"),
            ({"prompt_cache_key": "k"}, "session", "k", "prompt_cache_key"),
            ({"stop": "END"}, "stop", ["END"], "stop"),
            ({"stop": ["A", "B"]}, "stop", ["A", "B"], "stop"),
            ({"stop": None}, "stop", [], "stop"),
            ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", 3, "top_logprobs"),
            ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}, "metadata"),
            ({"parallel_tool_calls": False}, "parallel_tool_calls", False, "parallel_tool_calls"),
            ({"stream": True}, "stream", True, "stream"),
            ({"response_format": {"type": "text"}}, "output", None, "response_format"),
            (
                {"response_format": {"type": "json_object"}},
                "output",
                OutputFormat(kind="json_object"),
                "response_format",
            ),
            ({"reasoning_effort": "low"}, "reasoning", Reasoning(effort="low"), "reasoning_effort"),
            ({"reasoning": {"effort": "low"}}, "reasoning", Reasoning(effort="low"), "reasoning"),
            ({"reasoning": {"max_tokens": 9}}, "reasoning", Reasoning(budget=9), "reasoning"),
            ({"reasoning": {"enabled": False}}, "reasoning", Reasoning(effort="none"), "reasoning"),
            ({"reasoning": {"exclude": True}}, "reasoning", Reasoning(is_shown=False), "include_reasoning"),
            ({"include_reasoning": True}, "reasoning", Reasoning(is_shown=True), "include_reasoning"),
            ({"thinking": {"type": "adaptive"}}, "reasoning", Reasoning(mode="adaptive"), "thinking"),
            ({"google": {"thinking_config": {"thinking_budget": 9}}}, "reasoning", Reasoning(budget=9), "google"),
            (
                {"extra_body": {"google": {"thinking_config": {"thinking_level": "LOW", "include_thoughts": True}}}},
                "reasoning",
                Reasoning(effort="low", is_shown=True),
                "google",
            ),
            ({"google": {"thinking_config": {"thinking_budget": -1}}}, "reasoning", None, "reasoning"),
        ],
    )
    def test_each_has_its_field(self, body: dict[str, Any], field: str, value: Any, name: str) -> None:
        request = read(body)
        assert getattr(request, field) == value
        assert request.name_of(field) == name
        assert request.hints == {}

    def test_a_schema(self) -> None:
        wanted = {"name": "out", "schema": SCHEMA, "strict": True, "description": "D"}
        assert read({"response_format": {"type": "json_schema", "json_schema": wanted}}).output == OutputFormat(
            kind="json_schema", name="out", schema=SCHEMA, strict=True, description="D"
        )

    @pytest.mark.parametrize(
        ("options", "wanted"), [(None, False), ({}, False), ({"include_usage": True}, True), ({"x": 1}, False)]
    )
    def test_whether_usage_is_wanted_in_the_stream(self, options: Any, wanted: bool) -> None:
        assert read({"stream": True, "stream_options": options}).includes_usage is wanted

    def test_what_is_unknown_is_a_hint(self) -> None:
        assert read({"logit_bias": {"1": 2}, "prediction": {"type": "content"}, "min_p": 0.1}).hints == {
            "logit_bias": {"1": 2},
            "prediction": {"type": "content"},
            "min_p": 0.1,
        }

    def test_what_asks_for_nothing_is_none(self) -> None:
        assert read({"logit_bias": {}, "store": False, "min_p": None, "tools": None, "tool_choice": None}).hints == {}

    def test_names_of_speakers_are_one(self) -> None:
        request = read({"messages": [{"role": "user", "name": "Ann", "content": "Hi"}] * 3})
        assert request.hints == {"messages[].name": True}

    def test_members_of_other_formats_are_kept_for_them(self) -> None:
        body = {
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "output_config": {"effort": "high"},
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "safety_settings": [{"category": "x"}],
            "cached_content": "c",
        }
        request = read(body)
        assert request.extras == {
            "thinking": body["thinking"],
            "output_config": body["output_config"],
            "cache_control": body["cache_control"],
            "safetySettings": body["safety_settings"],
            "cachedContent": "c",
        }
        assert request.reasoning == Reasoning(effort="high", budget=2048, mode="enabled")
        assert request.cache == CacheMark(ttl="1h")
        assert request.hints == {}

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"messages": []}, "messages"),
            ({"messages": None}, "messages"),
            ({"messages": "Hi"}, "messages"),
            ({"messages": ["Hi"]}, "messages[0]"),
            ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
            ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]"),
            ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
            ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
            ({"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}, "messages[0].content[0].text"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
            ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a"}]}, "messages[0].role"),
            ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]}]},
                "messages[0].tool_calls[0].function.name",
            ),
            ({"temperature": "hot"}, "temperature"),
            ({"temperature": True}, "temperature"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_completion_tokens": -1}, "max_completion_tokens"),
            ({"max_tokens": 1.5}, "max_tokens"),
            ({"stream": "yes"}, "stream"),
            ({"stop": [3]}, "stop"),
            ({"metadata": {"a": 1}}, "metadata.a"),
            ({"tools": [{"type": "function"}]}, "tools[0].function"),
            ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
            ({"tools": [{}]}, "tools[0].type"),
            ({"tools": {}}, "tools"),
            ({"tool_choice": "maybe"}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
            ({"tool_choice": 3}, "tool_choice"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
            ({"response_format": {"type": "grammar"}}, "response_format.type"),
            ({"modalities": ["text", "audio"]}, "modalities"),
        ],
    )
    def test_what_is_malformed_is_named(self, body: dict[str, Any], param: str) -> None:
        with pytest.raises(BadRequest) as caught:
            read(body)
        assert caught.value.param == param

    def test_the_model_and_the_stream_may_stand_in_the_head(self) -> None:
        request = PROTOCOL.read_request({"messages": HELLO}, Head(model="h", stream=True), CARRIER)
        assert (request.model, request.stream) == ("h", True)


class TestReadingTools:
    def test_a_function(self) -> None:
        function = {"name": "f", "description": "D", "parameters": SCHEMA, "strict": True}
        tool = {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}
        assert read({"tools": [tool]}).tools == [
            FunctionTool(name="f", description="D", schema=SCHEMA, strict=True, cache=CacheMark(), at="tools[0]")
        ]

    @pytest.mark.parametrize("parameters", [None, {}])
    def test_a_function_without_arguments(self, parameters: Any) -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        assert read({"tools": [tool]}).tools == [FunctionTool(name="f", at="tools[0]")]

    def test_a_custom_tool(self) -> None:
        grammar = {"syntax": "lark", "definition": "start: /a/"}
        custom = {"name": "sh", "description": "D", "format": {"type": "grammar", "grammar": grammar}}
        assert read({"tools": [{"type": "custom", "custom": custom}]}).tools == [
            CustomTool(name="sh", description="D", grammar={"type": "grammar", **grammar}, at="tools[0]")
        ]

    def test_a_custom_tool_for_any_text(self) -> None:
        custom = {"name": "sh", "format": {"type": "text"}}
        assert read({"tools": [{"type": "custom", "custom": custom}]}).tools == [CustomTool(name="sh", at="tools[0]")]

    def test_hosted_tools(self) -> None:
        search = {"type": "web_search_20250305", "name": "web_search"}
        found = read({"tools": [search, {"type": "x"}], "web_search_options": {"search_context_size": "low"}}).tools
        assert found == [
            HostedTool(format="anthropic_messages", type="web_search_20250305", value=search, at="tools[0]"),
            HostedTool(format="openai_chat", type="x", value={"type": "x"}, at="tools[1]"),
            HostedTool(
                format="openai_chat",
                type="web_search_options",
                value={"search_context_size": "low"},
                at="web_search_options",
            ),
        ]

    @pytest.mark.parametrize(
        ("given", "choice"),
        [
            ("auto", ToolChoice(mode="auto")),
            ("none", ToolChoice(mode="none")),
            ("required", ToolChoice(mode="required")),
            ("any", ToolChoice(mode="required")),
            ({"type": "function", "function": {"name": "f"}}, ToolChoice(mode="named", name="f")),
            ({"type": "custom", "custom": {"name": "sh"}}, ToolChoice(mode="named", name="sh")),
            (
                {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
                ToolChoice(mode="required", allowed=["f"]),
            ),
            (None, None),
        ],
    )
    def test_choices(self, given: Any, choice: ToolChoice | None) -> None:
        assert read({"tools": [TOOL], "tool_choice": given}).tool_choice == choice
