"""Anthropic's API, repeated: messages, token counting, the older completions, and the list of models.

Source: "Messages", "Streaming messages", "Count tokens", "Models" and the legacy "Text Completions" in Anthropic's API
documentation.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.providers.echo.answers import EchoResponse, document, named_event, stream
from ai_gateway.providers.echo.prompt import Ask, tokens, words


def answer(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/messages`."""
    if ask.is_stream:
        return stream(_events(ask), ask.delay)
    content = [{"type": "text", "text": ask.reply, "citations": None}]
    return document({**_message(ask), "content": content, "stop_reason": "end_turn", "usage": _usage(ask)})


def _events(ask: Ask) -> list[bytes]:
    start = {**_message(ask), "usage": {**_usage(ask), "output_tokens": 1}}
    place = {"index": 0}
    deltas = (
        {"type": "content_block_delta", **place, "delta": {"type": "text_delta", "text": word}}
        for word in words(ask.reply)
    )
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", **place, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *deltas,
        {"type": "content_block_stop", **place},
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": tokens(ask.reply)}},
        {"type": "message_stop"},
    ]
    return [named_event(event) for event in events]


def _message(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"msg_{ask.id}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(ask: Ask) -> dict[str, Any]:
    return {
        "input_tokens": ask.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens(ask.reply),
        "service_tier": "standard",
    }


def count_tokens(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/messages/count_tokens`."""
    return document({"input_tokens": ask.prompt_tokens})


def answer_completion(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/complete`. Its prompt is one text with turns marked "Human:" and "Assistant:"."""
    text = ask.reply.rpartition("Human:")[2].rpartition("Assistant:")[0].strip() or ask.reply
    head = {"type": "completion", "id": f"compl_{ask.id}", "model": ask.model}
    if not ask.is_stream:
        return document({**head, "completion": text, "stop_reason": "stop_sequence", "stop": "\n\nHuman:"})
    events = [{**head, "completion": word, "stop_reason": None, "stop": None} for word in words(text)]
    events.append({**head, "completion": "", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"})
    return stream([named_event(event) for event in events], ask.delay)


def list_models(models: tuple[str, ...]) -> EchoResponse:
    """Answer `GET /v1/models`."""
    ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None}
    return document({"data": [_model(model) for model in models], "has_more": False, **ends})


def show_model(model: str) -> EchoResponse:
    """Answer `GET /v1/models/{id}`."""
    return document(_model(model))


def _model(model: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
    }
