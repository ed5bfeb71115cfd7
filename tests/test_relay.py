"""An answer on its way back: its bytes unchanged, and an end that says what happened."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.calls import ReplyBody
from ai_gateway.errors import UpstreamClosed, UpstreamTimeout
from ai_gateway.listeners import listener_of
from ai_gateway.meter import Meter, Outcome
from ai_gateway.relay import MAX_HELD, Plain, Stream
from tests.effort import times
from tests.factories import Answer, Step, make_call, make_meter, run

COMMENT = b": keep-alive\n\n"

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/m:streamGenerateContent",
}
ENDS = {
    "openai_chat": b"data: [DONE]\n\n",
    "openai_responses": b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
    "anthropic_messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    "gemini": b'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n',
}
STOPS = {
    "openai_chat": b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    "anthropic_messages": b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"}}\n\n',
}
EVENT = b'data: {"text":"caf\xc3\xa9"}\n\n'


async def collect(body: ReplyBody) -> list[bytes]:
    return [chunk async for chunk in body]


def relay(*steps: Step, dialect: str = "openai_chat", ready: bytes = b"", held: bytes = b"") -> list[bytes]:
    """What the caller gets of a stream of these pieces."""
    answer = Answer(*steps)
    call = make_call(PATHS[dialect])
    stream = Stream(call, answer, make_meter(call), ready=ready, held=held, interval=1)
    return run(collect(stream))


@pytest.mark.parametrize("dialect", PATHS)
@settings(max_examples=times(30))
@given(places=st.lists(st.integers(0, 10_000), max_size=30))
def test_however_a_stream_is_cut_its_bytes_are_the_same(dialect: str, places: list[int]) -> None:
    stream = EVENT * 3 + ENDS[dialect]
    bounds = sorted({0, len(stream), *(place % len(stream) for place in places)})
    pieces = [stream[start:end] for start, end in pairwise(bounds)]
    assert b"".join(relay(*pieces, dialect=dialect)) == stream


def test_single_bytes_come_out_as_whole_events() -> None:
    stream = EVENT + ENDS["openai_chat"]
    assert relay(*(stream[place : place + 1] for place in range(len(stream)))) == [EVENT, ENDS["openai_chat"]]


def test_what_was_read_for_judging_comes_first() -> None:
    assert relay(b"two\n\n", ENDS["openai_chat"], ready=EVENT, held=b"data: ") == [
        EVENT,
        b"data: two\n\n",
        ENDS["openai_chat"],
    ]


def test_silence_is_filled_with_a_comment_before_the_first_event_and_the_dialects_own_sign_after_it() -> None:
    got = relay(None, EVENT, None, ENDS["anthropic_messages"], dialect="anthropic_messages")
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    assert got == [COMMENT, EVENT, ping, ENDS["anthropic_messages"]]


ALL_SAID = ["openai_chat", "anthropic_messages"]
BROKEN = UpstreamClosed("gone")


@pytest.mark.parametrize("dialect", ALL_SAID)
@pytest.mark.parametrize("after", [BROKEN, None], ids=["a break", "silence"])
def test_what_comes_after_the_last_event_is_no_error(dialect: str, after: Step) -> None:
    end = STOPS[dialect] + ENDS[dialect]
    assert b"".join(relay(EVENT, end, after, BROKEN, dialect=dialect)) == EVENT + end


@pytest.mark.parametrize("dialect", ALL_SAID)
def test_a_break_between_the_proof_and_the_last_event_is_an_error(dialect: str) -> None:
    *passed, error = relay(EVENT, STOPS[dialect], BROKEN, dialect=dialect)
    assert (b"".join(passed), b"gone" in error) == (EVENT + STOPS[dialect], True)


@pytest.mark.parametrize("dialect", ALL_SAID)
def test_a_text_that_speaks_of_ends_is_none(dialect: str) -> None:
    text = b'data: {"delta":{"text":"data: [DONE] event: message_stop"}}\n\n'
    *passed, error = relay(text, BROKEN, dialect=dialect)
    assert (b"".join(passed), b"gone" in error) == (text, True)


@pytest.mark.parametrize("dialect", ["openai_responses", "anthropic_messages", "gemini"])
def test_nor_does_it_prove_that_a_stream_was_whole(dialect: str) -> None:
    said = 'event: response.completed {"type":"response.completed"} "message_stop" message_stop event: error'
    text = b"data: " + json.dumps({"delta": {"text": said}, "args": {"error": "none"}}).encode() + b"\n\n"
    *passed, error = relay(text, dialect=dialect)
    assert (b"".join(passed), b"complete" in error) == (text, True)


SAID = [
    b'data: {"choices":[{"delta":{"content":"It ends with data: [DONE] and"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"[DONE]"}}]}\n\n',
    b'event: data: [DONE]\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":\ndata: [DONE]\ndata: }}]}\n\n',
]


@pytest.mark.parametrize("text", SAID)
def test_a_chat_that_speaks_of_its_end_is_not_at_its_end(text: bytes) -> None:
    *passed, error = relay(text, EVENT)
    assert (b"".join(passed), b"complete" in error) == (text + EVENT, True)


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]\r\r", b"data: [DONE] "])
def test_an_event_that_says_only_that_it_is_the_end_is_the_end(end: bytes) -> None:
    assert b"".join(relay(EVENT, end)) == EVENT + end
    assert b"".join(relay(EVENT + end)) == EVENT + end


def test_a_sign_of_life_never_stands_inside_an_event() -> None:
    got = relay(b"data: on", None, b"e\n\n", ENDS["openai_chat"])
    assert got == [COMMENT, b"data: one\n\n", ENDS["openai_chat"]]


def read_error(dialect: str, event: bytes) -> Any:
    data = next(line for line in event.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: "))
    return json.loads(data[6:])["error"]


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize(
    "steps",
    [(EVENT, UpstreamClosed("gone")), (EVENT, UpstreamTimeout("silent")), (EVENT,), (EVENT, b"data: half")],
    ids=["breaks", "stalls", "ends without proof", "ends in an event"],
)
def test_a_stream_that_does_not_end_well_ends_with_one_error_event(dialect: str, steps: tuple[Step, ...]) -> None:
    got = relay(*steps, dialect=dialect)
    assert got[0] == EVENT
    assert len(got) == 2
    assert read_error(dialect, got[1])["message"]
    assert b"[DONE]" not in got[1]


def test_a_part_of_an_event_is_not_passed_on_when_the_stream_breaks() -> None:
    got = relay(EVENT, b"data: {half", UpstreamClosed("gone"))
    assert b"half" not in b"".join(got)


def test_a_last_event_without_its_blank_line_is_passed_on() -> None:
    assert relay(EVENT, b"data: [DONE]\n") == [EVENT, b"data: [DONE]\n"]


def test_an_error_event_of_the_upstream_is_not_followed_by_another() -> None:
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    assert relay(EVENT, error) == [EVENT, error]
    assert relay(EVENT, error, UpstreamClosed("gone")) == [EVENT, error]


def test_an_event_that_is_too_long_to_hold_passes_in_parts() -> None:
    long = b"data: " + b"x" * (MAX_HELD + 10)
    assert b"".join(relay(long, b"\n\n", ENDS["openai_chat"])) == long + b"\n\n" + ENDS["openai_chat"]


def test_closing_closes_the_upstream() -> None:
    answer = Answer(EVENT)
    run(Stream(make_call(), answer, make_meter(make_call()), ready=b"", held=b"", interval=None).aclose())
    assert answer.is_closed


def test_a_plain_body_that_breaks_says_so_and_ends() -> None:
    body = Plain(make_call(), Answer(b"two", UpstreamClosed("gone")), make_meter(make_call()), ready=b"one")
    assert run(collect(body)) == [b"one", b"two"]
    assert body.is_broken


def test_a_plain_body_that_is_whole_is_not_broken() -> None:
    body = Plain(make_call(), Answer(b"two"), make_meter(make_call()), ready=b"one")
    assert run(collect(body)) == [b"one", b"two"]
    assert not body.is_broken


def test_an_event_that_breaks_off_in_its_parts_does_not_swallow_the_error() -> None:
    long = b'data: {"b64":"' + b"x" * MAX_HELD
    got = b"".join(relay(EVENT, long, b"yy", UpstreamClosed("gone")))
    assert got.startswith(EVENT + long[:MAX_HELD])
    error = got.rpartition(b"\n\ndata: ")[2]
    assert json.loads(error)["error"]["message"] == "gone"


def test_no_sign_of_life_stands_between_the_parts_of_an_event() -> None:
    long = b"data: " + b"x" * MAX_HELD
    stream = (EVENT, long, None, b"yy", None, b"\n", None, b"\n", None, ENDS["openai_chat"])
    got = relay(*stream)
    assert b"".join(got) == EVENT + long + b"yy\n\n" + COMMENT + ENDS["openai_chat"]


# What is noted of a stream.

FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'


def noted(*steps: Step, reads: int) -> Meter:
    """The measure of a chat completion whose caller leaves after so many reads."""
    call = make_call(PATHS["openai_chat"], stream=True)
    meter = make_meter(call)
    meter.listener = listener_of(call, {b"content-type": b"text/event-stream"})
    stream = Stream(call, Answer(*steps), meter, ready=b"", held=b"", interval=None)

    async def read() -> None:
        for _ in range(reads):
            await anext(stream)
        assert (meter.outcome is Outcome.ANSWERED) == (reads > 2)
        await stream.aclose()

    run(read())
    return meter


def test_a_caller_that_leaves_before_the_end_was_proven_has_no_answer() -> None:
    assert noted(EVENT, FINISH, ENDS["openai_chat"], reads=1).outcome is None


def test_a_caller_that_leaves_behind_the_finish_reason_has_an_answer() -> None:
    """It is over only with `[DONE]`, for the usage comes between the two."""
    assert noted(EVENT, FINISH, ENDS["openai_chat"], reads=2).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("text", SAID)
def test_a_caller_that_leaves_in_a_chat_that_speaks_of_its_end_has_no_answer(text: bytes) -> None:
    assert noted(EVENT, text, EVENT, reads=2).outcome is None


def test_an_answer_is_over_with_its_last_event() -> None:
    assert noted(EVENT, FINISH, ENDS["openai_chat"], reads=3).outcome is Outcome.ANSWERED


def test_the_first_token_is_the_first_content() -> None:
    role = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
    content = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    assert noted(role, content, reads=1).first_token_at is None
    assert noted(role, content, reads=2).first_token_at is not None


ERRORS = {
    "openai_chat": b'data: {"error":{"message":"Too busy","code":"overloaded"}}\n\n',
    "openai_responses": b'event: error\ndata: {"type":"error","message":"Too busy","code":"overloaded"}\n\n',
    "anthropic_messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded","message":"Busy"}}\n\n',
    "gemini": b'data: {"error":{"message":"Too busy","status":"overloaded"}}\n\n',
}


@pytest.mark.parametrize("dialect", ERRORS)
def test_an_error_of_the_providers_own_is_no_answer(dialect: str) -> None:
    call = make_call(PATHS[dialect], stream=True)
    meter = make_meter(call)
    stream = Stream(call, Answer(EVENT, ERRORS[dialect]), meter, ready=b"", held=b"", interval=None)
    assert run(collect(stream)) == [EVENT, ERRORS[dialect]]
    assert (meter.outcome, meter.error_code) == (Outcome.FAILED, "overloaded")


@pytest.mark.parametrize("error", [b'{"code":"overloaded"}', b' {"code":"overloaded"}', b'"overloaded"'])
def test_an_error_of_the_providers_own_needs_no_second_one(error: bytes) -> None:
    told = b'data: {"error":' + error + b"}\n\n"
    assert relay(EVENT, told) == [EVENT, told]


def test_an_error_that_is_null_is_none() -> None:
    text = b'data: {"choices":[{"delta":{"content":"x"}}],"error":null}\n\n'
    *passed, error = relay(text, text)
    assert (b"".join(passed), b"complete" in error) == (text + text, True)


@pytest.mark.parametrize("name", [b"event: response.failed\n", b""])
def test_a_response_that_failed_is_no_answer(name: bytes) -> None:
    call = make_call(PATHS["openai_responses"], stream=True)
    meter = make_meter(call)
    failed = name + (
        b'data: {"type":"response.failed","response":{"id":"resp_1","status":"failed",'
        b'"error":{"code":"server_error","message":"Sorry."}}}\n\n'
    )
    stream = Stream(call, Answer(EVENT, failed), meter, ready=b"", held=b"", interval=None)
    assert run(collect(stream)) == [EVENT, failed]
    assert (meter.outcome, meter.error_code) == (Outcome.FAILED, "server_error")


def test_a_text_that_speaks_of_errors_is_none() -> None:
    call = make_call(PATHS["anthropic_messages"], stream=True)
    meter = make_meter(call)
    text = b'event: content_block_delta\ndata: {"delta":{"text":"event: error"}}\n\n'
    run(collect(Stream(call, Answer(text, ENDS[call.dialect.name]), meter, ready=b"", held=b"", interval=None)))
    assert (meter.outcome, meter.error_code) == (Outcome.ANSWERED, "")
