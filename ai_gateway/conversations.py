"""What people and models said to each other, made readable: bodies of any format, by what they mean.

The formats' own readers do the reading (`protocols/`), so what is shown is what the gateway itself would understand.
What they cannot read, because it was cut or is no conversation, is left to whoever shows the bodies as they are.
Nothing here is markup: all of it is text that somebody else wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ai_gateway.errors import GatewayError
from ai_gateway.protocols import PROTOCOLS, Protocol, model_in
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Answer,
    Audio,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import Collector

NO_TOOLS: Mapping[str, str] = {}


class Piece(NamedTuple):
    """One thing that was said. `kind` is "text", "refusal", "thinking", "call", "result", "error" or "medium"."""

    kind: str
    text: str
    title: str = ""
    """The name of a tool, or what a medium is."""


class Turn(NamedTuple):
    """What one side said in its turn: "system", "user", "assistant", or "tool" for results alone."""

    role: str
    pieces: list[Piece]


class Asked(NamedTuple):
    """A request, as it can be read."""

    turns: list[Turn]
    tools: list[str]
    """The names of the tools that the model may call."""


class Answered(NamedTuple):
    """An answer, as it can be read."""

    turn: Turn
    ending: str
    """Why it ended, or why it is not whole."""
    is_whole: bool


def read_request(dialect: str, path: str, body: str, carrier: Carrier) -> Asked | None:
    """Read a request. None for what cannot be read as a conversation."""
    protocol, value = PROTOCOLS.get(dialect), object_in(body)
    if protocol is None or value is None:
        return None
    model, stream = model_in(path) or (value.get("model"), value.get("stream"))
    head = Head(model=model if isinstance(model, str) else "", stream=bool(stream))
    try:
        request = protocol.read_request(value, head, carrier)
    except GatewayError:
        return None
    return Asked(list(_turns(request)), [_tool_name(tool) for tool in request.tools])


def read_answer(dialect: str, body: bytes, status: int) -> Answered | None:
    """Read an answer, whole or as far as it came. None for what cannot be read as one."""
    protocol = PROTOCOLS.get(dialect)
    if protocol is None or not body or status >= 400:
        return None
    value = object_in(body)
    if value is None:
        return _read_stream(protocol, body)
    try:
        return _answered(protocol.read_answer(value))
    except GatewayError:
        return _read_stream(protocol, body)  # A stream of one event, in a format that frames none.


def _read_stream(protocol: Protocol, body: bytes) -> Answered | None:
    splitter, reader, collector = protocol.splitter(), protocol.stream_reader(), Collector()
    try:
        for name, data in [*splitter.feed(body), *splitter.flush()]:
            collector.add(reader.read(name, data))
        collector.add(reader.end())
        return _answered(collector.answer())
    except GatewayError as error:
        pieces = [piece for part in collector.parts() for piece in _pieces(part)]
        return Answered(Turn("assistant", pieces), error.message, is_whole=False) if pieces else None


def _answered(answer: Answer) -> Answered:
    pieces = [piece for part in answer.parts for piece in _pieces(part)]
    ending = answer.explanation or answer.stop.value
    return Answered(Turn("assistant", pieces), ending, is_whole=True)


def _turns(request: Request) -> Iterator[Turn]:
    parts = [part for message in request.messages for part in message.parts]
    tools = {part.id: part.name for part in parts if isinstance(part, ToolCall)}
    for message in request.messages:
        role: str = message.role
        if message.parts and all(isinstance(part, ToolResult) for part in message.parts):
            role = "tool"
        yield Turn(role, [piece for part in message.parts for piece in _pieces(part, tools)])


def _tool_name(tool: Any) -> str:
    return str(getattr(tool, "name", "") or getattr(tool, "type", ""))


def _pieces(part: Part, tools: Mapping[str, str] = NO_TOOLS) -> Iterator[Piece]:
    """Write a part. `tools` are the names of the tools that were called, by the ids of the calls."""
    if isinstance(part, Text):
        yield Piece("text", part.text)
    elif isinstance(part, Refusal):
        yield Piece("refusal", part.text)
    elif isinstance(part, Thinking):
        yield Piece("thinking", part.text)
    elif isinstance(part, ToolCall):
        yield Piece("call", readable(part.arguments), part.name)
    elif isinstance(part, ToolResult):
        yield from _result(part, tools)
    elif isinstance(part, Opaque):
        yield Piece("medium", json.dumps(part.value, ensure_ascii=False, indent=2), str(part.value.get("type", "")))
    else:
        yield Piece("medium", getattr(part, "text", None) or "", medium(part))


def _result(part: ToolResult, tools: Mapping[str, str]) -> Iterator[Piece]:
    said = [piece for each in part.parts for piece in _pieces(each)]
    text = "\n".join(piece.text for piece in said if piece.kind == "text")
    yield Piece(
        "error" if part.is_error else "result", readable(text), part.name or tools.get(part.call_id, part.call_id)
    )
    yield from (piece for piece in said if piece.kind != "text")


def medium(part: Part) -> str:
    """Say what an image, a file or a sound is; its bytes are not shown."""
    if isinstance(part, Audio):
        return f"audio/{part.format}, {size_of(part.data)}"
    if isinstance(part, Image | File):
        where = part.url or part.file_id
        named = getattr(part, "name", "")
        about = [named, part.media_type, size_of(part.data) if part.data else "", where]
        return ", ".join(filter(None, about)) or type(part).__name__.lower()
    return type(part).__name__.lower()


def size_of(data: str) -> str:
    """Say how long something in base64 is."""
    return f"{len(data) * 3 // 4 / 1024:,.1f} KB"


def object_in(body: str | bytes) -> dict[str, Any] | None:
    """Read a JSON object. None for what is none."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def readable(text: str) -> str:
    """Indent JSON; anything else stays as it is."""
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, dict | list) else text
