"""Streams that are written for callers of Google's format."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import UpstreamTimeout
from ai_gateway.protocols.conversation import Citation, State, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.protocol import Head, StreamWriter
from ai_gateway.protocols.transcript import replay
from tests.protocols.gemini.samples import ARRAY, CARRIER, SSE, STREAMS, caller, events_of, pieces, stream_bytes
from tests.protocols.streams import collected
from tests.protocols.vectors import Vector

STATE = State(format="anthropic_messages", kind="signature", value="U0lH")
FRAMES = pytest.mark.parametrize("head", [SSE, ARRAY], ids=["events", "array"])


def frames(data: bytes, head: Head) -> list[dict[str, Any]]:
    """Take a written stream apart as a client does, and let google-genai read each chunk."""
    if head is ARRAY:
        elements = json.loads(data)
    else:
        assert data.endswith(b"\r\n\r\n")
        elements = [json.loads(event.removeprefix(b"data: ")) for event in data.split(b"\r\n\r\n")[:-1]]
    for element in elements:
        if "error" not in element:
            types.GenerateContentResponse.model_validate(element)
    return list(elements)


def writer_for(head: Head, is_shown: bool = True) -> StreamWriter:
    return PROTOCOL.stream_writer(caller(is_shown), CARRIER, head)


def parts_in(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for element in elements for part in element["candidates"][0]["content"]["parts"]]


@FRAMES
@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_survives_being_written_and_read(case: Vector, head: Head) -> None:
    events = events_of([stream_bytes(case)])
    writer = writer_for(head)
    data = b"".join(writer.write(event) for event in events)
    frames(data, head)
    again = collected(events_of(pieces(data, 100)))
    answer = collected(events)
    for kind in (Text, Thinking):
        assert "".join(part.text for part in again.parts if isinstance(part, kind)) == "".join(
            part.text for part in answer.parts if isinstance(part, kind)
        )
    assert [(part.id, part.name, part.arguments) for part in again.parts if isinstance(part, ToolCall)] == [
        (part.id, part.name, part.arguments) for part in answer.parts if isinstance(part, ToolCall)
    ]
    assert (again.stop, again.usage, again.id, again.model) == (answer.stop, answer.usage, answer.id, answer.model)
    assert [part.citations for part in again.parts if isinstance(part, Text)] == [
        part.citations for part in answer.parts if isinstance(part, Text)
    ]


def test_calls_are_whole_though_they_came_side_by_side() -> None:
    events = [
        Started(id="r1", model="m1"),
        Opened(key=0, part=ToolCall(id="a", name="f", arguments="")),
        Opened(key=1, part=ToolCall(id="b", name="g", arguments='{"y"')),
        Grown(key=0, text='{"x":'),
        Grown(key=1, text=":2}"),
        Grown(key=0, text="1}"),
        Signed(key=0, state=STATE),
        Closed(key=1),
        Closed(key=0),
        Finished(stop=Stop.TOOL_USE),
    ]
    writer = writer_for(SSE)
    first, second, last = parts_in(frames(b"".join(writer.write(event) for event in events), SSE))
    assert first["functionCall"] == {"name": "f", "args": {"x": 1}, "id": "a"}
    state = CARRIER.open(base64.b64decode(first["thoughtSignature"]).decode())
    assert state is not None
    assert state.value == "U0lH"
    assert second == {"functionCall": {"name": "g", "args": {"y": 2}, "id": "b"}}
    assert last == {"text": ""}


THOUGHTFUL = [
    Started(id="r1", model=""),
    Opened(key=0, part=Thinking(text="Let ")),
    Grown(key=0, text="me see."),
    Signed(key=0, state=STATE),
    Closed(key=0),
    Opened(key=1, part=Text(text="He")),
    Grown(key=1, text="llo é"),
    Cited(key=1, citation=Citation(url="u", title="t", start=6, end=7)),
    Closed(key=1),
    Opened(key=2, part=Text(text="ß", citations=[Citation(url="u", title="t")])),
    Closed(key=2),
    Finished(stop=Stop.MAX_TOKENS, usage=TokenUsage(input=3, output=2, reasoning=1)),
]


@FRAMES
def test_a_stream_with_thoughts(head: Head) -> None:
    writer = writer_for(head)
    elements = frames(b"".join(writer.write(event) for event in THOUGHTFUL), head)
    one, two, *texts = parts_in(elements)
    assert (one, two) == ({"text": "Let ", "thought": True}, {"text": "me see.", "thought": True})
    assert [part["text"] for part in texts] == ["He", "llo é", "ß", ""]
    assert ["thoughtSignature" in part for part in texts] == [True, False, False, False]
    contents = [{"role": "model", "parts": [one, two, *texts]}]
    thought, text = PROTOCOL.read_request({"contents": contents}, head, CARRIER).messages[0].parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.state and thought.state.value) == ("Let me see.", "U0lH")
    assert isinstance(text, Text)
    assert text.text == "Hello éß"
    candidate = elements[-1]["candidates"][0]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert candidate["groundingMetadata"]["groundingSupports"] == [
        {"segment": {"startIndex": 6, "endIndex": 8, "text": "é"}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 8, "endIndex": 10, "text": "ß"}, "groundingChunkIndices": [0]},
    ]
    assert elements[-1]["usageMetadata"]["totalTokenCount"] == 6
    assert all((element["modelVersion"], element["responseId"]) == ("m", "r1") for element in elements)


def test_thoughts_are_not_streamed_to_those_who_did_not_ask() -> None:
    writer = writer_for(SSE, is_shown=False)
    texts = parts_in(frames(b"".join(writer.write(event) for event in THOUGHTFUL), SSE))
    assert [text["text"] for text in texts] == ["He", "llo é", "ß", ""]
    assert ["thoughtSignature" in text for text in texts] == [True, False, False, False]
    thought, text = (
        PROTOCOL.read_request({"contents": [{"role": "model", "parts": texts}]}, SSE, CARRIER).messages[0].parts
    )
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.state and thought.state.value) == ("Let me see.", "U0lH")
    assert isinstance(text, Text)
    assert text.text == "Hello éß"


def test_what_is_written_is_written_at_once() -> None:
    writer = writer_for(SSE)
    assert writer.write(Started(id="r1", model="m1")) == b""
    assert b'"He"' in writer.write(Opened(key=0, part=Text(text="He")))
    assert b'"llo"' in writer.write(Grown(key=0, text="llo"))


@FRAMES
def test_signs_of_life_are_legal_at_any_time(head: Head) -> None:
    writer = writer_for(head)
    data = b"".join(writer.keep_alive() + writer.write(event) for event in THOUGHTFUL)
    said = "".join(part["text"] for part in parts_in(frames(data, head)) if not part.get("thought"))
    assert said == "Hello éß"
    assert collected(events_of([data])).stop is Stop.MAX_TOKENS


@FRAMES
@pytest.mark.parametrize("before", [0, 4])
def test_an_error_ends_the_stream(head: Head, before: int) -> None:
    writer = writer_for(head)
    data = b"".join(writer.write(event) for event in THOUGHTFUL[:before])
    data += writer.fail(UpstreamTimeout("The provider was too slow."), "req_1")
    elements = frames(data, head)
    assert elements[-1] == {
        "error": {"code": 504, "message": "The provider was too slow.", "status": "DEADLINE_EXCEEDED"}
    }
    assert not any("finishReason" in str(element) for element in elements)
    assert isinstance(events_of([data])[-1], Failed)


@FRAMES
def test_an_answer_without_a_word(head: Head) -> None:
    writer = writer_for(head)
    data = writer.write(Started(id="r1", model="m1")) + writer.write(Finished(stop=Stop.FILTERED, explanation="No."))
    (element,) = frames(data, head)
    assert element["candidates"][0] == {
        "content": {"parts": [{"text": ""}], "role": "model"},
        "finishReason": "SAFETY",
        "finishMessage": "No.",
        "index": 0,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"alt=sse", b"text/event-stream"),
        (b"key=k&alt=sse", b"text/event-stream"),
        (b"%24alt=sse&x=y", b"text/event-stream"),
        (b"", b"application/json; charset=UTF-8"),
        (b"alt=json", b"application/json; charset=UTF-8"),
    ],
)
def test_the_type_of_a_stream(query: bytes, expected: bytes) -> None:
    assert PROTOCOL.stream_type(Head(model="m", stream=True, query=query)) == expected


def test_a_whole_answer_as_a_stream() -> None:
    answer = collected(THOUGHTFUL)
    writer = writer_for(SSE)
    again = collected(events_of([b"".join(writer.write(event) for event in replay(answer))]))
    assert [part.text for part in again.parts if isinstance(part, Text)] == ["Hello éß"]
