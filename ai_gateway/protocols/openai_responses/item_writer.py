"""What a response consists of, as it is written for callers: items, and the object around them.

A caller's SDK expects every member of the object, and its request repeated in it. Source: "The response object" in
OpenAI's API reference for Responses.
"""

from __future__ import annotations

import time
from typing import Any

from ai_gateway.protocols.conversation import Request, Stop, TokenUsage
from ai_gateway.protocols.jsontext import arguments_object
from ai_gateway.protocols.openai_responses.namespaces import SEARCH, CallerNames
from ai_gateway.protocols.openai_responses.usage import write_usage
from ai_gateway.protocols.openai_tiers import TIERS
from ai_gateway.protocols.tool_ids import made_id

Item = dict[str, Any]

INCOMPLETE = {
    Stop.MAX_TOKENS: "max_output_tokens",
    Stop.CONTEXT_FULL: "max_output_tokens",
    Stop.FILTERED: "content_filter",
}
"""Why a response is incomplete; after every other stop it is completed."""

ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""Members of the request that its response repeats, with what is said of those that the caller left out."""

FUNCTION = {"description": None, "parameters": None, "strict": False}
"""Members of a function that are repeated even if the caller left them out."""


class ResponseObject:
    """Writes the object of one response, as it is at different times."""

    def __init__(self, request: Request, id: str, created: int | None, model: str, service_tier: str | None) -> None:
        self.id = id if id.startswith("resp_") else made_id("resp_", id or time.time_ns())
        self._created = int(time.time()) if created is None else created
        self._model = model or request.model
        self._service_tier = service_tier
        self._echo = echo(request.source)

    @property
    def stem(self) -> str:
        """What the ids of the response's items have in common."""
        return self.id.removeprefix("resp_")

    def in_progress(self) -> dict[str, Any]:
        """Write it as it is when it has begun."""
        return self._object("in_progress", [], None)

    def finished(self, stop: Stop, output: list[Item], usage: TokenUsage | None, tier: str | None) -> dict[str, Any]:
        """Write it as it is in the end."""
        self._service_tier = tier or self._service_tier
        reason = INCOMPLETE.get(stop)
        if reason is not None:
            written = self._object("incomplete", output, usage)
            return {**written, "incomplete_details": {"reason": reason}}
        completed = max(self._created, int(time.time()))
        return {**self._object("completed", output, usage), "completed_at": completed}

    def failed(self, output: list[Item], error: dict[str, Any]) -> dict[str, Any]:
        """Write it as it is when it went wrong on the way."""
        return {**self._object("failed", output, None), "error": error}

    def _object(self, status: str, output: list[Item], usage: TokenUsage | None) -> dict[str, Any]:
        tier = self._service_tier
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "completed_at": None,
            "error": None,
            "frequency_penalty": 0.0,
            "incomplete_details": None,
            "model": self._model,
            "moderation": None,
            "output": output,
            "presence_penalty": 0.0,
            "previous_response_id": None,
            "service_tier": tier if tier in TIERS else "default",
            "store": False,
            "usage": write_usage(usage),
            **self._echo,
        }


def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Repeat what a caller asked for, with the defaults of what it left out."""
    echoed = {name: default if body.get(name) is None else body[name] for name, default in ECHOED.items()}
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    echoed["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    echoed["text"] = {
        "format": text.get("format") or {"type": "text"},
        "verbosity": text.get("verbosity") or "medium",
    }
    echoed["tools"] = [_echoed_tool(tool) for tool in body.get("tools") or ()]
    return echoed


def _echoed_tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {**FUNCTION, **{name: value for name, value in tool.items() if value is not None}}


def message_item(id: str, content: list[dict[str, Any]], status: str, phase: str | None) -> Item:
    """Write a message of the model's."""
    item = {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}
    return item if phase is None else {**item, "phase": phase}


def text_part(text: str, annotations: list[dict[str, Any]], logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Write a text in a message."""
    return {"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}


def refusal_part(text: str) -> dict[str, Any]:
    """Write a refusal in a message."""
    return {"type": "refusal", "refusal": text}


def reasoning_item(id: str, text: str, sealed: str | None) -> Item:
    """Write reasoning: what may be shown of it, and the sealed state that proves it."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Item = {"id": id, "type": "reasoning", "summary": summary}
    return item if sealed is None else {**item, "encrypted_content": sealed}


class CallItems:
    """Writes the calls of one response, in the words of the caller whose request it answers."""

    def __init__(self, request: Request) -> None:
        self._names = CallerNames(request.source)

    def kind(self, name: str, is_custom: bool) -> str:
        """Tell the type of a call's item."""
        if is_custom:
            return "custom_tool_call"
        return "tool_search_call" if name == SEARCH and self._names.has_own_search else "function_call"

    def item(self, kind: str, id: str, call_id: str, name: str, arguments: str, status: str) -> Item:
        """Write a call; "" for arguments that are still to come."""
        if kind == "tool_search_call":
            found = arguments_object(arguments)
            item = {"id": id, "type": kind, "status": status, "call_id": call_id, "execution": "client"}
            return {**item, "arguments": found}
        namespace, inner = self._names.split(name)
        item = {"id": id, "type": kind, "status": status, "call_id": call_id, "name": inner}
        item["input" if kind == "custom_tool_call" else "arguments"] = arguments
        return {**item, "namespace": namespace} if namespace else item


PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "tool_search_call": "tsc_",
}
"""What the ids of items begin with."""


def item_id(kind: str, stem: str, index: int) -> str:
    """Name the item of a response at a place in its output."""
    return f"{PREFIXES[kind]}{stem}{index:03d}"
