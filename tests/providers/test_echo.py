"""The built-in `echo`: what it repeats, what it refuses, and how its answers are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_gateway.calls import Call
from ai_gateway.errors import UpstreamClosed
from ai_gateway.providers import CATALOG
from ai_gateway.providers.echo.prompt import Ask, tokens, words
from ai_gateway.providers.echo.realtime import EchoSocket
from ai_gateway.relay import Stream
from tests.factories import make_meter
from tests.providers.echo_client import ask, echo, read_all
from tests.providers.echoed import CHAT, GEMINI, MESSAGES, SAID, SPOKEN, answer, answer_json
from tests.providers.samples import GENERATION, make_call


def test_it_needs_no_key_and_is_listed() -> None:
    row = CATALOG["echo"]
    assert row.is_public
    assert row.is_configured
    assert row.models == ("echo-1",)
    assert set(SPOKEN) == row.dialects


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
