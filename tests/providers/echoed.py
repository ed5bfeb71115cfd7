"""Calls of the built-in `echo`, and what it answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ai_gateway.calls import Call, UpstreamResponse
from tests.providers.echo_client import ask, echo, read_all
from tests.providers.samples import GENERATION

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
