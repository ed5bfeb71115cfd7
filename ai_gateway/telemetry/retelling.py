"""What a finished call was, in the terms of those who watch from outside: its kind of work, and its attempts.

What callers make up is not in it: kinds and endpoints are those of a list, so that there is a bounded number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ai_gateway.meter import Entry

OTHER = "other"

OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}
"""The operations of OpenTelemetry's conventions for generative AI, by endpoint."""

ENDPOINTS = frozenset(
    (
        *OPERATIONS,
        *("messages/count_tokens", "messages/batches", "responses/input_tokens", "countTokens", "predict", "models"),
        *("images/generations", "images/edits", "audio/speech", "audio/transcriptions", "audio/translations"),
        *("rerank", "moderations", "ocr", "files", "uploads", "batches", "fine_tuning", "vector_stores"),
        *("conversations", "realtime", "videos", "assistants", "threads", "converse", "converse-stream"),
    )
)
"""Endpoints that are told apart. What lies below one counts as that one."""

KINDS = {
    **dict.fromkeys(("upstream_unreachable", "upstream_address_refused"), "unreachable"),
    "upstream_closed": "closed",
    **dict.fromkeys(("upstream_protocol_error", "upstream_redirect"), "protocol"),
    "upstream_timeout": "timeout",
    "deadline_exceeded": "deadline",
    "upstream_auth_error": "credential",
    "provider_not_configured": "unconfigured",
    **dict.fromkeys(("provider_busy", "upstream_pool_timeout"), "busy"),
    **dict.fromkeys(("context_length_exceeded", "content_policy_violation", "model_not_found"), "unsuitable"),
    **dict.fromkeys(("unsupported_value", "unsupported_dialect", "price_unknown"), "unsuitable"),
}
"""Kinds of failures by their code."""

ENDED_BADLY = frozenset(("failed", "timed_out", "stopped"))


class Attempted(NamedTuple):
    """One target's turn. `begin` and `end` are in milliseconds since the call arrived; `kind` is how it failed, "" if
    it did not; `tokens` are there of a part of an answer that others went on with."""

    provider: str
    model: str
    status: int
    error: str
    kind: str
    begin: int
    end: int


def endpoint_of(entry: Entry) -> str:
    """Name the endpoint of a call, by the list."""
    path = entry.endpoint
    if ":" in path:
        path = path.rpartition(":")[2]  # Google's methods: models/gemini-3-flash:generateContent.
    while path:
        if path in ENDPOINTS:
            return path
        path = path.rpartition("/")[0]
    last = entry.endpoint.rpartition("/")[2]  # Amazon's: model/NAME/converse.
    return last if last in ENDPOINTS else OTHER


def operation_of(entry: Entry) -> str:
    """Name the kind of work, as OpenTelemetry does where it has a name for it."""
    endpoint = endpoint_of(entry)
    return OPERATIONS.get(endpoint) or ("chat" if endpoint.startswith("converse") else endpoint)


def own_seconds(entry: Entry) -> float:
    """Tell the gateway's own time: until a call was sent on, without what it waited for a place."""
    return max(entry.overhead_us - entry.queued_ms * 1000, 0) / 1e6


def prompt_of(entry: Entry) -> int:
    """Count all tokens of a prompt."""
    cached = entry.cache_read_tokens + entry.cache_write_tokens + entry.cache_write_1h_tokens
    return entry.input_tokens + cached + entry.input_audio_tokens + entry.input_image_tokens


def output_of(entry: Entry) -> int:
    """Count all tokens of an answer."""
    return entry.output_tokens + entry.reasoning_tokens + entry.output_audio_tokens + entry.output_image_tokens


def attempts_of(entry: Entry) -> list[Attempted]:
    """Tell the attempts of a call one after the other. One that no trail tells of was the last, and did well."""
    found: list[Attempted] = []
    asked = [each for each in entry.trail or () if "why" not in each]  # The others were passed over.
    for each in asked:
        found.append(_tried(each, found[-1].end if found else 0, entry))
    if entry.attempts and not _is_told_to_the_end(asked, entry):
        begin = max(entry.overhead_us // 1000, found[-1].end if found else 0)
        kind = "broken" if entry.outcome in ENDED_BADLY else ""
        last = (entry.provider, entry.served_model, entry.status, entry.error_code, kind)
        found.append(Attempted(*last, min(begin, entry.duration_ms), entry.duration_ms))
    return found


def _tried(told: Mapping[str, Any], after: int, entry: Entry) -> Attempted:
    error, status = str(told.get("error") or ""), int(told.get("status") or 0)
    begin = min(int(told.get("at", after)), entry.duration_ms)  # These are rounded, each by itself.
    end = min(begin + int(told["ms"]), entry.duration_ms) if "ms" in told else entry.duration_ms
    kind = kind_of(status, error) if "ms" in told else ""
    return Attempted(str(told.get("provider")), str(told.get("model") or ""), status, error, kind, begin, end)


def _is_told_to_the_end(asked: Sequence[Mapping[str, Any]], entry: Entry) -> bool:
    """Whether the last attempt is in the trail: it failed before anything of an answer was given, or it went on with
    the answer of another, whose parts are all in the trail."""
    return bool(asked) and ("ms" not in asked[-1] or entry.status >= 400)


def kind_of(status: int, code: str) -> str:
    """Name the kind of a failure."""
    if code in KINDS:
        return KINDS[code]
    if status == 429:
        return "rate_limited"
    if status in (503, 529):
        return "overloaded"
    if status >= 500:
        return "server_error"
    return "credential" if status in (401, 402, 403) else "refused"
