"""The built-in `echo` answers in every format as the official SDKs expect it."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from tests.providers.echo_client import anthropic_client, openai_client
from tests.providers.echoed import CHAT, GEMINI, MESSAGES, SAID, TOKENS, answer, answer_json, events
from tests.providers.samples import make_call

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
