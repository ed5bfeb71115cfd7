"""The messages of chat completions: what is read of a caller's."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    FunctionTool,
    Image,
    Message,
    Opaque,
    Refusal,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ai_gateway.protocols.openai_chat.content_reader import read_part, read_thinking_parts
from tests.protocols.openai_chat.helpers import (
    CALL,
    CARRIER,
    HELLO,
    PDF,
    PIXEL,
    SCHEMA,
    image,
    parts,
    read,
    signature,
)


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
        assert request.parallel_tool_calls is False
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

    def test_pieces_of_reasoning_that_were_not_put_together(self) -> None:
        piece = {"index": 0, "type": "reasoning.text"}
        details = [
            {**piece, "text": "H"},
            {**piece, "text": "m"},
            {**piece, "signature": CARRIER.seal(signature())},
            {**piece, "index": 1, "text": "B"},
        ]
        first, second = parts({"role": "assistant", "reasoning_details": details})
        assert isinstance(first, Thinking)
        assert isinstance(second, Thinking)
        assert (first.text, second.text) == ("Hm", "B")
        assert first.state is not None

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

    def test_a_call_is_answered_once(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": "c", "content": "r"}
        with pytest.raises(BadRequest) as raised:
            read({"messages": [*HELLO, {"role": "assistant", "tool_calls": [call]}, result, result]})
        assert raised.value.param == f"messages[{len(HELLO) + 2}].role"

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


@pytest.mark.parametrize(
    "thinking",
    ["So they greet me.", [{"type": "text", "text": "So they "}, {"type": "text", "text": "greet me."}]],
    ids=["text", "pieces"],
)
def test_reasoning_within_the_content_is_none_of_the_text(thinking: Any) -> None:
    """Mistral writes it there, and its clients send it back."""
    content: list[dict[str, Any]] = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": "Hi"}]
    assert read_thinking_parts({"role": "assistant", "content": content}, "messages[0]") == "So they greet me."
    assert [part for each in content for part in read_part(each, "messages[0]")] == [Text(text="Hi", at="messages[0]")]


def test_there_is_no_reasoning_within_a_content_that_is_text() -> None:
    assert read_thinking_parts({"role": "assistant", "content": "Hi"}, "messages[0]") == ""


@pytest.mark.parametrize("file", [{"filename": "a.pdf"}, {"file_data": "https://example.org/a.pdf"}])
def test_a_file_has_to_be_there(file: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        read_part({"type": "file", "file": file}, "messages[0].content[0]")


def test_a_document_in_place_of_an_image_is_a_file() -> None:
    url = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7 ...").decode()
    (part,) = read_part({"type": "image_url", "image_url": {"url": url}}, "messages[0].content[0]")
    assert isinstance(part, File)
    assert part.media_type == "application/pdf"
