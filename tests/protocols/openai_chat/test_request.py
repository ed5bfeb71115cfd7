"""Requests of chat completions: what is read of a caller's, what is written for a provider."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Request,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.emulation import undo
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.protocol import Head
from tests.protocols.openai_chat.helpers import (
    CARRIER,
    EVERYTHING,
    HEAD,
    HELLO,
    VECTORS,
    asked,
    parts,
    read,
    signature,
    to,
    write,
)
from tests.protocols.vectors import Vector

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4 and so on, for long enough").decode()
PLAIN = Capabilities()

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
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
STRICT = {**SCHEMA, "required": ["x"], "additionalProperties": False}

PARAMS = TypeAdapter(CompletionCreateParamsNonStreaming)


def read_whole(body: dict[str, Any]) -> Request:
    """Read a whole body."""
    return PROTOCOL.read_request(body, HEAD, CARRIER)


def said(*messages: Message, capabilities: Capabilities = EVERYTHING, **fields: Any) -> list[dict[str, Any]]:
    """Write messages of another format's caller."""
    written: list[dict[str, Any]] = write(asked(messages=list(messages), **fields), capabilities).body["messages"]
    return written


def system(*parts: Part) -> Message:
    return Message(role="system", parts=list(parts))


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def own(kind: str, value: str) -> State:
    """Make a state that belongs to the destination."""
    return State(format="openai_chat", kind=kind, value=value, provider="p", model="upstream")


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


class TestReadingMessages:
    def test_roles(self) -> None:
        roles = ("system", "developer", "user", "assistant")
        request = read({"messages": [{"role": role, "content": "Hi"} for role in roles]})
        assert [message.role for message in request.messages] == ["system", "system", "user", "assistant"]
        assert request.messages[2] == Message(
            role="user", parts=[Text(text="Hi", at="messages[2].content")], at="messages[2]"
        )

    def test_a_data_url(self) -> None:
        (part,) = parts({"role": "user", "content": [image(f"data:IMAGE/PNG;charset=x;base64,{PIXEL}", detail="low")]})
        assert part == Image(data=PIXEL, media_type="image/png", detail="low", at="messages[0].content[0]")

    def test_the_type_is_what_the_content_is(self) -> None:
        (part,) = parts({"role": "user", "content": [image(f"data:image/jpeg;base64,{PIXEL}")]})
        assert isinstance(part, Image)
        assert part.media_type == "image/png"

    def test_a_web_url(self) -> None:
        (part,) = parts({"role": "user", "content": [image("https://a.example/x.png")]})
        assert isinstance(part, Image)
        assert part.url == "https://a.example/x.png"

    def test_a_url_that_holds_nothing(self) -> None:
        with pytest.raises(BadRequest) as caught:
            parts({"role": "user", "content": [image("data:image/png,abc")]})
        assert caught.value.param == "messages[0].content[0].image_url.url"

    @pytest.mark.parametrize(
        ("file", "media_type", "data"),
        [
            ({"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}, "application/pdf", PDF),
            ({"file_data": PDF}, "application/pdf", PDF),
            ({"file_data": "SGVsbG8=", "filename": "a.txt"}, "text/plain", "SGVsbG8="),
            ({"file_data": "SGVsbG8="}, "application/octet-stream", "SGVsbG8="),
        ],
    )
    def test_a_file(self, file: dict[str, str], media_type: str, data: str) -> None:
        (part,) = parts({"role": "user", "content": [{"type": "file", "file": file}]})
        assert isinstance(part, File)
        assert (part.media_type, part.data, part.name) == (media_type, data, file.get("filename", ""))

    def test_a_file_by_its_id(self) -> None:
        (part,) = parts({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]})
        assert part == File(file_id="file-1", at="messages[0].content[0]")

    def test_sound(self) -> None:
        sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
        assert parts({"role": "user", "content": [sound]}) == [
            Audio(data="AAAA", format="wav", at="messages[0].content[0]")
        ]

    def test_an_assistants_turn(self) -> None:
        turn = {"role": "assistant", "reasoning_content": "Hm", "content": "Hi", "refusal": "No", "tool_calls": [CALL]}
        found = read({"messages": [turn, {"role": "tool", "tool_call_id": "a", "content": "ok"}]}).messages
        assert [type(part) for part in found[0].parts] == [Thinking, Text, Refusal, ToolCall]
        assert found[0].parts[3] == ToolCall(id="a", name="f", arguments="{}", at="messages[0].tool_calls[0]")
        assert found[1].role == "user"
        (result,) = found[1].parts
        assert isinstance(result, ToolResult)
        assert result.call_id == "a"

    @pytest.mark.parametrize(
        ("given", "kept"), [('{"x": ', '{"x": '), ("", ""), (None, ""), ({"x": 1}, '{"x":1}'), ("null", "null")]
    )
    def test_arguments_stay_raw(self, given: Any, kept: str) -> None:
        turn = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": given}}]}
        found = read({"messages": [turn, {"role": "tool", "tool_call_id": "a", "content": ""}]}).messages[0]
        assert isinstance(found.parts[0], ToolCall)
        assert found.parts[0].arguments == kept

    def test_a_result_with_more_than_text(self) -> None:
        content = [{"type": "text", "text": "see"}, image("https://a.example/x.png")]
        result = {"role": "tool", "tool_call_id": "a", "content": content, "is_error": True}
        (part,) = parts({"role": "assistant", "tool_calls": [CALL]}, result)
        assert isinstance(part, ToolResult)
        assert [type(each) for each in part.parts] == [Text, Image]
        assert part.is_error is True

    def test_a_custom_tools_call_and_result(self) -> None:
        call = {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
        found = read(
            {"messages": [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c"}]}
        ).messages
        assert found[0].parts == [
            ToolCall(id="c", name="sh", arguments="ls", is_custom=True, at="messages[0].tool_calls[0]")
        ]
        assert isinstance(found[1].parts[0], ToolResult)
        assert found[1].parts[0].is_custom

    def test_the_older_functions(self) -> None:
        body = {
            "functions": [{"name": "f", "parameters": SCHEMA}],
            "function_call": {"name": "f"},
            "messages": [
                *HELLO,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "ok"},
            ],
        }
        request = read(body)
        assert request.uses_functions
        assert request.tools == [FunctionTool(name="f", schema=SCHEMA, at="functions[0]")]
        assert request.tool_choice == ToolChoice(mode="named", name="f")
        call, result = request.messages[1].parts[0], request.messages[2].parts[0]
        assert isinstance(call, ToolCall)
        assert isinstance(result, ToolResult)
        assert call.id == result.call_id != ""

    @pytest.mark.parametrize(
        ("following", "param"),
        [
            ([], "messages[0]"),
            ([{"role": "user", "content": "Hi"}], "messages[0]"),
            ([{"role": "tool", "tool_call_id": "b", "content": ""}], "messages[1].role"),
        ],
    )
    def test_every_call_must_be_answered_at_once(self, following: list[dict[str, Any]], param: str) -> None:
        with pytest.raises(BadRequest) as caught:
            read({"messages": [{"role": "assistant", "tool_calls": [CALL]}, *following]})
        assert caught.value.param == param

    def test_the_missing_answers_are_told(self) -> None:
        with pytest.raises(BadRequest, match="did not have response messages: a"):
            read({"messages": [{"role": "assistant", "tool_calls": [CALL]}]})

    def test_marks_for_the_cache(self) -> None:
        marked = {"type": "text", "text": "A", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        broken = {"type": "text", "text": "B", "prompt_cache_breakpoint": {"ttl": "30m"}}
        first, second = parts({"role": "user", "content": [marked, broken]})
        assert isinstance(first, Text)
        assert isinstance(second, Text)
        assert (first.cache, second.cache) == (CacheMark(ttl="1h"), CacheMark())

    @pytest.mark.parametrize("role", ["system", "user", "assistant"])
    def test_a_mark_on_a_message_is_on_its_last_part(self, role: str) -> None:
        (part,) = parts({"role": role, "content": "A", "cache_control": {"type": "ephemeral"}})
        assert isinstance(part, Text)
        assert part.cache == CacheMark()

    def test_reasoning_with_a_sealed_state(self) -> None:
        detail = {"index": 0, "type": "reasoning.text", "text": "Hm", "signature": CARRIER.seal(signature())}
        first, second = parts(
            {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "reasoning_details": [detail]}
        )
        assert isinstance(first, Thinking)
        assert first.text == "Hm"
        assert first.state == State(
            format="anthropic_messages", kind="signature", value="sig", provider="claude", model="claude-x"
        )
        assert isinstance(second, Text)

    def test_redacted_reasoning(self) -> None:
        detail = {"type": "reasoning.encrypted", "data": CARRIER.seal(signature(kind="redacted"))}
        (part,) = parts({"role": "assistant", "reasoning_details": [detail]})
        assert isinstance(part, Thinking)
        assert part.is_redacted
        assert part.state is not None

    @pytest.mark.parametrize("foreign", ["gAAAA", "", None, 3, "gw1.forged.mac"])
    def test_a_foreign_signature_is_no_state(self, foreign: Any) -> None:
        detail = {"type": "reasoning.text", "text": "Hm", "signature": foreign}
        (part,) = parts({"role": "assistant", "reasoning_details": [detail]})
        assert isinstance(part, Thinking)
        assert (part.text, part.state) == ("Hm", None)
        assert (
            parts({"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted", "data": foreign}]}) == []
        )

    def test_reasoning_stands_where_it_stood(self) -> None:
        details = [
            {"index": 0, "type": "reasoning.text", "text": "one", "position": {"content": 2, "tool_calls": 0}},
            {"index": 1, "type": "reasoning.text", "text": "two", "position": {"content": 5, "tool_calls": 1}},
        ]
        turn = {
            "role": "assistant",
            "content": "ABCDE",
            "reasoning_details": details,
            "tool_calls": [CALL, {**CALL, "id": "b"}],
        }
        results = [{"role": "tool", "tool_call_id": each, "content": ""} for each in "ab"]
        found = read({"messages": [turn, *results]}).messages[0].parts
        spoken = [part.text if isinstance(part, Text | Thinking) else getattr(part, "id", "") for part in found]
        assert spoken == ["AB", "one", "CDE", "a", "two", "b"]

    def test_a_calls_sealed_state(self) -> None:
        extra = {"google": {"thought_signature": CARRIER.seal(signature("S", "gemini"))}}
        turn = {"role": "assistant", "tool_calls": [{**CALL, "extra_content": extra}]}
        found = read({"messages": [turn, {"role": "tool", "tool_call_id": "a", "content": ""}]}).messages[0]
        assert isinstance(found.parts[0], ToolCall)
        assert found.parts[0].state is not None
        assert found.parts[0].state.value == "S"

    def test_a_phase(self) -> None:
        (part,) = parts({"role": "assistant", "content": "Hi", "phase": "commentary"})
        assert isinstance(part, Text)
        assert part.phase == "commentary"

    def test_sound_that_was_said(self) -> None:
        (part,) = parts({"role": "assistant", "audio": {"id": "audio_1"}})
        assert part == Opaque(format="openai_chat", value={"audio": {"id": "audio_1"}}, at="messages[0].audio")


def image(url: str, **members: str) -> dict[str, Any]:
    """Make a part with an image."""
    return {"type": "image_url", "image_url": {"url": url, **members}}


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


class TestWritingMembers:
    @pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
    def test_the_limit_has_the_providers_name(self, field: str) -> None:
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
            ({"max_stop": 2}, {"stop": ["a", "", "b", "c"]}, {"stop": ["a", "b"]}, ["stop_sequences"]),
            ({"max_stop": 0}, {"stop": ["a"]}, {}, ["stop_sequences"]),
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
            ({}, {"tools": [HostedTool(format="x", type="code", value={}, at="tools[0]")]}, "tools[0].type"),
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
    def test_the_effort(
        self, efforts: tuple[str, ...], wanted: Reasoning, effort: str | None, dropped: tuple[str, ...]
    ) -> None:
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


class TestRestoring:
    """A body that goes to a provider of this format with what another turn of it was given."""

    FOREIGN = CARRIER.seal(signature())
    MINE = Carrier([b"a secret of thirty-two bytes....."], "p", "upstream")

    def restored(self, message: dict[str, Any], **capabilities: Any) -> dict[str, Any]:
        body = {"model": "m", "messages": [*HELLO, message], "x": 1}
        before = copy.deepcopy(body)
        restored = PROTOCOL.restore(body, CARRIER, to(Capabilities(**capabilities)))
        assert body == before
        assert restored["x"] == 1
        assert restored["messages"][0] == HELLO[0]
        found: dict[str, Any] = restored["messages"][1]
        return found

    def detail(self, sealed: str, **members: Any) -> dict[str, Any]:
        return {"index": 0, "type": "reasoning.text", "text": "Hm", "signature": sealed, **members}

    def test_a_foreign_state_goes_with_what_it_signs(self) -> None:
        turn = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}
        turn["reasoning_details"] = [self.detail(self.FOREIGN)]  # type: ignore[assignment]
        assert self.restored(turn) == {"role": "assistant", "content": "Hi"}
        kept = self.restored(turn, reasoning_history="reasoning_content")
        assert kept == {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}

    def test_a_state_of_its_own_is_put_back(self) -> None:
        value = '[{"type":"reasoning.text","signature":"S","index":0}]'
        sealed = self.MINE.seal(State(format="openai_chat", kind="reasoning_details", value=value))
        found = self.restored({"role": "assistant", "reasoning_details": [self.detail(sealed)]})
        assert found["reasoning_details"] == [{"type": "reasoning.text", "signature": "S", "index": 0, "text": "Hm"}]

    def test_what_is_not_sealed_stays(self) -> None:
        turn = {"role": "assistant", "reasoning_content": "Hm", "reasoning_details": [self.detail("native")]}
        assert self.restored(turn) == turn

    def test_signatures_of_calls(self) -> None:
        mine = self.MINE.seal(State(format="openai_chat", kind="signature", value="S"))
        calls = [
            {**CALL, "extra_content": {"google": {"thought_signature": each}}}
            for each in (mine, self.FOREIGN, "native")
        ]
        found = self.restored({"role": "assistant", "tool_calls": calls})["tool_calls"]
        assert [call.get("extra_content") for call in found] == [
            {"google": {"thought_signature": "S"}},
            None,
            {"google": {"thought_signature": "native"}},
        ]

    def test_nothing_of_a_carrier_is_left(self) -> None:
        turn = {
            "role": "assistant",
            "content": "Hi",
            "extra_content": {"google": {"thought_signature": self.FOREIGN}},
            "reasoning_details": [self.detail(self.FOREIGN), {"type": "reasoning.encrypted", "data": self.FOREIGN}],
        }
        assert b"gw1." not in dumps(self.restored(turn))

    @pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": [3]}, {"messages": [{"tool_calls": [3]}]}])
    def test_what_is_malformed_stays_as_it_is(self, body: dict[str, Any]) -> None:
        assert PROTOCOL.restore(body, CARRIER, to()) == body


def test_where_it_is_asked_for() -> None:
    assert PROTOCOL.target("gpt", True) == ("/v1/chat/completions", b"")
