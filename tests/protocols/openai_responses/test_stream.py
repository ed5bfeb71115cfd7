"""Streams of Responses: what is read of them however they come, and what is written."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import Kind, Overloaded, ProviderError, UpstreamClosed, UpstreamError, UpstreamProtocolError
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    State,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Head
from ai_gateway.sse import BLANK_LINE
from tests.protocols.openai_responses.wire import (
    CARRIER,
    SEALING,
    accumulated,
    asked,
    events_of,
    last_response,
    sse,
    types,
    wire_events,
    written,
)
from tests.protocols.streams import collected, events_of_pieces
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


def assert_grammar(events: list[Event]) -> None:
    """Check what every stream of events keeps to."""
    assert isinstance(events[0], Started)
    assert sum(isinstance(event, Started) for event in events) == 1
    assert [event for event in events if isinstance(event, Finished | Failed)] == [events[-1]]
    opened = [event.key for event in events if isinstance(event, Opened)]
    assert opened == list(range(len(opened)))
    is_open: set[int] = set()
    for event in events:
        if isinstance(event, Opened):
            is_open.add(event.key)
        elif isinstance(event, Grown | Signed | Cited):
            assert event.key in is_open
            assert not isinstance(event, Grown) or event.text
        elif isinstance(event, Closed):
            is_open.remove(event.key)
    assert not is_open


# Reading what was recorded.


@pytest.mark.parametrize("vector", RECORDED, ids=str)
def test_a_recorded_stream_says_what_its_last_event_says(vector: Vector) -> None:
    events = events_of(vector.stream)
    assert_grammar(events)
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
    assert_grammar(found)
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
    assert_grammar(found)
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


# Writing.

STARTED = Started(id="msg_1", model="thinker-1", created=7)
SIGNATURE = State(format="anthropic_messages", kind="signature", value="c2ln")


def stream(*events: Event, stop: Stop = Stop.END, **fields: Any) -> bytes:
    """Write a stream of these events, checked by the SDK."""
    written_stream = written([STARTED, *events, Finished(stop=stop, **fields)])
    accumulated(written_stream)
    return written_stream


def test_a_text() -> None:
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="So"), Grown(key=0, text="."), Closed(key=0))
    assert types(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert accumulated(found).output_text == "So."


def test_thinking_and_a_call_without_arguments() -> None:
    found = stream(
        Opened(key=0, part=Thinking()),
        Grown(key=0, text="Hm."),
        Signed(key=0, state=SIGNATURE),
        Closed(key=0),
        Opened(key=1, part=ToolCall(id="toolu_1", name="now")),
        Closed(key=1),
        stop=Stop.TOOL_USE,
        usage=TokenUsage(input=598, output=39, reasoning=53),
    )
    assert types(found)[2:] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    thought, call = wire_events(found)[-1]["response"]["output"]
    state = CARRIER.open(thought["encrypted_content"])
    assert state is not None
    assert (state.value, state.provider) == ("c2ln", "acme")
    assert (call["call_id"], call["arguments"], call["status"]) == ("toolu_1", "{}", "completed")


def test_thinking_that_shows_nothing_is_still_carried() -> None:
    found = stream(Opened(key=0, part=Thinking()), Signed(key=0, state=SIGNATURE), Closed(key=0))
    assert types(found)[2:-1] == ["output_item.added", "output_item.done"]


def test_calls_side_by_side_are_passed_on_as_they_come() -> None:
    found = stream(
        Opened(key=0, part=ToolCall(id="a", name="add")),
        Opened(key=1, part=ToolCall(id="b", name="say", is_custom=True)),
        Grown(key=1, text="4 "),
        Grown(key=0, text="{}"),
        Closed(key=0),
        Grown(key=1, text="+ 4"),
        Closed(key=1),
        stop=Stop.TOOL_USE,
    )
    assert types(found)[2:] == [
        "output_item.added",
        "output_item.added",
        "custom_tool_call_input.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    assert [event["output_index"] for event in wire_events(found)[2:-1]] == [0, 1, 1, 0, 0, 0, 1, 1, 1]


def test_text_behind_a_call_is_another_message() -> None:
    found = stream(
        Opened(key=0, part=Text(text="Before. ")),
        Opened(key=1, part=ToolCall(id="a", name="add")),
        Closed(key=0),
        Closed(key=1),
        Opened(key=2, part=Text(text="Behind.")),
        Closed(key=2),
        stop=Stop.TOOL_USE,
    )
    assert [item.type for item in accumulated(found).output] == ["message", "function_call", "message"]


def test_texts_in_a_row_are_one_message() -> None:
    found = stream(
        Opened(key=0, part=Text(text="So ")),
        Closed(key=0),
        Opened(key=1, part=Text()),
        Cited(key=1, citation=Citation(url="u", title="t")),
        Grown(key=1, text="it is"),
        Closed(key=1),
    )
    (message,) = wire_events(found)[-1]["response"]["output"]
    (note,) = message["content"][0]["annotations"]
    assert message["content"][0]["text"] == "So it is"
    assert (note["start_index"], note["end_index"]) == (3, 8)
    assert "output_text.annotation.added" in types(found)


def test_probabilities_are_passed_on() -> None:
    probability = {"token": "So", "logprob": -0.1, "bytes": [83, 111], "top_logprobs": []}
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="So", logprobs=[probability]), Closed(key=0))
    deltas = [event["logprobs"] for event in wire_events(found) if event["type"] == "response.output_text.delta"]
    assert deltas == [[probability]]


def test_an_answer_that_was_cut_off_is_incomplete() -> None:
    found = stream(Opened(key=0, part=Text(text="So")), Closed(key=0), stop=Stop.MAX_TOKENS)
    last = wire_events(found)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_empty_texts_are_not_written() -> None:
    found = stream(Opened(key=0, part=Text()), Closed(key=0))
    assert types(found) == ["created", "in_progress", "completed"]


def test_signatures_of_calls_stand_in_front_of_them_or_behind() -> None:
    signature = State(format="gemini", kind="signature", value="c2ln")
    found = stream(
        Opened(key=0, part=ToolCall(id="a", name="add", arguments="{}", state=signature)),
        Closed(key=0),
        Opened(key=1, part=ToolCall(id="b", name="add", arguments="{}")),
        Signed(key=1, state=signature),
        Closed(key=1),
        Opened(key=2, part=Text()),
        Signed(key=2, state=signature),
        Closed(key=2),
        stop=Stop.TOOL_USE,
    )
    kinds = [item.type for item in accumulated(found).output]
    assert kinds == ["reasoning", "function_call", "function_call", "reasoning", "reasoning"]


def test_half_of_a_pair_of_surrogates_survives() -> None:
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="\ud83d"), Grown(key=0, text="\ude00"), Closed(key=0))
    deltas = [event["delta"] for event in wire_events(found) if event["type"] == "response.output_text.delta"]
    assert deltas == ["\ud83d", "\ude00"]


@pytest.mark.parametrize("id", ["resp_123", "chatcmpl-1", ""])
def test_ids_are_those_of_responses(id: str) -> None:
    found = written(
        [Started(id=id, model="m"), Opened(key=0, part=Text(text="a")), Closed(key=0), Finished(stop=Stop.END)]
    )
    response = accumulated(found)
    assert response.id.startswith("resp_")
    assert response.id == id or not id.startswith("resp_")
    assert response.output[0].id is not None
    assert response.output[0].id.startswith("msg_")


# Errors on the way.


def failing(*events: Event) -> list[dict[str, Any]]:
    writer = PROTOCOL.stream_writer(asked(), SEALING, Head(model="m", stream=True))
    begun = b"".join(writer.write(event) for event in events)
    ended = writer.fail(Overloaded("Too much."), "req_1")
    assert writer.fail(Overloaded("Too much."), "req_1") == b""
    assert writer.write(Finished(stop=Stop.END)) == b""
    return wire_events(begun + ended)


@pytest.mark.parametrize(
    "begun", [[], [STARTED], [STARTED, Opened(key=0, part=Text(text="So")), Grown(key=0, text=" it")]]
)
def test_an_error_is_told_in_both_ways(begun: list[Event]) -> None:
    events = failing(*begun)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    error, failed = events[-2:]
    assert (error["type"], error["code"], error["message"], error["param"]) == (
        "error",
        "overloaded",
        "Too much.",
        None,
    )
    assert error["error"]["type"] == "service_unavailable_error"
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "Too much."}
    assert failed["response"]["id"] == events[0].get("response", failed["response"])["id"]


def test_what_was_said_before_an_error_is_kept() -> None:
    failed = failing(STARTED, Opened(key=0, part=Text(text="So")), Grown(key=0, text=" it"))[-1]
    (message,) = failed["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "So it")


def test_a_failed_stream_is_written_as_an_error() -> None:
    found = written([STARTED, Failed(error=Overloaded("Too much."))])
    assert types(found) == ["created", "in_progress", "error", "failed"]


def test_a_sign_of_life_is_a_comment() -> None:
    writer = PROTOCOL.stream_writer(asked(), SEALING, Head(model="m", stream=True))
    assert writer.keep_alive().startswith(b":")
    assert PROTOCOL.stream_type(Head(model="m", stream=True)) == b"text/event-stream; charset=utf-8"


def any_events(chance: random.Random) -> list[Event]:
    """Parts of all kinds, opened, grown and closed in any order."""
    events: list[Event] = [STARTED]
    is_open: set[int] = set()
    for _ in range(chance.randrange(20)):
        key = len([event for event in events if isinstance(event, Opened)])
        if not is_open or chance.random() < 0.4:
            kinds: list[Text | Refusal | Thinking | ToolCall] = [
                Text(),
                Text(text="a"),
                Refusal(),
                Thinking(),
                Thinking(text="h"),
                ToolCall(id=f"c{key}", name="n"),
            ]
            part = chance.choice(kinds)
            events.append(Opened(key=key, part=part))
            is_open.add(key)
            continue
        key = chance.choice(sorted(is_open))
        events.append(chance.choice([Grown(key=key, text="more"), Closed(key=key)]))
        if isinstance(events[-1], Closed):
            is_open.remove(key)
    return [*events, *(Closed(key=key) for key in is_open), Finished(stop=chance.choice(list(Stop)))]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_order_events_come_in_the_sdk_understands_them(seed: int) -> None:
    events = any_events(random.Random(seed))
    found = written(events)
    accumulated(found)
    given, back = collected(events), collected(events_of(found))
    for kind in (Text, Refusal, Thinking):
        assert letters(given, kind) == letters(back, kind)
    calls = [(part.id, part.arguments or "{}") for part in given.parts if isinstance(part, ToolCall)]
    assert calls == [(part.id, part.arguments) for part in back.parts if isinstance(part, ToolCall)]


def letters(answer: Answer, kind: type[Text] | type[Refusal] | type[Thinking]) -> list[str]:
    return sorted("".join(part.text for part in answer.parts if isinstance(part, kind)))


def test_a_stream_is_as_long_as_what_it_says() -> None:
    """A delta costs little more than itself: nothing is repeated with every one."""
    deltas = [Grown(key=0, text="word ")] * 1000
    found = stream(Opened(key=0, part=Text()), *deltas, Closed(key=0))
    assert len(found) < 1000 * 300
    assert (
        json.loads(found.rstrip().split(b"data: ")[-1])["response"]["output"][0]["content"][0]["text"] == "word " * 1000
    )
