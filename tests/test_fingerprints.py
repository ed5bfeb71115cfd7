"""What makes two calls the same call."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ai_gateway.calls import Call, Target
from ai_gateway.fingerprints import Uncacheable, fingerprint, is_question
from ai_gateway.providers.base import forwarded_headers
from tests.factories import make_call

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Grüße"}], "temperature": 0.5}
TARGETS = [Target("openai", "m"), Target("groq", "n")]
GEMINI = "/v1beta/models/gemini-3:generateContent"
CONVERSE = "/v1/model/m/converse"


def chat(
    body: Any = CHAT, *headers: tuple[bytes, bytes], path: str = "/v1/chat/completions", query: bytes = b""
) -> Call:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return msgspec.structs.replace(make_call(path, *headers, body=written), query=query)


def of(call: Call, owner: str = "key:1", targets: Any = TARGETS, **more: Any) -> str:
    return fingerprint(call, owner, targets, forwarded_headers(call), **more)


@pytest.mark.parametrize(
    "call",
    [
        chat(json.dumps(CHAT, indent=2, ensure_ascii=False).encode()),
        chat(dict(reversed(CHAT.items()))),
        chat({**CHAT, "user": "ann", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y"}),
        chat(CHAT, (b"user-agent", b"curl"), (b"x-request-id", b"req-2"), (b"authorization", b"Bearer gw_2")),
        chat(CHAT, (b"x-goog-api-key", b"gw_2")),
        chat(CHAT, (b"x-stainless-retry-count", b"1"), (b"traceparent", b"00-1-2-01"), (b"idempotency-key", b"k")),
        chat(CHAT, (b"x-session-id", b"s"), (b"x-user-id", b"u"), (b"x-gateway-timeout", b"9"), (b"cookie", b"a=b")),
        chat(CHAT, (b"connection", b"x-odd"), (b"x-odd", b"1")),
        chat(CHAT, query=b"key=gw_2"),
    ],
    ids=[
        "blanks",
        "the order of members",
        "for whom it is",
        "headers of no interest",
        "a credential",
        "which call it is",
        "what it belongs to",
        "what goes no further",
        "one in the query",
    ],
)
def test_calls_that_are_the_same(call: Call) -> None:
    assert of(call) == of(chat())


@pytest.mark.parametrize(
    "call",
    [
        chat({**CHAT, "temperature": 0.6}),
        chat({**CHAT, "stream": True}),
        chat({**CHAT, "stream_options": {"include_usage": True}}),
        chat({**CHAT, "seed": 1}),
        chat({**CHAT, "something_new": None}),
        chat({**CHAT, "messages": [*CHAT["messages"], *CHAT["messages"]]}),  # type: ignore[misc]
        chat(CHAT, (b"openai-beta", b"assistants=v2")),
        chat(CHAT, (b"anthropic-beta", b"context-1m")),
        chat(CHAT, (b"azureml-model-deployment", b"blue")),
        chat(CHAT, (b"x-a-header-of-tomorrow", b"1")),
        chat(CHAT, (b"accept-language", b"de")),
        chat(CHAT, query=b"api-version=2"),
        chat(path="/v1/completions"),
    ],
)
def test_calls_that_are_not_the_same(call: Call) -> None:
    assert of(call) != of(chat())


def test_the_answer_depends_on_who_may_have_it_again_and_on_where_the_call_may_go() -> None:
    same = of(chat())
    assert of(chat(), targets=TARGETS[::-1]) == same
    others = {
        of(chat(), "key:2"),
        of(chat(), targets=TARGETS[:1]),
        of(chat(), named=b"fast"),
        of(chat(), secret=b"another site"),
    }
    assert len(others | {same}) == 5


@pytest.mark.parametrize(
    ("path", "member", "is_the_same"),
    [
        ("/v1/messages", {"metadata": {"user_id": "u"}}, True),
        ("/v1/messages", {"user": "u"}, False),
        ("/v1/responses", {"metadata": {"a": "b"}}, False),
        ("/v1/responses", {"user": "u"}, False),
        ("/v1/embeddings", {"user": "u"}, True),
        (GEMINI, {"labels": {"a": "b"}}, False),
    ],
)
def test_what_a_format_says_for_whom_an_answer_is(path: str, member: Any, is_the_same: bool) -> None:
    assert (of(chat(CHAT, path=path)) == of(chat({**CHAT, **member}, path=path))) is is_the_same


@pytest.mark.parametrize(
    "call",
    [
        chat(b'{"model": "m", "messages": [], "messages": [1]}'),
        chat(b'{"model": "m", "messages": [{"role": "user", "role": "system"}]}'),
        chat(b"[1]"),
        chat(b"{"),
        chat(b"\xff"),
        chat(b'{"a":' * 100_000),
        chat({**CHAT, "store": True}),
        chat({**CHAT, "background": True}, path="/v1/responses"),
        chat({**CHAT, "conversation": "conv_1"}, path="/v1/responses"),
    ],
    ids=["twice", "twice inside", "a list", "cut", "bytes", "deep", "stored", "background", "conversation"],
)
def test_calls_that_have_an_answer_of_their_own(call: Call) -> None:
    with pytest.raises(Uncacheable):
        of(call)


def test_numbers_that_no_double_holds_are_not_taken_for_none() -> None:
    for number in (b"1e999", b"-1e999", b"NaN", b"Infinity"):
        with pytest.raises(Uncacheable):
            of(chat(b'{"model": "m", "temperature": %s}' % number))


def test_what_is_written_in_a_rare_way_is_still_told_apart() -> None:
    rare = [b"18446744073709551616", b"18446744073709551617", b'"\\ud800"', b'"\\ud801"', b'"\xc3\xbc"', b"1", b"1.5"]
    bodies = [b'{"model": "m", "seed": %s}' % value for value in rare]
    assert len({of(chat(body)) for body in bodies}) == len(rare)
    assert of(chat(b'{"seed": "\\uD800", "model": "m"}')) == of(chat(bodies[2]))


@pytest.mark.parametrize(
    ("path", "body", "is_fine"),
    [
        ("/v1/chat/completions", {"temperature": 0}, True),
        ("/v1/chat/completions", {"temperature": 0.0}, True),
        ("/v1/chat/completions", {"temperature": 1}, False),
        ("/v1/messages", {}, False),
        (GEMINI, {"generationConfig": {"temperature": 0}}, True),
        (GEMINI, {"generationConfig": {"topK": 1}}, False),
        (CONVERSE, {"inferenceConfig": {"temperature": 0}}, True),
        ("/v1/embeddings", {}, True),
    ],
)
def test_an_operator_may_want_deterministic_calls_only(path: str, body: Any, is_fine: bool) -> None:
    call = chat({"model": "m", **body}, path=path)
    if is_fine:
        assert of(call, only_deterministic=True) == of(call)
    else:
        with pytest.raises(Uncacheable):
            of(call, only_deterministic=True)


@pytest.mark.parametrize(
    ("path", "is_asked"),
    [
        *((path, True) for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", GEMINI)),
        *((path, True) for path in (CONVERSE, "/v1beta/models/e:embedContent", "/v1/moderations", "/v1/completions")),
        *((path, False) for path in ("/v1/batches", "/v1/files", "/v1/images/generations", "/v1/models")),
        *((path, False) for path in ("/v1/messages/count_tokens", "/v1/responses/r_1/cancel", "/v1/audio/speech")),
    ],
)
def test_what_might_be_answered_as_it_was_before(path: str, is_asked: bool) -> None:
    assert is_question(make_call(path)) is is_asked
    assert not is_question(make_call(path, method="GET"))
