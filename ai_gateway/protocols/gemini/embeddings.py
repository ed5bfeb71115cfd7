"""Embeddings: Google's `:embedContent` and `:batchEmbedContents`, and OpenAI's `/v1/embeddings`, either for the other.

Google, one text and many:

    {"content": {"parts": [{"text": "..."}]}, "taskType": "RETRIEVAL_QUERY", "title": "...",
     "outputDimensionality": 256}
    {"requests": [{"model": "models/...", "content": {...}, ...}, ...]}
    -> {"embedding": {"values": [0.1, ...]}}
    -> {"embeddings": [{"values": [0.1, ...]}, ...], "usageMetadata": {"promptTokenCount": 4}}

OpenAI:

    {"model": "...", "input": "..." or ["...", ...], "dimensions": 256, "encoding_format": "float" or "base64"}
    -> {"object": "list", "model": "...", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, ...]}, ...],
        "usage": {"prompt_tokens": 4, "total_tokens": 4}}

In base64 a vector is its numbers as float32, little-endian, one behind the other. Source: the references of the Gemini
API ("Embeddings") and of OpenAI ("Create embeddings"); openai-python asks for base64 unless its caller says otherwise.
"""

from __future__ import annotations

import array
import base64
import binascii
import sys
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest, Unsupported, UpstreamProtocolError
from ai_gateway.protocols.gemini.spelling import camel, each, integer, members
from ai_gateway.protocols.members import text_at

ONE = "embedContent"
MANY = "batchEmbedContents"

HINTS = ("taskType", "title")
"""What Google lets a caller say of a text, and OpenAI does not."""

OPENAI_MEMBERS = frozenset(("model", "input", "dimensions", "encoding_format"))


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be embedded. `hints` are those of Google's `taskType` and `title` that all texts have in common;
    `dropped` are members that are not carried over, as the caller calls them."""

    model: str
    texts: list[str]
    dimensions: int | None = None
    hints: dict[str, str] = {}
    is_base64: bool = False
    dropped: list[str] = []


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of the texts, in their order. `tokens` is how many the texts had, None where nobody counted."""

    vectors: list[list[float]]
    tokens: int | None = None


# Requests of Google's format.


def read_embed(body: dict[str, Any], method: str, model: str) -> Embedding:
    """Read a caller's request: `method` is `embedContent` or `batchEmbedContents`, `model` the one in the path.

    Raises BadRequest for what is malformed, Unsupported for texts that want different dimensions or different hints.
    """
    if method == ONE:
        requests = [("", members(body, ""))]
    else:
        requests = [
            (f"{at}.", members(request, at)) for at, request in each(members(body, "").get("requests"), "requests")
        ]
    if not requests:
        raise BadRequest("The request has no texts.", param="requests")
    dimensions = {integer(request.get("outputDimensionality"), f"{at}outputDimensionality") for at, request in requests}
    if len(dimensions) > 1:
        raise Unsupported("All texts must have the same dimensions.", param="requests")
    return Embedding(
        model=model,
        texts=[_text(request.get("content"), f"{at}content") for at, request in requests],
        dimensions=dimensions.pop(),
        hints=_common_hints([request for _, request in requests]),
        dropped=sorted({name for _, request in requests for name in request if name in HINTS}),
    )


def _text(content: object, at: str) -> str:
    """Read what is to be embedded: the texts of a content. Pictures have no place in other formats."""
    if isinstance(content, str):
        return content
    texts = []
    for place, part in each(members(content, at).get("parts"), f"{at}.parts"):
        text = part if isinstance(part, str) else members(part, place).get("text")
        if text is None:
            raise Unsupported("Only text can be embedded by this provider.", param=place)
        texts.append(text_at(text, f"{place}.text"))
    return "".join(texts)


def _common_hints(requests: list[dict[str, Any]]) -> dict[str, str]:
    first = {name: requests[0].get(name) for name in HINTS}
    return {
        name: value
        for name, value in first.items()
        if isinstance(value, str) and all(request.get(name) == value for request in requests)
    }


def write_embed(embedding: Embedding) -> dict[str, Any]:
    """Write a request for `:batchEmbedContents`, which takes any number of texts."""
    options: dict[str, Any] = {"outputDimensionality": embedding.dimensions} if embedding.dimensions is not None else {}
    model = embedding.model if embedding.model.startswith("models/") else f"models/{embedding.model}"
    return {
        "requests": [
            {"model": model, "content": {"parts": [{"text": text}]}, **embedding.hints, **options}
            for text in embedding.texts
        ]
    }


def read_vectors(body: dict[str, Any]) -> Vectors:
    """Read an answer of either method. Raises UpstreamProtocolError for what is no answer."""
    found = body.get("embeddings", body.get("embedding"))
    vectors = [_values(each.get("values")) for each in _objects(found if isinstance(found, list) else [found])]
    usage = body.get("usageMetadata")
    tokens = usage.get("promptTokenCount") if isinstance(usage, dict) else None
    return Vectors(vectors=vectors, tokens=tokens if isinstance(tokens, int) else None)


def write_vectors(vectors: Vectors, method: str) -> dict[str, Any]:
    """Write the answer of a method."""
    usage = {} if vectors.tokens is None else {"usageMetadata": _usage(vectors.tokens)}
    written = [{"values": vector} for vector in vectors.vectors]
    return {"embedding": written[0], **usage} if method == ONE else {"embeddings": written, **usage}


def _usage(tokens: int) -> dict[str, int]:
    return {"promptTokenCount": tokens, "totalTokenCount": tokens}


# Requests of OpenAI's format.


def read_openai_embed(body: dict[str, Any]) -> Embedding:
    """Read a caller's request. Raises BadRequest for what is malformed, Unsupported for texts given as numbers of
    tokens, which mean something to the model they were made for alone."""
    given = body.get("input")
    texts: list[Any] = given if isinstance(given, list) else [given]
    if any(isinstance(text, int | list) for text in texts):
        raise Unsupported("The texts must be strings: numbers of tokens mean nothing to this provider.", param="input")
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("The input must be a string or a list of strings.", param="input")
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise BadRequest("The encoding format must be float or base64.", param="encoding_format")
    dimensions = integer(body.get("dimensions"), "dimensions")
    if dimensions is not None and dimensions < 1:
        raise BadRequest(f"{dimensions} is less than the minimum of 1 - 'dimensions'", param="dimensions")
    extras = {camel(name): value for name, value in body.items() if camel(name) in HINTS and isinstance(value, str)}
    return Embedding(
        model=text_at(body.get("model"), "model"),
        texts=texts,
        dimensions=dimensions,
        hints=extras,
        is_base64=encoding == "base64",
        dropped=[
            name
            for name, value in body.items()
            if name not in OPENAI_MEMBERS and camel(name) not in extras and value is not None
        ],
    )


def write_openai_embed(embedding: Embedding) -> dict[str, Any]:
    """Write a request for `/v1/embeddings`."""
    body: dict[str, Any] = {"model": embedding.model, "input": embedding.texts, "encoding_format": "float"}
    return body if embedding.dimensions is None else {**body, "dimensions": embedding.dimensions}


def read_openai_vectors(body: dict[str, Any]) -> Vectors:
    """Read an answer, of either encoding. Raises UpstreamProtocolError for what is no answer."""
    data = _objects(body.get("data"))
    data.sort(key=lambda entry: entry["index"] if isinstance(entry.get("index"), int) else 0)
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    vectors = [_values(entry.get("embedding")) for entry in data]
    return Vectors(vectors=vectors, tokens=tokens if isinstance(tokens, int) else None)


def write_openai_vectors(vectors: Vectors, embedding: Embedding) -> dict[str, Any]:
    """Write the answer for the caller whose request this was. What nobody counted is told as 0, as the format demands a
    number."""
    tokens = vectors.tokens or 0
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encoded(vector) if embedding.is_base64 else vector}
            for index, vector in enumerate(vectors.vectors)
        ],
        "model": embedding.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


# Vectors.


def encoded(vector: list[float]) -> str:
    """Write a vector in base64. Raises UpstreamProtocolError for numbers that are too large for it."""
    try:
        numbers = array.array("f", vector)
    except OverflowError:
        raise UpstreamProtocolError("The provider's answer has an embedding that is no vector.") from None
    return base64.b64encode(_little_endian(numbers).tobytes()).decode()


def decoded(text: str) -> list[float]:
    """Read a vector in base64. Raises ValueError for what is none."""
    numbers = array.array("f")
    numbers.frombytes(base64.b64decode(text, validate=True))
    return _little_endian(numbers).tolist()


def _little_endian(numbers: array.array[float]) -> array.array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


NUMBERS = frozenset((int, float))
"""The types of what a vector consists of."""


def _values(value: object) -> list[float]:
    try:
        vector = decoded(value) if isinstance(value, str) else value
    except (ValueError, binascii.Error):
        vector = None
    if not isinstance(vector, list) or not NUMBERS.issuperset(map(type, vector)):
        raise UpstreamProtocolError("The provider's answer has an embedding that is no vector.")
    return vector


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UpstreamProtocolError("The provider's answer has no embeddings.")
    return [*value]
