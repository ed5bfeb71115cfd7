"""Streams of Converse, written, and read by a botocore client and by the reader here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import GatewayError, InternalError, Overloaded, UpstreamClosed
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
from ai_gateway.protocols.transcript import replay
from tests.effort import times
from tests.protocols.bedrock_converse.botocore_client import parsed_stream
from tests.protocols.bedrock_converse.samples import (
    CARRIER,
    HEAD,
    START,
    STREAMS,
    asked,
    call_start,
    delta,
    ending,
    stop,
)
from tests.protocols.bedrock_converse.streaming import (
    EVERY_STREAM,
    accumulated,
    read,
    write,
)
from tests.protocols.streams import collected


@EVERY_STREAM
def test_a_stream_that_is_read_and_written_again_is_the_same_to_a_client(name: str) -> None:
    before = accumulated(parsed_stream(b"".join(STREAMS[name])))
    after = accumulated(parsed_stream(write(read(*STREAMS[name]))))
    before["calls"] = [
        (id, name, arguments or "{}") for id, name, arguments in before["calls"] if name != "nova_code_interpreter"
    ]
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
    parts: list[Part] = [*draw(st.lists(PARTS, max_size=4))]
    answer = Answer(
        id="a",
        model="m",
        parts=parts,
        stop=draw(STOPS).given(any(isinstance(part, ToolCall) for part in parts)),
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
@settings(max_examples=times(60))
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
    """What comes back: no part that said nothing, a refusal as a text, and the arguments of a call that has none."""
    said: list[Part] = []
    for part in parts:
        if isinstance(part, Refusal):
            said.append(Text(text=part.text))
        elif isinstance(part, ToolCall):
            said.append(msgspec.structs.replace(part, arguments=part.arguments or "{}"))
        elif isinstance(part, Text | Thinking) and (part.text or part.state):
            said.append(part)
    return [comparable(part) for part in said]


def comparable(part: Part) -> Any:
    """A part with its state as it was before it was sealed."""
    assert isinstance(part, Text | Thinking | ToolCall)
    state = part.state and msgspec.structs.replace(part.state, provider="", model="")
    return msgspec.structs.replace(part, state=state)


@given(streams())
@settings(max_examples=times(25))
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


def test_a_call_without_arguments_has_an_empty_object() -> None:
    events = replay(Answer(id="a", model="m", parts=[ToolCall(id="c", name="f")], stop=Stop.TOOL_USE))
    assert accumulated(parsed_stream(write(events)))["calls"] == [("c", "f", "{}")]


@pytest.mark.parametrize(
    ("pieces", "expected"), [((" ", '{"a":1}'), '{"a":1}'), ((" ", "\n"), "{}"), (("nu", "ll"), "{}")]
)
def test_blanks_and_null_are_no_arguments(pieces: tuple[str, ...], expected: str) -> None:
    grown = [Grown(key=0, text=piece) for piece in pieces]
    call = Opened(key=0, part=ToolCall(id="c", name="f"))
    events = [Started(id="a", model="m"), call, *grown, Closed(key=0), Finished(stop=Stop.TOOL_USE)]
    assert accumulated(parsed_stream(write(events)))["calls"] == [("c", "f", expected)]


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
