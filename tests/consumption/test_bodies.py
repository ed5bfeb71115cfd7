"""Bodies that are no stream: read whole, or by their beginning and their end; and what other endpoints charge for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from ai_gateway.consumption import UNUSED, Consumption
from ai_gateway.listeners import bodies, is_countable, listener_of
from ai_gateway.listeners.bodies import HEAD, TAIL, BodyListener, excerpt
from ai_gateway.protocols.conversation import TokenUsage
from tests.consumption.hearing import PATHS, SSE, WHOLE, asking, consumption_of, usage
from tests.factories import make_call
from tests.protocols.vectors import vectors

PIECE = 16 * 1024


def answered(path: str, answer: Any, asked: Any = None) -> Consumption | None:
    """What a JSON answer at a path used."""
    return consumption_of(asking(path, asked), json.dumps(answer).encode())


def in_pieces(path: str, body: bytes) -> Consumption | None:
    return consumption_of(asking(path), *(body[start : start + PIECE] for start in range(0, len(body), PIECE)))


# Answers of any length.

LONG = "x" * 3_000_000


def test_the_report_at_the_end_of_a_long_answer_is_found() -> None:
    answer = {"id": "a", "model": "gpt-x", "choices": [{"message": {"content": LONG}}], "usage": usage()}
    got = in_pieces(PATHS["openai_chat"], json.dumps(answer).encode())
    assert got == Consumption(tokens=TokenUsage(input=9, output=5), model="gpt-x", upstream_id="a")


@pytest.mark.parametrize("length", [100, HEAD - 50, HEAD, 40_000, TAIL + HEAD, 300_000])
@pytest.mark.parametrize("size", [100, PIECE, 10_000_000])
def test_the_model_is_found_behind_instructions_of_any_length(length: int, size: int) -> None:
    """OpenAI's responses repeat them before it, and have what else is called so behind it, if anything."""
    tool = {"type": "function", "name": "f", "parameters": {"model": "none"}}
    response = {
        "id": "resp_1",
        "instructions": 'Speak of {"model": "x"}. ' + "x" * length,
        "model": "gpt-5-mini",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "x" * 200_000}]}],
        "tools": [tool],
        "usage": {"input_tokens": 9, "output_tokens": 5},
    }
    body = json.dumps(response).encode()
    cut = (body[start : start + size] for start in range(0, len(body), size))
    got = consumption_of(asking(PATHS["openai_responses"]), *cut)
    assert got == Consumption(tokens=TokenUsage(input=9, output=5), model="gpt-5-mini", upstream_id="resp_1")


def test_the_model_is_found_behind_many_embeddings() -> None:
    data = [{"object": "embedding", "index": index, "embedding": [0.25] * 700} for index in range(100)]
    answer = {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": {"prompt_tokens": 9}}
    got = in_pieces("/v1/embeddings", json.dumps(answer).encode())
    assert got == Consumption(tokens=TokenUsage(input=9), model="text-embedding-3-small")


def test_of_what_looks_like_a_report_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read for some kilobytes: an answer of nothing else would keep the loop busy."""
    read: list[int] = []
    monkeypatch.setattr(bodies, "value_at", lambda data, start: read.append(start))
    assert excerpt(b'{"usage":' * 1000, b'"usage":{"a":1},' * 3000, {}) == b"{}"
    assert len(read) == 2 * bodies.MOST


def test_half_a_character_in_a_long_answer_costs_it_nothing_of_its_report() -> None:
    """Half of a surrogate pair, which occurs, is written by no strict encoder."""
    answer = {"id": "a", "model": "gpt-\ud83d", "choices": [{"message": {"content": LONG}}]}
    report = {"usage": {**usage(), "note": "\ud83d"}}
    got = in_pieces(PATHS["openai_chat"], json.dumps(answer | report).encode())
    assert got is not None
    assert (got.tokens, got.upstream_id) == (TokenUsage(input=9, output=5), "a")


def test_the_report_at_the_beginning_of_a_long_answer_is_found() -> None:
    answer = {"usage": {"input_tokens": 9, "output_tokens": 100}, "data": [{"b64_json": LONG}]}
    got = in_pieces("/v1/images/generations", json.dumps(answer).encode())
    assert got is not None
    assert got.tokens == TokenUsage(input=9, output_image=100)


@pytest.mark.parametrize(
    ("format", "answer"),
    [
        ("openai_chat", {"usage": usage(), "service_tier": "flex"}),
        ("openai_responses", {"service_tier": "flex", "usage": {"input_tokens": 9, "output_tokens": 5}}),
        ("anthropic_messages", {"usage": {"input_tokens": 9, "output_tokens": 5, "service_tier": "batch"}}),
        ("gemini", {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "serviceTier": "flex"}}),
        ("bedrock_converse", {"serviceTier": {"type": "flex"}, "usage": {"inputTokens": 9, "outputTokens": 5}}),
    ],
)
def test_the_tier_of_a_long_answer_is_found(format: str, answer: dict[str, Any]) -> None:
    """Most providers tell it behind the text. Prices depend on it."""
    got = in_pieces(PATHS[format], json.dumps({"text": LONG, **answer}).encode())
    assert got is not None
    assert got.tokens == TokenUsage(input=9, output=5)
    assert got.service_tier in ("flex", "batch")


def test_a_report_in_a_text_is_none() -> None:
    text = LONG + json.dumps({"usage": usage(1000, 1000)})
    answer = {"choices": [{"message": {"content": text}}], "usage": usage()}
    got = in_pieces(PATHS["openai_chat"], json.dumps(answer).encode())
    assert got is not None
    assert got.tokens == TokenUsage(input=9, output=5)


def test_the_arguments_of_a_call_are_no_report() -> None:
    content = [{"type": "text", "text": LONG}, {"type": "tool_use", "input": {"usage": {"input_tokens": 7}}}]
    answer = {"id": "m", "content": content, "usage": {"input_tokens": 9, "output_tokens": 5}}
    got = in_pieces(PATHS["anthropic_messages"], json.dumps(answer).encode())
    assert got is not None
    assert got.tokens == TokenUsage(input=9, output=5)


def test_a_long_body_costs_little_memory() -> None:
    listener = listener_of(asking("/v1/embeddings"), WHOLE)
    assert isinstance(listener, BodyListener)
    for _ in range(1000):
        listener.hear(b"x" * PIECE)
    assert len(listener._head) + sum(map(len, listener._tail)) <= HEAD + TAIL + PIECE
    listener.hear(b"x" * 10_000_000)
    assert len(listener._head) + sum(map(len, listener._tail)) <= HEAD + TAIL + PIECE


@pytest.mark.parametrize("format", PATHS)
def test_an_answer_without_a_report_is_estimated_by_its_text(format: str) -> None:
    text = "x" * 400
    answers: dict[str, Any] = {
        "openai_chat": {"choices": [{"message": {"content": text}}]},
        "openai_responses": {"output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}]},
        "anthropic_messages": {"content": [{"type": "text", "text": text}]},
        "gemini": {"candidates": [{"content": {"parts": [{"text": text}]}}]},
        "bedrock_converse": {"output": {"message": {"content": [{"text": text}]}}},
    }
    got = answered(PATHS[format], answers[format])
    assert got is not None
    assert got.tokens.is_estimated
    assert got.tokens.output == 100


def test_a_list_of_answers_is_a_stream_that_google_writes_otherwise() -> None:
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 5}
    answers = [
        {"usageMetadata": {"promptTokenCount": 9}},
        {"modelVersion": "gemini-x", "responseId": "r", "usageMetadata": counts},
    ]
    got = answered(PATHS["gemini"], answers)
    assert got == Consumption(tokens=TokenUsage(input=9, output=5), model="gemini-x", upstream_id="r")


@pytest.mark.parametrize(
    "body", [b"", b'{"choices":[{"message":{"content":"' + b"word " * 300, gzip.compress(b"{}", mtime=0)]
)
def test_what_cannot_be_read_is_estimated(body: bytes) -> None:
    got = consumption_of(asking(PATHS["openai_chat"], {"model": "m"}), body)
    assert got is not None
    assert got.tokens.is_estimated
    assert got.tokens.output <= len(body) / 4 + 1


# Other endpoints.


def test_embeddings_use_the_prompt() -> None:
    [vector] = [each for each in vectors("openai_other") if each.name == "openai-async-embeddings-with-dimensions-0"]
    got = in_pieces("/v1/embeddings", (vector.folder / "response.json").read_bytes())
    assert got is not None
    assert got.tokens == TokenUsage(input=9)
    assert got.model == "text-embedding-3-small"


def test_embeddings_of_google_are_estimated() -> None:
    path = "/v1beta/models/gemini-embedding-001:embedContent"
    got = answered(path, {"embedding": {"values": [0.1] * 700}}, {"content": {"parts": [{"text": "x" * 4000}]}})
    assert got is not None
    assert got.tokens.is_estimated
    assert 1000 < got.tokens.input < 1020
    assert not got.tokens.total_output


UNITS = [
    ("/v1/images/generations", {"data": [{}, {}]}, {"n": 2}, {"images": 2.0}),
    ("/v1/images/variations", {"created": 1}, {"n": 3}, {"images": 3.0}),
    ("/v1/audio/speech", {}, {"input": "caf\u00e9"}, {"characters": 4.0}),
    (
        "/v1/audio/transcriptions",
        {"usage": {"type": "duration", "seconds": 37}},
        {},
        {"audio_seconds": 37},
    ),
    ("/v1/audio/translations", {"text": "x", "duration": "36.7"}, {}, {"audio_seconds": 36.7}),
    ("/v1/rerank", {"meta": {"billed_units": {"search_units": 2}}}, {}, {"searches": 2.0}),
    ("/v1/ocr", {"usage_info": {"pages_processed": 3}}, {}, {"pages": 3.0}),
]


@pytest.mark.parametrize(("path", "answer", "asked", "units"), UNITS)
def test_what_is_not_counted_in_tokens(path: str, answer: Any, asked: Any, units: dict[str, float]) -> None:
    assert answered(path, answer, asked) == Consumption(units=units)


IMAGE = {"input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}, "output_tokens": 900}
SOUND = {"type": "tokens", "input_tokens": 37, "input_token_details": {"audio_tokens": 30}, "output_tokens": 145}
TOKENS = [
    ("/v1/images/edits", {"data": [{}], "usage": IMAGE}, TokenUsage(input=10, input_image=40, output_image=900)),
    ("/v1/audio/transcriptions", {"usage": SOUND}, TokenUsage(input=7, input_audio=30, output=145)),
    ("/v1/rerank", {"usage": {"total_tokens": 15}}, TokenUsage(input=15)),
    (
        "/v1/embed",
        {"meta": {"billed_units": {"input_tokens": 5}}},
        TokenUsage(input=5),
    ),
    ("/v1/completions", {"usage": usage()}, TokenUsage(input=9, output=5)),
    ("/v1/fim/completions", {"usage": usage()}, TokenUsage(input=9, output=5)),
    ("/v1/responses/compact", {"usage": {"input_tokens": 9, "output_tokens": 5}}, TokenUsage(input=9, output=5)),
]


@pytest.mark.parametrize(("path", "answer", "tokens"), TOKENS)
def test_what_is_counted_in_tokens(path: str, answer: Any, tokens: TokenUsage) -> None:
    assert answered(path, answer) == Consumption(tokens=tokens)


STREAMS = [
    ("/v1/audio/transcriptions", {"type": "transcript.text.done", "usage": SOUND}, TOKENS[1][2]),
    ("/v1/images/generations", {"type": "image_generation.completed", "usage": IMAGE}, TOKENS[0][2]),
    (
        "/v1/audio/speech",
        {"type": "speech.audio.done", "usage": {"input_tokens": 9, "output_tokens": 100}},
        TokenUsage(input=9, output_audio=100),
    ),
    ("/v1/completions", {"choices": [], "usage": usage()}, TokenUsage(input=9, output=5)),
]


@pytest.mark.parametrize(("path", "last", "tokens"), STREAMS)
def test_streams_of_other_endpoints_report_at_their_end(path: str, last: Any, tokens: TokenUsage) -> None:
    events = [b'data: {"type":"some.delta","delta":"x"}\n\n'] * 100 + [b"data: " + json.dumps(last).encode() + b"\n\n"]
    got = consumption_of(asking(path, {"input": "Hello"}), *events, headers=SSE)
    assert got == Consumption(tokens=tokens)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/count_tokens",
        "/v1/responses/input_tokens",
        "/v1beta/models/m:countTokens",
        "/v1/moderations",
        "/v1/files",
        "/v1/batches/batch_1/cancel",
        "/v1/fine_tuning/jobs/job_1/cancel",
        "/v1beta/cachedContents",
        "/v1/responses/resp_1/cancel",
        "/v1/vector_stores/vs_1/files",
        "/v1/messages/batches/batch_1/cancel",
    ],
)
def test_what_uses_nothing(path: str) -> None:
    assert answered(path, {"usage": usage()}) == UNUSED


def test_asking_for_what_is_there_uses_nothing() -> None:
    call = make_call("/v1/responses/resp_1", method="GET")
    assert consumption_of(call, b'{"usage":{"input_tokens":9,"output_tokens":5}}') == UNUSED


DEFERRED = (
    *("/v1/batches", "/v1/batches/", "/v1/messages/batches", "/v1/fine_tuning/jobs"),
    "/v1beta/models/m:batchGenerateContent",
)


@pytest.mark.parametrize("path", ["/v1/something/new", "/v1/audio/transcriptions", "/v1/rerank", *DEFERRED])
def test_what_nobody_tells_is_not_known(path: str) -> None:
    assert answered(path, {"text": "x"}) is None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_in_the_background_has_not_told_yet_what_it_uses(status: str) -> None:
    made = {"id": "resp_1", "status": status, "background": True, "usage": None, "output": []}
    assert answered("/v1/responses", made) is None
    assert answered("/v1/responses", {**made, "instructions": "x" * 200_000}) is None
    told = answered("/v1/responses", {**made, "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 5}})
    assert told is not None
    assert told.tokens == TokenUsage(input=3, output=5)


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/conversations/conv_1"])
def test_conversations_use_what_they_tell_and_those_that_are_only_kept_nothing(path: str) -> None:
    answer = {"usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}
    assert answered(path, answer) == Consumption(tokens=TokenUsage(input=3, output=5))
    assert answered(path, {"id": "conv_1"}) == Consumption(tokens=TokenUsage(), upstream_id="conv_1")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, b"{}") for path in (*DEFERRED, "/v1/something/new")),
        ("/v1/responses", b'{"background": true}'),
        ("/v1/responses", b'{"b\\u0061ckground": true}'),
    ],
)
def test_countable__not_what_is_told_elsewhere(path: str, body: bytes) -> None:
    assert not is_countable(make_call(path, body=body))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", b'{"input": "background"}'),
        ("/v1/responses", b'{"background": false}'),
        ("/v1/responses", b'{"background": '),  # The provider will say what is wrong with it.
        ("/v1/chat/completions", b'{"background": true}'),
        ("/v1/embeddings", b"{}"),
        ("/v1/files", b"{}"),
        ("/v1/conversations", b"{}"),
    ],
)
def test_countable__what_answers_tell_or_uses_nothing(path: str, body: bytes) -> None:
    assert is_countable(make_call(path, body=body))
    assert is_countable(make_call("/v1/batches", method="GET"))


def test_sound_has_no_report() -> None:
    call = asking("/v1/audio/speech", {"input": "Hello"})
    got = consumption_of(call, b"\xff\xfb" * 100_000, headers={b"content-type": b"audio/mpeg"})
    assert got == Consumption(units={"characters": 5.0})


MANY = [b"1000000000", b"1" + b"0" * 30, b"1" + b"0" * 320]
WORDS = "word " * 8
COUNTED = {
    "openai_chat": {"choices": [{"message": {"content": WORDS}}], "usage": {"completion_tokens": 1234}},
    "openai_responses": {
        "output": [{"type": "message", "content": [{"type": "output_text", "text": WORDS}]}],
        "usage": {"input_tokens": 9, "output_tokens": 1234},
    },
    "anthropic_messages": {
        "content": [{"type": "text", "text": WORDS}],
        "usage": {"input_tokens": 9, "output_tokens": 1234},
    },
    "gemini": {
        "candidates": [{"content": {"parts": [{"text": WORDS}]}}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1234},
    },
    "bedrock_converse": {
        "output": {"message": {"content": [{"text": WORDS}]}},
        "usage": {"inputTokens": 9, "outputTokens": 1234},
    },
}


@pytest.mark.parametrize("count", [*MANY, b"1e300", b"1e400"])
@pytest.mark.parametrize("format", PATHS)
def test_a_number_of_tokens_that_cannot_be_was_not_said(format: str, count: bytes) -> None:
    call, body = asking(PATHS[format], {"text": "x" * 80}), json.dumps(COUNTED[format]).encode()
    if b"e" not in count:
        counted = consumption_of(call, body)
        assert counted is not None
        assert (counted.tokens.total_output, counted.tokens.is_estimated) == (1234, False)
        assert_estimated(consumption_of(call, body.replace(b"1234", count)))
    else:
        found = consumption_of(call, body.replace(b"1234", count))
        assert found is not None
        assert found.tokens.total_output < 100


def assert_estimated(got: Consumption | None) -> None:
    assert got is not None
    assert got.tokens.is_estimated
    assert 0 < got.tokens.total_input < 100
    assert 0 < got.tokens.total_output < 100


def test_nor_is_one_at_the_end_of_a_stream() -> None:
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":9}}}\n\n'
    text = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%s"}}\n\n' % WORDS.encode()
    end = b'data: {"type":"message_delta","usage":{"output_tokens":1%s}}\n\n' % (b"0" * 30)
    assert_estimated(consumption_of(asking(PATHS["anthropic_messages"], stream=True), start, text, end, headers=SSE))


@pytest.mark.parametrize("count", [*MANY, b"1e300"])
def test_nor_is_one_of_an_endpoint_that_cannot_be_estimated(count: bytes) -> None:
    assert consumption_of(asking("/v1/rerank"), b'{"usage":{"total_tokens":%s}}' % count) is None


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e300", -1, 10**320, 10**9, "long", None])
def test_sound_that_cannot_be_is_not_counted(seconds: object) -> None:
    body = json.dumps({"text": "x", "usage": {"type": "duration", "seconds": seconds}}).encode()
    assert consumption_of(asking("/v1/audio/transcriptions"), body) is None
