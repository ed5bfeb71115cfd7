"""What the kit's providers answer, in every format that they may be asked in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Answer as Told
from ai_gateway.protocols.conversation import Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Failed, Finished, Grown, Opened
from ai_gateway.test import calls, fails, says, sends, thinks
from ai_gateway.test.answers import Written
from ai_gateway.test.sent import Sent

TURN = [{"role": "user", "content": "Hello"}]
CONTENTS = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai_chat": ("/openai/v1/chat/completions", "/openai/v1/chat/completions", {"model": "m", "messages": TURN}),
    "openai_responses": ("/v1/responses", "/v1/responses", {"model": "m", "input": "Hello"}),
    "anthropic_messages": ("/v1/messages", "/v1/messages", {"model": "m", "max_tokens": 9, "messages": TURN}),
    "gemini": ("/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent", CONTENTS),
    "bedrock_converse": ("/model/m/converse", "/model/m/converse-stream", CONVERSE),
}
"""How each format asks: whole, streamed, and the body."""

ANSWER = says(thinks("Hm"), "Let me see ", calls("weather", {"city": "Bern"}), usage=TokenUsage(input=7, output=3))


def asked(format: str, *, stream: bool = False) -> Sent:
    whole, streamed, body = ASKED[format]
    marked = {"stream_options": {"include_usage": True}} if format == "openai_chat" else {}
    content = {**body, "stream": True, **marked} if stream and "model" in body else body
    query = "alt=sse" if format == "gemini" and stream else ""
    path = streamed if stream else whole
    return Sent(
        method="POST",
        url=f"https://x.example{path}",
        path=path,
        query=query,
        headers={},
        body=json.dumps(content).encode(),
    )


def body_of(written: Written) -> bytes:
    return b"".join(step for step in written.steps if isinstance(step, bytes))


@pytest.mark.parametrize("format", ASKED)
def test_what_was_asked_is_known_from_the_request(format: str) -> None:
    for stream in (False, True):
        sent = asked(format, stream=stream)
        assert (sent.format, sent.model, sent.is_stream) == (format, "m", stream)


@pytest.mark.parametrize("format", ASKED)
def test_a_whole_answer(format: str) -> None:
    written = ANSWER.to(asked(format))
    told: Told = PROTOCOLS[format].read_answer(json.loads(body_of(written)))
    assert (told.stop, told.usage) == (Stop.TOOL_USE, TokenUsage(input=7, output=3))
    assert [part.text for part in told.parts if isinstance(part, Text)] == ["Let me see "]
    [call] = [part for part in told.parts if isinstance(part, ToolCall)]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Bern"})
    assert [part.text for part in told.parts if isinstance(part, Thinking)] == ["Hm"]


@pytest.mark.parametrize("format", ASKED)
def test_a_stream(format: str) -> None:
    protocol = PROTOCOLS[format]
    written = says("Let me see", usage=TokenUsage(input=7, output=3)).to(asked(format, stream=True))
    reader, splitter = protocol.stream_reader(), protocol.splitter()
    events = [
        event
        for piece in written.steps
        if isinstance(piece, bytes)
        for wire in splitter.feed(piece)
        for event in reader.read(*wire)
    ]
    events += reader.end()
    assert not [event for event in events if isinstance(event, Failed)]
    opened = [event.part.text for event in events if isinstance(event, Opened) and isinstance(event.part, Text)]
    grown = [event.text for event in events if isinstance(event, Grown)]
    assert "".join([*opened, *grown]) == "Let me see"
    assert len(grown) >= 2, "it comes in pieces"
    [finished] = [event for event in events if isinstance(event, Finished)]
    assert finished.usage == TokenUsage(input=7, output=3)


@pytest.mark.parametrize("format", ASKED)
def test_an_error_in_the_words_of_the_format(format: str) -> None:
    written = fails(429, "Too many", {"retry-after": "2"}).to(asked(format))
    assert (written.status, written.headers["retry-after"]) == (429, "2")
    error = PROTOCOLS[format].read_error(429, {}, body_of(written))
    assert "Too many" in error.message


def test_pauses_and_ends_of_a_stream() -> None:
    sent = asked("openai_chat", stream=True)
    whole = [step for step in says("one two").to(sent).steps if isinstance(step, bytes)]
    assert says("one two").slowly(0.5).to(sent).steps[:3] == [whole[0], 0.5, whole[1]]
    assert says("one two").cut_after(2).to(sent).steps[:2] == whole[:2]
    assert len(says("one two").cut_after(2).to(sent).steps) == 3
    assert says("one two").stalled_after(0).to(sent).steps == [float("inf")]
    assert says("one two").after(3).to(sent).after == 3
    half = says("one two").cut_after(1).to(asked("openai_chat")).steps
    assert isinstance(half[0], bytes), "of an answer in one piece there is the first half"
    assert not half[0].endswith(b"}")


def test_what_has_no_format_is_said_as_it_is() -> None:
    sent = Sent(
        method="POST", url="https://x.example/v1/embeddings", path="/v1/embeddings", query="", headers={}, body=b"{}"
    )
    assert body_of(sends({"data": []}).to(sent)) == b'{"data": []}'
    assert sends(b"\0\1", b"\2", content_type="audio/mpeg").to(sent).steps == [b"\0\1", b"\2"]
    with pytest.raises(AssertionError, match=r"sends\("):
        says("no").to(sent)
