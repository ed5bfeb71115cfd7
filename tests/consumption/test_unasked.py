"""Usage that the gateway asked for and the caller did not: it is counted, and its event does not reach the caller."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.listeners import listener_of
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.relay import Stream
from tests.consumption.hearing import DONE, SSE, asking, chat_chunk, hear, usage
from tests.effort import times
from tests.factories import Answer, make_meter, run

CALL = asking("/v1/chat/completions", stream=True)
USAGE = b"data: " + json.dumps({"id": "c", "choices": [], "usage": usage()}).encode() + b"\n\n"
BEFORE = [chat_chunk("Hel", usage=None), chat_chunk(finish_reason="stop", usage=None)]


def shown(*data: bytes) -> bytes:
    """What the caller gets."""
    return hear(listener_of(CALL, SSE, is_unasked=True), data)


def test_the_event_that_was_asked_for_is_taken_out_and_nothing_else() -> None:
    assert shown(*BEFORE, USAGE, DONE) == b"".join([*BEFORE, DONE])


def test_it_is_taken_out_of_the_middle_of_a_read() -> None:
    assert shown(BEFORE[0], BEFORE[1] + USAGE + DONE) == b"".join([*BEFORE, DONE])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_it_is_taken_out_whatever_the_framing(end: bytes) -> None:
    stream = b"".join([*BEFORE, USAGE, DONE]).replace(b"\n", end)
    assert shown(stream) == b"".join([*BEFORE, DONE]).replace(b"\n", end)


def test_it_is_taken_out_with_its_name_and_its_comments() -> None:
    assert shown(BEFORE[0], b": cost\nevent: usage\n" + USAGE, DONE) == BEFORE[0] + DONE


def test_every_one_is_taken_out() -> None:
    assert shown(USAGE, BEFORE[0], USAGE + USAGE, DONE) == BEFORE[0] + DONE


@pytest.mark.parametrize(
    "event",
    [
        chat_chunk(finish_reason="stop", usage=usage()),
        chat_chunk("a report has prompt_tokens", usage=None),
        chat_chunk('"choices":[],"usage":{"prompt_tokens":1}'),
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_tokens":1}]}\n\n',
        b'data: {"choices":[],"usage":null,"note":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":1\n\n',
        b': {"choices":[],"usage":{"prompt_tokens":1}}\n\n',
        b"data: [DONE]\n\n",
        b": keep-alive\n\n",
    ],
)
def test_an_event_that_says_anything_else_stays(event: bytes) -> None:
    assert shown(event, DONE) == event + DONE


def test_what_was_taken_out_was_counted() -> None:
    listener = listener_of(CALL, SSE, is_unasked=True)
    hear(listener, [*BEFORE, USAGE, DONE])
    consumption = listener.consumption()
    assert consumption is not None
    assert consumption.tokens == TokenUsage(input=9, output=5)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@settings(max_examples=times(60))
@given(
    order=st.lists(st.sampled_from(["delta", "usage", "comment", "both"]), max_size=12),
    places=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_however_a_stream_is_cut_the_caller_gets_the_rest_of_it(
    end: bytes, order: list[str], places: list[int]
) -> None:
    kinds = {
        "delta": chat_chunk("caf\u00e9", usage=None),
        "usage": USAGE,
        "comment": b": still there\n\n",
        "both": chat_chunk("x", usage=usage()),
    }
    events = [*(kinds[kind] for kind in order), BEFORE[1], USAGE, DONE]
    stream = b"".join(events).replace(b"\n", end)
    expected = b"".join(event for event in events if event != USAGE).replace(b"\n", end)
    bounds = sorted({0, len(stream), *(place % len(stream) for place in places)})
    assert relayed(*(stream[start:stop] for start, stop in pairwise(bounds))) == expected


def relayed(*pieces: bytes) -> bytes:
    """What the caller gets of these pieces, through the relay that puts events together."""
    meter = make_meter(CALL)
    meter.listener = listener_of(CALL, SSE, is_unasked=True)
    stream = Stream(CALL, Answer(*pieces), meter, ready=b"", held=b"", interval=None)

    async def collect() -> bytes:
        return b"".join([chunk async for chunk in stream])

    got = run(collect())
    assert meter.bytes_out == len(got)
    return got
