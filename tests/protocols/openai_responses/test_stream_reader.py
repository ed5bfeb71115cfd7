"""What is read of streams of Responses, however they come."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import Kind, ProviderError, UpstreamClosed, UpstreamError, UpstreamProtocolError
from ai_gateway.protocols.conversation import Answer, Citation, Part, Refusal, State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Failed, Finished, Started
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.sse import BLANK_LINE
from tests.protocols.openai_responses.wire import (
    SEALING,
    accumulated,
    asked,
    events_of,
    last_response,
    sse,
    wire_events,
    written,
)
from tests.protocols.streams import check_grammar, collected, events_of_pieces
from tests.protocols.vectors import Vector, vectors

RECORDED = [vector for vector in vectors("openai_responses") if vector.is_stream]


def without_values(answer: Answer) -> Answer:
    """An answer without what is encrypted: OpenAI encrypts the same reasoning anew in every event."""
    parts: list[Part] = []
    for part in answer.parts:
        if isinstance(part, Thinking) and part.state is not None:
            part = msgspec.structs.replace(part, state=msgspec.structs.replace(part.state, value=""))
        parts.append(part)
    return msgspec.structs.replace(answer, parts=parts)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_recorded_stream_says_what_its_last_event_says(vector: Vector) -> None:
    events = events_of(vector.stream)
    check_grammar(events, may_fail=True)
    whole = PROTOCOL.read_answer(last_response(vector.stream))
    assert without_values(collected(events)) == without_values(whole)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_it_does_not_matter_how_a_stream_is_cut_into_pieces(vector: Vector) -> None:
    stream = vector.stream
    whole = events_of(stream)
    cuts = sorted(random.Random(vector.name).sample(range(len(stream)), 50))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events_of(stream, 7) == events_of(stream, 1024) == events_of_pieces(PROTOCOL, pieces) == whole


@pytest.mark.parametrize("vector", sorted(RECORDED, key=lambda v: len(v.stream))[:8], ids=str)
def test_a_stream_may_come_byte_by_byte(vector: Vector) -> None:
    assert events_of(vector.stream, 1) == events_of(vector.stream)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_stream_that_is_cut_off_never_ends_well(vector: Vector) -> None:
    stream = vector.stream.rstrip()
    borders = [match.end() for match in BLANK_LINE.finditer(stream)]
    at_random = random.Random(vector.name).sample(range(len(stream)), 30)
    for length in (*borders[-40:], *at_random, len(stream) - 1):
        (*_, last) = events_of(stream[:length])
        assert isinstance(last, Failed)
        assert isinstance(last.error, UpstreamError)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_stream_needs_no_names_of_events(vector: Vector) -> None:
    nameless = b"\n".join(line for line in vector.stream.split(b"\n") if not line.startswith(b"event:"))
    assert events_of(nameless) == events_of(vector.stream)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_stream_needs_no_deltas(vector: Vector) -> None:
    events = BLANK_LINE.split(vector.stream)
    kept = b"\n\n".join(event for event in events if b'.delta","' not in event and b'.delta"' not in event[:200])
    answer, expected = collected(events_of(kept + b"\n\n")), collected(events_of(vector.stream))
    assert without_values(answer) == without_values(expected)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_stream_may_be_its_end_alone(vector: Vector) -> None:
    last = b"event: response.completed\n" + BLANK_LINE.split(vector.stream.rstrip())[-1].split(b"\n", 1)[1] + b"\n\n"
    answer, expected = collected(events_of(last)), collected(events_of(vector.stream))
    assert without_values(answer) == without_values(expected)


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_recorded_stream_is_written_as_the_sdk_reads_it(vector: Vector) -> None:
    expected = collected(events_of(vector.stream))
    stream = written(events_of(vector.stream))
    accumulated(stream)
    again = collected(events_of(stream))
    assert [type(part) for part in again.parts] == [type(part) for part in expected.parts]
    assert [content(part) for part in again.parts] == [content(part) for part in expected.parts]
    assert (again.usage, again.stop) == (expected.usage, expected.stop)


def content(part: Part) -> Any:
    if isinstance(part, ToolCall):
        return part.id, part.name, part.arguments, part.is_custom
    if isinstance(part, Text):
        return part.text, part.phase, part.citations, part.logprobs
    return part.text if isinstance(part, Thinking | Refusal) else None


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_stream_ends_with_the_answer_that_is_written_whole(vector: Vector) -> None:
    events = events_of(vector.stream)
    streamed = wire_events(written(events))[-1]["response"]
    whole = PROTOCOL.write_answer(collected(events), asked(), SEALING)
    assert {**streamed, "completed_at": 0} == {**whole, "completed_at": 0}


# Reading what others send.

RESPONSE = {"id": "resp_1", "model": "m", "created_at": 1, "status": "in_progress", "output": []}
CREATED = {"type": "response.created", "response": RESPONSE}
COMPLETED = {"type": "response.completed", "response": {**RESPONSE, "status": "completed"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": ""}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": CALL}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, text: str, **place: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": text, "output_index": 0, **place}


def only_part(*events: dict[str, Any]) -> Part:
    found = events_of(sse(CREATED, *events, COMPLETED))
    check_grammar(found, may_fail=True)
    (part,) = collected(found).parts
    return part


WHOLE = {**CALL, "arguments": '{"a":1}'}
ARGUMENTS_DONE = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    "events",
    [
        [
            ADDED,
            delta("function_call_arguments", '{"a"'),
            delta("function_call_arguments", ":1}"),
            ARGUMENTS_DONE,
            done(WHOLE),
        ],
        [ADDED, ARGUMENTS_DONE, done(WHOLE)],
        [ADDED, ARGUMENTS_DONE],
        [ADDED, done(WHOLE)],
        [done(WHOLE)],
        [{**ADDED, "item": WHOLE}, ARGUMENTS_DONE, done(WHOLE)],
        [{**ADDED, "item": WHOLE}, delta("function_call_arguments", '{"a":1}'), done(WHOLE)],
        [{**ADDED, "item": {**CALL, "name": None}}, delta("function_call_arguments", '{"a":1}'), done(WHOLE)],
        [ADDED, ADDED, ARGUMENTS_DONE, done(WHOLE), done(WHOLE)],
    ],
)
def test_a_call_comes_once_however_it_is_told(events: list[dict[str, Any]]) -> None:
    assert only_part(*events) == ToolCall(id="call_1", name="add", arguments='{"a":1}')


def test_a_call_of_a_tool_with_free_text() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "say", "input": ""}
    part = only_part(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        delta("custom_tool_call_input", "4 "),
        delta("custom_tool_call_input", "+ 4"),
        {"type": "response.custom_tool_call_input.done", "output_index": 0, "input": "4 + 4"},
        done({**item, "input": "4 + 4"}),
    )
    assert part == ToolCall(id="c", name="say", arguments="4 + 4", is_custom=True)


def test_calls_that_come_side_by_side_stay_apart() -> None:
    other = {**ADDED, "output_index": 1, "item": {**CALL, "id": "fc_2", "call_id": "call_2"}}
    pieces = [("[1", 0), ("[2", 1), ("]", 0), ("]", 1)]
    deltas = [delta("function_call_arguments", text) | {"output_index": index} for text, index in pieces]
    answer = collected(events_of(sse(CREATED, ADDED, other, *deltas, COMPLETED)))
    assert [part.arguments for part in answer.parts if isinstance(part, ToolCall)] == ["[1]", "[2]"]
    assert answer.stop is Stop.TOOL_USE


def test_items_that_all_have_the_same_place_stay_apart() -> None:
    other = {**WHOLE, "id": "fc_2", "call_id": "call_2"}
    answer = collected(events_of(sse(CREATED, ADDED, done(WHOLE), {**ADDED, "item": other}, done(other), COMPLETED)))
    assert [part.id for part in answer.parts if isinstance(part, ToolCall)] == ["call_1", "call_2"]


def test_an_item_may_have_another_id_in_every_event() -> None:
    renamed = {**WHOLE, "id": "fc_9"}
    message = {"type": "message", "id": "msg_1", "content": []}
    said = {**message, "id": "msg_2", "content": [{"type": "output_text", "text": "So."}]}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        delta("output_text", "So.", content_index=0, item_id="msg_3"),
        done(said),
        {**ADDED, "output_index": 1},
        {**ARGUMENTS_DONE, "output_index": 1},
        done(renamed, 1),
        {**COMPLETED, "response": {**RESPONSE, "status": "completed", "output": [{**said, "id": "msg_4"}, renamed]}},
    ]
    found = events_of(sse(CREATED, *events))
    check_grammar(found, may_fail=True)
    assert collected(found).parts == [Text(text="So."), ToolCall(id="call_1", name="add", arguments='{"a":1}')]


def test_parts_of_a_summary_are_paragraphs() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "not yet"}
    part = only_part(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        delta("reasoning_summary_text", "One", summary_index=0),
        delta("reasoning_summary_text", ".", summary_index=0),
        {"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": "One."},
        delta("reasoning_summary_text", "Two.", summary_index=1),
        done({**item, "encrypted_content": "gAAA"}),
    )
    state = State(format="openai_responses", kind="encrypted", value="gAAA", id="rs_1")
    assert part == Thinking(text="One.\n\nTwo.", state=state)


def test_reasoning_without_a_summary_is_its_state() -> None:
    part = only_part(done({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}))
    assert isinstance(part, Thinking)
    assert part.state is not None


def test_a_refusal() -> None:
    message = {"type": "message", "id": "msg_1", "content": [{"type": "refusal", "refusal": "No."}]}
    assert only_part(
        delta("refusal", "N", content_index=0), delta("refusal", "o.", content_index=0), done(message)
    ) == Refusal(text="No.")


def test_annotations_that_only_the_whole_text_has() -> None:
    note = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}
    message = {
        "type": "message",
        "id": "msg_1",
        "content": [{"type": "output_text", "text": "So", "annotations": [note]}],
    }
    single = {
        "type": "response.output_text.annotation.added",
        "output_index": 0,
        "content_index": 0,
        "annotation": note,
    }
    expected = Text(text="So", citations=[Citation(url="u", title="t", start=0, end=2)])
    text = delta("output_text", "So", content_index=0)
    assert only_part(text, done(message)) == only_part(text, single, done(message)) == expected


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.unheard_of", "output_index": 0},
        {"type": "response.queued", "response": RESPONSE},
        {"type": "keepalive"},
        {"type": "response.output_item.added", "output_index": 3, "item": None},
        {"type": "response.output_text.annotation.added", "output_index": 9},
        {"type": "response.output_item.added", "output_index": 3, "item": {"type": "web_search_call", "id": "ws_1"}},
    ],
)
def test_what_is_unknown_is_skipped(event: dict[str, Any]) -> None:
    assert only_part(event, ADDED, done(WHOLE)) == ToolCall(id="call_1", name="add", arguments='{"a":1}')


def test_nothing_follows_the_end() -> None:
    events = events_of(sse(CREATED, COMPLETED, COMPLETED) + b"data: [DONE]\n\n")
    assert [type(event) for event in events] == [Started, Finished]


ERRORS: list[tuple[bytes, int, Kind]] = [
    (
        sse({"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "m"}}),
        500,
        Kind.UPSTREAM,
    ),
    (sse({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None}), 429, Kind.RATE_LIMIT),
    (sse({"type": "error", "error": {"code": "context_length_exceeded", "message": "m"}}), 400, Kind.BAD_REQUEST),
    (b'event: error\ndata: {"error": {"code": 503, "message": "m"}}\n\n', 503, Kind.OVERLOADED),
    (b'data: {"error": {"code": "429", "message": "m"}}\n\n', 429, Kind.RATE_LIMIT),
    (b'data: {"error": "overloaded"}\n\n', 503, Kind.OVERLOADED),
    (
        sse(
            {
                "type": "response.failed",
                "response": {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "m"}},
            }
        ),
        500,
        Kind.UPSTREAM,
    ),
    (sse({"type": "response.failed", "response": {**RESPONSE, "status": "failed", "error": None}}), 502, Kind.UPSTREAM),
]


@pytest.mark.parametrize(("stream", "status", "kind"), ERRORS)
def test_errors_of_the_provider(stream: bytes, status: int, kind: Kind) -> None:
    for before in (b"", sse(CREATED, delta("output_text", "So"))):
        last = events_of(before + stream + sse(COMPLETED))[-1]
        assert isinstance(last, Failed)
        assert isinstance(last.error, ProviderError)
        assert (last.error.status, last.error.kind) == (status, kind)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"1",
        b"\xff",
        b'{"type":"response.completed"}',
        b'{"type":"response.output_text.delta","delta":1}',
        b'{"type":"response.output_text.delta","output_index":[],"delta":"a"}',
        b'{"type":"response.output_text.delta"}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_the_end(data: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    (failed,) = reader.read(None, data)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamProtocolError)
    assert reader.end() == []


def test_a_stream_of_nothing_is_no_answer() -> None:
    (failed,) = events_of(b"")
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamClosed)
