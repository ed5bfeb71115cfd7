"""Streams of Google's: what is read of them, however they come."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import Kind, ProviderError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import Citation, State, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Cited, Failed, Finished, Opened
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.gemini.splitter import GeminiSplitter
from ai_gateway.sse import MAX_EVENT
from tests.protocols.gemini.samples import (
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
