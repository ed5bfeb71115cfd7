"""Streams of Messages: what a provider's are read as."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.conversation import State, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Cited, Failed, Grown
from tests.protocols.anthropic_messages.helpers import (
    FORMAT,
    accumulated,
    answer_of,
    comparable,
    events_of,
    sdk_comparable,
)
from tests.protocols.streams import check_grammar
from tests.protocols.vectors import Vector, vectors

STREAMS = [vector for vector in vectors(FORMAT) if vector.is_stream and vector.status == 200]
SPLICED = "anthropic-spliced-message-start-0"
DOUBLED = "anthropic-duplicate-message-start-0"
WHOLE = [vector for vector in STREAMS if vector.name != SPLICED]
EVERY_STREAM = pytest.mark.parametrize("vector", STREAMS, ids=str)
EVERY_WHOLE_STREAM = pytest.mark.parametrize("vector", WHOLE, ids=str)


def named(name: str) -> Vector:
    return next(vector for vector in STREAMS if vector.name == name)


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
STOP: dict[str, Any] = {"type": "message_stop"}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ending(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5, **usage}}


# Reading what was recorded.


@EVERY_WHOLE_STREAM
def test_a_recorded_stream_is_read_as_the_sdk_reads_it(vector: Vector) -> None:
    given = answer_of(vector.stream)
    if "incomplete-partial-json" in vector.name:
        return  # The SDK completes what was cut off; the raw string is kept here.
    twice = vector.stream.split(b"\n\n", 1)[1] if vector.name == DOUBLED else vector.stream
    expected = accumulated(twice)
    assert comparable(given.parts) == sdk_comparable(expected)
    assert (given.id, given.stop_sequence) == (expected.id, expected.stop_sequence)
    assert given.usage is not None
    assert given.usage.total_output == expected.usage.output_tokens
    assert given.usage.cache_read == (expected.usage.cache_read_input_tokens or 0)
    assert given.usage.input == expected.usage.input_tokens


@EVERY_STREAM
def test_events_come_in_order(vector: Vector) -> None:
    check_grammar(events_of(vector.stream), may_fail=True)


@EVERY_STREAM
@pytest.mark.parametrize("size", [1, 7, 1024])
def test_it_does_not_matter_how_a_stream_is_cut(vector: Vector, size: int) -> None:
    assert repr(events_of(vector.stream, size)) == repr(events_of(vector.stream))


@EVERY_STREAM
def test_nor_if_it_is_cut_at_random(vector: Vector) -> None:
    expected = repr(events_of(vector.stream))
    dice = random.Random(vector.name)
    for _ in range(5):
        assert repr(events_of(vector.stream, dice.randrange(2, 400))) == expected


def is_proven(beginning: bytes) -> bool:
    """Whether the beginning of a stream has the whole event that names the reason to stop."""
    last = beginning.rpartition(b"event: message_delta\ndata: ")[2].partition(b"\n")[0]
    try:
        return bool(json.loads(last)["delta"]["stop_reason"])
    except (ValueError, KeyError):
        return False


@EVERY_WHOLE_STREAM
def test_a_stream_that_is_cut_off_never_ends_well(vector: Vector) -> None:
    """At the border of every event, and at random bytes."""
    stream = vector.stream
    dice = random.Random(vector.name)
    ends = [place + 2 for place in range(len(stream)) if stream[place : place + 2] == b"\n\n"]
    for end in [0, *ends[:-1], *(dice.randrange(len(stream)) for _ in range(40))]:
        last = events_of(stream[:end])[-1]
        assert isinstance(last, Failed) or is_proven(stream[:end]), end


def test_two_answers_in_one_stream_are_an_error() -> None:
    last = events_of(named(SPLICED).stream)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamProtocolError)


def test_the_same_start_twice_is_none() -> None:
    given = answer_of(named(DOUBLED).stream)
    assert comparable(given.parts) == [("text", "Hello, World!")]


def test_arguments_that_a_limit_cut_off_are_kept_as_they_came() -> None:
    given = answer_of(named("anthropic-incomplete-partial-json-response-0").stream)
    call = given.parts[-1]
    assert isinstance(call, ToolCall)
    assert given.stop is Stop.MAX_TOKENS
    assert call.arguments.startswith('{"filename": "taxes.txt"')
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(call.arguments)


def test_text_may_come_before_thinking() -> None:
    parts = answer_of(named("anthropic-opus-46-adaptive-thinking-0").stream).parts
    assert [type(part) for part in parts] == [Text, Thinking, Text]


def test_a_tool_without_arguments_has_none() -> None:
    parts = answer_of(named("anthropic-fixed-version-tool-chain-regression-0").stream).parts
    (call,) = (part for part in parts if isinstance(part, ToolCall))
    assert call.arguments == ""


def test_the_usage_of_the_end_counts() -> None:
    given = answer_of(named("anthropic-anthropic-code-execution-20260120-prompt-cache-1-0").stream)
    assert given.usage == TokenUsage(input=6, cache_read=6289, cache_write=3337, output=198)


def test_a_refusal_without_text_is_explained() -> None:
    given = answer_of(named("anthropic-anthropic-refusal-0").stream)
    assert (given.parts, given.stop) == ([], Stop.FILTERED)
    assert given.explanation is not None
    assert "Usage Policy" in given.explanation


def test_a_citation_knows_the_text_that_came_behind_it() -> None:
    name = "anthropic-chat-citations-with-anthropic-claude-haiku-4-5-streams-citat-0"
    events = events_of(named(name).stream)
    (cited,) = (event for event in events if isinstance(event, Cited))
    (grown,) = (event for event in events if isinstance(event, Grown))
    assert (cited.citation.start, cited.citation.end) == (0, len(grown.text))
    assert cited.citation.verbatim is not None


# Reading what was not.


def test_a_signature_may_come_without_any_thinking() -> None:
    signature = {"type": "signature_delta", "signature": "c2ln"}
    stream = sse(START, *block(0, {"type": "thinking", "thinking": ""}, signature), ending(), STOP)
    (part,) = answer_of(stream).parts
    assert part == Thinking(state=State(format=FORMAT, kind="signature", value="c2ln"))


def test_redacted_thinking_is_a_state() -> None:
    stream = sse(START, *block(0, {"type": "redacted_thinking", "data": "ZGF0YQ"}), ending(), STOP)
    (part,) = answer_of(stream).parts
    assert part == Thinking(is_redacted=True, state=State(format=FORMAT, kind="redacted", value="ZGF0YQ"))


def test_arguments_may_come_with_the_start() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    again = {"type": "input_json_delta", "partial_json": '{"a":1}'}
    (part,) = answer_of(sse(START, *block(0, call, again), ending("tool_use"), STOP)).parts
    assert part == ToolCall(id="toolu_1", name="f", arguments='{"a":1}')


def test_deltas_that_do_not_belong_are_skipped() -> None:
    strays: list[dict[str, Any]] = [
        {"type": "input_json_delta", "partial_json": "{}"},
        {"type": "invented_tomorrow"},
        {"type": "text_delta", "text": ""},
        {"type": "text_delta", "text": 5},
        {"type": "signature_delta", "signature": "x"},
        {"type": "text_delta", "text": "Hello"},
    ]
    stream = sse(
        START,
        *block(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, strays[0]),
        *block(1, {"type": "text", "text": ""}, *strays),
        {"type": "invented_tomorrow"},
        {"type": "content_block_delta", "index": 9, "delta": strays[-1]},
        {"type": "content_block_stop", "index": 9},
        ending(),
        STOP,
    )
    assert answer_of(stream).parts == [Text(text="Hello")]


def test_usage_that_is_null_replaces_nothing() -> None:
    stream = sse(START, ending(input_tokens=None, cache_read_input_tokens=7), STOP)
    assert answer_of(stream).usage == TokenUsage(input=3, cache_read=7, output=5)


def test_a_stop_reason_proves_the_end_without_message_stop() -> None:
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
    assert answer_of(sse(START, *text, ending())).stop is Stop.END
    assert isinstance(events_of(sse(START, *text))[-1], Failed)
    assert isinstance(events_of(sse(START, *text[:-1], ending()))[-1], Failed)


def test_nothing_comes_after_the_end() -> None:
    check_grammar(events_of(sse(START, ending(), STOP, START, STOP)))


@pytest.mark.parametrize(
    ("type", "kind", "status"),
    [
        ("overloaded_error", Kind.OVERLOADED, 503),
        ("api_error", Kind.UPSTREAM, 502),
        ("rate_limit_error", Kind.RATE_LIMIT, 429),
        ("invented_tomorrow", Kind.UPSTREAM, 502),
    ],
)
def test_an_error_ends_a_stream(type: str, kind: Kind, status: int) -> None:
    error = {"type": "error", "error": {"type": type, "message": "Overloaded"}}
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hel"})
    last = events_of(sse(START, *text[:-1], error, ending(), STOP))[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, ProviderError)
    assert (last.error.kind, last.error.status, last.error.message) == (kind, status, "Overloaded")


def test_an_error_of_another_shape_is_one() -> None:
    last = events_of(b'data: {"error": {"message": "Overloaded"}}\n\n')[-1]
    assert isinstance(last, Failed)
    assert last.error.message == "Overloaded"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no JSON",
        b"[]",
        b"17",
        b'{"type": "message_start"}',
        b'{"type": "message_stop"}',
        b'{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}',
        b'{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}',
        b"\xff",
    ],
)
def test_a_broken_event_is_an_error_and_never_raised(data: bytes) -> None:
    (event,) = PROTOCOL.stream_reader().read(None, data)
    assert isinstance(event, Failed)
    assert isinstance(event.error, UpstreamProtocolError)


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, {"type": []}, {"type": "text", "text": 5}])
@pytest.mark.parametrize("member", ["message", "content_block", "delta", "usage", "index", "error"])
def test_nothing_that_an_event_may_hold_is_raised(member: str, junk: Any) -> None:
    reader = PROTOCOL.stream_reader()
    for type in ("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"):
        event = {**START, "index": 0, "content_block": {"type": "text"}, "delta": {}, "type": type, member: junk}
        assert isinstance(reader.read(type, json.dumps(event).encode()), list)
    assert isinstance(reader.end(), list)


def test_half_a_character_passes() -> None:
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}'
    reader = PROTOCOL.stream_reader()
    for event in (START, block(0, {"type": "text", "text": ""})[0]):
        reader.read(None, json.dumps(event).encode())
    assert reader.read(None, data) == [Grown(key=0, text="\ud83d")]


def test_an_end_with_calls_waits_for_their_results() -> None:
    """Compatible servers end so: an agent of another format would not run the tools."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    given = answer_of(sse(START, *block(0, call), ending("end_turn"), STOP))
    assert (given.stop, given.stop_sequence) == (Stop.TOOL_USE, None)


def test_searches_of_the_web_are_counted_as_the_end_tells() -> None:
    lines: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 9}}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 30, "server_tool_use": {"web_search_requests": 2}},
        },
        {"type": "message_stop"},
    ]
    stream = b"".join(b"event: %s\ndata: %s\n\n" % (str(e["type"]).encode(), json.dumps(e).encode()) for e in lines)
    assert answer_of(stream).units == {"searches": 2}
