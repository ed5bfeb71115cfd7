"""Embeddings of Google for callers of OpenAI's format, and the other way round."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types
from openai.types import CreateEmbeddingResponse

from ai_gateway.errors import BadRequest, Unsupported, UpstreamProtocolError
from ai_gateway.protocols.gemini.embeddings import (
    MANY,
    ONE,
    Embedding,
    Vectors,
    decoded,
    encoded,
    read_embed,
    read_openai_embed,
    read_openai_vectors,
    read_vectors,
    write_embed,
    write_openai_embed,
    write_openai_vectors,
    write_vectors,
)
from tests.protocols.vectors import vectors

OPENAI = [vector for vector in vectors("openai_other") if vector.path.endswith("/embeddings")]
TASK = {"taskType": "RETRIEVAL_QUERY", "title": "T"}


def content(*texts: str) -> dict[str, Any]:
    return {"parts": [{"text": text} for text in texts]}


def test_one_text_and_many() -> None:
    one = read_embed({"content": content("a", "b"), "outputDimensionality": 8, **TASK}, ONE, "m")
    assert (one.model, one.texts, one.dimensions, one.hints) == ("m", ["ab"], 8, TASK)
    assert one.dropped == ["taskType", "title"]
    many = read_embed({"requests": [{"content": content(text), "model": "models/m"} for text in "abc"]}, MANY, "m")
    assert (many.texts, many.dimensions, many.hints, many.dropped) == (["a", "b", "c"], None, {}, [])
    assert read_embed({"content": content("a"), "output_dimensionality": 8}, ONE, "m").dimensions == 8


@pytest.mark.parametrize(
    ("body", "method", "kind"),
    [
        ({}, ONE, BadRequest),
        ({"requests": []}, MANY, BadRequest),
        ({"requests": [5]}, MANY, BadRequest),
        ({"content": {"parts": [{"text": 5}]}}, ONE, BadRequest),
        ({"content": {"parts": [{"inlineData": {}}]}}, ONE, Unsupported),
        ({"requests": [{"content": content("a"), "outputDimensionality": n} for n in (1, 2)]}, MANY, Unsupported),
    ],
)
def test_what_cannot_be_read(body: dict[str, Any], method: str, kind: type[BadRequest]) -> None:
    with pytest.raises(kind):
        read_embed(body, method, "m")


def test_a_request_for_google() -> None:
    body = write_embed(Embedding(model="m", texts=["a", "b"], dimensions=8, hints={"taskType": "CLUSTERING"}))
    assert body["requests"][1] == {
        "model": "models/m",
        "content": content("b"),
        "taskType": "CLUSTERING",
        "outputDimensionality": 8,
    }
    assert read_embed(body, MANY, "m").texts == ["a", "b"]


def test_answers_of_google() -> None:
    found = Vectors(vectors=[[0.5, 1.0], [2.0, -1.0]], tokens=4)
    for method, count in ((ONE, 1), (MANY, 2)):
        body = write_vectors(found, method)
        again = read_vectors(json.loads(json.dumps(body)))
        assert (again.vectors, again.tokens) == (found.vectors[:count], 4)
    response = types.EmbedContentResponse.model_validate(write_vectors(found, MANY))
    assert response.embeddings
    assert [embedding.values for embedding in response.embeddings] == found.vectors
    assert read_vectors({"embedding": {"values": [1, 2]}}).tokens is None


@pytest.mark.parametrize(
    "body", [{}, {"embeddings": 5}, {"embeddings": [5]}, {"embeddings": [{}]}, {"embedding": {"values": ["x"]}}]
)
def test_what_is_no_answer_of_google(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_vectors(body)


@pytest.mark.parametrize("case", [case for case in OPENAI if case.status == 200], ids=str)
def test_recorded_exchanges_of_openai(case: Any) -> None:
    embedding = read_openai_embed(case.request)
    found = read_openai_vectors(case.response)
    assert len(found.vectors) == len(embedding.texts)
    body = write_openai_vectors(found, embedding)
    again = CreateEmbeddingResponse.model_validate(body)
    assert again.data[0].embedding == case.response["data"][0]["embedding"]
    assert again.usage.prompt_tokens == case.response["usage"]["prompt_tokens"]
    assert write_openai_embed(embedding)["input"] == embedding.texts


def test_a_caller_of_openais_format() -> None:
    body = {"model": "m", "input": ["a"], "dimensions": 8, "encoding_format": "base64", "user": "u", "task_type": "X"}
    embedding = read_openai_embed(body)
    assert embedding == Embedding(
        model="m", texts=["a"], dimensions=8, is_base64=True, hints={"taskType": "X"}, dropped=["user"]
    )
    assert read_openai_embed({"model": "m", "input": "a"}).texts == ["a"]
    assert write_openai_embed(embedding) == {"model": "m", "input": ["a"], "encoding_format": "float", "dimensions": 8}


@pytest.mark.parametrize(
    ("members", "kind", "param"),
    [
        ({"input": [1, 2]}, Unsupported, "input"),
        ({"input": [[1], [2]]}, Unsupported, "input"),
        ({"input": []}, BadRequest, "input"),
        ({}, BadRequest, "input"),
        ({"input": "a", "encoding_format": "hex"}, BadRequest, "encoding_format"),
        ({"input": "a", "dimensions": -1}, BadRequest, "dimensions"),
        ({"input": "a", "model": None}, BadRequest, "model"),
    ],
)
def test_what_a_caller_of_openais_format_cannot_ask(
    members: dict[str, Any], kind: type[BadRequest], param: str
) -> None:
    with pytest.raises(kind) as raised:
        read_openai_embed({"model": "m", **members})
    assert raised.value.param == param


def test_base64_is_float32_with_the_smallest_byte_first() -> None:
    assert encoded([1.0, -2.0]) == "AACAPwAAAMA="
    assert decoded("AACAPwAAAMA=") == [1.0, -2.0]
    embedding = Embedding(model="m", texts=["a"], is_base64=True)
    body = write_openai_vectors(Vectors(vectors=[[1.0, -2.0]]), embedding)
    assert body["data"][0]["embedding"] == "AACAPwAAAMA="
    assert body["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert read_openai_vectors(body).vectors == [[1.0, -2.0]]


@pytest.mark.parametrize("vector", ["!", "AAA=", None, [None], [True]])
def test_what_is_no_vector(vector: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_openai_vectors({"data": [{"embedding": vector}]})


def test_vectors_are_put_in_order() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    assert read_openai_vectors({"data": data}).vectors == [[1.0], [2.0]]
