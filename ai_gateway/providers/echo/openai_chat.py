"""OpenAI Chat Completions and the older completions, repeated.

Source: "Chat Completions" and "Completions" in OpenAI's API reference.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.providers.echo.answers import EchoResponse, data_event, document, stream
from ai_gateway.providers.echo.prompt import Ask, tokens, words

DONE = b"data: [DONE]\n\n"


def answer(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/chat/completions`."""
    if ask.is_stream:
        return stream(_chunks(ask), ask.delay)
    message: dict[str, Any] = {"role": "assistant", "content": ask.reply, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return document({**_head(ask, "chat.completion"), "choices": [choice], "usage": usage(ask)})


def _chunks(ask: Ask) -> list[bytes]:
    head = _head(ask, "chat.completion.chunk")
    has_usage = wants_usage(ask)
    if has_usage:
        head["usage"] = None
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += ({"content": word} for word in words(ask.reply))
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    events = [data_event({**head, "choices": [choice]}) for choice in choices]
    if has_usage:
        events.append(data_event({**head, "choices": [], "usage": usage(ask)}))
    return [*events, DONE]


def answer_completion(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/completions`."""
    head: dict[str, Any] = {"id": f"cmpl-{ask.id}", "object": "text_completion", "created": ask.now, "model": ask.model}
    if not ask.is_stream:
        return document({**head, "choices": [_text_choice(ask.reply, "stop")], "usage": usage(ask)})
    choices = [_text_choice(word, None) for word in words(ask.reply)]
    events = [data_event({**head, "choices": [choice]}) for choice in [*choices, _text_choice("", "stop")]]
    if wants_usage(ask):
        events.append(data_event({**head, "choices": [], "usage": usage(ask)}))
    return stream([*events, DONE], ask.delay)


def _text_choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _head(ask: Ask, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ask.id}",
        "object": kind,
        "created": ask.now,
        "model": ask.model,
        "system_fingerprint": "fp_echo",
    }


def wants_usage(ask: Ask) -> bool:
    """Whether the caller of a stream asked for its usage."""
    options = ask.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def usage(ask: Ask) -> dict[str, Any]:
    """Write the usage."""
    prompt, completion = ask.prompt_tokens, tokens(ask.reply)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
