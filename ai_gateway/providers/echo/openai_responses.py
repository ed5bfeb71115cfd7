"""OpenAI Responses, repeated.

Source: "Responses" and "Streaming events" in OpenAI's API reference.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.providers.echo.answers import EchoResponse, document, named_event, stream
from ai_gateway.providers.echo.prompt import Ask, tokens, words


def answer(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/responses`."""
    if ask.is_stream:
        return stream(_events(ask), ask.delay)
    return document(_response(ask, "completed"))


def _events(ask: Ask) -> list[bytes]:
    place = {"item_id": _item_id(ask), "output_index": 0, "content_index": 0}
    item_place = {"output_index": 0}
    text = ask.reply
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response(ask, "in_progress")},
        {"type": "response.in_progress", "response": _response(ask, "in_progress")},
        {"type": "response.output_item.added", **item_place, "item": _item(ask, "in_progress", [])},
        {"type": "response.content_part.added", **place, "part": _part("")},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in words(text)),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(text)},
        {"type": "response.output_item.done", **item_place, "item": _item(ask, "completed", [_part(text)])},
        {"type": "response.completed", "response": _response(ask, "completed")},
    ]
    return [named_event({**event, "sequence_number": number}) for number, event in enumerate(events)]


def _response(ask: Ask, status: str) -> dict[str, Any]:
    is_complete = status == "completed"
    return {
        "id": f"resp_{ask.id}",
        "object": "response",
        "created_at": ask.now,
        "completed_at": ask.now if is_complete else None,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": ask.model,
        "output": [_item(ask, "completed", [_part(ask.reply)])] if is_complete else [],
        "usage": usage(ask) if is_complete else None,
        **_settings(ask),
    }


def _settings(ask: Ask) -> dict[str, Any]:
    """Repeat the settings of the request, with OpenAI's defaults for those that it does not have."""
    defaults: dict[str, Any] = {
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    return {name: default if ask.body.get(name) is None else ask.body[name] for name, default in defaults.items()}


def _item_id(ask: Ask) -> str:
    return f"msg_{ask.id}"


def _item(ask: Ask, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": _item_id(ask), "type": "message", "status": status, "role": "assistant", "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def usage(ask: Ask) -> dict[str, Any]:
    """Write the usage."""
    prompt, completion = ask.prompt_tokens, tokens(ask.reply)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
