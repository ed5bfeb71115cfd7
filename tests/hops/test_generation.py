"""A call to a provider of another format: what is sent, what comes back, and what errors become."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ai_gateway.attempts import ask
from ai_gateway.calls import Target
from ai_gateway.errors import (
    BadRequest,
    InvalidBody,
    Kind,
    ProviderError,
    Unsupported,
    UpstreamClosed,
    UpstreamProtocolError,
    UpstreamRefusedCredential,
    UpstreamTimeout,
)
from ai_gateway.hops.base import read_whole
from ai_gateway.hops.generation import read_object
from ai_gateway.registry import Snapshot
from tests.factories import JSON, Answer, Scripted, make_meter, run
from tests.hops.conftest import HOLDER, SSE, Exchange, call_to

CHAT = {"model": "some-model", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-1",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


START = event("message_start", message={**MESSAGE, "content": [], "stop_reason": None})
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
REST = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    + event("message_stop")
)
ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

Ask = Callable[..., Exchange]


def answer(value: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(json.dumps(value).encode(), status=status, headers=[JSON, *headers])


def stream(*steps: Any) -> Answer:
    return Answer(*steps, headers=[SSE])


def test_the_request_is_written_for_the_provider(exchange: Ask) -> None:
    done = exchange(
        "/v1/chat/completions",
        {**CHAT, "max_tokens": 7},
        "messages",
        answer(MESSAGE),
        headers=((b"openai-organization", b"org-1"), (b"x-stainless-lang", b"python"), (b"traceparent", b"00-1")),
    )
    assert done.target == "api.anthropic.com/v1/messages"
    assert done.sent["messages"] == [{"role": "user", "content": "Hello"}]
    assert (done.sent["model"], done.sent["max_tokens"]) == ("some-model", 7)
    headers = done.sent_headers
    assert (headers[b"x-api-key"], headers[b"anthropic-version"]) == (b"sk-stored", b"2023-06-01")
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"traceparent"] == b"00-1"
    assert b"openai-organization" not in headers
    assert b"x-stainless-lang" not in headers


def test_the_answer_is_written_for_the_caller(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", CHAT, "messages", answer(MESSAGE, 200, (b"request-id", b"req_theirs")))
    assert done.reply.status == 200
    assert done.json()["choices"][0]["message"]["content"] == "Hi"
    assert done.json()["usage"]["prompt_tokens"] == 3
    assert done.headers[b"content-type"] == b"application/json"
    assert int(done.headers[b"content-length"]) == len(done.body)
    assert done.headers[b"x-gateway-provider"] == b"messages"
    assert done.headers[b"x-upstream-request-id"] == b"req_theirs"


def test_limits_of_the_providers_account_are_not_shown_in_its_format(exchange: Ask) -> None:
    limits = ((b"anthropic-ratelimit-requests-limit", b"5"), (b"anthropic-organization-id", b"o"))
    done = exchange("/v1/chat/completions", CHAT, "messages", answer(MESSAGE, 200, *limits))
    assert not [name for name in done.headers if name.startswith(b"anthropic-")]


def test_what_the_provider_says_of_its_own_body_is_not_said_of_the_translation(exchange: Ask) -> None:
    """A cache on the way would keep apart what is the same, and take for the same what is not."""
    said = ((b"vary", b"Accept-Encoding, Origin"), (b"etag", b'"x"'), (b"repr-digest", b"sha-256=:x:"))
    done = exchange("/v1/chat/completions", CHAT, "messages", answer(MESSAGE, 200, *said))
    assert not done.headers.keys() & dict(said).keys()
    same = exchange("/v1/messages", {**CHAT, "max_tokens": 9}, "messages", answer(MESSAGE, 200, *said))
    assert done.reply.status == same.reply.status == 200
    assert dict(said).items() <= same.headers.items()


def test_what_could_not_be_said_is_listed_in_the_callers_words(exchange: Ask) -> None:
    body = {**CHAT, "seed": 1, "logit_bias": {"1": 2}, "my_own": True, "n": 1, "bad,name\n": 1}
    done = exchange("/v1/chat/completions", body, "messages", answer(MESSAGE))
    assert set(done.headers[b"x-gateway-dropped-params"].split(b",")) == {b"seed", b"logit_bias", b"my_own"}


def test_the_list_of_what_was_dropped_has_an_end(exchange: Ask) -> None:
    body = {**CHAT, **{f"member_{number}": 1 for number in range(500)}}
    done = exchange("/v1/chat/completions", body, "messages", answer(MESSAGE))
    listed = done.headers[b"x-gateway-dropped-params"]
    assert len(listed) <= 1024
    assert all(name.startswith(b"member_") for name in listed.split(b","))


def test_nothing_is_listed_if_all_was_said(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", CHAT, "messages", answer(MESSAGE))
    assert b"x-gateway-dropped-params" not in done.headers


def test_what_would_change_the_answer_is_refused_and_not_sent(exchange: Ask) -> None:
    with pytest.raises(Unsupported) as raised:
        exchange("/v1/chat/completions", {**CHAT, "n": 2}, "messages")
    assert raised.value.param == "n"


def test_a_body_that_is_nested_without_end_is_refused(exchange: Ask) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    with pytest.raises(BadRequest):
        exchange("/v1/chat/completions", {**CHAT, "response_format": deep}, "messages")


@pytest.mark.parametrize("body", [{"messages": []}, {"model": "", "messages": "no list"}])
def test_a_body_that_cannot_be_read_is_refused(exchange: Ask, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidBody if "model" not in body else Exception) as raised:
        exchange("/v1/chat/completions", body, "messages")
    assert getattr(raised.value, "status", None) == 400


def test_a_stream_is_translated_event_by_event(exchange: Ask) -> None:
    body = {**CHAT, "stream": True}
    done = exchange("/v1/chat/completions", body, "messages", stream(START, OPEN + HELLO, REST))
    assert done.headers[b"content-type"].startswith(b"text/event-stream")
    assert (done.headers[b"cache-control"], done.headers[b"x-accel-buffering"]) == (b"no-cache", b"no")
    chunks = [json.loads(line[6:]) for line in done.body.decode().split("\n\n") if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Hi"
    assert done.body.endswith(b"data: [DONE]\n\n")


def test_silence_before_the_first_event_commits_and_keeps_the_caller_waiting(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(None, START, None, HELLO))
    assert done.reply.status == 200
    assert done.body.startswith(b":")


@pytest.mark.parametrize("steps", [(ERROR,), (START, ERROR), (START[:20], START[20:] + ERROR)])
def test_an_error_before_any_content_is_a_status(exchange: Ask, steps: tuple[bytes, ...]) -> None:
    with pytest.raises(ProviderError) as raised:
        exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(*steps))
    assert raised.value.kind is Kind.OVERLOADED


@pytest.mark.parametrize("end", [ERROR, UpstreamTimeout("too slow"), b""])
def test_an_error_behind_content_is_an_event_and_no_end(exchange: Ask, end: bytes | Exception) -> None:
    steps = stream(START, OPEN + HELLO, end)
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", steps)
    assert b'"content":"Hi"' in done.body
    assert b'"error"' in done.body.rstrip().rpartition(b"data: ")[2]
    assert b"[DONE]" not in done.body
    assert b'"finish_reason":"stop"' not in done.body


def test_a_stream_that_is_empty_is_an_error(exchange: Ask) -> None:
    with pytest.raises((UpstreamClosed, UpstreamProtocolError)):
        exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(b""))


def test_nothing_passes_behind_the_last_event(exchange: Ask) -> None:
    done = exchange(
        "/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(START, OPEN + HELLO, REST, HELLO)
    )
    assert done.body.count(b'"content":"Hi"') == 1


def test_json_where_a_stream_was_asked_for_becomes_one(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", answer(MESSAGE))
    assert done.headers[b"content-type"].startswith(b"text/event-stream")
    assert b'"content":"Hi"' in done.body
    assert done.body.endswith(b"data: [DONE]\n\n")


def test_a_stream_where_json_was_asked_for_becomes_that(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", CHAT, "messages", stream(START, OPEN + HELLO, REST))
    assert done.json()["choices"][0]["message"]["content"] == "Hi"


def test_a_stream_that_breaks_where_json_was_asked_for_is_an_error(exchange: Ask) -> None:
    with pytest.raises(UpstreamClosed):
        exchange("/v1/chat/completions", CHAT, "messages", stream(START, OPEN + HELLO))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b'{"id": 1'])
def test_an_answer_that_is_none_is_an_error(exchange: Ask, body: bytes) -> None:
    with pytest.raises((UpstreamProtocolError, UpstreamClosed)):
        exchange("/v1/chat/completions", CHAT, "messages", Answer(body, headers=[JSON]))


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"[1]"], ids=["no JSON", "nested", "no object"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        read_object(body)


def test_an_answer_is_read_up_to_so_many_bytes(exchange: Ask) -> None:
    assert run(read_whole(Answer(b"1234", b"5"), 5)) == b"12345"
    with pytest.raises(UpstreamProtocolError, match="longer than 5 bytes"):
        run(read_whole(Answer(b"1234", b"56"), 5))


def test_an_error_with_a_good_status_used_nothing(exchange: Ask, snapshot: Snapshot) -> None:
    asked = call_to("/v1/messages", {**CHAT, "max_tokens": 7})
    meter = make_meter(asked, HOLDER)
    error = {"error": {"message": "Slow down", "type": "rate_limit_error", "code": 429}}
    with pytest.raises(ProviderError, match="Slow down"):
        run(ask(meter, [Target("chat", "m")], snapshot, Scripted(answer(error))))
    assert meter.listener is None


def test_the_providers_error_is_read_for_the_caller(exchange: Ask) -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}
    with pytest.raises(ProviderError) as raised:
        exchange("/v1/chat/completions", CHAT, "messages", answer(error, 429, (b"retry-after", b"7")))
    assert (raised.value.status, raised.value.kind, raised.value.retry_after) == (429, Kind.RATE_LIMIT, 7)


@pytest.mark.parametrize("status", [401, 403])
def test_a_credential_of_the_gateways_that_is_refused_is_not_the_callers_fault(exchange: Ask, status: int) -> None:
    error = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key sk-stored"}}
    with pytest.raises(UpstreamRefusedCredential) as raised:
        exchange("/v1/chat/completions", CHAT, "messages", answer(error, status))
    assert "sk-stored" not in str(raised.value)


def test_half_of_a_character_in_a_providers_error_reaches_the_caller(exchange: Ask) -> None:
    error = event("error", error={"type": "overloaded_error", "message": "busy \ud83d"})
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(START, OPEN, HELLO, error))
    assert b'"busy ?"' in done.body


def test_a_request_for_no_output_is_answered_here(exchange: Ask) -> None:
    """Anthropic's callers warm their cache with it; nobody else has such a thing."""
    body = {"model": "m", "max_tokens": 0, "messages": CHAT["messages"]}
    done = exchange("/v1/messages", body, "chat")
    assert done.transport.requests == []
    assert (done.json()["stop_reason"], done.json()["content"]) == ("max_tokens", [])
