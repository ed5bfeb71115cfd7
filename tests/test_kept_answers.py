"""Which answers are kept, and what is kept of one."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest

from ai_gateway.kept_answers import LONGEST_PAUSE, is_worth_keeping, kept_headers, pack, unpack
from tests.factories import make_call, make_kept

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GEMINI, CONVERSE = "/v1beta/models/g:generateContent", "/v1/model/m/converse"


def choice(**more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Ho"}, **more}]}


GOOD: list[tuple[str, Any]] = [
    (CHAT, choice()),
    (CHAT, choice(finish_reason="length")),
    (CHAT, {"choices": [{"message": {"content": "Ho"}}]}),
    (CHAT, choice(message={"content": "x", "tool_calls": [], "function_call": None, "refusal": None})),
    (CHAT, choice(message={"content": 'He said {"finish_reason":"content_filter"} and {"tool_calls":[{"a":1}]}'})),
    (RESPONSES, {"status": "completed", "error": None, "output": [{"type": "message", "status": "completed"}]}),
    (RESPONSES, {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
    (MESSAGES, {"stop_reason": "end_turn", "content": [{"type": "text", "text": "Ho"}]}),
    (MESSAGES, {"stop_reason": "max_tokens", "content": []}),
    (GEMINI, {"candidates": [{"finishReason": "STOP", "content": {}}]}),
    (GEMINI, {"candidates": [{"finishReason": "MAX_TOKENS", "content": {}}]}),
    (CONVERSE, {"stopReason": "end_turn", "output": {"message": {}}}),
    ("/v1/embeddings", {"data": [{"embedding": [0.5]}]}),
    ("/v1/moderations", {"results": [{"flagged": False}]}),
    ("/v1/rerank", {"results": [{"index": 0}]}),
    ("/v1/completions", choice(text="Ho")),
    ("/v1/completions", {"choices": [{"text": "Ho"}]}),
    ("/v1beta/models/g:embedContent", {"embedding": {"values": [0.5]}}),
    ("/v1beta/models/g:batchEmbedContents", {"embeddings": [{"values": [0.5]}]}),
]
NO_ANSWER: list[tuple[str, Any]] = [
    (CHAT, {"error": {"message": "no"}}),
    (CHAT, []),
    (CHAT, choice(finish_reason="content_filter")),
    (CHAT, choice(finish_reason="error")),
    (CHAT, choice(message={"refusal": "No."})),
    (CHAT, choice(finish_reason="insufficient_system_resource")),
    (CHAT, choice(finish_reason="abort")),
    (CHAT, choice(finish_reason=None)),
    (CHAT, choice(error={"code": 502, "message": "Bad gateway"})),
    (CHAT, {"choices": [*choice()["choices"], *choice(finish_reason="sensitive")["choices"]]}),
    (CHAT, {"choices": []}),
    (CHAT, {"object": "error", "message": "Too long", "code": 40303}),
    (CHAT, {"detail": "Not found"}),
    (CHAT, {"code": 1301, "message": "Sensitive"}),
    (CHAT, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}),
    (CHAT, {"success": False, "errors": [{"message": "no"}]}),
    ("/v1/embeddings", {"detail": "Not found"}),
    ("/v1/embeddings", {"object": "error", "data": [], "message": "no"}),
    ("/v1/completions", choice(finish_reason="abort")),
    (RESPONSES, {"output": []}),
    (MESSAGES, {"type": "error", "content": [], "stop_reason": "end_turn"}),
    (CONVERSE, {"message": "Throttled"}),
    (RESPONSES, {"status": "failed"}),
    (RESPONSES, {"status": "queued"}),
    (RESPONSES, {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}),
    (RESPONSES, {"status": "completed", "output": [{"content": [{"type": "refusal"}]}]}),
    (MESSAGES, {"stop_reason": "refusal"}),
    (MESSAGES, {"stop_reason": "pause_turn"}),
    (GEMINI, {"candidates": [{"finishReason": "SAFETY"}]}),
    (GEMINI, {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}),
    (GEMINI, {"promptFeedback": {"blockReason": "OTHER"}}),
    (CONVERSE, {"stopReason": "guardrail_intervened"}),
]
TOOLS: list[tuple[str, Any]] = [
    (CHAT, choice(message={"tool_calls": [{"id": "c"}]})),
    (CHAT, choice(message={"function_call": {"name": "f"}})),
    (RESPONSES, {"status": "completed", "output": [{"type": "function_call"}]}),
    (RESPONSES, {"status": "completed", "output": [{"type": "web_search_call"}]}),
    (MESSAGES, {"stop_reason": "tool_use", "content": [{"type": "tool_use", "id": "t"}]}),
    (MESSAGES, {"stop_reason": "end_turn", "content": [{"type": "server_tool_use"}]}),
    (GEMINI, {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"functionCall": {"name": "f"}}]}}]}),
    (CONVERSE, {"stopReason": "tool_use", "output": {"message": {"content": [{"toolUse": {"name": "f"}}]}}}),
]


def is_kept(path: str, answer: Any, *, is_stream: bool = False, tools: bool = False) -> bool:
    """Whether an answer is kept, however it is written."""
    found = {
        is_worth_keeping(make_call(path), body, is_stream=is_stream, tools=tools)
        for body in (json.dumps(answer).encode(), json.dumps(answer, separators=(",", ":"), indent=1).encode())
    }
    (one,) = found
    return one


@pytest.mark.parametrize(("path", "answer"), GOOD)
def test_answers_that_are_kept(path: str, answer: Any) -> None:
    assert is_kept(path, answer)


@pytest.mark.parametrize(("path", "answer"), NO_ANSWER)
def test_answers_that_are_none(path: str, answer: Any) -> None:
    assert not is_kept(path, answer, tools=True)


@pytest.mark.parametrize(("path", "answer"), TOOLS)
def test_answers_that_call_a_tool_are_kept_only_if_that_is_wanted(path: str, answer: Any) -> None:
    assert not is_kept(path, answer)
    assert is_kept(path, answer, tools=True)


@pytest.mark.parametrize(
    ("last", "is_whole"),
    [("response.completed", True), ("response.incomplete", True), ("response.failed", False), ("ping", False)],
)
def test_a_stream_of_responses_must_have_ended(last: str, is_whole: bool) -> None:
    events = b'data: {"type":"response.created","response":{"status":"in_progress"}}\n\ndata: {"type": "%b"}\n\n'
    call = make_call(RESPONSES)
    assert is_worth_keeping(call, events % last.encode(), is_stream=True, tools=False) is is_whole


DELTA = {"choices": [{"delta": {"content": "Ho"}, "finish_reason": None}]}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("path", "events", "is_whole"),
    [
        (CHAT, [DELTA, END], True),
        (CHAT, [{"choices": [{"finish_reason": ""}]}, END], True),
        (CHAT, [DELTA], False),
        (CHAT, [DELTA, {"object": "error", "message": "boom", "code": 500}], False),
        (CHAT, [DELTA, {"error": {"message": "boom"}}, END], False),
        (CHAT, [DELTA, choice(finish_reason="abort")], False),
        (MESSAGES, [{"message": {"stop_reason": None}}, {"delta": {"stop_reason": "end_turn"}}], True),
        (MESSAGES, [{"message": {"stop_reason": None}}, {"delta": {"stop_reason": "refusal"}}], False),
        (GEMINI, [{"candidates": [{"content": {}}]}, {"candidates": [{"finishReason": "STOP"}]}], True),
        (GEMINI, [{"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]}], False),
        (CONVERSE, [{"delta": {"text": "Ho"}}, {"stopReason": "end_turn"}], True),
        ("/v1/completions", [{"choices": [{"text": "Ho"}]}, {"choices": [{"finish_reason": "length"}]}], True),
    ],
)
def test_a_stream_must_say_that_it_ended_well(path: str, events: list[Any], is_whole: bool) -> None:
    body = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in events) + b"data: [DONE]\n\n"
    assert is_worth_keeping(make_call(path), body, is_stream=True, tools=False) is is_whole


def test_an_answer_is_written_and_read_again() -> None:
    assert unpack(pack(make_kept(b"one", b"two"))) == make_kept(b"one", b"two")
    assert unpack(pack(make_kept(b"one", b"two", pauses=(70,)))) == make_kept(b"one", b"two", pauses=(70,))


def test_a_pause_takes_no_more_than_three_bytes() -> None:
    assert len(pack(make_kept(*b"abc", pauses=(LONGEST_PAUSE, 1)))) - len(pack(make_kept(*b"abc"))) <= 2 * 3


def test_an_answer_that_was_kept_before_pauses_were_is_one() -> None:
    before = msgspec.msgpack.decode(pack(make_kept(b"one", b"two")))[:-1]
    assert unpack(msgspec.msgpack.encode(before)) == make_kept(b"one", b"two")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95\x10.",
        b"gw1:00000000:sealed",
        pack(make_kept(b"x"))[:-1],
        pack(make_kept()),
        pack(make_kept(b"x", headers=[(b"set-cookie", b"a=b")])),
        pack(make_kept(b"x", b"y", pauses=(1, 1))),
        pack(make_kept(b"x", b"y", pauses=(-1,))),
        pack(make_kept(b"x", b"y", pauses=(LONGEST_PAUSE + 1,))),
        pack(make_kept(b"x", headers=[(b"content-type", b"text/plain\r\nx-evil: 1")])),
        pack(msgspec.structs.replace(make_kept(b"x"), at=-math.inf)),
        pack(msgspec.structs.replace(make_kept(b"x"), at=math.nan)),
        pack(msgspec.structs.replace(make_kept(b"x"), cost_nanos=-5)),
        pack(msgspec.structs.replace(make_kept(b"x"), cost_nanos=2**63)),
    ],
    ids=[
        *("nothing", "a pickle", "encrypted", "cut", "without a body", "with a header that is not kept"),
        *("with a pause too many", "with a pause before its time", "with a pause that is too long"),
        *("with a line in a header", "older than anything", "of no time"),
        *("that cost less than nothing", "that cost more than anything"),
    ],
)
def test_whatever_else_lies_in_the_cache_is_no_answer(data: bytes) -> None:
    assert unpack(data) is None


def test_of_a_head_is_kept_what_is_about_the_answer() -> None:
    about = [(b"content-type", b"application/json"), (b"x-gateway-model", b"m")]
    others = [
        (b"set-cookie", b"a=b"),
        (b"x-request-id", b"r"),
        (b"content-length", b"5"),
        (b"x-gateway-cache", b"miss"),
    ]
    assert kept_headers([*others, *about]) == about


def test_no_answer_is_younger_than_nothing() -> None:
    assert (make_kept(b"x").age(1010.0), make_kept(b"x").age(990.0)) == (10.0, 0.0)
