"""The wire formats: which of them a request is written in, and which of them can be translated.

A folder is a format that is translated from and to. A file of one name answers the same question in every folder:

    request_reader, request_writer     a request: what a caller asks for, what a provider is asked
    message_…, content_…               its turns, and the parts of a turn
    tool_…, reasoning_…, output_…      its tools, how much the model shall think, what form the answer has
    response                           a whole answer, read and written
    stream_reader, stream_writer       an answer that comes in pieces; splitter or framing: where a piece ends
    stops, usage, citations, errors    why an answer ended, what it used, what it rests on, why there is none
    states, restoring                  what a provider wants back, and a body that passes unchanged but for it
    passing                            what an answer used that passes unchanged
    count, schemas                     counting a prompt's tokens, JSON Schemas as the format takes them

A module beside them is a vendor's other endpoints, whose bodies are carried through, or a part of the neutral
vocabulary (`conversation`, `events`), or what the formats share. No format knows another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ai_gateway.protocols import (
    anthropic,
    anthropic_messages,
    bedrock_converse,
    gemini,
    google,
    openai,
    openai_chat,
    openai_responses,
    realtime,
)
from ai_gateway.protocols.anthropic_messages import count as anthropic_count
from ai_gateway.protocols.counting import Counter
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.gemini import count as gemini_count
from ai_gateway.protocols.openai_responses import count as responses_count
from ai_gateway.protocols.protocol import Protocol
from ai_gateway.protocols.segments import path_segments

FORMATS = (openai_chat, openai_responses, anthropic_messages, gemini, bedrock_converse)

DIALECTS = {module.DIALECT.name: module.DIALECT for module in (*FORMATS, openai, anthropic, google, realtime)}

PROTOCOLS: Mapping[str, Protocol] = {module.PROTOCOL.name: module.PROTOCOL for module in FORMATS}
"""What each format offers to be translated, by the name of its dialect."""

COUNTERS: Mapping[str, Counter] = {
    counter.format: counter
    for counter in (
        Counter(
            format="anthropic_messages",
            endpoint="messages/count_tokens",
            target=lambda model: "/v1/messages/count_tokens",
            read_request=anthropic_messages.PROTOCOL.read_request,
            write_request=anthropic_count.write_count_request,
            read=anthropic_count.read_count,
            write=anthropic_count.write_count,
        ),
        Counter(
            format="gemini",
            endpoint="",
            target=gemini_count.count_target,
            read_request=gemini_count.read_count_request,
            write_request=gemini_count.write_count_request,
            read=gemini_count.read_count,
            write=gemini_count.write_count,
        ),
        Counter(
            format="openai_responses",
            endpoint="responses/input_tokens",
            target=lambda model: "/v1/responses/input_tokens",
            read_request=openai_responses.PROTOCOL.read_request,
            write_request=responses_count.write_count_request,
            read=responses_count.read_count,
            write=responses_count.write_count,
        ),
    )
}
"""How the formats that have a counter of tokens ask for a count."""

GEMINI_GENERATION = (":generateContent", ":streamGenerateContent")
GEMINI_METHODS = (*GEMINI_GENERATION, ":countTokens", ":embedContent", ":batchEmbedContents")
"""How Google's paths end. Its own SDKs ask for them below /v1 or below /v1beta, by their version."""

BEDROCK_GENERATION = ("/converse", "/converse-stream")

_BY_PATH = {
    "/v1/chat/completions": openai_chat.DIALECT,
    "/v1/responses": openai_responses.DIALECT,
    "/v1/messages": anthropic_messages.DIALECT,
    "/v1/complete": anthropic.DIALECT,
    realtime.PATH: realtime.DIALECT,
}

_MODEL_IN_PATH = (
    re.compile(r"(/v1(?:beta)?/models/)(.+)(:[A-Za-z]+)"),
    re.compile(r"(/v1/model/)(.+)(/converse(?:-stream)?)"),
)
"""Paths that name the model: what stands before it, the model, and what stands behind it."""


def dialect_of(path: str, fields: Mapping[bytes, bytes]) -> Dialect:
    """Tell the format of a request by its path; on paths that several APIs share (`/v1/models`), by its headers."""
    known = _BY_PATH.get(path)
    if known is not None:
        return known
    if path.startswith("/v1/messages/"):
        return anthropic.DIALECT
    if path.endswith(GEMINI_GENERATION):
        return gemini.DIALECT
    if path.startswith("/v1beta/") or path.endswith(GEMINI_METHODS):
        return google.DIALECT
    if path.startswith("/v1/model/") and path.endswith(BEDROCK_GENERATION):
        return bedrock_converse.DIALECT
    if b"anthropic-version" in fields or b"x-api-key" in fields:
        return anthropic.DIALECT
    if b"x-goog-api-key" in fields and (path == "/v1/models" or path.startswith("/v1/models/")):
        return google.DIALECT
    return openai.DIALECT


def model_in(path: str) -> tuple[str, bool] | None:
    """Read the model that a path names, and whether the path asks for a stream. None if it names none."""
    for pattern in _MODEL_IN_PATH:
        found = pattern.fullmatch(path)
        if found is not None:
            return found[2], found[3] in (":streamGenerateContent", "/converse-stream")
    return None


def with_model(path: str, model: str) -> str:
    """Write a path with another model; a path that names none stays as it is. Raises ModelNotFound for what is no
    name."""
    for pattern in _MODEL_IN_PATH if "/model" in path else ():
        found = pattern.fullmatch(path)
        if found is not None:
            return f"{found[1]}{path_segments(model)}{found[3]}"
    return path


__all__ = [
    "COUNTERS",
    "DIALECTS",
    "PROTOCOLS",
    "Counter",
    "Dialect",
    "Protocol",
    "dialect_of",
    "model_in",
    "with_model",
]
