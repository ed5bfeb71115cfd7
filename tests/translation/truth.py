"""What a recorded answer says, by the official SDK of its own format: the SDK is given the recorded bytes themselves.

Where an upstream deviates from its format so that the SDK cannot read it, the bytes are put right first; every such
deviation is one function here, with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import anthropic
import httpx
import httpx2
import openai
from openai.types.responses import Response

from tests.google_client import google_client
from tests.protocols.vectors import Vector, vectors
from tests.translation import reductions
from tests.translation.facts import Facts

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
Json = dict[str, Any]


def truth(vector: Vector) -> Facts:
    """Say what a recorded answer says. Raises what the SDK raises if it is none."""
    return _truth(vector.format, vector.name)


@cache
def _truth(format: str, name: str) -> Facts:
    [vector] = (each for each in vectors(format) if each.name == name)
    return READERS[format](PUT_RIGHT[format](vector), vector.is_stream)


def read(format: str, body: bytes, *, is_stream: bool) -> Facts:
    """Let the SDK of a format read an answer."""
    return READERS[format](body, is_stream)


# Every event of a stream, put right and written again.


def events(vector: Vector) -> Iterator[tuple[str, Json]]:
    """Take a recorded stream apart: the name of each event, and its data."""
    for frame in vector.stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = frame.split(b"\n")
        name = next((line[6:].strip().decode() for line in lines if line.startswith(b"event:")), "")
        data = b"".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if data and data != b"[DONE]":
            yield name, json.loads(data)


def sse(frames: list[tuple[str, Json]], ends_with_done: bool = False) -> bytes:
    """Write events."""
    lines = [(f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n" for name, data in frames]
    return "".join([*lines, "data: [DONE]\n\n"] if ends_with_done else lines).encode()


def as_recorded(vector: Vector) -> bytes:
    """Give the recorded bytes."""
    return vector.stream if vector.is_stream else json.dumps(vector.response).encode()


def answering(body: bytes, is_stream: bool) -> httpx2.Client:
    """Make what the SDKs send with: it has one answer."""
    headers = SSE if is_stream else JSON
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body)))


# Chat completions.


def read_chat(body: bytes, is_stream: bool) -> Facts:
    """Let OpenAI's SDK read a chat completion."""
    with openai.OpenAI(api_key="k", http_client=answering(body, is_stream)) as client:
        asked: Json = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        if not is_stream:
            return reductions.of_chat(client.chat.completions.create(**asked))
        with client.chat.completions.stream(**asked) as stream:
            for _ in stream:
                pass
            return reductions.of_chat(reductions.completion(stream.current_completion_snapshot))


def usual_chat(vector: Vector) -> bytes:
    """Write a recorded chat completion as OpenAI would have written it."""
    usual = _UsualChat()
    if vector.is_stream:
        return sse([("", usual.chunk(chunk)) for _, chunk in events(vector)], ends_with_done=True)
    return json.dumps(usual.whole(vector.response)).encode()


class _UsualChat:
    """Chat completions as OpenAI would have written them."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._is_begun = False
        self._numbers: dict[int | str, int] = {}

    def chunk(self, chunk: Json) -> Json:
        """Put a chunk right."""
        chunk = self._common({"object": "chat.completion.chunk", **chunk})
        if "error" in chunk:
            return chunk
        chunk["choices"] = [
            choice | {"delta": self._message(choice.get("delta") or {}, is_chunk=True)}
            for choice in chunk.get("choices") or ()
            # Another answer to the same request (`n`) is none of a caller's who asked for one.
            if choice.get("index", 0) == 0
        ]
        return chunk

    def whole(self, body: Json) -> Json:
        """Put a whole answer right."""
        body = self._common(body)
        choices = [choice for choice in body["choices"] if choice.get("index", 0) == 0]
        body["choices"] = [choice | {"message": self._message(choice["message"])} for choice in choices]
        return body

    def _common(self, body: Json) -> Json:
        usage = body.get("usage") or (body.get("x_groq") or {}).get("usage")  # Groq tells it beside.
        return {**body, "usage": usual_usage(usage) if usage else None}

    def _message(self, message: Json, is_chunk: bool = False) -> Json:
        message = dict(message)
        # Azure and OpenRouter repeat the role in every chunk; the SDK would put them all together.
        if is_chunk and self._is_begun:
            message.pop("role", None)
        self._is_begun = self._is_begun or "role" in message
        # Mistral writes content as a list, with the reasoning among it.
        if isinstance(message.get("content"), list):
            parts = message["content"]
            thought = [each for part in parts if part["type"] == "thinking" for each in part["thinking"]]
            message["content"] = "".join(part["text"] for part in parts if part["type"] == "text")
            if thought:
                message["reasoning_content"] = "".join(each["text"] for each in thought)
        # OpenRouter repeats the reasoning as details, whose members the SDK cannot put together.
        message.pop("reasoning_details", None)
        if message.get("annotations"):
            message.pop("annotations")
        if message.get("tool_calls"):
            message["tool_calls"] = [self._call(call, place) for place, call in enumerate(message["tool_calls"])]
        elif "tool_calls" in message:
            message.pop("tool_calls")
        return message

    def _call(self, call: Json, place: int) -> Json:
        call = {**call}
        # Mistral gives no numbers: each entry is a call of its own. A gateway was seen to count from 1.
        number: int | str = call["index"] if call.get("index") is not None else f"{call.get('id')} {place}"
        index = self._numbers.setdefault(number, len(self._numbers))
        # OpenRouter repeats the id, and some the type and the name, with every piece.
        id = call.pop("id", None)
        if id and index not in self._ids:
            self._ids[index] = call["id"] = id
        if "function" in call:
            function = {**call["function"]}
            name = function.pop("name", None)
            if name and index not in self._names:
                self._names[index] = function["name"] = name
            # Mistral and Ollama were seen to write the arguments as an object.
            if isinstance(function.get("arguments"), dict):
                function["arguments"] = json.dumps(function["arguments"])
            function["arguments"] = function.get("arguments") or ""
            call["function"] = function
        return {"type": "function", **call, "index": index}


def usual_usage(usage: Json) -> Json:
    """Put right the usage of those who do not count reasoning among the completion, or cached tokens elsewhere."""
    prompt = usage.get("prompt_tokens") or 0
    completion = usage.get("completion_tokens") or 0
    total = usage.get("total_tokens") or 0
    details = {**(usage.get("completion_tokens_details") or {})}
    reasoning = details.get("reasoning_tokens") or 0
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # xAI.
    elif not reasoning and total > prompt + completion:
        reasoning, completion = total - prompt - completion, total - prompt  # Google's compatible endpoint.
    details["reasoning_tokens"] = reasoning
    of_prompt = {**(usage.get("prompt_tokens_details") or {})}
    cached = of_prompt.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0  # DeepSeek.
    of_prompt["cached_tokens"] = min(cached, prompt)  # Azure was seen to tell more than the prompt has.
    return {
        **usage,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": of_prompt,
        "completion_tokens_details": details,
    }


# Responses.


def read_response(body: bytes, is_stream: bool) -> Facts:
    """Let OpenAI's SDK read a response. Of a stream, its last event holds all of it."""
    with openai.OpenAI(api_key="k", http_client=answering(body, is_stream)) as client:
        if not is_stream:
            return reductions.of_responses(client.responses.create(model="m", input="Hello"))
        final: Response | None = None
        for event in client.responses.create(model="m", input="Hello", stream=True):
            if event.type in ("response.completed", "response.incomplete"):
                final = event.response
        assert final is not None, "the stream has no end"
        return reductions.of_responses(final)


# Messages.


def read_message(body: bytes, is_stream: bool) -> Facts:
    """Let Anthropic's SDK read a message, with the beta types: they know the blocks of the provider's own tools."""
    with anthropic.Anthropic(api_key="k", http_client=answering(body, is_stream)) as client:
        asked: Json = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
        if not is_stream:
            return reductions.of_messages(client.beta.messages.create(**asked))
        with client.beta.messages.stream(**asked) as stream:
            return reductions.of_messages(stream.get_final_message())


# Gemini.


def read_gemini(body: bytes, is_stream: bool) -> Facts:
    """Let Google's SDK read an answer, or the chunks of one."""
    headers = SSE if is_stream else JSON
    with google_client(lambda _: httpx.Response(200, headers=headers, content=body)) as client:
        if not is_stream:
            return reductions.of_gemini([client.models.generate_content(model="m", contents="Hello")])
        return reductions.of_gemini(client.models.generate_content_stream(model="m", contents="Hello"))


def usual_gemini(vector: Vector) -> bytes:
    """Write a recorded answer as Gemini's SDK can read it."""
    if vector.is_stream:
        return sse([("", chunk) for chunk in _whole_calls([_by_name(chunk) for _, chunk in events(vector)])])
    if isinstance(vector.response, list):
        # A stream without `alt=sse` is a list of its chunks, which no SDK asks for.
        first, *rest = deepcopy(vector.response)
        first["candidates"][0]["content"]["parts"] += [
            part for chunk in rest for part in chunk["candidates"][0]["content"].get("parts", ())
        ]
        first["candidates"][0]["finishReason"] = vector.response[-1]["candidates"][0]["finishReason"]
        first["usageMetadata"] = vector.response[-1]["usageMetadata"]
        return json.dumps(first).encode()
    return json.dumps(_by_name(deepcopy(vector.response))).encode()


def _by_name(chunk: Json) -> Json:
    """Vertex AI was recorded with the numbers of its enumerations in place of the names, which its SDK cannot read."""
    names = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY"}
    kept = ("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount")
    candidates = []
    for candidate in chunk.get("candidates") or ():
        reason = candidate.get("finishReason")
        if isinstance(reason, int):
            candidate = {"content": candidate["content"], "finishReason": names[reason]}
            usage = chunk.get("usageMetadata", {})
            chunk = {**chunk, "usageMetadata": {name: usage[name] for name in kept if name in usage}}
        candidates.append(candidate)
    return {**chunk, "candidates": candidates} if candidates else chunk


def _whole_calls(chunks: list[Json]) -> list[Json]:
    """Vertex AI can stream the arguments of a call, which its SDK leaves to its user to put together."""
    open_call: Json | None = None
    for chunk in chunks:
        for candidate in chunk.get("candidates") or ():
            kept = []
            for part in (candidate.get("content") or {}).get("parts") or ():
                call = part.get("functionCall")
                if call is None:
                    kept.append(part)
                    continue
                if open_call is None and call.get("willContinue"):
                    open_call = call
                    call.setdefault("args", {})
                    kept.append(part)
                elif open_call is None:
                    kept.append(part)
                    continue
                _add_arguments(open_call, call)
                if not call.get("willContinue"):
                    open_call = None
                call.pop("willContinue", None)
            if "content" in candidate and "parts" in candidate["content"]:
                candidate["content"]["parts"] = kept
    return chunks


def _add_arguments(whole: Json, piece: Json) -> None:
    for argument in piece.pop("partialArgs", ()):
        name = argument["jsonPath"].removeprefix("$.")
        if "stringValue" in argument:
            whole["args"][name] = whole["args"].get(name, "") + argument["stringValue"]
        else:
            whole["args"][name] = argument.get("numberValue", argument.get("boolValue"))


READERS: dict[str, Callable[[bytes, bool], Facts]] = {
    "openai_chat": read_chat,
    "openai_responses": read_response,
    "anthropic_messages": read_message,
    "gemini": read_gemini,
}
PUT_RIGHT: dict[str, Callable[[Vector], bytes]] = {
    "openai_chat": usual_chat,
    "openai_responses": as_recorded,
    "anthropic_messages": as_recorded,
    "gemini": usual_gemini,
}
