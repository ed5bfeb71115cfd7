"""Streams, read and written."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import Kind, ProviderError, UpstreamClosed, UpstreamProtocolError, UpstreamTimeout
from ai_gateway.protocols.conversation import Citation, State, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.gemini.splitter import GeminiSplitter
from ai_gateway.protocols.protocol import Head, StreamWriter
from ai_gateway.protocols.transcript import replay
from ai_gateway.sse import MAX_EVENT
from tests.protocols.gemini.samples import (
    ARRAY,
    CARRIER,
    SSE,
    STREAMS,
    caller,
    chunk,
    chunks,
    events_of,
    events_of_chunks,
    pieces,
    stream_bytes,
    vector,
)
from tests.protocols.streams import check_grammar, collected
from tests.protocols.vectors import Vector

STATE = State(format="anthropic_messages", kind="signature", value="U0lH")
FRAMES = pytest.mark.parametrize("head", [SSE, ARRAY], ids=["events", "array"])


# Reading.


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_every_recorded_stream_says_what_the_sdk_reads(case: Vector) -> None:
    events = events_of([stream_bytes(case)])
    check_grammar(events)
    answer = collected(events)
    parts = [
        types.Part.model_validate(part)
        for each in chunks(case)
        for part in each["candidates"][0]["content"].get("parts", ())
    ]
    for kind, is_thought in ((Text, False), (Thinking, True)):
        said = "".join(part.text for part in parts if part.text and bool(part.thought) is is_thought)
        assert "".join(part.text for part in answer.parts if isinstance(part, kind)) == said
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    named = [part.function_call for part in parts if part.function_call and part.function_call.name]
    assert [call.name for call in calls] == [call.name for call in named]
    whole = [(place, call.args) for place, call in enumerate(named) if call.args and not call.will_continue]
    assert all(json.loads(calls[place].arguments) == args for place, args in whole)
    last = chunks(case)[-1]["usageMetadata"]
    assert answer.usage is not None
    assert answer.usage.total_input + answer.usage.total_output == last["totalTokenCount"]
    assert answer.stop is (Stop.TOOL_USE if calls else Stop.END)


@pytest.mark.parametrize("size", [1, 7, 1024, 0])
@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_it_does_not_matter_how_a_stream_is_cut(case: Vector, size: int) -> None:
    data = stream_bytes(case)
    assert events_of(pieces(data, size)) == events_of([data])


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_that_is_cut_off_never_ends_well(case: Vector) -> None:
    """Nothing before the last brace of the chunk with the finish reason proves that the answer is whole."""
    data = stream_bytes(case)
    proof = data.index(b"}", data.rindex(b'"finishReason"'))
    generator = random.Random(case.name)
    borders = [place for place in range(proof) if data.startswith((b"data:", b"\n", b"\r"), place)]
    places = {*generator.sample(borders, min(len(borders), 60)), *generator.sample(range(proof), min(proof, 60)), 0}
    for place in sorted(places):
        events = events_of([data[:place]])
        assert isinstance(events[-1], Failed), place
        assert not any(isinstance(event, Finished) for event in events)


def test_a_stream_that_is_cut_anywhere_in_its_end() -> None:
    data = stream_bytes(vector("google-gla-google-tool-call-gemini3-0"))
    whole = data.rindex(b"}")
    assert not any(isinstance(events_of([data[:place]])[-1], Finished) for place in range(whole - 400, whole + 1))
    assert isinstance(events_of([data[: whole + 1]])[-1], Finished)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_means_what_the_whole_answer_means(case: Vector) -> None:
    given = chunks(case)
    parts = [part for each in given for part in each["candidates"][0]["content"].get("parts", ())]
    merged = {**given[-1], "candidates": [{**given[-1]["candidates"][0], "content": {"role": "model", "parts": parts}}]}
    answer = PROTOCOL.read_answer(merged)
    streamed = collected(events_of([stream_bytes(case)]))
    assert (answer.parts, answer.stop, answer.usage) == (streamed.parts, streamed.stop, streamed.usage)


def test_arguments_that_come_in_pieces() -> None:
    answer = collected(events_of([stream_bytes(vector("google-gla-google-stream-tool-call-arguments-0"))]))
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.arguments) for call in calls] == [
        ("getWeather", '{"location":"Boston"}'),
        ("getWeather", '{"location":"San Francisco"}'),
    ]
    assert [call.state is not None for call in calls] == [True, False]


def test_pieces_of_every_kind_at_every_place() -> None:
    def more(*pieces: dict[str, Any], continues: bool = True) -> dict[str, Any]:
        return chunk({"functionCall": {"partialArgs": list(pieces), "willContinue": continues}})

    events = events_of_chunks(
        chunk({"functionCall": {"name": "f", "willContinue": True}}),
        more({"jsonPath": "$.stops[0].name", "stringValue": "Pa", "willContinue": True}),
        more(
            {"jsonPath": "$.stops[0].name", "stringValue": "ris"}, {"jsonPath": "$.stops[1]['a b']", "boolValue": True}
        ),
        more({"jsonPath": "$.n", "numberValue": 3.0}, {"jsonPath": "$.x", "numberValue": 0.5}),
        more({"jsonPath": "$.nothing", "nullValue": "NULL_VALUE"}, {"jsonPath": "$.empty", "stringValue": ""}),
        chunk({"functionCall": {}}, finishReason="STOP"),
    )
    (call,) = collected(events).parts
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {
        "stops": [{"name": "Paris"}, {"a b": True}],
        "n": 3,
        "x": 0.5,
        "nothing": None,
        "empty": "",
    }


@pytest.mark.parametrize("path", ["", "$", "$.a[99999999]", "$[0]", "$.a.b.c[0][0].d", "$..", "x"])
def test_strange_places_do_no_harm(path: str) -> None:
    pieces = [{"jsonPath": path, "stringValue": "v"}, {"jsonPath": "$.a", "stringValue": "w"}]
    events = events_of_chunks(
        chunk({"functionCall": {"name": "f", "partialArgs": [*pieces, *pieces]}}),
        chunk({"text": ""}, finishReason="STOP"),
    )
    assert isinstance(events[-1], Finished)


def test_the_next_call_ends_the_one_before_it() -> None:
    events = events_of_chunks(
        chunk({"functionCall": {"name": "f", "willContinue": True}}),
        chunk({"functionCall": {"name": "g", "args": {"a": 1}}}),
        chunk({"functionCall": {}}, finishReason="STOP"),
    )
    parts = [part for part in collected(events).parts if isinstance(part, ToolCall)]
    assert [(part.name, part.arguments) for part in parts] == [("f", "{}"), ("g", '{"a":1}')]


def test_a_signature_in_an_empty_text_belongs_to_what_is_open() -> None:
    signature = {"text": "", "thoughtSignature": "c2ln"}
    (text,) = collected(events_of_chunks(chunk({"text": "A"}), chunk(signature, finishReason="STOP"))).parts
    assert isinstance(text, Text)
    assert text.state == State(format="gemini", kind="signature", value="c2ln")
    call = {"functionCall": {"name": "f"}}
    _, alone = collected(events_of_chunks(chunk(call), chunk(signature, finishReason="STOP"))).parts
    assert isinstance(alone, Thinking)
    assert (alone.text, alone.state) == ("", text.state)


def test_thoughts_and_text_alternate() -> None:
    events = events_of_chunks(
        chunk({"text": "a", "thought": True}, {"text": "b", "thought": True}),
        chunk({"text": "c"}),
        chunk({"text": "d", "thought": True}, {"text": "e"}, finishReason="STOP"),
    )
    check_grammar(events)
    assert [part.text for part in collected(events).parts if isinstance(part, Text | Thinking)] == ["ab", "c", "d", "e"]


def test_the_counts_are_the_last_that_are_known() -> None:
    first = {**chunk({"text": "a"}), "usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4}}
    second = {**chunk({"text": "b"}), "usageMetadata": {"candidatesTokenCount": 1, "promptTokenCount": None}}
    third = chunk(finishReason="STOP")
    trailing = {"usageMetadata": {"candidatesTokenCount": 2, "thoughtsTokenCount": 3, "serviceTier": "flex"}}
    last = events_of_chunks(first, second, third, trailing)[-1]
    assert isinstance(last, Finished)
    assert last.usage == TokenUsage(input=5, cache_read=4, output=2, reasoning=3)
    assert last.service_tier == "flex"


def test_citations_that_are_repeated_count_once() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [{"segment": {"endIndex": 2, "text": "Hi"}, "groundingChunkIndices": [0]}],
    }
    events = events_of_chunks(
        chunk({"text": "Hi"}, groundingMetadata=grounding),
        chunk({"text": "."}, finishReason="STOP", groundingMetadata=grounding),
    )
    assert [event.citation for event in events if isinstance(event, Cited)] == [
        Citation(url="u", title="t", start=0, end=2)
    ]
    check_grammar(events)


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "data",
    [
        b"data: " + json.dumps(ERROR).encode() + b"\r\n\r\n",
        b"data: " + json.dumps([ERROR]).encode() + b"\n\n",
        json.dumps([ERROR], indent=2).encode(),
        json.dumps(ERROR, indent=2).encode(),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_an_error_in_whatever_form(data: bytes, before: bool) -> None:
    if before and data.startswith(b"data"):
        data = b"data: " + json.dumps(chunk({"text": "Hi"})).encode() + b"\r\n\r\n" + data
    events = events_of([data])
    assert isinstance(events[-1], Failed)
    error = events[-1].error
    assert isinstance(error, ProviderError)
    assert (error.status, error.kind, error.message) == (503, Kind.OVERLOADED, "The model is overloaded.")


@pytest.mark.parametrize(
    "data",
    [
        b"no json",
        b"5",
        b"null",
        b'"text"',
        b"[7]",
        b'{"candidates": 5}',
        b'{"candidates": ["x"]}',
        b'{"candidates": [{"content": 5}]}',
        b'{"candidates": [{"content": {"parts": [5]}}]}',
        b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": 5}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": 5}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "partialArgs": [5]}}]}}]}',
        b'{"usageMetadata": 5}',
        b'{"responseId": 5}',
        b"[" * 100_000,
    ],
)
def test_an_event_that_cannot_be_read_is_a_failure_and_no_exception(data: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    events = reader.read(None, data)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, UpstreamProtocolError)
    assert (reader.read(None, b"{}"), reader.end()) == ([], [])


def test_a_stream_of_nothing_failed() -> None:
    (failed,) = events_of([])
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamClosed)


def test_a_prompt_that_is_blocked() -> None:
    events = events_of_chunks({"promptFeedback": {"blockReason": "SAFETY"}, "responseId": "r"})
    check_grammar(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].stop is Stop.FILTERED


def test_half_of_a_character_beyond_the_first_65536_passes() -> None:
    reader = PROTOCOL.stream_reader()
    events = reader.read(None, b'{"candidates":[{"content":{"parts":[{"text":"\\ud83d"}]}}]}')
    assert isinstance(events[1], Opened)
    writer = PROTOCOL.stream_writer(caller(), CARRIER, SSE)
    assert b"\\ud83d" in b"".join(writer.write(event) for event in events)


# The splitter.


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_objects_are_found_in_an_array(size: int) -> None:
    objects: list[Any] = [{"a": 'x}"{\\'}, {"b": {"c": [{"d": "\\\\"}]}}, {"é": "\u2028\n"}, {}]
    for text in (json.dumps(objects), json.dumps(objects, indent=1), ",\r\n".join(map(json.dumps, objects)), "\n[]"):
        splitter = GeminiSplitter()
        found = [data for piece in pieces(text.encode(), size) for _, data in splitter.feed(piece)]
        assert [json.loads(data) for data in found + [data for _, data in splitter.flush()]] in (objects, [])


def test_an_endless_object_is_no_event() -> None:
    splitter = GeminiSplitter()
    splitter.feed(b'[{"a": "')
    for _ in range(MAX_EVENT // 2**22 - 1):
        splitter.feed(b"x" * 2**22)
    with pytest.raises(UpstreamProtocolError):
        splitter.feed(b"x" * 2**22)


# Writing.


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


def test_arguments_in_many_pieces_take_linear_time() -> None:
    piece = {"jsonPath": "$.a", "stringValue": "x", "willContinue": True}
    reader = PROTOCOL.stream_reader()
    reader.read(None, json.dumps(chunk({"functionCall": {"name": "f", "willContinue": True}})).encode())
    many = json.dumps(chunk({"functionCall": {"partialArgs": [piece] * 1000, "willContinue": True}})).encode()
    for _ in range(100):
        assert reader.read(None, many) == []
    opened, *_ = reader.read(None, json.dumps(chunk({"functionCall": {}}, finishReason="STOP")).encode())
    assert isinstance(opened, Opened)
    assert isinstance(opened.part, ToolCall)
    assert len(json.loads(opened.part.arguments)["a"]) == 100_000
