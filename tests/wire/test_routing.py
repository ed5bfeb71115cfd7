"""Which provider a call goes to."""

from __future__ import annotations

import json

import pytest

from tests.raw_client import RawClient
from tests.upstream import Upstream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, GEMINI, MESSAGES, MESSAGES_PATH

pytestmark = pytest.mark.usefixtures("quiescent")


@pytest.mark.parametrize("written", ["groq", "GROQ", "Groq", " groq "])
def test_x_provider_names_the_provider_in_any_case(raw: RawClient, upstream: Upstream, written: str) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", written)])
    assert answer.status == 200
    assert answer.header("x-gateway-provider") == "groq"
    assert upstream.request.header("authorization") == "Bearer gsk-stored-groq"


def test_an_unknown_provider_is_refused_with_a_list_of_the_known_ones(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", "opnai")])
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "unknown_provider"
    assert all(name in error["message"] for name in ("opnai", "openai", "anthropic", "groq", "echo"))
    assert not upstream.requests


def test_the_default_provider_is_openai(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, CHAT, [BEARER])
    assert upstream.request.header("authorization") == "Bearer sk-stored-openai"
    assert upstream.request.target == "/v1/chat/completions"


@pytest.mark.parametrize("path", [MESSAGES_PATH, "/v1/messages/count_tokens", "/v1/complete"])
def test_anthropic_paths_go_to_anthropic(raw: RawClient, upstream: Upstream, path: str) -> None:
    assert raw.post(path, MESSAGES, [BEARER]).status == 200
    assert upstream.request.header("x-api-key") == "sk-ant-stored-anthropic"
    assert upstream.request.target == path


def test_v1beta_goes_to_gemini(raw: RawClient, upstream: Upstream) -> None:
    path = "/v1beta/models/gemini-3-flash:generateContent"
    assert raw.post(path, GEMINI, [BEARER]).status == 200
    assert upstream.request.header("x-goog-api-key") == "AIza-stored-gemini"
    assert upstream.request.target == path


def test_a_provider_before_the_model_is_taken_off_and_nothing_else_changes(raw: RawClient, upstream: Upstream) -> None:
    body = (
        b'{ "messages" : [],\n "model" :  "groq/llama-4" , "x":1.0e3, "\xc3\xa9": "\\u00e9", "n": 12345678901234567 }'
    )
    assert raw.post(CHAT_PATH, body, [BEARER]).status == 200
    assert bytes(upstream.request.body) == body.replace(b"groq/llama-4", b"llama-4")
    assert upstream.request.header("authorization") == "Bearer gsk-stored-groq"


def test_only_the_first_slash_of_a_model_separates_the_provider(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, {**CHAT, "model": "groq/meta-llama/llama-4"}, [BEARER])
    assert upstream.request.json()["model"] == "meta-llama/llama-4"


def test_a_model_with_a_slash_that_names_no_provider_stays_as_it_is(raw: RawClient, upstream: Upstream) -> None:
    body = json.dumps({**CHAT, "model": "meta-llama/llama-4"}).encode()
    raw.post(CHAT_PATH, body, [BEARER])
    assert bytes(upstream.request.body) == body
    assert upstream.request.header("authorization") == "Bearer sk-stored-openai"


def test_x_provider_leaves_the_model_untouched(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, {**CHAT, "model": "openai/gpt-oss-120b"}, [BEARER, ("x-provider", "groq")])
    assert upstream.request.json()["model"] == "openai/gpt-oss-120b"
    assert upstream.request.header("authorization") == "Bearer gsk-stored-groq"


def test_a_route_is_exchanged_for_its_target(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, {**CHAT, "model": "fast"}, [BEARER])
    assert upstream.request.json() == {**CHAT, "model": "gpt-5-mini"}
    assert (answer.header("x-gateway-provider"), answer.header("x-gateway-model")) == ("openai", "gpt-5-mini")


def test_a_dialect_that_the_provider_does_not_speak_is_translated(raw: RawClient, upstream: Upstream) -> None:
    said = {"role": "assistant", "content": "Hi"}
    upstream.answer(json_answer({"id": "c", "model": "m", "choices": [{"index": 0, "message": said}]}))
    answer = raw.post("/v1/messages", MESSAGES, [BEARER, ("x-provider", "openai")])
    assert answer.status == 200
    assert answer.json()["content"] == [{"type": "text", "text": "Hi"}]
    assert upstream.request.target == "/v1/chat/completions"


def test_what_cannot_be_translated_is_refused_before_anything_is_sent(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post("/v1/messages", {**MESSAGES, "mcp_servers": [{"name": "x"}]}, [BEARER, ("x-provider", "openai")])
    assert answer.status == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "mcp_servers" in answer.json()["error"]["message"] or answer.header("x-should-retry") == "false"
    assert not upstream.requests


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (CHAT_PATH, [BEARER]),
        (CHAT_PATH, [BEARER, ("x-provider", "nobody")]),
        (CHAT_PATH, [("authorization", "Bearer gw_wrong")]),
        ("/v1/%2e%2e/x", [BEARER]),
        ("/v1/messages", [BEARER]),
    ],
)
def test_every_answer_has_a_request_id_under_both_names(
    raw: RawClient, path: str, headers: list[tuple[str, str]]
) -> None:
    answer = raw.post(path, CHAT, headers)
    identifier = answer.header("x-request-id")
    assert identifier
    assert answer.header("request-id") == identifier


def test_a_caller_may_choose_the_request_id(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-request-id", "trace-0123456789")])
    assert answer.header("x-request-id") == answer.header("request-id") == "trace-0123456789"
    assert upstream.request.values("x-request-id") == []


def test_a_request_id_with_odd_characters_is_replaced(raw: RawClient) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-request-id", "<script>alert(1)</script>")])
    assert "<" not in (answer.header("x-request-id") or "<")
