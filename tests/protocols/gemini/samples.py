"""What the tests of this format share: recorded cases, callers, destinations, and short ways through the protocol."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Message, Reasoning, Request, Text
from ai_gateway.protocols.events import Event
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.gemini.stream_reader import GeminiReader
from ai_gateway.protocols.protocol import Head, Outgoing
from tests.protocols.streams import events_of_pieces
from tests.protocols.vectors import Vector, vectors

CARRIER = Carrier([b"secret"]).bound("google", "gemini-x")
HEAD = Head(model="gemini-x", stream=False)
SSE = Head(model="gemini-x", stream=True, query=b"alt=sse")
ARRAY = Head(model="gemini-x", stream=True)

VECTORS = list(vectors("gemini"))
REQUESTS = [vector for vector in VECTORS if vector.request is not None and ":" in vector.path]
ERRORS = [vector for vector in VECTORS if vector.status >= 400]
ARRAYS = [vector for vector in VECTORS if isinstance(vector.response, list)]
STREAMS = [vector for vector in VECTORS if vector.is_stream] + ARRAYS
ANSWERS = [vector for vector in VECTORS if isinstance(vector.response, dict) and "candidates" in vector.response]


def vector(name: str) -> Vector:
    return next(each for each in VECTORS if each.name == name)


def stream_bytes(case: Vector) -> bytes:
    return case.stream if case.is_stream else (case.folder / "response.json").read_bytes()


def chunks(case: Vector) -> list[dict[str, Any]]:
    """The objects of a recorded stream, read by the simplest means."""
    if isinstance(case.response, list):
        return case.response
    lines = case.stream.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut bytes: into pieces of a size, or at random places for size 0."""
    place, generator = 0, random.Random(17)
    while place < len(data):
        length = size or generator.randint(1, 300)
        yield data[place : place + length]
        place += length


def events_of(data: Iterable[bytes]) -> list[Event]:
    """What the bytes of a stream mean, to their end."""
    return events_of_pieces(PROTOCOL, data)


def events_of_chunks(*given: dict[str, Any]) -> list[Event]:
    reader = GeminiReader()
    return [event for chunk in given for event in reader.read(None, json.dumps(chunk).encode())] + reader.end()


def chunk(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    """One chunk of a stream, or a whole answer."""
    content = {"parts": list(parts), "role": "model"}
    return {"candidates": [{"content": content, "index": 0, **candidate}], "responseId": "r1", "modelVersion": "m1"}


def destination(**capabilities: Any) -> Destination:
    return Destination(provider="google", model="gemini-x", format="gemini", capabilities=Capabilities(**capabilities))


def asked(*messages: Message, **fields: Any) -> Request:
    """A neutral request; without messages, one that says hi."""
    given = list(messages) or [Message(role="user", parts=[Text(text="Hi")])]
    return Request(format="openai_chat", model="m", messages=given, **fields)


def written(request: Request, **capabilities: Any) -> Outgoing:
    return PROTOCOL.write_request(request, destination(**capabilities))


def caller(is_shown: bool = True) -> Request:
    """A caller of this format, who wants to see thoughts or not."""
    return asked(reasoning=Reasoning(is_shown=is_shown))


def read(body: dict[str, Any], head: Head = HEAD) -> Request:
    return PROTOCOL.read_request(body, head, CARRIER)
