"""google-genai itself against what this format writes, with nothing but its transport replaced."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from google.genai import errors as genai_errors
from google.genai import types

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.conversation import Answer, State, Stop, Text, Thinking, TokenUsage, ToolCall, ToolResult
from ai_gateway.protocols.gemini import DIALECT, PROTOCOL
from ai_gateway.protocols.gemini.embeddings import MANY, Vectors, read_embed, write_vectors
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay
from tests.google_client import google_client
from tests.protocols.gemini.samples import CARRIER

STATE = State(format="anthropic_messages", kind="signature", value="U0lH")
CALLING = Answer(
    id="r1",
    model="m1",
    parts=[
        Thinking(text="Let me look.", state=STATE),
        Text(text="One moment: é"),
        ToolCall(id="toolu_1", name="weather", arguments='{"city":"Paris"}'),
    ],
    stop=Stop.TOOL_USE,
    usage=TokenUsage(input=5, cache_read=2, output=3, reasoning=4),
)
CONFIG = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
OVERLOADED = ProviderError("Overloaded.", status=503, kind=Kind.OVERLOADED)


class Gateway:
    """Answers as the gateway would, always the same; keeps the bodies that came."""

    def __init__(self, answer: Answer | ProviderError, breaks_after: int | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._answer = answer
        self._breaks_after = breaks_after

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        if isinstance(self._answer, ProviderError):
            return httpx.Response(self._answer.status, content=DIALECT.write_error(self._answer, "req_1"))
        is_stream = "stream" in request.url.path
        head = Head(model="m", stream=is_stream, query=request.url.query)
        asked = PROTOCOL.read_request(body, head, CARRIER)
        if not is_stream:
            return httpx.Response(200, json=PROTOCOL.write_answer(self._answer, asked, CARRIER))
        writer = PROTOCOL.stream_writer(asked, CARRIER, head)
        events = replay(self._answer)[: self._breaks_after]
        data = b"".join(writer.keep_alive() + writer.write(event) for event in events)
        data += writer.fail(OVERLOADED, "req_1") if self._breaks_after else b""
        return httpx.Response(200, headers={"content-type": PROTOCOL.stream_type(head).decode()}, content=data)


def test_a_whole_answer() -> None:
    response = google_client(Gateway(CALLING)).models.generate_content(model="m", contents="Weather?", config=CONFIG)
    assert response.candidates
    assert response.candidates[0].content
    thought, text, call = response.candidates[0].content.parts or []
    assert (thought.text, thought.thought, text.text) == ("Let me look.", True, "One moment: é")
    assert call.function_call
    assert (call.function_call.name, call.function_call.args) == ("weather", {"city": "Paris"})
    assert response.candidates[0].finish_reason is types.FinishReason.STOP
    assert response.usage_metadata
    assert response.usage_metadata.total_token_count == 14


def test_a_conversation_that_is_streamed_comes_back_whole() -> None:
    """The SDK keeps every chunk as a content of its own; the second turn is read as if it had kept one answer."""
    gateway = Gateway(CALLING)
    chat = google_client(gateway).chats.create(model="m", config=CONFIG)
    list(chat.send_message_stream("Weather?"))
    response = types.Part.from_function_response(name="weather", response={"result": "sunny"})
    list(chat.send_message_stream(response))
    messages = PROTOCOL.read_request(gateway.bodies[-1], Head(model="m", stream=True), CARRIER).messages
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    thought, text, call = messages[1].parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.state and thought.state.value) == ("Let me look.", "U0lH")
    assert isinstance(text, Text)
    assert text.text == "One moment: é"
    assert isinstance(call, ToolCall)
    assert (call.id, call.arguments) == ("toolu_1", '{"city":"Paris"}')
    (result,) = messages[2].parts
    assert isinstance(result, ToolResult)
    assert result.call_id == "toolu_1"


def test_an_error_has_its_status() -> None:
    with pytest.raises(genai_errors.ServerError) as raised:
        google_client(Gateway(OVERLOADED)).models.generate_content(model="m", contents="hi")
    assert (raised.value.code, raised.value.status, raised.value.message) == (503, "UNAVAILABLE", "Overloaded.")


def test_an_error_in_a_stream_is_raised() -> None:
    stream = google_client(Gateway(CALLING, breaks_after=5)).models.generate_content_stream(model="m", contents="hi")
    with pytest.raises(genai_errors.ServerError) as raised:
        list(stream)
    assert (raised.value.code, raised.value.message) == (503, "Overloaded.")


def test_embeddings() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        embedding = read_embed(json.loads(request.content), MANY, "m")
        assert (embedding.texts, embedding.dimensions, embedding.hints) == (["a", "b"], 2, {"taskType": "CLUSTERING"})
        return httpx.Response(200, json=write_vectors(Vectors(vectors=[[0.5, 1.0], [2.0, 3.0]], tokens=2), MANY))

    config = types.EmbedContentConfig(output_dimensionality=2, task_type="CLUSTERING")
    response = google_client(handler).models.embed_content(model="m", contents=["a", "b"], config=config)
    assert response.embeddings
    assert [embedding.values for embedding in response.embeddings] == [[0.5, 1.0], [2.0, 3.0]]
