"""Google's Gemini API, repeated: generation, token counting, and the list of models.

Source: "Generating content", "Counting tokens" and "Models" in the Gemini API reference.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.providers.echo.answers import EchoResponse, data_event, document, stream
from ai_gateway.providers.echo.prompt import Ask, tokens, words

METHODS = ("generateContent", "streamGenerateContent", "countTokens")


def answer(ask: Ask, model: str, method: str) -> EchoResponse:
    """Answer `POST /v1beta/models/{model}:{method}`, the method being one of METHODS."""
    if method == "countTokens":
        return document({"totalTokens": _prompt_tokens(ask), "promptTokensDetails": _details(_prompt_tokens(ask))})
    if method == "generateContent":
        return document(_content(ask, model, ask.reply, is_last=True))
    parts = words(ask.reply)
    contents = [_content(ask, model, part, is_last=n == len(parts)) for n, part in enumerate(parts, 1)]
    if ask.query.get("alt") == "sse":
        return stream([data_event(content, b"\r\n") for content in contents], ask.delay)
    return stream(_array(contents), ask.delay, b"application/json; charset=UTF-8")


def _array(contents: list[dict[str, Any]]) -> list[bytes]:
    """Write a JSON array element by element, as Google does."""
    encoded = [msgspec.json.encode(content) for content in contents]
    return [b"[" + encoded[0], *(b",\r\n" + element for element in encoded[1:]), b"]"]


def _content(ask: Ask, model: str, text: str, *, is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if is_last:
        candidate["finishReason"] = "STOP"
    prompt, answered = _prompt_tokens(ask), tokens(ask.reply)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answered,
        "totalTokenCount": prompt + answered,
        "promptTokensDetails": _details(prompt),
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": ask.id}


def _prompt_tokens(ask: Ask) -> int:
    """Count the prompt, which token counting may wrap into a whole request."""
    wrapped = ask.body.get("generateContentRequest")
    if isinstance(wrapped, dict):
        return Ask(method=ask.method, path=ask.path, query={}, fields={}, body=wrapped).prompt_tokens
    return ask.prompt_tokens


def _details(count: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": count}]


def list_models(models: tuple[str, ...]) -> EchoResponse:
    """Answer `GET /v1beta/models`."""
    return document({"models": [_model(model) for model in models]})


def show_model(model: str) -> EchoResponse:
    """Answer `GET /v1beta/models/{id}`."""
    return document(_model(model))


def _model(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "version": "1",
        "displayName": model,
        "inputTokenLimit": 1_000_000,
        "outputTokenLimit": 1_000_000,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
