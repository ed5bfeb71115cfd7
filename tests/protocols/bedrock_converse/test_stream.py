"""Streams of Converse: read, written, and read by a botocore client."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import GatewayError, InternalError, Overloaded, ProviderError, UpstreamClosed
from ai_gateway.protocols.bedrock_converse import DIALECT, PROTOCOL
from ai_gateway.protocols.bedrock_converse.states import attached
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
from ai_gateway.protocols.transcript import Collector, replay
from tests.protocols.bedrock_converse.botocore_client import parsed_stream
from tests.protocols.bedrock_converse.samples import (
    CARRIER,
    HEAD,
    METADATA,
    START,
    STREAMS,
    asked,
    call_start,
    delta,
    ending,
    event,
    exception,
    stop,
    whole_answer,
)

EVERY_STREAM = pytest.mark.parametrize("name", STREAMS)


def read(*pieces: bytes) -> list[Event]:
    """Read a stream that comes in pieces, to its end."""
    splitter, reader = PROTOCOL.splitter(), PROTOCOL.stream_reader()
    events: list[Event] = []
    for piece in pieces:
        for name, data in splitter.feed(piece):
            events += reader.read(name, data)
    for name, data in splitter.flush():
        events += reader.read(name, data)
    return events + reader.end()


def write(events: Iterable[Event]) -> bytes:
    """Write a stream."""
    writer = PROTOCOL.stream_writer(asked(stream=True), CARRIER, HEAD)
    return b"".join(map(writer.write, events))


def collected(events: Iterable[Event]) -> Answer:
    """Make a whole answer of a stream."""
    collector = Collector()
    collector.add(events)
    return collector.answer()


def without_id(answer: Answer) -> Answer:
    """An answer has no id in Converse: one is made up."""
    return msgspec.structs.replace(answer, id="")


def is_finished(events: Iterable[Event]) -> bool:
    return any(isinstance(each, Finished) for each in events)


def failure(events: list[Event]) -> GatewayError:
    """The error that a stream ends with, and nothing behind it."""
    assert isinstance(events[-1], Failed)
    assert not is_finished(events)
    return events[-1].error


# Reading.


@EVERY_STREAM
def test_a_stream_says_what_the_whole_answer_says(name: str) -> None:
    stream = without_id(collected(read(*STREAMS[name])))
    whole = without_id(PROTOCOL.read_answer(whole_answer(name)))
    assert [shown(part) for part in stream.parts] == [shown(part) for part in whole.parts]
    assert msgspec.structs.replace(stream, parts=[]) == msgspec.structs.replace(whole, parts=[])


def shown(part: Part) -> Any:
    """A part; the arguments of a call may be written otherwise, and those of a call without any not at all."""
    if isinstance(part, ToolCall):
        return msgspec.structs.replace(part, arguments=json.dumps(json.loads(part.arguments or "{}")))
    return part


@EVERY_STREAM
def test_what_is_read_is_what_a_client_puts_together(name: str) -> None:
    seen = accumulated(parsed_stream(b"".join(STREAMS[name])))
    parts = collected(read(*STREAMS[name])).parts
    assert "".join(part.text for part in parts if isinstance(part, Text)) == seen["text"]
    assert "".join(part.text for part in parts if isinstance(part, Thinking)) == seen["reasoning"]
    calls = [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]
    assert calls == [call for call in seen["calls"] if call[1] != "nova_code_interpreter"]


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Put together a stream as clients do; the service model is what botocore has parsed it by."""
    seen: dict[str, Any] = {"text": "", "reasoning": "", "signatures": [], "calls": [], "open": None}
    for each in events:
        if "contentBlockStart" in each and "toolUse" in each["contentBlockStart"]["start"]:
            call = each["contentBlockStart"]["start"]["toolUse"]
            seen["calls"].append((call["toolUseId"], call["name"], ""))
        elif "contentBlockDelta" in each:
            change = each["contentBlockDelta"]["delta"]
            seen["text"] += change.get("text", "")
            reasoning = change.get("reasoningContent", {})
            seen["reasoning"] += reasoning.get("text", "")
            seen["signatures"] += [reasoning["signature"]] if "signature" in reasoning else []
            if "toolUse" in change:
                id, name, arguments = seen["calls"].pop()
                seen["calls"].append((id, name, arguments + change["toolUse"]["input"]))
        seen |= each.get("messageStop", {})
        seen |= each.get("metadata", {})
    return seen


@EVERY_STREAM
def test_it_does_not_matter_how_the_bytes_are_cut(name: str) -> None:
    data, chance = b"".join(STREAMS[name]), random.Random(name)
    whole = read(data)[1:]
    for size in (1, 7, 1024):
        assert read(*(data[start : start + size] for start in range(0, len(data), size)))[1:] == whole
    borders = sorted(chance.sample(range(len(data)), 20))
    assert read(*(data[start:end] for start, end in zip([0, *borders], [*borders, None], strict=True)))[1:] == whole


@EVERY_STREAM
def test_a_stream_that_is_cut_off_is_never_whole(name: str) -> None:
    data = b"".join(STREAMS[name])
    for end in range(len(data)):
        assert isinstance(failure(read(data[:end])), UpstreamClosed)


@EVERY_STREAM
def test_every_part_is_closed_and_numbered_in_order(name: str) -> None:
    events = read(*STREAMS[name])
    opened = [each.key for each in events if isinstance(each, Opened)]
    assert opened == list(range(len(opened)))
    assert sorted(each.key for each in events if isinstance(each, Closed)) == opened
    assert all(each.text for each in events if isinstance(each, Grown))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)


def test_parts_that_the_upstream_forgot_to_close_are_closed() -> None:
    events = read(START, delta(0, text="Hi"), *ending("end_turn"))
    assert [type(each) for each in events] == [Started, Opened, Grown, Closed, Finished]


def test_a_stream_may_lack_its_beginning() -> None:
    assert collected(read(delta(0, text="Hi"), *ending("end_turn"))).parts == [Text(text="Hi")]


def test_the_usage_may_come_before_the_end() -> None:
    events = read(START, delta(0, text="Hi"), METADATA, ending("end_turn")[0])
    assert isinstance(events[-1], Finished)
    assert events[-1].usage is not None


def test_without_the_usage_the_end_is_not_proved() -> None:
    assert isinstance(failure(read(START, ending("end_turn")[0])), UpstreamClosed)


def test_what_comes_after_the_end_is_not_read() -> None:
    events = read(START, *ending("end_turn"), delta(0, text="Hi"), exception("throttlingException", "Slow down."))
    assert isinstance(events[-1], Finished)


def test_two_answers_in_one_stream_are_refused() -> None:
    assert "second answer" in failure(read(START, delta(0, text="Hi"), START, *ending("end_turn"))).message


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_stream_that_the_model_spoiled_is_an_error(reason: str) -> None:
    assert reason in failure(read(START, delta(0, text="Hi"), *ending(reason))).message


@pytest.mark.parametrize(
    "broken",
    [
        event("contentBlockDelta", contentBlockIndex="0", delta={"text": "x"}),
        event("contentBlockDelta", contentBlockIndex=5, delta={"toolUse": {"input": "{}"}}),
        event("contentBlockDelta", contentBlockIndex=5, delta={"reasoningContent": {"redactedContent": "é"}}),
    ],
)
def test_a_broken_event_ends_the_stream(broken: bytes) -> None:
    assert failure(read(START, broken, *ending("end_turn"))).status == 502


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_an_event_that_is_no_json_object_ends_the_stream(data: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    assert "not valid" in failure(reader.read("contentBlockDelta", data)).message
    assert reader.end() == []


MEMBERS = [
    "contentBlockIndex",
    "start",
    "delta",
    "toolUse",
    "text",
    "input",
    "reasoningContent",
    "signature",
    "redactedContent",
    "citation",
    "usage",
    "stopReason",
    "toolUseId",
    "name",
    "location",
    "web",
]
NAMES = [
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "new",
    "exception:new",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=12,
)


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(NAMES),
            JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
        ),
        max_size=6,
    )
)
def test_reading_never_raises(events: list[tuple[str | None, bytes]]) -> None:
    reader = PROTOCOL.stream_reader()
    given = [each for name, data in events for each in reader.read(name, data)] + reader.end()
    assert sum(isinstance(each, Finished | Failed) for each in given) == 1


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("throttlingException", 429, "rate_limit_exceeded"),
        ("serviceUnavailableException", 503, None),
        ("internalServerException", 500, None),
        ("modelStreamErrorException", 502, None),
        ("validationException", 400, None),
        ("somethingNewException", 502, None),
    ],
)
def test_an_exception_ends_the_stream(name: str, status: int, code: str | None) -> None:
    error = failure(read(START, delta(0, text="Hi"), exception(name, "It went wrong.")))
    assert isinstance(error, ProviderError)
    assert (error.status, error.code, error.message) == (status, code, "It went wrong.")
    assert DIALECT.read_error(f"exception:{name}", b"{}") == status


def test_an_ordinary_event_is_no_error() -> None:
    assert DIALECT.read_error("messageStart", b"{}") is None
    assert DIALECT.read_error(None, b"{}") is None


@EVERY_STREAM
def test_every_stream_has_a_marker_of_its_end(name: str) -> None:
    data = b"".join(STREAMS[name])
    assert any(marker in data for marker in DIALECT.terminal)
    assert not any(marker in data[: -len(METADATA)] for marker in DIALECT.terminal)


def test_a_text_may_hold_the_words_of_a_marker() -> None:
    assert not any(marker in delta(0, text="metadata messageStop") for marker in DIALECT.terminal)


# Writing.


@EVERY_STREAM
def test_a_stream_that_is_read_and_written_again_is_the_same_to_a_client(name: str) -> None:
    before = accumulated(parsed_stream(b"".join(STREAMS[name])))
    after = accumulated(parsed_stream(write(read(*STREAMS[name]))))
    before["calls"] = [call for call in before["calls"] if call[1] != "nova_code_interpreter"]
    for member in ("text", "reasoning", "calls", "stopReason", "usage", "serviceTier"):
        assert after[member] == before[member]


@EVERY_STREAM
def test_a_stream_and_a_whole_answer_are_written_alike(name: str) -> None:
    answer = collected(read(*STREAMS[name]))
    seen = accumulated(parsed_stream(write(replay(answer))))
    body = PROTOCOL.write_answer(answer, asked(), CARRIER)
    assert seen["stopReason"] == body["stopReason"]
    assert seen["usage"] == body["usage"]
    assert seen["text"] == "".join(part.text for part in answer.parts if isinstance(part, Text))


STATES = st.builds(
    State,
    format=st.sampled_from(["gemini", "anthropic_messages", "openai_responses"]),
    kind=st.sampled_from(["signature", "encrypted"]),
    value=st.text(max_size=5),
    id=st.text(max_size=3),
)
WORDS = st.text(min_size=1, max_size=6)
PARTS = st.one_of(
    st.builds(Text, text=st.text(max_size=6), state=st.none() | STATES),
    st.builds(Text, text=WORDS, citations=st.lists(st.builds(Citation, url=WORDS, title=st.text(max_size=3)))),
    st.builds(Thinking, text=st.text(max_size=6), state=st.none() | STATES),
    st.builds(ToolCall, id=WORDS, name=WORDS, arguments=st.text(max_size=9), state=st.none() | STATES),
    st.builds(Refusal, text=WORDS),
)
COUNT = st.integers(min_value=0, max_value=10**9)
USAGES = st.builds(
    TokenUsage, input=COUNT, cache_read=COUNT, cache_write=COUNT, cache_write_1h=COUNT, output=COUNT, reasoning=COUNT
)
STOPS = st.sampled_from([each for each in Stop if each is not Stop.PAUSED])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Event], Answer]:
    """Events of any answer: pieces of its parts in any mixture, states that come late; and the answer."""
    answer = Answer(
        id="a",
        model="m",
        parts=draw(st.lists(PARTS, max_size=4)),
        stop=draw(STOPS),
        stop_sequence=draw(st.none() | WORDS),
        usage=draw(USAGES),
    )
    queues = [pieces(key, part, draw) for key, part in enumerate(answer.parts)]
    events: list[Event] = [Started(id="a", model="m")]
    is_mixed = draw(st.booleans())
    opened = 0
    while any(queues):
        # Parts are opened in their order; what comes for those that are open may come in any.
        ready = [key for key, queue in enumerate(queues) if queue and key <= opened]
        key = draw(st.sampled_from(ready)) if is_mixed else ready[0]
        events.append(queues[key].pop(0))
        opened = max(opened, key + 1) if isinstance(events[-1], Opened) else opened
    finished = Finished(stop=answer.stop, stop_sequence=answer.stop_sequence, usage=answer.usage)
    return [*events, finished], answer


def pieces(key: int, part: Part, draw: st.DrawFn) -> list[Event]:
    """The events of one part, from its opening to its closing."""
    assert isinstance(part, Text | Refusal | Thinking | ToolCall)
    text = part.arguments if isinstance(part, ToolCall) else part.text
    first, second = sorted(draw(st.integers(min_value=0, max_value=len(text))) for _ in range(2))
    state = None if isinstance(part, Refusal) else part.state
    is_late = draw(st.booleans())
    begun: Any = {"arguments" if isinstance(part, ToolCall) else "text": text[:first]}
    begun |= {"state": None} if is_late and state is not None else {}
    begun |= {"citations": []} if isinstance(part, Text) else {}
    events: list[Event] = [Opened(key=key, part=msgspec.structs.replace(part, **begun))]
    events += (Cited(key=key, citation=each) for each in (part.citations if isinstance(part, Text) else ()))
    events += (Grown(key=key, text=piece) for piece in (text[first:second], text[second:]) if piece)
    events += [Signed(key=key, state=state)] if is_late and state is not None else []
    return [*events, Closed(key=key)]


@given(streams(), st.integers(min_value=1, max_value=300))
@settings(max_examples=200)
def test_any_events_that_are_written_are_read_back(stream: tuple[list[Event], Answer], size: int) -> None:
    events, answer = stream
    data = write(events)
    back = collected(read(*(data[start : start + size] for start in range(0, len(data), size))))
    assert [comparable(part) for part in unsealed(back.parts)] == expected(answer.parts)
    assert (back.stop, back.stop_sequence) == (answer.stop, answer.stop_sequence)
    assert back.usage is not None
    assert answer.usage is not None
    assert back.usage.total_output == answer.usage.total_output
    assert msgspec.structs.replace(back.usage, output=0) == msgspec.structs.replace(answer.usage, output=0, reasoning=0)
    assert parsed_stream(data)[-1]["metadata"]["usage"]["inputTokens"] == answer.usage.input


def unsealed(parts: list[Part]) -> list[Part]:
    """Open what the caller got sealed, as the next request does it."""
    opened: list[Part] = []
    for part in parts:
        if isinstance(part, Thinking) and part.state is not None:
            part = msgspec.structs.replace(part, state=CARRIER.open(part.state.value))
        opened.append(part)
    return attached(opened)


def expected(parts: list[Part]) -> list[Any]:
    """What comes back: no part that said nothing, and a refusal as a text."""
    said: list[Part] = []
    for part in parts:
        if isinstance(part, Refusal):
            said.append(Text(text=part.text))
        elif isinstance(part, ToolCall) or (isinstance(part, Text | Thinking) and (part.text or part.state)):
            said.append(part)
    return [comparable(part) for part in said]


def comparable(part: Part) -> Any:
    """A part with its state as it was before it was sealed."""
    assert isinstance(part, Text | Thinking | ToolCall)
    state = part.state and msgspec.structs.replace(part.state, provider="", model="")
    return msgspec.structs.replace(part, state=state)


@given(streams())
@settings(max_examples=50)
def test_blocks_come_one_after_the_other(stream: tuple[list[Event], Answer]) -> None:
    seen = parsed_stream(write(stream[0]))
    assert [next(iter(each)) for each in (seen[0], *seen[-2:])] == ["messageStart", "messageStop", "metadata"]
    index, is_open = 0, False
    for each in seen[1:-2]:
        kind, payload = next(iter(each.items()))
        assert payload["contentBlockIndex"] == index
        assert kind != "contentBlockStart" or not is_open
        is_open = kind != "contentBlockStop"
        index += not is_open
    assert not is_open


def test_a_tool_with_free_text_is_called_with_an_object() -> None:
    call = ToolCall(id="c", name="shell", arguments="ls", is_custom=True)
    events = [Opened(key=0, part=call), Grown(key=0, text=' "x"'), Closed(key=0), Finished(stop=Stop.TOOL_USE)]
    calls = accumulated(parsed_stream(write([Started(id="a", model="m"), *events])))["calls"]
    assert [json.loads(arguments) for _, _, arguments in calls] == [{"input": 'ls "x"'}]


def test_half_a_surrogate_pair_is_written_and_read_back() -> None:
    events = replay(Answer(id="a", model="m", parts=[Text(text="\ud83d")], stop=Stop.END))
    assert collected(read(write(events))).parts == [Text(text="\ud83d")]


def test_a_client_skips_the_sign_of_life() -> None:
    writer = PROTOCOL.stream_writer(asked(stream=True), CARRIER, HEAD)
    events = replay(Answer(id="a", model="m", parts=[Text(text="Hi")], stop=Stop.END))
    data = writer.keep_alive() + b"".join(writer.write(each) + writer.keep_alive() for each in events)
    assert parsed_stream(data) == parsed_stream(write(events))
    assert DIALECT.keep_alive == writer.keep_alive()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("Later."), "serviceUnavailableException"),
        (InternalError("Oh."), "internalServerException"),
        (UpstreamClosed("Gone."), "modelStreamErrorException"),
    ],
)
@pytest.mark.parametrize("count", range(5))
def test_a_client_raises_the_error_that_ends_a_stream(error: GatewayError, code: str, count: int) -> None:
    writer = PROTOCOL.stream_writer(asked(stream=True), CARRIER, HEAD)
    events = replay(Answer(id="a", model="m", parts=[Text(text="Hi")], stop=Stop.END))
    data = b"".join(map(writer.write, events[: min(count, 3)])) + writer.fail(error, "req_1")
    with pytest.raises(EventStreamError) as raised:
        parsed_stream(data)
    assert raised.value.response["Error"] == {"Code": code, "Message": error.message}
    assert writer.write(events[-1]) == b""


def test_a_failure_of_the_upstream_is_written_too() -> None:
    with pytest.raises(EventStreamError, match="Gone"):
        parsed_stream(write([Started(id="a", model="m"), Failed(error=UpstreamClosed("Gone."))]))


def test_a_call_of_the_providers_own_tool_does_not_eat_what_comes_behind_it() -> None:
    events = read(
        START,
        call_start(0, "s", "search", type="server_tool_use"),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        call_start(0, "c", "mine"),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        *ending("tool_use"),
    )
    assert collected(events).parts == [ToolCall(id="c", name="mine", arguments="{}")]
