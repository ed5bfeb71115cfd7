"""Streams of events: the provider's numbers win, wherever they stand; what is not told is estimated, and says so."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from ai_gateway.consumption import Consumption
from ai_gateway.listeners import EventListener, listener_of
from ai_gateway.listeners.events import BIG, WINDOW
from ai_gateway.protocols.bedrock_converse.framing import CONTENT_TYPE, frame
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.openai_chat.passing import ChatPassing
from tests.consumption.hearing import DONE, SSE, asking, chat_chunk, consumption_of, usage

CHAT = asking("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 400}]}, stream=True)
PROMPT = 512
"""What `CHAT` is estimated at, about."""

HELLO = [chat_chunk(""), chat_chunk("Hel"), chat_chunk("lo"), chat_chunk(finish_reason="stop")]


def only_usage(**counts: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [], "usage": {**usage(), **counts}}).encode() + b"\n\n"


def used(*events: bytes) -> TokenUsage:
    consumption = consumption_of(CHAT, *events, headers=SSE)
    assert consumption is not None
    return consumption.tokens


def test_the_report_at_the_end_is_what_counts() -> None:
    assert used(*HELLO, only_usage(), DONE) == TokenUsage(input=9, output=5)


def test_a_report_with_the_last_choice_is_what_counts() -> None:
    assert used(*HELLO[:3], chat_chunk(finish_reason="stop", usage=usage()), DONE) == TokenUsage(input=9, output=5)


def test_a_report_of_zero_is_zero_and_not_missing() -> None:
    assert used(*HELLO, only_usage(prompt_tokens=0, completion_tokens=0, total_tokens=0), DONE) == TokenUsage()


def test_a_report_in_the_middle_counts_if_no_other_comes() -> None:
    assert used(HELLO[0], only_usage(), *HELLO[1:], DONE) == TokenUsage(input=9, output=5)


def test_of_several_reports_the_last_one_counts_and_nothing_is_added() -> None:
    assert used(*HELLO, only_usage(), only_usage(completion_tokens=7), DONE) == TokenUsage(input=9, output=7)


def test_groqs_report_stands_elsewhere() -> None:
    groq = chat_chunk(finish_reason="stop", x_groq={"usage": usage()})
    assert used(*HELLO[:3], groq, DONE) == TokenUsage(input=9, output=5)


@pytest.mark.parametrize("length", [0, 10, 2000])
@pytest.mark.parametrize("place", ["middle", "end"])
def test_a_report_is_found_in_a_stream_of_any_length(length: int, place: str) -> None:
    deltas = [chat_chunk(f"word {number}") for number in range(length)]
    report = [only_usage()]
    events = deltas[: length // 2] + report + deltas[length // 2 :] if place == "middle" else deltas + report
    assert used(HELLO[0], *events, HELLO[3], DONE) == TokenUsage(input=9, output=5)


def test_a_stream_without_a_report_is_estimated() -> None:
    got = used(*HELLO, DONE)
    assert got == TokenUsage(input=PROMPT, output=2, is_estimated=True)


def test_a_running_count_of_a_stream_that_was_cut_is_a_lower_bound() -> None:
    """Some providers tell with every chunk what was used by then."""
    cut = used(chat_chunk("word " * 100, usage=usage(9, 3)))
    assert cut == TokenUsage(input=9, output=125, is_estimated=True)
    assert used(chat_chunk("word", usage=usage(9, 30))).output == 30


def test_a_caller_that_hangs_up_behind_the_report_pays_what_was_reported() -> None:
    assert used(*HELLO, only_usage()) == TokenUsage(input=9, output=5)


def test_nothing_passed_is_a_prompt() -> None:
    assert used() == TokenUsage(input=PROMPT, is_estimated=True)


def test_reasoning_and_the_arguments_of_calls_are_text_that_passed() -> None:
    def delta(**members: Any) -> bytes:
        return b"data: " + json.dumps({"choices": [{"delta": members}]}).encode() + b"\n\n"

    got = used(
        delta(reasoning_content="x" * 400),
        delta(content="x" * 200),
        delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "x" * 199}}]),
    )
    assert (got.reasoning, got.output) == (100, 100)


def test_every_one_of_several_answers_counts() -> None:
    choices = [{"index": number, "delta": {"content": "x" * 40}} for number in range(3)]
    assert used(b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n").output == 30


@pytest.mark.parametrize("text", ["слово ", "言葉", "\\ud83d", 'quoted \\"text\\" '])
def test_any_script_is_counted(text: str) -> None:
    event = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % (text * 20).encode()
    assert used(event).output > 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("split", [False, True])
def test_any_framing_is_read(end: str, split: bool) -> None:
    stream = b"".join([*HELLO, only_usage(), DONE])
    if split:
        stream = stream.replace(b', "', b',\ndata: "')
    assert used(stream.replace(b"\n", end.encode())) == TokenUsage(input=9, output=5)


@pytest.mark.parametrize(
    "event", [b"data: {\n\n", b"data: 7\n\n", b'data: {"choices":7}\n\n', b"data: \xff\n\n", b":\n\n"]
)
def test_what_cannot_be_read_is_passed_over(event: bytes) -> None:
    assert used(event, *HELLO, event, only_usage(), event, DONE) == TokenUsage(input=9, output=5)


def test_a_report_is_read_whatever_else_its_event_holds() -> None:
    odd = b'data: {"choices":{"0":"odd"},"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
    assert used(*HELLO, odd, DONE).input == 9


@pytest.mark.parametrize("size", [5, 60])
def test_a_long_stream_that_was_cut_is_estimated_by_a_sample(size: int) -> None:
    text = "word " * (size // 5)
    for count in (10, 100, 3000):
        got = used(*(chat_chunk(text) for _ in range(count)))
        truth = max(count, count * size / 4)
        assert truth * 0.8 <= got.output <= truth * 1.2


def test_a_stream_holds_little_memory() -> None:
    listener = listener_of(CHAT, SSE)
    assert isinstance(listener, EventListener)
    most = 0
    for _ in range(1000):
        listener.hear(chat_chunk("word"))
        most = max(most, sys.getsizeof(listener._held) + sys.getsizeof(listener._sample))
    assert most < 5 * 1024


def test_an_event_of_any_size_is_not_held() -> None:
    listener = listener_of(CHAT, SSE)
    assert isinstance(listener, EventListener)
    listener.hear(chat_chunk("x"))
    listener.hear(chat_chunk("x" * 10 * BIG))
    assert not listener._held
    consumption = listener.consumption()
    assert consumption is not None
    assert consumption.tokens.output >= 10 * BIG / 4
    assert WINDOW < BIG


def test_the_names_of_the_answer_are_noted() -> None:
    got = consumption_of(CHAT, chat_chunk("x", service_tier="flex"), *HELLO, only_usage(), DONE, headers=SSE)
    assert got == Consumption(
        tokens=TokenUsage(input=9, output=5), model="gpt-x", upstream_id="chatcmpl-1", service_tier="flex"
    )


# When the answer really begins.


@pytest.mark.parametrize(
    ("path", "beginning", "content"),
    [
        ("/v1/chat/completions", chat_chunk(""), chat_chunk("Hel")),
        (
            "/v1/messages",
            b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9}}}\n\n'
            b'event: ping\ndata: {"type":"ping"}\n\n',
            b'data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm"}}\n\n',
        ),
        (
            "/v1/responses",
            b'data: {"type":"response.created","response":{"id":"resp_1"}}\n\n',
            b'data: {"type":"response.output_text.delta","delta":"Hel"}\n\n',
        ),
        (
            "/v1beta/models/m:streamGenerateContent",
            b'data: {"candidates":[{"content":{"parts":[{"text":""}]}}]}\n\n',
            b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}\n\n',
        ),
    ],
)
def test_an_answer_begins_with_its_first_content(path: str, beginning: bytes, content: bytes) -> None:
    listener = listener_of(asking(path), SSE)
    listener.hear(beginning)
    assert not listener.has_content
    listener.hear(content)
    assert listener.has_content


# Anthropic's and Amazon's own ways.


def test_a_message_that_was_cut_has_the_prompt_that_it_told() -> None:
    start = {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": START}}
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x" * 80}}
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in (start, delta)]
    got = consumption_of(asking("/v1/messages"), *events, headers=SSE)
    assert got is not None
    assert got.tokens == TokenUsage(input=9, cache_read=100, output=20, is_estimated=True)


START = {"input_tokens": 9, "cache_read_input_tokens": 100, "output_tokens": 1}


def test_a_message_that_is_whole_counts_what_its_end_says_and_the_searches() -> None:
    start = {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": START}}
    counts = {"input_tokens": None, "output_tokens": 30, "server_tool_use": {"web_search_requests": 2}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": counts}
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in (start, end)]
    got = consumption_of(asking("/v1/messages"), *events, headers=SSE)
    assert got is not None
    assert got.tokens == TokenUsage(input=9, cache_read=100, output=30)
    assert got.units == {"searches": 2}


FRAMES = [
    frame("messageStart", b'{"role":"assistant"}'),
    frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"%s"}}' % (b"x" * 80)),
    frame("metadata", b'{"usage":{"inputTokens":9,"outputTokens":21,"totalTokens":30}}'),
]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_binary_frames_are_read_however_they_are_cut(size: int) -> None:
    body = b"".join(FRAMES)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    got = consumption_of(asking("/v1/model/m/converse-stream"), *pieces, headers={b"content-type": CONTENT_TYPE})
    assert got is not None
    assert got.tokens == TokenUsage(input=9, output=21)


def test_binary_frames_that_were_cut_or_damaged_are_estimated() -> None:
    damaged = FRAMES[2][:-1] + b"\0"
    call = asking("/v1/model/m/converse-stream")
    got = consumption_of(call, *FRAMES[:2], damaged, FRAMES[2], headers={b"content-type": CONTENT_TYPE})
    assert got is not None
    assert got.tokens.is_estimated
    assert got.tokens.output == 20


def test_events_without_data_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream may have any number of them, and before its first content every event is read at once."""
    read: list[bytes] = []
    monkeypatch.setattr(ChatPassing, "event", lambda self, data: read.append(data))
    consumption_of(CHAT, b"data: \n\n" * 10, b"data:\n\n", b"data: \r\n\r\n", b"data: {}\n\n", headers=SSE)
    assert read == [b"{}"]
