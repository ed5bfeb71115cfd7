"""Embeddings between Google's format and OpenAI's."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.calls import Target
from ai_gateway.errors import BadRequest, ProviderError, Unsupported, UpstreamProtocolError, UpstreamRefusedCredential
from ai_gateway.hops import Attempt, plan
from ai_gateway.hops.native import Native
from tests.factories import JSON, Answer, make_meter, run
from tests.hops.conftest import HOLDER, Exchange, call_to, provider

Ask = Callable[..., Exchange]
CONTENT = {"parts": [{"text": "Hello"}]}
BATCH = {"requests": [{"model": "models/m", "content": CONTENT}, {"model": "models/m", "content": CONTENT}]}
OPENAI_ANSWER: dict[str, Any] = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
GEMINI_ANSWER = {"embeddings": [{"values": [0.5, -1.0]}], "usageMetadata": {"promptTokenCount": 3}}


def answer(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status=status, headers=[JSON])


def test_googles_client_on_openai(exchange: Ask) -> None:
    body = {"content": CONTENT, "outputDimensionality": 2}
    done = exchange("/v1beta/models/m:embedContent", body, "openai/text-embedding-3-small", answer(OPENAI_ANSWER))
    assert done.target == "api.openai.com/v1/embeddings"
    assert done.sent == {
        "model": "text-embedding-3-small",
        "input": ["Hello"],
        "encoding_format": "float",
        "dimensions": 2,
    }
    assert done.json()["embedding"] == {"values": [0.5, -1.0]}


def test_googles_client_asks_for_many_at_once(exchange: Ask) -> None:
    body = {"requests": [{"model": "models/m", "content": CONTENT, "taskType": "RETRIEVAL_QUERY"}]}
    done = exchange("/v1beta/models/m:batchEmbedContents", body, "openai/e", answer(OPENAI_ANSWER))
    assert done.json()["embeddings"] == [{"values": [0.5, -1.0]}]
    assert done.headers[b"x-gateway-dropped-params"] == b"taskType"


@pytest.mark.parametrize(("method", "body"), [("embedContent", {"content": CONTENT}), ("batchEmbedContents", BATCH)])
def test_an_answer_without_a_vector_for_each_text_is_none(exchange: Ask, method: str, body: Any) -> None:
    """A caller finds the vectors by the places of its texts."""
    given = {**OPENAI_ANSWER, "data": OPENAI_ANSWER["data"][1:] if method == "embedContent" else OPENAI_ANSWER["data"]}
    with pytest.raises(UpstreamProtocolError):
        exchange(f"/v1beta/models/m:{method}", body, "openai/e", answer(given))


GOOGLE_ONLY = provider("gemini", endpoints=["models"])


def test_a_request_without_a_model_is_refused() -> None:
    with override_settings(AI_GATEWAY={"PROVIDERS": {"google": GOOGLE_ONLY}}):
        call = call_to("/v1/embeddings", {"input": "Hello"})
        with pytest.raises(BadRequest) as raised:
            plan(Attempt(call, make_meter(call, HOLDER), registry.snapshot(), Target("google", None), 1))
    assert raised.value.param == "model"


def test_an_error_of_openais_is_read(exchange: Ask) -> None:
    error = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    with pytest.raises(ProviderError) as raised:
        exchange("/v1beta/models/m:embedContent", {"content": CONTENT}, "openai/e", answer(error, 404))
    assert raised.value.status == 404


def test_a_credential_of_the_gateways_that_is_refused_is_not_the_callers_fault() -> None:
    """Google refuses a key with the status of a bad request."""
    error = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}
    with override_settings(AI_GATEWAY={"PROVIDERS": {"google": GOOGLE_ONLY}}):
        call = call_to("/v1/embeddings", {"model": "m", "input": "Hello"})
        hop = plan(Attempt(call, make_meter(call, HOLDER), registry.snapshot(), Target("google", "m"), 1))
        hop.request()
        with pytest.raises(UpstreamRefusedCredential) as raised:
            run(hop.judge(answer(error, 400)))
    assert "API key" not in str(raised.value)


def test_openais_client_on_googles_native_api() -> None:
    """With the encoding that openai-python asks for unless it is told otherwise."""
    with override_settings(AI_GATEWAY={"PROVIDERS": {"google": GOOGLE_ONLY}}):
        snapshot = registry.snapshot()
        call = call_to("/v1/embeddings", {"model": "m", "input": "Hello", "encoding_format": "base64"})
        hop = plan(Attempt(call, make_meter(call, HOLDER), snapshot, Target("google", "gemini-embedding-1"), 1))
        request = hop.request()
        assert request.target == b"/v1beta/models/gemini-embedding-1:batchEmbedContents"
        assert isinstance(request.body, bytes)
        [asked] = json.loads(request.body)["requests"]
        assert asked == {"model": "models/gemini-embedding-1", "content": CONTENT}
        reply = run(hop.judge(answer(GEMINI_ANSWER)))
    assert isinstance(reply.body, bytes)
    document = json.loads(reply.body)
    assert struct.unpack("<2f", base64.b64decode(document["data"][0]["embedding"])) == (0.5, -1.0)
    assert document["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize("vectors", [[], [[1]], [[1], [10**400]]])
def test_nor_is_one_of_googles(vectors: list[list[float]]) -> None:
    with override_settings(AI_GATEWAY={"PROVIDERS": {"google": GOOGLE_ONLY}}):
        call = call_to("/v1/embeddings", {"model": "m", "input": ["a", "b"], "encoding_format": "base64"})
        hop = plan(Attempt(call, make_meter(call, HOLDER), registry.snapshot(), Target("google", "m"), 1))
        hop.request()
        with pytest.raises(UpstreamProtocolError):
            run(hop.judge(answer({"embeddings": [{"values": vector} for vector in vectors]})))


def test_tokens_in_place_of_text_mean_nothing_to_another_model() -> None:
    with override_settings(AI_GATEWAY={"PROVIDERS": {"google": GOOGLE_ONLY}}):
        call = call_to("/v1/embeddings", {"model": "m", "input": [1, 2, 3]})
        with pytest.raises(Unsupported):
            plan(Attempt(call, make_meter(call, HOLDER), registry.snapshot(), Target("google", "m"), 1))


@pytest.mark.parametrize(
    ("path", "body", "to"),
    [
        ("/v1/embeddings", {"model": "m", "input": "x"}, "openai"),
        ("/v1/embeddings", {"model": "m", "input": "x"}, "google"),
        ("/v1/embeddings", {"model": "m", "input": "x"}, "chat"),
        ("/v1beta/models/m:embedContent", {"content": CONTENT}, "google"),
        ("/v1/embed", {"model": "m", "texts": ["x"]}, "openai"),
    ],
)
def test_whoever_has_the_callers_format_gets_the_callers_bytes(
    snapshot: registry.Snapshot, path: str, body: Any, to: str
) -> None:
    """Gemini has an OpenAI-compatible endpoint for embeddings beside its own."""
    assert isinstance(
        plan(Attempt(call_to(path, body), make_meter(call_to(path, body), HOLDER), snapshot, Target(to, "m"), 1)),
        Native,
    )
