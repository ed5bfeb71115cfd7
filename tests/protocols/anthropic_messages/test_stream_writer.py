"""Streams of Messages: what is written for a caller."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.anthropic_messages import PROTOCOL
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
from ai_gateway.protocols.events import Cited, Closed, Event, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.transcript import replay
from tests.protocols.anthropic_messages.helpers import (
    ASKED,
    CARRIER,
    FORMAT,
    HEAD,
    accumulated,
    answer_of,
    assert_grammar,
    comparable,
    events_of,
    sdk_comparable,
    wire_events,
    written,
)
from tests.protocols.vectors import Vector, vectors

STREAMS = [vector for vector in vectors(FORMAT) if vector.is_stream and vector.status == 200]
SPLICED = "anthropic-spliced-message-start-0"
DOUBLED = "anthropic-duplicate-message-start-0"
WHOLE = [vector for vector in STREAMS if vector.name != SPLICED]
EVERY_STREAM = pytest.mark.parametrize("vector", STREAMS, ids=str)
EVERY_WHOLE_STREAM = pytest.mark.parametrize("vector", WHOLE, ids=str)


@EVERY_WHOLE_STREAM
def test_a_recorded_stream_survives_being_written(vector: Vector) -> None:
    given = answer_of(vector.stream)
    stream = written(events_of(vector.stream))
    assert_grammar(stream)
    again = answer_of(stream)
    assert [part[:2] for part in known(again)] == [part[:2] for part in known(given)]
    assert (again.stop, again.stop_sequence, again.usage) == (given.stop, given.stop_sequence, given.usage)
    assert again.explanation == given.explanation
    assert again.id == given.id


def known(answer: Answer) -> list[tuple[Any, ...]]:
    """As `comparable`, for arguments that may be cut off."""
    calls = [("call", part.id, part.name) for part in answer.parts if isinstance(part, ToolCall)]
    return comparable([part for part in answer.parts if not isinstance(part, ToolCall)]) + calls


STATE = State(format="openai_responses", kind="encrypted", value="gAAAA", id="rs_1")
MIXED: list[Part] = [
    Thinking(text="Hm.", state=STATE),
    Text(text="Hello"),
    Refusal(text="No."),
    ToolCall(id="call_1", name="f", arguments='{"a":1}'),
    ToolCall(id="call_2", name="g"),
    ToolCall(id="call_3", name="patch", arguments="*** Begin", is_custom=True),
    ToolCall(id="call_4", name="h", state=State(format="gemini", kind="signature", value="c2ln")),
    Thinking(state=STATE),
    Thinking(text="Unsigned."),
    Text(text="Cited", citations=[Citation(url="https://a.example", title="A")]),
    Text(text=""),
    Thinking(),
]


def test_a_stream_says_the_same_as_the_whole_answer() -> None:
    answer = Answer(id="chatcmpl-1", model="m", parts=MIXED, stop=Stop.TOOL_USE, usage=TokenUsage(input=7, output=9))
    stream = written(replay(answer))
    assert_grammar(stream)
    streamed = accumulated(stream).to_dict()
    whole = PROTOCOL.write_answer(answer, ASKED, CARRIER)
    assert streamed["content"] == whole["content"]
    for member in ("id", "model", "role", "stop_reason", "stop_sequence"):
        assert streamed[member] == whole[member]


def test_a_citation_may_come_before_its_text() -> None:
    citation = Citation(url="https://a.example", title="A")
    events: list[Event] = [
        Started(id="1", model="m"),
        Opened(key=0, part=Text()),
        Cited(key=0, citation=citation),
        Grown(key=0, text="Said."),
        Closed(key=0),
        Finished(stop=Stop.END),
    ]
    stream = written(events)
    assert_grammar(stream)
    content: Any = accumulated(stream).to_dict()["content"]
    (block,) = content
    assert block["text"] == "Said."
    assert [each["url"] for each in block["citations"]] == ["https://a.example"]


def test_parts_side_by_side_become_blocks_one_after_the_other() -> None:
    events: list[Event] = [
        Started(id="1", model="m"),
        Opened(key=0, part=ToolCall(id="call_1", name="f")),
        Opened(key=1, part=ToolCall(id="call_2", name="g")),
        Grown(key=1, text='{"b":'),
        Grown(key=0, text='{"a":'),
        Opened(key=2, part=Text(text="Late.")),
        Grown(key=1, text="2}"),
        Grown(key=0, text="1}"),
        Closed(key=1),
        Closed(key=2),
        Closed(key=0),
        Finished(stop=Stop.TOOL_USE, usage=TokenUsage(input=1, output=1)),
    ]
    stream = written(events)
    assert_grammar(stream)
    assert sdk_comparable(accumulated(stream)) == [
        ("call", "call_1", "f", {"a": 1}),
        ("call", "call_2", "g", {"b": 2}),
        ("text", "Late."),
    ]


def test_a_state_that_comes_late_is_the_one_that_counts() -> None:
    newer = State(format="openai_responses", kind="encrypted", value="newer", id="rs_1")
    events: list[Event] = [
        Started(id="1", model="m"),
        Opened(key=0, part=Thinking(state=STATE)),
        Grown(key=0, text="Hm."),
        Signed(key=0, state=newer),
        Closed(key=0),
        Opened(key=1, part=ToolCall(id="call_1", name="f")),
        Signed(key=1, state=newer),
        Closed(key=1),
        Finished(stop=Stop.TOOL_USE),
    ]
    stream = written(events)
    assert_grammar(stream)
    blocks = accumulated(stream).to_dict()["content"]
    assert isinstance(blocks, list)
    assert blocks[0]["signature"] == CARRIER.seal(newer)
    assert [each["type"] for each in blocks] == ["thinking", "tool_use", "thinking"]


def test_a_call_begins_as_anthropics_do() -> None:
    call = ToolCall(id="call_1", name="f", arguments="{}")
    stream = written([Started(id="1", model="m"), Opened(key=0, part=call), Closed(key=0), Finished(stop=Stop.END)])
    deltas = [each["delta"]["partial_json"] for each in wire_events(stream) if each["type"] == "content_block_delta"]
    assert deltas == ["", "{}"]


def test_an_empty_answer_has_no_blocks() -> None:
    stream = written([Started(id="1", model="m"), Finished(stop=Stop.END)])
    assert [event["type"] for event in wire_events(stream)] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize(("stop", "reason"), [(Stop.END, "tool_use"), (Stop.MAX_TOKENS, "max_tokens")])
def test_the_reason_to_stop_fits_the_content(stop: Stop, reason: str) -> None:
    call = ToolCall(id="call_1", name="f")
    stream = written([Started(id="1", model="m"), Opened(key=0, part=call), Closed(key=0), Finished(stop=stop)])
    assert accumulated(stream).stop_reason == reason


def test_the_true_usage_comes_at_the_end() -> None:
    start = Started(id="1", model="m", usage=TokenUsage(input=1))
    stream = written([start, Finished(stop=Stop.END, usage=TokenUsage(input=2, cache_read=3, output=4, reasoning=1))])
    usage = accumulated(stream).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (2, 3, 5)
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 1


def test_a_usage_that_never_came_does_not_erase_the_one_that_did() -> None:
    stream = written([Started(id="1", model="m", usage=TokenUsage(input=6)), Finished(stop=Stop.END)])
    assert accumulated(stream).usage.input_tokens == 6


def test_an_error_is_the_last_event_and_stops_nothing() -> None:
    writer = PROTOCOL.stream_writer(ASKED, CARRIER, HEAD)
    for event in (Started(id="1", model="m"), Opened(key=0, part=Text(text="Hel"))):
        writer.write(event)
    failed = writer.fail(UpstreamClosed("The provider hung up."), "req_1")
    assert [event["type"] for event in wire_events(failed)] == ["error"]
    assert wire_events(failed)[0]["request_id"] == "req_1"
    assert writer.write(Finished(stop=Stop.END)) == writer.fail(UpstreamClosed("Again."), "req_1") == b""


def test_an_error_may_be_all_there_is() -> None:
    failed = PROTOCOL.stream_writer(ASKED, CARRIER, HEAD).fail(UpstreamClosed("Gone."), "req_1")
    assert failed.startswith(b"event: error\n")


def test_a_ping_comes_only_once_there_is_a_message() -> None:
    writer = PROTOCOL.stream_writer(ASKED, CARRIER, HEAD)
    assert writer.keep_alive().startswith(b":")
    writer.write(Started(id="1", model="m"))
    assert writer.keep_alive() == b'event: ping\ndata: {"type": "ping"}\n\n'


def test_the_model_is_the_upstreams_or_what_was_asked_for() -> None:
    assert accumulated(written([Started(id="1", model=""), Finished(stop=Stop.END)])).model == "asked-for"


# The SDK in the loop.


def test_the_sdks_own_stream_reaches_its_final_message() -> None:
    events = replay(Answer(id="1", model="m", parts=MIXED, stop=Stop.TOOL_USE, usage=TokenUsage(input=1, output=1)))

    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=written(events))

    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    with (
        anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=http) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert [each.input for each in final.content if each.type == "tool_use"] == [
        {"a": 1},
        {},
        {"input": "*** Begin"},
        {},
    ]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((" ", '{"a":1}'), {"a": 1}),
        (("\n", " ", '{"a"', ":1}", "\n"), {"a": 1}),
        ((" ",), {}),
        (("nu", "ll"), {}),
    ],
)
def test_the_sdk_can_parse_arguments_at_any_time(pieces: tuple[str, ...], expected: dict[str, Any]) -> None:
    """It parses after each delta, and takes blanks alone for a broken call."""
    grown = [Grown(key=0, text=piece) for piece in pieces]
    call = Opened(key=0, part=ToolCall(id="toolu_1", name="f"))
    stream = written([Started(id="1", model="m"), call, *grown, Closed(key=0), Finished(stop=Stop.TOOL_USE)])
    assert_grammar(stream)
    content: Any = accumulated(stream).to_dict()["content"]
    assert content[0]["input"] == expected
