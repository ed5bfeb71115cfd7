"""The built-in provider answers as the official SDKs expect it."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from ai_gateway.calls import Call, UpstreamResponse
from ai_gateway.errors import UpstreamClosed
from ai_gateway.providers import CATALOG
from ai_gateway.providers.echo.prompt import Ask, tokens, words
from ai_gateway.providers.echo.realtime import EchoSocket
from ai_gateway.relay import Stream
from tests.factories import make_meter
from tests.providers.echo_client import anthropic_client, ask, echo, openai_client, read_all
from tests.providers.samples import GENERATION, make_call

SAID = "Say  this is a test,\nplease."
TOKENS = 7
"""What SAID costs: 28 characters, four a token."""

CHAT: dict[str, Any] = {"model": "echo-1", "messages": [{"role": "user", "content": SAID}]}
MESSAGES: dict[str, Any] = {**CHAT, "max_tokens": 100}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": SAID}]}]}

SPOKEN = [dialect for dialect in GENERATION if dialect != "bedrock_converse"]
"""The formats that it answers in itself. Bedrock's callers reach it by translation."""


def answer(call: Call, **options: Any) -> tuple[UpstreamResponse, list[bytes]]:
    """The answer to a call, read to its end."""

    async def run() -> tuple[UpstreamResponse, list[bytes]]:
        response = await ask(echo(**options), call)
        return response, await read_all(response)

    return asyncio.run(run())


def answer_json(call: Call) -> Any:
    """The answer to a call, which must be a JSON document with status 200."""
    response, pieces = answer(call)
    assert response.status == 200
    assert dict(response.headers)[b"content-length"] == b"%d" % len(b"".join(pieces))
    return json.loads(b"".join(pieces))


def events(pieces: list[bytes]) -> list[tuple[str | None, Any]]:
    """The events of a stream, of which each piece must be one: name and data."""
    found: list[tuple[str | None, Any]] = []
    for piece in pieces:
        assert piece.endswith((b"\n\n", b"\r\n\r\n"))
        lines = dict(line.split(": ", 1) for line in piece.decode().splitlines() if line)
        found.append((lines.get("event"), lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])))
    return found


def test_it_needs_no_key_and_is_listed() -> None:
    row = CATALOG["echo"]
    assert row.is_public
    assert row.is_configured
    assert row.models == ("echo-1",)
    assert set(SPOKEN) == row.dialects


# OpenAI.


def test_chat() -> None:
    completion = ChatCompletion.model_validate(answer_json(make_call(body=CHAT)), strict=True)
    assert completion.choices[0].message.content == SAID
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == completion.usage.completion_tokens == TOKENS
    assert completion.usage.total_tokens == 2 * TOKENS


@pytest.mark.parametrize("include_usage", [True, False])
def test_chat_stream(include_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    response, pieces = answer(make_call(body={**CHAT, "stream": True, **options}))
    chunks = events(pieces)
    assert dict(response.headers)[b"content-type"] == b"text/event-stream"
    assert chunks[-1] == (None, "[DONE]")
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for _, chunk in chunks[:-1] if chunk["choices"])
    assert text == SAID
    assert len(pieces) == len(SAID.split()) + (4 if include_usage else 3)
    assert [chunk["choices"] for _, chunk in chunks[:-1]].count([]) == include_usage


def test_openai_sdk__chat() -> None:
    async def run() -> None:
        async with openai_client() as client:
            completion = await client.chat.completions.create(**CHAT)
            assert completion.choices[0].message.content == SAID
            async with client.chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream:
                final = await stream.get_final_completion()
            assert final.choices[0].message.content == SAID
            assert final.choices[0].finish_reason == "stop"
            assert final.usage is not None
            assert final.usage.total_tokens == 2 * TOKENS

    asyncio.run(run())


def test_openai_sdk__responses() -> None:
    async def run() -> None:
        async with openai_client() as client:
            response = await client.responses.create(model="echo-1", input=SAID)
            assert response.output_text == SAID
            assert response.status == "completed"
            assert response.usage is not None
            assert response.usage.total_tokens == 2 * TOKENS
            types: list[str] = []
            async with client.responses.stream(model="echo-1", input=SAID, instructions="Be brief.") as stream:
                async for event in stream:
                    types.append(event.type)
                final = await stream.get_final_response()
            assert final.output_text == SAID
            assert final.instructions == "Be brief."
            assert list(dict.fromkeys(types)) == [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ]

    asyncio.run(run())


def test_responses_stream__counts_its_events() -> None:
    _, pieces = answer(make_call("/v1/responses", {"model": "m", "input": SAID, "stream": True}))
    found = events(pieces)
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert all(name == data["type"] for name, data in found)


def test_openai_sdk__completions() -> None:
    async def run() -> None:
        async with openai_client() as client:
            completion = await client.completions.create(model="echo-1", prompt=SAID)
            assert completion.choices[0].text == SAID
            stream = await client.completions.create(model="echo-1", prompt=SAID, stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == SAID

    asyncio.run(run())


def test_openai_sdk__the_rest() -> None:
    async def run() -> None:
        async with openai_client() as client:
            models = await client.models.list()
            assert [model.id for model in models.data] == ["echo-1"]
            assert (await client.models.retrieve("echo-1")).owned_by == "echo"
            moderation = await client.moderations.create(input=["one", "two"])
            assert [result.flagged for result in moderation.results] == [False, False]
            embedding = await client.embeddings.create(model="echo-1", input=["a", "b"], dimensions=3)
            assert [len(item.embedding) for item in embedding.data] == [3, 3]
            image = await client.images.generate(prompt="a dot", n=2)
            assert image.data is not None
            assert len(image.data) == 2
            text = await client.audio.transcriptions.create(model="echo-1", file=("speech.wav", b"x" * 100_000))
            assert "echo" in text.text

    asyncio.run(run())


def test_openai_sdk__errors() -> None:
    async def run() -> None:
        async with openai_client() as client:
            with pytest.raises(openai.NotFoundError) as caught:
                await client.models.retrieve("gpt-9")
            assert caught.value.code == "model_not_found"
            with pytest.raises(openai.NotFoundError):
                await client.files.list()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "count"), [("one", 1), (["one", "two"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1)]
)
def test_embeddings(sent: Any, count: int) -> None:
    body = answer_json(make_call("/v1/embeddings", {"model": "m", "input": sent}))
    assert len(CreateEmbeddingResponse.model_validate(body).data) == count


def test_embeddings__are_the_same_in_both_encodings() -> None:
    floats = answer_json(make_call("/v1/embeddings", {"model": "m", "input": "x", "encoding_format": "float"}))
    encoded = answer_json(make_call("/v1/embeddings", {"model": "m", "input": "x", "encoding_format": "base64"}))
    numbers = floats["data"][0]["embedding"]
    data = base64.b64decode(encoded["data"][0]["embedding"])
    assert struct.unpack(f"<{len(numbers)}f", data) == pytest.approx(numbers)
    assert all(-1 <= number <= 1 for number in numbers)


def test_speech_is_a_wav_file() -> None:
    response, pieces = answer(make_call("/v1/audio/speech", {"model": "m", "input": "hello", "voice": "v"}))
    assert dict(response.headers)[b"content-type"] == b"audio/wav"
    data = b"".join(pieces)
    riff, size, wave, form, form_size, kind, channels, rate, bytes_a_second, block, bits = struct.unpack(
        "<4sI4s4sIHHIIHH", data[:36]
    )
    assert (riff, wave, form, form_size, kind, channels) == (b"RIFF", b"WAVE", b"fmt ", 16, 1, 1)
    assert (size, bytes_a_second, block, bits) == (len(data) - 8, rate * 2, 2, 16)
    assert struct.unpack("<4sI", data[36:44]) == (b"data", len(data) - 44)


def test_an_image_is_a_png_file() -> None:
    body = answer_json(make_call("/v1/images/generations", {"model": "m", "prompt": "x"}))
    data = base64.b64decode(body["data"][0]["b64_json"])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    length = struct.unpack(">I", data[33:37])[0]
    assert data[37:41] == b"IDAT"
    assert zlib.decompress(data[41 : 41 + length]) == b"\x00\x80"


# Anthropic.


def test_messages() -> None:
    message = Message.model_validate(answer_json(make_call("/v1/messages", MESSAGES)), strict=True)
    assert message.content[0].type == "text"
    assert message.content[0].text == SAID
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens == message.usage.output_tokens == TOKENS


def test_messages_stream__order() -> None:
    _, pieces = answer(make_call("/v1/messages", {**MESSAGES, "stream": True}))
    found = events(pieces)
    assert all(name == data["type"] for name, data in found)
    assert list(dict.fromkeys(name for name, _ in found)) == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_anthropic_sdk() -> None:
    async def run() -> None:
        async with anthropic_client() as client:
            message = await client.messages.create(**MESSAGES, system="Be brief.")
            assert message.content[0].type == "text"
            assert message.content[0].text == SAID
            async with client.messages.stream(**MESSAGES) as stream:
                final = await stream.get_final_message()
            assert final.content[0].type == "text"
            assert final.content[0].text == SAID
            assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", TOKENS)
            count = await client.messages.count_tokens(model="echo-1", messages=MESSAGES["messages"])
            assert count.input_tokens == TOKENS
            models = await client.models.list()
            assert [model.id for model in models.data] == ["echo-1"]
            assert (await client.models.retrieve("echo-1")).display_name == "echo-1"

    asyncio.run(run())


def test_anthropic_sdk__errors() -> None:
    async def run() -> None:
        async with anthropic_client() as client:
            with pytest.raises(anthropic.NotFoundError) as caught:
                await client.models.retrieve("claude-9")
            assert isinstance(caught.value.body, dict)
            assert caught.value.body["error"]["type"] == "not_found_error"

    asyncio.run(run())


def test_complete() -> None:
    prompt = f"\n\nHuman: {SAID}\n\nAssistant:"
    body = {"model": "echo-1", "prompt": prompt, "max_tokens_to_sample": 9}
    completion = answer_json(make_call("/v1/complete", body))
    assert (completion["type"], completion["completion"], completion["stop_reason"]) == (
        "completion",
        SAID,
        "stop_sequence",
    )
    _, pieces = answer(make_call("/v1/complete", {**body, "stream": True}))
    found = events(pieces)
    assert {name for name, _ in found} == {"completion"}
    assert "".join(data["completion"] for _, data in found) == SAID
    assert found[-1][1]["stop_reason"] == "stop_sequence"


# Gemini.


def test_gemini() -> None:
    for path in ("/v1beta/models/echo-1:generateContent", "/v1/models/echo-1:generateContent"):
        content = answer_json(make_call(path, GEMINI))
        candidate = content["candidates"][0]
        assert candidate["content"] == {"parts": [{"text": SAID}], "role": "model"}
        assert candidate["finishReason"] == "STOP"
        assert content["modelVersion"] == "echo-1"
        assert content["usageMetadata"]["totalTokenCount"] == 2 * TOKENS


def test_gemini_stream__as_events() -> None:
    path = "/v1beta/models/echo-1:streamGenerateContent"
    response, pieces = answer(make_call(path, GEMINI, query="alt=sse"))
    found = [data for _, data in events(pieces)]
    assert dict(response.headers)[b"content-type"] == b"text/event-stream"
    assert "".join(data["candidates"][0]["content"]["parts"][0]["text"] for data in found) == SAID
    assert [data["candidates"][0].get("finishReason") for data in found] == [None] * (len(found) - 1) + ["STOP"]


def test_gemini_stream__as_an_array() -> None:
    response, pieces = answer(make_call("/v1beta/models/echo-1:streamGenerateContent", GEMINI))
    assert dict(response.headers)[b"content-type"].startswith(b"application/json")
    assert len(pieces) == len(SAID.split()) + 1
    assert len(json.loads(b"".join(pieces))) == len(SAID.split())


@pytest.mark.parametrize("body", [GEMINI, {"generateContentRequest": GEMINI}])
def test_gemini_count_tokens(body: dict[str, Any]) -> None:
    assert answer_json(make_call("/v1beta/models/echo-1:countTokens", body))["totalTokens"] == TOKENS


def test_gemini_models() -> None:
    assert answer_json(make_call("/v1beta/models", method="GET"))["models"][0]["name"] == "models/echo-1"
    assert answer_json(make_call("/v1beta/models/echo-1", method="GET"))["version"] == "1"


# What it repeats.


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("a"), user("b")], "b"),
        ([user("a"), {"role": "assistant", "content": "b"}], "a"),
        ([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb"),
        ([user("a"), user([{"type": "image_url"}])], "a"),
        ([user([{"type": "image_url"}])], "(no text)"),
        ("nonsense", "nonsense"),
        (None, "(no text)"),
    ],
)
def test_it_repeats_the_users_last_text(messages: Any, expected: str) -> None:
    body = answer_json(make_call(body={"model": "m", "messages": messages}))
    assert body["choices"][0]["message"]["content"] == expected


@pytest.mark.parametrize("value", [[{"role": "user", "content": [{"type": "input_text", "text": SAID}]}], [SAID]])
def test_it_reads_items_of_responses(value: Any) -> None:
    body = answer_json(make_call("/v1/responses", {"model": "m", "input": value}))
    assert body["output"][0]["content"][0]["text"] == SAID


def test_words_make_up_the_text() -> None:
    for text in ("", " ", "one", "  two  words \n\t and\u2028more ", "日本 語"):
        assert "".join(words(text)) == text
    assert words("a b") == ["a ", "b"]


def test_tokens_are_four_characters() -> None:
    assert [tokens("x" * length) for length in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_text_outside_of_ascii_comes_back() -> None:
    said = "héllo 🌍 \u2028 \x00 ok"
    body = answer_json(make_call(body={"model": "m", "messages": [{"role": "user", "content": said}]}))
    assert body["choices"][0]["message"]["content"] == said


# Requests that it cannot answer.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/echo-1", 405),
        ("GET", "/v1beta/models/echo-1:generateContent", 405),
        ("POST", "/v1beta/models/echo-1:predict", 404),
        ("GET", "/v1/modelsx", 404),
        ("GET", "/v1/unknown", 404),
        ("GET", "/v1beta/unknown", 404),
    ],
)
def test_refusals(method: str, path: str, status: int) -> None:
    response, pieces = answer(make_call(path, method=method))
    assert response.status == status
    error = json.loads(b"".join(pieces))["error"]
    assert error["message"]
    assert ("status" in error) == path.startswith("/v1beta")


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'{"a":"\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    good = make_call(body=CHAT)
    call = Call(
        method="POST", path=good.path, query=b"", headers=[], fields={}, body=body, dialect=good.dialect,
        request_id=good.request_id, received_at=0.0,
    )  # fmt: skip
    response, pieces = answer(call)
    assert response.status == 400
    assert "JSON" in json.loads(b"".join(pieces))["error"]["message"]


class Upload(AsyncIterator[bytes]):
    """The body of an upload, which knows whether it was read to its end."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces
        self.is_finished = False

    async def __anext__(self) -> bytes:
        if not self.left:
            self.is_finished = True
            raise StopAsyncIteration
        self.left -= 1
        return b"x" * 1000


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/audio/transcriptions", 200), ("/v1/files", 404), ("/v1/embeddings", 400)]
)
def test_an_upload_is_read_to_its_end(path: str, status: int) -> None:
    upload = Upload(20)
    response, _ = answer(make_call(path, upload, headers=[("content-type", "multipart/form-data; boundary=x")]))
    assert upload.is_finished
    assert response.status == status


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("realtime", "realtime"), ("chat , realtime", "realtime"), ("openai-beta.realtime-v1", None), ("", None)],
)
def test_a_session_has_the_subprotocol_that_is_offered_and_no_other(offered: str, chosen: str | None) -> None:
    fields = {b"sec-websocket-protocol": offered.encode()}

    async def run() -> None:
        asked = Ask(method="GET", path="/v1/realtime", query={}, fields=fields, body={})
        assert EchoSocket(asked).subprotocol == chosen

    asyncio.run(run())


# How its answers are read.


def test_a_stream_may_be_slow() -> None:
    async def run() -> None:
        response = await ask(echo(delay=0.05), make_call(body={**CHAT, "stream": True}))
        assert response.take_rest() is None
        assert await response.read(0.01) is not None, "the first event comes at once"
        assert await response.read(0.001) is None
        assert await response.read(0.001) is None, "waiting loses nothing"
        second = await response.read(10)
        assert second is not None
        assert b"Say" in second
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await response.read()
        rest = await read_all(response)
        assert len(rest) == len(SAID.split()) + 1
        assert response.take_rest() == b""

    asyncio.run(run())


def test_a_plain_answer_is_there_at_once() -> None:
    async def run() -> None:
        response = await ask(echo(delay=60), make_call(body=CHAT))
        assert response.take_rest()
        assert await response.read(0.001) == b""

    asyncio.run(run())


def test_a_closed_answer_cannot_be_read() -> None:
    async def run() -> None:
        response = await ask(echo(), make_call(body={**CHAT, "stream": True}))
        await response.aclose()
        await response.aclose()
        with pytest.raises(UpstreamClosed):
            await response.read()

    asyncio.run(run())


@pytest.mark.parametrize("dialect", SPOKEN)
def test_every_stream_proves_its_end(dialect: str) -> None:
    """Judged by what the gateway itself looks for when it passes a stream on."""
    path = GENERATION[dialect].replace(":generateContent", ":streamGenerateContent")
    bodies = {"gemini": GEMINI, "openai_responses": {"model": "m", "input": SAID, "stream": True}}
    call = make_call(path, bodies.get(dialect, {**MESSAGES, "stream": True}), query="alt=sse")

    async def run() -> bytes:
        response = await ask(echo(), call)
        stream = Stream(call, response, make_meter(call), ready=b"", held=b"", interval=None)
        passed = b"".join([piece async for piece in stream])
        assert not stream.is_broken
        return passed

    assert b"please." in asyncio.run(run())
