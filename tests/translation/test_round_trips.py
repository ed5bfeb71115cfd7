"""Loops of tools with reasoning whose state a provider wants back, though the caller's format has no place for it.

Turn 1 is a recorded answer with a call of a tool. The caller sends it back in the SDK's own way, together with what the
tool gave; the provider must then get back, byte by byte and in the right place, what it had given out. Any other model
must get none of it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from tests.protocols.vectors import Vector
from tests.translation.callers import ChatCaller, GeminiCaller, MessagesCaller, ResponsesCaller
from tests.translation.conftest import Side
from tests.translation.recordings import said_again
from tests.translation.test_answers import ANSWERS as RECORDED
from tests.translation.test_answers import names
from tests.translation.test_requests import ANSWERS
from tests.translation.truth import events, truth, usual_gemini
from tests.upstream import Upstream, json_answer

Json = dict[str, Any]

THINKERS = {
    "openai_responses": "responses/thinker-1",
    "anthropic_messages": "messages/claude-sonnet-4-5",
    "gemini": "google/gemini-3-flash-preview",
}
"""A model for each format whose providers want state back."""

OTHERS = {
    "openai_responses": ("responses/thinker-2", "openai/gpt-5", "messages/claude-sonnet-4-5"),
    "anthropic_messages": ("messages/claude-opus-4-1", "responses/thinker-1", "chat/some-model"),
    "gemini": ("google/gemini-3-pro-preview", "messages/claude-sonnet-4-5", "converse/amazon.nova-pro-v1:0"),
}
"""Models that must not get it: another one of the same provider, and those of others."""


# What the provider gave out, and what it gets back. Each state with the place where it belongs.

State = tuple[str, str]


def states_given(vector: Vector) -> list[State]:
    """Read the states of a recorded answer: the place and the value."""
    if vector.format == "anthropic_messages":
        return [_block_state(block) for block in _blocks(vector) if block["type"] in THINKING]
    if vector.format == "openai_responses":
        return [
            ("reasoning", item["encrypted_content"])
            for item in _output(vector)
            if item["type"] == "reasoning" and item.get("encrypted_content")
        ]
    return [_part_state(part) for part in _parts(vector) if part.get("thoughtSignature") and "functionCall" in part]


THINKING = ("thinking", "redacted_thinking")


def _block_state(block: Json) -> State:
    if block["type"] == "thinking":
        return f"thinking: {block['thinking']}", block["signature"]
    return "redacted", block["data"]


def _part_state(part: Json) -> State:
    call = part["functionCall"]
    return f"call of {call['name']} with {json.dumps(call.get('args') or {}, sort_keys=True)}", part["thoughtSignature"]


def _blocks(vector: Vector) -> list[Json]:
    if not vector.is_stream:
        content: list[Json] = vector.response["content"]
        return content
    blocks: dict[int, Json] = {}
    for name, event in events(vector):
        if name == "content_block_start":
            blocks[event["index"]] = {**event["content_block"]}
        elif name == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
    return list(blocks.values())


def _output(vector: Vector) -> list[Json]:
    """Give the items of a response as they are when they are done: the last event may have the same thing encrypted
    once more."""
    if not vector.is_stream:
        output: list[Json] = vector.response["output"]
        return output
    return [event["item"] for name, event in events(vector) if name == "response.output_item.done"]


def _parts(vector: Vector) -> list[Json]:
    lines = [line.removeprefix(b"data: ") for line in usual_gemini(vector).splitlines() if line]
    return [
        part
        for chunk in map(json.loads, lines)
        for candidate in chunk.get("candidates") or ()
        for part in candidate.get("content", {}).get("parts", ())
    ]


def states_got(format: str, body: Json) -> list[State]:
    """Read the states of a request that has arrived, all of which must stand in the model's own turns."""
    if format == "anthropic_messages":
        return [
            _block_state(block)
            for message in body["messages"]
            if message["role"] == "assistant" and isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] in THINKING
        ]
    if format == "openai_responses":
        return [("reasoning", item["encrypted_content"]) for item in body["input"] if item.get("type") == "reasoning"]
    return [
        _part_state(part)
        for content in body["contents"]
        if content["role"] == "model"
        for part in content["parts"]
        if "thoughtSignature" in part and "functionCall" in part
    ]


def loops() -> Iterator[Vector]:
    """Give the recorded answers that call tools and have a state."""
    for vector in RECORDED:
        # In this order: to let the SDKs read every recording takes seconds.
        if vector.format in THINKERS and states_given(vector) and truth(vector).calls:
            yield vector


# The callers' own ways of going on.


class Loop(ABC):
    """A caller in the middle of a conversation: asks, then sends back the answer with the results of its tools."""

    dialect: str

    @abstractmethod
    def ask(self, model: str, tools: list[str], *, stream: bool) -> None:
        """Ask the first question."""

    @abstractmethod
    def go_on(self, model: str, tools: list[str]) -> None:
        """Send back what came, and the results."""


SCHEMA: Json = {"type": "object", "properties": {}}


class ChatLoop(Loop):
    dialect = "openai_chat"

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client
        self.messages: list[Any] = [{"role": "user", "content": "Go ahead."}]

    def _members(self, model: str, tools: list[str]) -> Json:
        functions = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in tools]
        return {"model": model, "messages": self.messages, "tools": functions, "reasoning_effort": "low"}

    def ask(self, model: str, tools: list[str], *, stream: bool) -> None:
        members = self._members(model, tools)
        message: Any
        if stream:
            # The helper takes only tools that it can hold the arguments against.
            for tool in members["tools"]:
                tool["function"] |= {"strict": True, "parameters": {**SCHEMA, "additionalProperties": False}}
            with self.client.chat.completions.stream(**members) as events:
                for _ in events:
                    pass
                message = events.current_completion_snapshot.choices[0].message
        else:
            message = self.client.chat.completions.create(**members).choices[0].message
        self.messages.append(message.to_dict())
        for call in message.tool_calls:
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": "done"})

    def go_on(self, model: str, tools: list[str]) -> None:
        self.client.chat.completions.create(**self._members(model, tools))


class ResponsesLoop(Loop):
    dialect = "openai_responses"

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client
        self.input: list[Any] = [{"role": "user", "content": "Go ahead."}]

    def _members(self, model: str, tools: list[str]) -> Json:
        functions = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in tools]
        return {
            "model": model,
            "input": self.input,
            "tools": functions,
            "reasoning": {"effort": "low"},
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }

    def ask(self, model: str, tools: list[str], *, stream: bool) -> None:
        members = self._members(model, tools)
        response: Any
        if stream:
            for event in self.client.responses.create(**members, stream=True):
                if event.type == "response.completed":
                    response = event.response
        else:
            response = self.client.responses.create(**members)
        self.input += [item.to_dict() for item in response.output]
        for item in response.output:
            if item.type == "function_call":
                self.input.append({"type": "function_call_output", "call_id": item.call_id, "output": "done"})

    def go_on(self, model: str, tools: list[str]) -> None:
        self.client.responses.create(**self._members(model, tools))


class MessagesLoop(Loop):
    dialect = "anthropic_messages"

    def __init__(self, client: anthropic.Anthropic) -> None:
        self.client = client
        self.messages: list[Any] = [{"role": "user", "content": "Go ahead."}]

    def _members(self, model: str, tools: list[str]) -> Json:
        return {
            "model": model,
            "max_tokens": 4096,
            "messages": self.messages,
            "tools": [{"name": name, "input_schema": SCHEMA} for name in tools],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }

    def ask(self, model: str, tools: list[str], *, stream: bool) -> None:
        members = self._members(model, tools)
        if stream:
            with self.client.messages.stream(**members) as events:
                message: Any = events.get_final_message()
        else:
            message = self.client.messages.create(**members)
        self.messages.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "done"}
            for block in message.content
            if block.type == "tool_use"
        ]
        self.messages.append({"role": "user", "content": results})

    def go_on(self, model: str, tools: list[str]) -> None:
        self.client.messages.create(**self._members(model, tools))


class GeminiLoop(Loop):
    dialect = "gemini"

    def __init__(self, client: genai.Client) -> None:
        self.client = client
        self.contents: list[Any] = [genai_types.Content(role="user", parts=[genai_types.Part(text="Go ahead.")])]

    def _config(self, tools: list[str]) -> genai_types.GenerateContentConfig:
        functions = [genai_types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA) for name in tools]
        return genai_types.GenerateContentConfig(
            tools=[genai_types.Tool(function_declarations=functions)],
            thinking_config=genai_types.ThinkingConfig(include_thoughts=True),
            automatic_function_calling=genai_types.AutomaticFunctionCallingConfig(disable=True),
        )

    def ask(self, model: str, tools: list[str], *, stream: bool) -> None:
        members: Json = {"model": model, "contents": list(self.contents), "config": self._config(tools)}
        if stream:
            chunks = list(self.client.models.generate_content_stream(**members))
        else:
            chunks = [self.client.models.generate_content(**members)]
        parts = [
            part
            for chunk in chunks
            for candidate in chunk.candidates or ()
            if candidate.content is not None
            for part in candidate.content.parts or ()
        ]
        self.contents.append(genai_types.Content(role="model", parts=parts))
        results = [
            genai_types.Part(
                function_response=genai_types.FunctionResponse(
                    id=part.function_call.id, name=part.function_call.name, response={"result": "done"}
                )
            )
            for part in parts
            if part.function_call is not None
        ]
        self.contents.append(genai_types.Content(role="user", parts=results))

    def go_on(self, model: str, tools: list[str]) -> None:
        self.client.models.generate_content(model=model, contents=self.contents, config=self._config(tools))


def loop(side: Side, dialect: str) -> Loop:
    """Begin a conversation."""
    caller = side.callers[dialect]
    if isinstance(caller, ChatCaller):
        return ChatLoop(caller.client)
    if isinstance(caller, ResponsesCaller):
        return ResponsesLoop(caller.client)
    if isinstance(caller, MessagesCaller):
        return MessagesLoop(caller.client)
    assert isinstance(caller, GeminiCaller)
    return GeminiLoop(caller.client)


LOOPS = list(loops())
CALLERS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
CASES = [(vector, dialect) for vector in LOOPS for dialect in CALLERS if dialect != vector.format]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("vector", "dialect"), CASES, ids=names)
def test_a_provider_gets_its_state_back(
    direct: Side, upstream: Upstream, vector: Vector, dialect: str, stream: bool
) -> None:
    conversation, model = loop(direct, dialect), THINKERS[vector.format]
    tools = sorted({call.name for call in truth(vector).calls})
    upstream.answer(said_again(vector), json_answer(ANSWERS[vector.format]))
    conversation.ask(model, tools, stream=stream)
    conversation.go_on(model, tools)
    _, second = upstream.requests
    assert states_got(vector.format, second.json()) == states_given(vector)
    assert b"gw1." not in second.body


@pytest.mark.parametrize(("vector", "dialect"), CASES, ids=names)
def test_nobody_else_gets_it(direct: Side, upstream: Upstream, vector: Vector, dialect: str) -> None:
    conversation = loop(direct, dialect)
    tools = sorted({call.name for call in truth(vector).calls})
    upstream.answer(said_again(vector))
    conversation.ask(THINKERS[vector.format], tools, stream=vector.is_stream)
    for model in OTHERS[vector.format]:
        upstream.requests.clear()
        upstream.answer(json_answer({}))
        with suppress(openai.APIError, anthropic.APIError, genai_errors.APIError):  # What comes back does not matter.
            conversation.go_on(model, tools)
        [request] = upstream.requests
        assert b"gw1." not in request.body
        assert b"Z3cxL" not in request.body
        for _, value in states_given(vector):
            assert value.encode() not in request.body
