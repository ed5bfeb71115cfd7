"""Embeddings between Google's format and OpenAI's.

A provider that has OpenAI's `/v1/embeddings` serves Google's clients, and a provider of Google's native API serves
OpenAI's. Everything else that embeds (Cohere's own path, say) is carried through to whoever has it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.calls import Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import BadRequest, UpstreamProtocolError
from ai_gateway.hops.base import Attempt, Hop, check_status, read_whole, translated_headers
from ai_gateway.hops.generation import (
    MAX_ANSWER,
    dropped_header,
    read_answer,
    read_object,
    told_error,
    translated_request_headers,
)
from ai_gateway.listeners import BodyListener
from ai_gateway.protocols import DIALECTS, PROTOCOLS
from ai_gateway.protocols.endpoints import EmbeddingPassing
from ai_gateway.protocols.gemini import embeddings
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.segments import path_segments

OPENAI_PATH = "/v1/embeddings"
ENDPOINT = "embeddings"
"""What a provider's row has among its endpoints that serves the path."""

GOOGLE_METHODS = (embeddings.ONE, embeddings.MANY)


def is_needed(attempt: Attempt) -> bool:
    """Whether the call asks for embeddings in a format that the provider does not have."""
    provider, path = attempt.provider, attempt.call.path
    has_openai = ENDPOINT in provider.endpoints or provider.row in ("", "custom")
    has_google = "gemini" in provider.dialects
    if path == OPENAI_PATH:
        return has_google and not has_openai
    return path.endswith(tuple(f":{method}" for method in GOOGLE_METHODS)) and has_openai and not has_google


class Embedding(Hop):
    """A call for embeddings, translated."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        call = attempt.call
        if not isinstance(call.body, bytes) or call.model is None:
            raise BadRequest("The request names no model.", param="model")
        body = read_object(call.body)
        self._method = "" if call.path == OPENAI_PATH else call.path.rpartition(":")[2]
        self._asked = (
            embeddings.read_embed(body, self._method, call.model)
            if self._method
            else embeddings.read_openai_embed(body)
        )

    def request(self) -> UpstreamRequest:
        """See Hop.request()."""
        attempt = self.attempt
        model = attempt.target.model or self._asked.model
        asked = msgspec.structs.replace(self._asked, model=model)
        to_openai = bool(self._method)
        headers = translated_request_headers(attempt.call)
        translated = msgspec.structs.replace(
            attempt.call,
            path=OPENAI_PATH if to_openai else f"/v1beta/models/{path_segments(model)}:{embeddings.MANY}",
            query=b"",
            headers=headers,
            fields=dict(headers),
            body=dumps(embeddings.write_openai_embed(asked) if to_openai else embeddings.write_embed(asked)),
            dialect=DIALECTS["openai" if to_openai else "google"],
            model=model,
        )
        return attempt.provider.build(translated, attempt.caller, model)

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge()."""
        attempt = self.attempt
        check_status(attempt, response)
        body = await read_whole(response, MAX_ANSWER)
        if response.status != 200:
            format = "openai_chat" if self._method else "gemini"
            raise told_error(attempt, PROTOCOLS[format].read_error(response.status, dict(response.headers), body))
        document = read_answer(body)
        listener = BodyListener(attempt.call, EmbeddingPassing())
        listener.hear(body)
        attempt.meter.listener = listener
        content = dumps(self._translated(document))
        headers = translated_headers(attempt, response, b"application/json")
        headers += [*dropped_header(self._asked.dropped), (b"content-length", b"%d" % len(content))]
        return Reply(status=200, headers=headers, body=content)

    def _translated(self, document: dict[str, Any]) -> dict[str, Any]:
        """Write the provider's answer for the caller, who finds the vectors by the places of the texts."""
        vectors = (embeddings.read_openai_vectors if self._method else embeddings.read_vectors)(document)
        if len(vectors.vectors) != len(self._asked.texts):
            raise UpstreamProtocolError("The provider's answer has not as many embeddings as there are texts.")
        if self._method:
            return embeddings.write_vectors(vectors, self._method)
        return embeddings.write_openai_vectors(vectors, self._asked)
