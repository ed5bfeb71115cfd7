"""A model behind Anthropic's Messages API."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from anthropic.types.beta.message_create_params import MessageCreateParamsStreaming as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsStreaming

from tests.clients.models.model import COUNT, named_event
from tests.clients.models.turns import (
    BadRequest,
    Call,
    Json,
    Result,
    Seen,
    Turn,
    arguments_text,
    pieces,
    refuse_unknown,
    text_of,
)
from tests.upstream import Request

KNOWN = frozenset(
    name
    for params in (MessageCreateParamsStreaming, BetaParams)
    for base in params.__mro__
    for name in getattr(base, "__annotations__", ())
) - {"betas"} | {"temperature", "top_p", "top_k"}  # The newest version has no sampling; the one that is asked for does.
USAGE = {"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 50}


class AnthropicMessages:
    """See Format. Thinking goes out signed, and has to come back unchanged while tools are running."""

    def accepts(self, request: Request) -> bool:
        return request.method == "POST" and request.target.partition("?")[0] == "/v1/messages"

    def count(self, request: Request) -> Json | None:
        return {"input_tokens": COUNT} if request.target.startswith("/v1/messages/count_tokens") else None

    def read(self, request: Request) -> Seen:
        if not request.header("anthropic-version"):
            raise BadRequest("anthropic-version: header is required")
        body = request.json()
        # What `output_config` has replaced, the API takes from those who name the version that had it.
        is_older = "structured-outputs-" in (request.header("anthropic-beta") or "")
        refuse_unknown(body, KNOWN | {"output_format"} if is_older else KNOWN)
        seen = Seen(body=body, model=body["model"], streams=bool(body.get("stream")))
        if not body["max_tokens"] > 0:
            raise BadRequest("max_tokens: must be greater than 0")
        seen.instructions = text_of(body.get("system"), "text")
        seen.tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools") or ()}
        for message in body["messages"]:
            self._read_message(message, seen)
        self._check_order(body["messages"])
        self._check_thinking(body)
        return seen

    def _read_message(self, message: Json, seen: Seen) -> None:
        if message["role"] not in ("user", "assistant", "system"):
            raise BadRequest(f"messages: no such role: {message['role']}")
        if isinstance(message["content"], str):
            message = {**message, "content": [{"type": "text", "text": message["content"]}]}
        for block in message["content"]:
            self._read_block(message["role"], block, seen)

    def _read_block(self, role: str, block: Json, seen: Seen) -> None:
        kind = block["type"]
        if kind == "text":
            if not block["text"]:
                raise BadRequest("messages: text content blocks must be non-empty")
            if role == "user":
                seen.prompts.append(block["text"])
            elif role == "system":
                seen.instructions += block["text"]
        elif kind == "tool_use":
            if not isinstance(block["input"], dict):
                raise BadRequest("tool_use.input: Input should be a valid dictionary")
            seen.calls.append(Call(id=block["id"], name=block["name"], arguments=block["input"]))
        elif kind == "tool_result":
            seen.results.append(Result(id=block["tool_use_id"], text=text_of(block.get("content"), "text")))
        elif kind == "thinking":
            if not str(block.get("signature")).startswith("signed:") or not block["signature"].endswith(
                block["thinking"]
            ):
                raise BadRequest("messages: Invalid `signature` in `thinking` block")
            seen.reasoning.append(block["signature"])
        elif kind != "image" or role != "user":
            raise BadRequest(f"no such block: {kind}")

    def _check_order(self, messages: list[Json]) -> None:
        turns = [(message["role"], self._ids(message)) for message in messages if message["role"] != "system"]
        if self._ids(messages[-1])[0]:
            raise BadRequest("messages: `tool_use` ids were found without `tool_result` blocks at the end")
        for (_, (called, _)), (role, (_, answered)) in pairwise([("user", ([], [])), *turns]):
            if called and (role != "user" or sorted(called) != sorted(answered)):
                raise BadRequest(f"`tool_use` ids {called} were found without `tool_result` blocks: {answered}")

    def _ids(self, message: Json) -> tuple[list[str], list[str]]:
        content = message["content"]
        blocks: list[Any] = [] if isinstance(content, str) else content
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        return called, [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]

    def _check_thinking(self, body: Json) -> None:
        """With thinking on, the assistant's turns of a tool loop begin with their thinking."""
        if "temperature" in body and "top_p" in body:
            raise BadRequest("`temperature` and `top_p` cannot both be specified for this model.")
        if (body.get("thinking") or {}).get("type") != "enabled":
            return
        if body["thinking"]["budget_tokens"] >= body["max_tokens"]:
            raise BadRequest("`max_tokens` must be greater than `thinking.budget_tokens`")
        if body.get("temperature", 1) != 1 or body.get("top_p", 1) < 0.95 or "top_k" in body:
            raise BadRequest("`temperature`, `top_p` and `top_k` are limited when thinking is enabled.")
        for message in body["messages"]:
            if self._ids(message)[0] and message["content"][0]["type"] != "thinking":
                raise BadRequest("Expected `thinking` or `redacted_thinking`, but found `tool_use`")

    def _blocks(self, turn: Turn, number: int) -> list[Json]:
        blocks: list[Json] = []
        if turn.thinking:
            signature = self.state(number, turn.thinking)
            blocks.append({"type": "thinking", "thinking": turn.thinking, "signature": signature})
        if turn.text:
            blocks.append({"type": "text", "text": turn.text})
        blocks += (
            {"type": "tool_use", "id": self.call_id(number, index), "name": call.name, "input": call.arguments}
            for index, call in enumerate(turn.calls)
        )
        return blocks

    def _message(self, seen: Seen, number: int) -> Json:
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": seen.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**USAGE, "output_tokens": 1},
        }

    def whole(self, turn: Turn, seen: Seen, number: int) -> Json:
        reason = "tool_use" if turn.calls else "end_turn"
        blocks = self._blocks(turn, number)
        return {**self._message(seen, number), "content": blocks, "stop_reason": reason, "usage": USAGE}

    def events(self, turn: Turn, seen: Seen, number: int) -> list[bytes]:
        events: list[Json] = [{"type": "message_start", "message": self._message(seen, number)}, {"type": "ping"}]
        blocks = self._blocks(turn, number)
        for index, block in enumerate(blocks):
            opened = block | dict.fromkeys(block.keys() & {"text", "thinking", "signature"}, "")
            if block["type"] == "tool_use":
                opened["input"] = {}
            events.append({"type": "content_block_start", "index": index, "content_block": opened})
            events += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in self._deltas(block))
            events.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": "tool_use" if turn.calls else "end_turn", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": USAGE})
        events.append({"type": "message_stop"})
        return [named_event(event["type"], event) for event in events]

    def _deltas(self, block: Json) -> list[Json]:
        if block["type"] == "text":
            return [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        if block["type"] == "tool_use":
            text = arguments_text(Call(name=block["name"], arguments=block["input"]))
            return [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(text))]
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        return [*deltas, {"type": "signature_delta", "signature": block["signature"]}]

    def call_id(self, number: int, index: int) -> str:
        return f"toolu_{number}x{index}"

    def state(self, number: int, thinking: str) -> str:
        return f"signed:{number}:{thinking}"

    def error(self, message: str) -> Json:
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
