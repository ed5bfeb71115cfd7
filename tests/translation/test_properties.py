"""What holds for whatever is said: answers and requests that nobody has recorded, cut and ended anywhere.

No socket has a part in this: what a provider sends is written by the gateway's own code for callers of that format, and
what a caller gets is read by its own code for providers of that one. That both sides of each format are right by the
vendors' own measure is what the other tests of this folder are for.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import GatewayError
from ai_gateway.listeners import MeaningListener
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Answer,
    FunctionTool,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.events import Closed, Event, Failed, Finished, Grown, Opened, Started
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay
from ai_gateway.translation import Translation
from tests.effort import times
from tests.factories import make_call
from tests.protocols import streams
from tests.protocols.vectors import Vector
from tests.translation import facts
from tests.translation.asked import EXTRACTORS, FILLER, words
from tests.translation.facts import Call, Facts, Usage, told_in
from tests.translation.test_answers import ANSWERS, CALLERS, check, names
from tests.translation.test_requests import check_ids

FORMATS = CALLERS
PAIRS = [(provider, caller) for provider, caller in product(FORMATS, CALLERS) if provider != caller]
CARRIER = Carrier([b"of thirty-two bytes and no longer"], "p", "m")
HEAD = Head(model="m", stream=True, query=b"alt=sse")
QUIETLY = settings(max_examples=times(8))


def asking(format: str) -> Request:
    """A caller of a format, who wants to see all."""
    return Request(format=format, model="m", messages=[], stream=True, reasoning=Reasoning(is_shown=True))


# Answers.


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=4).map(json.dumps)
COUNTS = st.integers(0, 10**6)
USAGES = st.builds(TokenUsage, input=COUNTS, cache_read=COUNTS, cache_write=COUNTS, output=COUNTS, reasoning=COUNTS)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Anything that an answer can say in every format."""
    parts: list[Part] = []
    for _ in range(draw(st.integers(0, 2))):
        parts.append(Thinking(text=draw(TEXTS)))
    for _ in range(draw(st.integers(0, 2))):
        parts.append(Text(text=draw(TEXTS)))
    count = draw(st.integers(0, 3))
    parts += [ToolCall(id=f"call_{number}", name=draw(NAMES), arguments=draw(ARGUMENTS)) for number in range(count)]
    stop = Stop.TOOL_USE if count else draw(st.sampled_from([Stop.END, Stop.MAX_TOKENS, Stop.FILTERED]))
    return Answer(id="id_1", model="m", parts=parts, stop=stop, usage=draw(USAGES), created=1)


STOPS: dict[Stop, facts.Stop] = {
    Stop.END: "end",
    Stop.PAUSED: "end",
    Stop.STOP_SEQUENCE: "stop_sequence",
    Stop.TOOL_USE: "tool_use",
    Stop.MAX_TOKENS: "length",
    Stop.CONTEXT_FULL: "length",
    Stop.FILTERED: "filtered",
}


def said(answer: Answer) -> Facts:
    """Reduce an answer to facts."""
    usage = answer.usage
    return Facts(
        text="".join(part.text for part in answer.parts if isinstance(part, Text)),
        refusal="".join(part.text for part in answer.parts if isinstance(part, Refusal)),
        reasoning=tuple(part.text for part in answer.parts if isinstance(part, Thinking) and part.text),
        calls=tuple(
            Call(part.id, part.name, facts.arguments_of(part.arguments))
            for part in answer.parts
            if isinstance(part, ToolCall)
        ),
        stop=STOPS[answer.stop],
        usage=None if usage is None else buckets(usage),
    )


def buckets(usage: TokenUsage) -> Usage:
    written = usage.cache_write + usage.cache_write_1h
    return Usage(usage.input, usage.cache_read, written, usage.output, usage.reasoning)


def stream_of(events: Iterable[Event], format: str) -> bytes:
    """Write a stream as a provider of a format sends it."""
    writer = PROTOCOLS[format].stream_writer(asking(format), CARRIER, HEAD)
    return b"".join(map(writer.write, events))


def translated(stream: bytes, provider: str, caller: str, cuts: Iterable[int] = ()) -> tuple[bytes, bool]:
    """Let a stream that comes in pieces through the gateway's own machinery; give what the caller gets, and whether it
    ended well."""
    translation = Translation(
        splitter=PROTOCOLS[provider].splitter(),
        reader=PROTOCOLS[provider].stream_reader(),
        writer=PROTOCOLS[caller].stream_writer(asking(caller), CARRIER, HEAD),
        emulation=None,
        model="m",
        listener=MeaningListener(make_call(), "m"),
    )
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    written = [translation.write(translation.read(piece), "req_1") for piece in (*pieces, b"")]
    return b"".join(written), translation.is_over and translation.failure is None


def collected(stream: bytes, format: str) -> Answer:
    """Read a stream to its end. Raises the error of one that failed."""
    return streams.collected(events_of(format, [stream]))


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@QUIETLY
@given(answer=answers())
def test_an_answer_keeps_what_both_ends_can_say(provider: str, caller: str, answer: Answer) -> None:
    ours, theirs = PROTOCOLS[caller], PROTOCOLS[provider]
    sent = json.loads(json.dumps(theirs.write_answer(answer, asking(provider), CARRIER)))
    told = json.loads(json.dumps(ours.write_answer(theirs.read_answer(sent), asking(caller), CARRIER)))
    check(told_in(said(ours.read_answer(told)), caller), told_in(said(answer), provider), caller)


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@QUIETLY
@given(answer=answers(), cuts=st.lists(st.integers(1, 4000), max_size=12))
def test_a_stream_keeps_what_both_ends_can_say_however_it_is_cut(
    provider: str, caller: str, answer: Answer, cuts: list[int]
) -> None:
    told, is_good = translated(stream_of(replay(answer), provider), provider, caller, cuts)
    assert is_good
    check(told_in(said(collected(told, caller)), caller), told_in(said(answer), provider), caller)


# Recorded streams: the same whatever they are cut into, and no answer where they end too early.


STREAMS = [vector for vector in ANSWERS if vector.is_stream]


def events_of(format: str, pieces: Iterable[bytes]) -> list[Event]:
    """Read a stream that comes in pieces, to its end."""
    return streams.events_of_pieces(PROTOCOLS[format], pieces)


def without_made_up_ids(events: list[Event]) -> str:
    """Write events, without the ids that are made up anew each time for calls that came without."""
    return re.sub(r"id='call_[a-z0-9]{20}'", "id=''", repr(events))


@pytest.mark.parametrize("size", [7, 1024])
@pytest.mark.parametrize("vector", STREAMS, ids=names)
def test_a_recorded_stream_means_the_same_in_pieces(vector: Vector, size: int) -> None:
    stream = vector.stream
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert without_made_up_ids(events_of(vector.format, pieces)) == without_made_up_ids(
        events_of(vector.format, [stream])
    )


@pytest.mark.parametrize("vector", [min(STREAMS, key=lambda each: (each.format != name, len(each.stream)))
                                    for name in FORMATS[:4]], ids=names)  # fmt: skip
def test_a_recorded_stream_means_the_same_byte_by_byte(vector: Vector) -> None:
    stream = vector.stream
    pieces = [stream[place : place + 1] for place in range(len(stream))]
    assert without_made_up_ids(events_of(vector.format, pieces)) == without_made_up_ids(
        events_of(vector.format, [stream])
    )


@pytest.mark.parametrize("vector", STREAMS, ids=names)
@settings(max_examples=times(8))
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_recorded_stream_that_ends_too_early_is_no_answer(vector: Vector, share: float) -> None:
    """Unless all of it was there: the proof of the end may come before the usage and other things that nobody needs."""
    stream = vector.stream
    events = events_of(vector.format, [stream[: int(len(stream) * share)]])
    if isinstance(events[-1], Finished):
        whole = said(collected(stream, vector.format))
        part = said(collected(stream[: int(len(stream) * share)], vector.format))
        assert (part.text, part.reasoning, part.refusal, part.stop) == (
            whole.text,
            whole.reasoning,
            whole.refusal,
            whole.stop,
        )
        assert [(call.name, call.arguments) for call in part.calls] == [
            (call.name, call.arguments) for call in whole.calls
        ]
    else:
        assert isinstance(events[-1], Failed)


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@QUIETLY
@given(answer=answers(), share=st.floats(0, 1, exclude_max=True))
def test_a_stream_that_ends_too_early_ends_badly_for_the_caller(
    provider: str, caller: str, answer: Answer, share: float
) -> None:
    stream = stream_of(replay(answer), provider)
    told, is_good = translated(stream[: int(len(stream) * share)], provider, caller)
    if is_good:
        assert said(collected(told, caller)).text == said(answer).text
        assert len(said(collected(told, caller)).calls) == len(said(answer).calls)
    else:
        with pytest.raises(GatewayError):
            collected(told, caller)


# Requests.


PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def result(call: ToolCall, text: str) -> Part:
    return ToolResult(call_id=call.id, name=call.name, parts=[Text(text=text)])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Any conversation that can be had in every format."""
    messages = [Message(role="system", parts=[Text(text=draw(WORDS))])] if draw(st.booleans()) else []
    tools: list[str] = []
    calls: list[ToolCall] = []
    for turn in range(draw(st.integers(1, 3))):
        parts = [result(call, draw(WORDS)) for call in calls]
        if not parts or draw(st.booleans()):
            parts.append(Text(text=draw(WORDS)))
            parts += [Image(data=PICTURE, media_type="image/png")] * draw(st.integers(0, 1))
        messages.append(Message(role="user", parts=parts))
        calls = [
            ToolCall(id=f"call_{turn}_{number}", name=draw(NAMES), arguments=draw(ARGUMENTS))
            for number in range(draw(st.integers(0, 2)))
        ]
        tools += sorted({call.name for call in calls} - set(tools))
        words: list[Part] = [Text(text=draw(WORDS))] if not calls or draw(st.booleans()) else []
        messages.append(Message(role="assistant", parts=[*words, *calls]))
    last = [result(call, draw(WORDS)) for call in calls]
    messages.append(Message(role="user", parts=last or [Text(text=draw(WORDS))]))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    return Request(
        format="openai_chat",
        model="m",
        messages=messages,
        tools=[FunctionTool(name=name, description="It does.", schema=schema) for name in tools],
        max_output_tokens=64,
    )


WORDS = st.text("abcdefghij äß日😀", min_size=1, max_size=20).filter(str.strip)


def to(format: str) -> Destination:
    return Destination(provider="p", model="m", format=format, capabilities=Capabilities(reasoning_history="drop"))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=names)
@QUIETLY
@given(request=requests())
def test_a_request_keeps_what_both_ends_can_say(first: str, second: str, request: Request) -> None:
    """Written in one format, read from it, and written in another: there it says the same."""
    body = json.loads(json.dumps(PROTOCOLS[first].write_request(request, to(first)).body))
    if first == "bedrock_converse":
        # What only keeps turns apart is no caller's.
        body["messages"] = [message for message in body["messages"] if message != FILLER]
    again = PROTOCOLS[first].read_request(body, Head(model="m", stream=False), CARRIER)
    sent = json.loads(json.dumps(PROTOCOLS[second].write_request(again, to(second)).body))
    here, there = EXTRACTORS[first](body), EXTRACTORS[second](sent)
    assert words(there.system) == words(here.system)
    assert words(there.user) == words(here.user)
    assert words(there.assistant) == words(here.assistant)
    assert [call[1:] for call in there.calls] == [call[1:] for call in here.calls]
    assert [result[2] for result in there.results] == [result[2] for result in here.results]
    assert (there.turns, there.tools, there.media) == (here.turns, here.tools, here.media)
    check_ids(here, there)


# Work.


def growing(count: int, piece: str) -> list[Event]:
    """Give the events of a call whose arguments come in many small pieces."""
    grown = [Grown(key=0, text=piece) for _ in range(count)]
    call = Opened(key=0, part=ToolCall(id="call_1", name="write"))
    return [
        Started(id="id_1", model="m", created=1),
        call,
        Grown(key=0, text='{"text": "'),
        *grown,
        Grown(key=0, text='"}'),
        Closed(key=0),
        Finished(stop=Stop.TOOL_USE, usage=TokenUsage(input=1, output=1)),
    ]


PIECE = "sixteen letters."


@pytest.mark.parametrize(("provider", "caller"), list(zip(FORMATS, (*FORMATS[1:], FORMATS[0]), strict=True)), ids=names)
def test_a_megabyte_of_arguments_arrives(provider: str, caller: str) -> None:
    count = 2**20 // 64
    stream = stream_of(growing(count, PIECE * 4), provider)
    told, is_good = translated(stream, provider, caller, range(0, len(stream), 4096))
    assert is_good
    [call] = said(collected(told, caller)).calls
    assert call.arguments == {"text": PIECE * 4 * count}


def work(provider: str, caller: str, count: int) -> int:
    """Count what is done for a stream: every call of a function, and every byte that one of them gives back."""
    stream = stream_of(growing(count, PIECE), provider)
    done = 0

    def note(frame: Any, event: str, value: Any) -> None:
        nonlocal done
        done += 1
        if event == "return" and isinstance(value, str | bytes):
            done += len(value) // 64

    sys.setprofile(note)
    try:
        translated(stream, provider, caller, range(0, len(stream), 512))
    finally:
        sys.setprofile(None)
    return done


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_the_work_for_long_arguments_grows_with_their_length(provider: str, caller: str) -> None:
    """Four times as many pieces are four times the work, and not sixteen times."""
    assert work(provider, caller, 1600) < 6 * work(provider, caller, 400)
