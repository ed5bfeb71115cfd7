"""A model behind OpenAI's Responses, without stored conversations."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

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
    name for base in ResponseCreateParamsStreaming.__mro__ for name in getattr(base, "__annotations__", ())
) | {"client_metadata"}
USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1050,
}
TEXTS = ("input_text", "output_text", "text")


class OpenAIResponses:
    """See Format. Reasoning goes out encrypted, and has to come back unchanged right before what it led to."""

    def accepts(self, request: Request) -> bool:
        return request.method == "POST" and request.target == "/v1/responses"

    def count(self, request: Request) -> Json | None:
        if request.target != "/v1/responses/input_tokens":
            return None
        return {"object": "response.input_tokens", "input_tokens": COUNT}

    def read(self, request: Request) -> Seen:
        body = request.json()
        refuse_unknown(body, KNOWN)
        if body.get("previous_response_id"):
            raise BadRequest("previous response not found")
        seen = Seen(body=body, model=body["model"], streams=bool(body.get("stream")))
        seen.instructions = body.get("instructions") or ""
        for tool in body.get("tools") or ():
            if tool["type"] == "function":
                seen.tools[tool["name"]] = tool.get("parameters") or {}
            elif tool["type"] == "custom":
                seen.tools[tool["name"]] = {}
        items = body["input"]
        for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
            self._read_item(item, seen)
        return seen

    def _read_item(self, item: Json, seen: Seen) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            self._read_message(item, seen)
        elif kind == "function_call":
            seen.calls.append(Call(id=item["call_id"], name=item["name"], arguments=json.loads(item["arguments"])))
        elif kind == "custom_tool_call":
            seen.calls.append(Call(id=item["call_id"], name=item["name"], arguments=item["input"]))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if item["call_id"] not in {call.id for call in seen.calls}:
                raise BadRequest(f"No tool call found for function call output with call_id {item['call_id']}.")
            seen.results.append(Result(id=item["call_id"], text=text_of(item["output"], *TEXTS)))
        elif kind == "reasoning":
            if not str(item.get("encrypted_content")).startswith("sealed:"):
                raise BadRequest("The encrypted content could not be verified.")
            seen.reasoning.append(item["encrypted_content"])
        else:
            raise BadRequest(f"no such item: {kind}")

    def _read_message(self, item: Json, seen: Seen) -> None:
        text = text_of(item["content"], *TEXTS)
        if item["role"] == "user":
            seen.prompts.append(text)
        elif item["role"] in ("system", "developer"):
            seen.instructions += text
        elif item["role"] != "assistant":
            raise BadRequest(f"no such role: {item['role']}")

    def _items(self, turn: Turn, seen: Seen, number: int) -> list[Json]:
        items: list[Json] = []
        if turn.thinking:
            summary = [{"type": "summary_text", "text": turn.thinking}]
            item = {"id": f"rs_{number}", "type": "reasoning", "summary": summary}
            if "reasoning.encrypted_content" in (seen.body.get("include") or ()):
                item["encrypted_content"] = self.state(number, turn.thinking)
            items.append(item)
        if turn.text:
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": turn.text}
            head = {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant"}
            items.append({**head, "content": [part]})
        for index, call in enumerate(turn.calls):
            head = {"status": "completed", "call_id": self.call_id(number, index), "name": call.name}
            if isinstance(call.arguments, str):
                items.append(
                    {"id": f"ctc_{number}x{index}", "type": "custom_tool_call", **head, "input": call.arguments}
                )
            else:
                text = arguments_text(call)
                items.append({"id": f"fc_{number}x{index}", "type": "function_call", **head, "arguments": text})
        return items

    def whole(self, turn: Turn, seen: Seen, number: int) -> Json:
        return self._response(seen, number, "completed", self._items(turn, seen, number))

    def _response(self, seen: Seen, number: int, status: str, output: list[Json]) -> Json:
        is_over = status == "completed"
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 1790000000,
            "completed_at": 1790000001 if is_over else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": seen.body.get("max_output_tokens"),
            "model": seen.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": "medium", "summary": None},
            "store": False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": USAGE if is_over else None,
            "metadata": {},
        }

    def events(self, turn: Turn, seen: Seen, number: int) -> list[bytes]:
        items = self._items(turn, seen, number)
        events: list[tuple[str, Json]] = [
            ("response.created", {"response": self._response(seen, number, "in_progress", [])}),
            ("response.in_progress", {"response": self._response(seen, number, "in_progress", [])}),
        ]
        for index, item in enumerate(items):
            place = {"item_id": item["id"], "output_index": index}
            events.append(("response.output_item.added", {"output_index": index, "item": self._opened(item)}))
            events += ((name, {**place, **data}) for name, data in self._inside(item))
            events.append(("response.output_item.done", {"output_index": index, "item": item}))
        events.append(("response.completed", {"response": self._response(seen, number, "completed", items)}))
        return [
            named_event(name, {"type": name, "sequence_number": count, **data})
            for count, (name, data) in enumerate(events)
        ]

    def _opened(self, item: Json) -> Json:
        empty: dict[str, Any] = {"summary": [], "content": [], "arguments": "", "input": ""}
        opened = {name: empty.get(name, value) for name, value in item.items()}
        return {**opened, "status": "in_progress"} if "status" in item else opened

    def _inside(self, item: Json) -> list[tuple[str, Json]]:
        if item["type"] == "reasoning":
            return self._inside_reasoning(item)
        if item["type"] == "message":
            return self._inside_message(item)
        kind, member = "function_call_arguments", "arguments"
        if item["type"] == "custom_tool_call":
            kind, member = "custom_tool_call_input", "input"
        deltas = [(f"response.{kind}.delta", {"delta": piece}) for piece in pieces(item[member])]
        return [*deltas, (f"response.{kind}.done", {member: item[member]})]

    def _inside_reasoning(self, item: Json) -> list[tuple[str, Json]]:
        place, part = {"summary_index": 0}, item["summary"][0]
        name = "response.reasoning_summary"
        return [
            (f"{name}_part.added", {**place, "part": {**part, "text": ""}}),
            *((f"{name}_text.delta", {**place, "delta": piece}) for piece in pieces(part["text"])),
            (f"{name}_text.done", {**place, "text": part["text"]}),
            (f"{name}_part.done", {**place, "part": part}),
        ]

    def _inside_message(self, item: Json) -> list[tuple[str, Json]]:
        place, part = {"content_index": 0}, item["content"][0]
        return [
            ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
            *(
                ("response.output_text.delta", {**place, "delta": piece, "logprobs": []})
                for piece in pieces(part["text"])
            ),
            ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
            ("response.content_part.done", {**place, "part": part}),
        ]

    def call_id(self, number: int, index: int) -> str:
        return f"call_resp{number}x{index}"

    def state(self, number: int, thinking: str) -> str:
        return f"sealed:{number}:{thinking}"

    def error(self, message: str) -> Json:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
