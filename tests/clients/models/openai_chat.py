"""A model behind OpenAI's chat completions, as many providers serve them."""

from __future__ import annotations

import json
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from tests.clients.models.model import plain_event
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

KNOWN = frozenset(CompletionCreateParamsStreaming.__annotations__) | frozenset(
    name for base in CompletionCreateParamsStreaming.__mro__ for name in getattr(base, "__annotations__", ())
)
USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


class OpenAIChat:
    """See Format. With `reasoning`, thinking goes out and must come back as `reasoning_content`."""

    def accepts(self, request: Request) -> bool:
        return request.method == "POST" and request.target == "/v1/chat/completions"

    def count(self, request: Request) -> None:
        return None

    def read(self, request: Request) -> Seen:
        body = request.json()
        refuse_unknown(body, KNOWN)
        seen = Seen(body=body, model=body["model"], streams=bool(body.get("stream")))
        for tool in body.get("tools") or ():
            seen.tools[tool["function"]["name"]] = tool["function"].get("parameters") or {}
        open_calls: list[str] = []
        for message in body["messages"]:
            open_calls = self._read_message(message, seen, open_calls)
        return seen

    def _read_message(self, message: Json, seen: Seen, open_calls: list[str]) -> list[str]:
        """Read a message; give the ids of the calls whose results must come next."""
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                raise BadRequest("messages with role 'tool' must be a response to a preceding message with tool_calls")
            seen.results.append(Result(id=message["tool_call_id"], text=text_of(message["content"], "text")))
            return [id for id in open_calls if id != message["tool_call_id"]]
        if open_calls:
            raise BadRequest(f"the calls {open_calls} have no results right behind them")
        if role == "assistant":
            return self._read_assistant(message, seen)
        text = text_of(message["content"], "text")
        if role in ("system", "developer"):
            seen.instructions += text
        elif role == "user":
            seen.prompts.append(text)
        else:
            raise BadRequest(f"no such role: {role}")
        return []

    def _read_assistant(self, message: Json, seen: Seen) -> list[str]:
        if message.get("reasoning_content"):
            seen.reasoning.append(message["reasoning_content"])
        calls = message.get("tool_calls") or ()
        if not calls and not message.get("content"):
            raise BadRequest("an assistant message needs content or tool_calls")
        for call in calls:
            function = call["function"]
            seen.calls.append(Call(id=call["id"], name=function["name"], arguments=json.loads(function["arguments"])))
        return [call["id"] for call in calls]

    def events(self, turn: Turn, seen: Seen, number: int) -> list[bytes]:
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += ({"reasoning_content": piece} for piece in pieces(turn.thinking))
        deltas += ({"content": piece} for piece in pieces(turn.text))
        for index, call in enumerate(self._calls(turn, number)):
            function, text = call["function"], call["function"]["arguments"]
            deltas.append({"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]})
            deltas += ({"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(text))
        head = {**self._head(seen, number), "object": "chat.completion.chunk"}
        choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": self._reason(turn)})
        events = [plain_event({**head, "choices": [choice]}) for choice in choices]
        if (seen.body.get("stream_options") or {}).get("include_usage"):
            events.append(plain_event({**head, "choices": [], "usage": USAGE}))
        return [*events, b"data: [DONE]\n\n"]

    def whole(self, turn: Turn, seen: Seen, number: int) -> Json:
        message: Json = {"role": "assistant", "content": turn.text or None, "refusal": None}
        if turn.thinking:
            message["reasoning_content"] = turn.thinking
        if turn.calls:
            message["tool_calls"] = self._calls(turn, number)
        choice = {"index": 0, "message": message, "finish_reason": self._reason(turn), "logprobs": None}
        return {**self._head(seen, number), "object": "chat.completion", "choices": [choice], "usage": USAGE}

    def _head(self, seen: Seen, number: int) -> Json:
        return {"id": f"chatcmpl-{number}", "created": 1790000000, "model": seen.model}

    def _reason(self, turn: Turn) -> str:
        return "tool_calls" if turn.calls else "stop"

    def _calls(self, turn: Turn, number: int) -> list[Any]:
        return [
            {
                "id": self.call_id(number, index),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_text(call)},
            }
            for index, call in enumerate(turn.calls)
        ]

    def call_id(self, number: int, index: int) -> str:
        return f"call_chat{number}x{index}"

    def state(self, number: int, thinking: str) -> str:
        return thinking

    def error(self, message: str) -> Json:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
