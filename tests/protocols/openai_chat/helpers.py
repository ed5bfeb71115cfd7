"""What the tests of chat completions have in common."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterable
from typing import Any

import msgspec
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer, Message, Part, Refusal, Request, State, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Event, Failed, Finished
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.protocol import Head, Outgoing
from tests.protocols import streams
from tests.protocols.vectors import Vector, vectors

CARRIER = Carrier([b"a secret of thirty-two bytes....."], "claude", "claude-x")
HEAD = Head(model="m", stream=False)
HELLO = [{"role": "user", "content": "Hello"}]

EVERYTHING = Capabilities(
    openai_hints=True,
    strict_tools=True,
    custom_tools=True,
    audio=True,
    top_k=True,
    cache_marks=True,
    result_media=True,
    reasoning="effort",
)
"""A model that refuses nothing."""

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4 and so on, for long enough").decode()
PLAIN = Capabilities()
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
STRICT = {**SCHEMA, "required": ["x"], "additionalProperties": False}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}

VECTORS = list(vectors("openai_chat"))
STREAMS = [vector for vector in VECTORS if vector.is_stream]
ANSWERS = [vector for vector in VECTORS if not vector.is_stream and vector.status == 200]
ERRORS = [vector for vector in VECTORS if vector.status >= 400]


def to(capabilities: Capabilities = EVERYTHING, provider: str = "p", model: str = "upstream") -> Destination:
    """Give a destination that is spoken to by chat completions."""
    return Destination(provider=provider, model=model, format="openai_chat", capabilities=capabilities)


def read(body: dict[str, Any]) -> Request:
    """Read a request; the model and a message are filled in."""
    return PROTOCOL.read_request({"model": "m", "messages": HELLO, **body}, HEAD, CARRIER)


def parts(*messages: dict[str, Any]) -> list[Part]:
    """Read messages; give the parts of the last."""
    return read({"messages": list(messages)}).messages[-1].parts


def write(request: Request, capabilities: Capabilities = EVERYTHING) -> Outgoing:
    """Write a request."""
    return PROTOCOL.write_request(request, to(capabilities))


def asked(**fields: Any) -> Request:
    """Make a request of a caller of another format."""
    from_user = PROTOCOL.read_request({"model": "m", "messages": HELLO}, HEAD, CARRIER).messages
    return Request(**{"format": "anthropic_messages", "model": "m", "messages": from_user, **fields})


def asking(includes_usage: bool = True, **fields: Any) -> Request:
    """Make a request of a chat caller, for what is written to it."""
    return Request(
        **{"format": "openai_chat", "model": "m", "messages": [], "includes_usage": includes_usage, **fields}
    )


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **members: Any) -> bytes:
    """Make the data of one chunk; without a delta and a reason, one without choices."""
    choices = [] if delta is None and reason is None else [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    return json.dumps({"id": "chatcmpl-1", "created": 1, "model": "x", "choices": choices, **members}).encode()


def events_of(datas: Iterable[bytes], is_ended: bool = True) -> list[Event]:
    """Read the data of a stream, and its end."""
    reader = PROTOCOL.stream_reader()
    events = [event for data in datas for event in reader.read(None, data)]
    return events + (reader.end() if is_ended else [])


def events_of_bytes(pieces: Iterable[bytes]) -> list[Event]:
    """Read the bytes of a stream, however they are cut."""
    return streams.events_of_pieces(PROTOCOL, pieces)


def answer_of(*datas: bytes) -> Answer:
    """Read the data of a stream that ends well, and put it together."""
    return streams.collected(events_of([*datas, b"[DONE]"]))


def failure_of(events: list[Event]) -> Failed:
    """Give the failure that a stream ended with."""
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, Finished) for event in events)
    return events[-1]


def written(events: Iterable[Event], request: Request | None = None) -> bytes:
    """Write events for a chat caller."""
    writer = PROTOCOL.stream_writer(request or asking(), CARRIER, HEAD)
    return b"".join(writer.write(event) for event in events)


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """Take a written stream apart; `[DONE]` must end it."""
    frames = stream.split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames[:-2]]


def accumulated(chunks: Iterable[dict[str, Any]]) -> ChatCompletion:
    """Put chunks together as OpenAI's SDK does."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for each in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(each))
    snapshot: dict[str, Any] = state.current_completion_snapshot.to_dict()
    return ChatCompletion.model_construct(**snapshot)


def raw_chunks(vector: Vector) -> list[dict[str, Any]]:
    """Give the chunks of a recorded stream."""
    events = PROTOCOL.splitter().feed(vector.stream)
    return [json.loads(data) for _, data in events if data != b"[DONE]"]


def texts(answer: Answer, kind: type[Part]) -> str:
    """Give all text of one kind."""
    assert issubclass(kind, Text | Thinking | Refusal)
    return "".join(part.text for part in answer.parts if isinstance(part, kind))


def calls(answer: Answer) -> list[tuple[str, str, str]]:
    """Give the calls: id, name and arguments."""
    return [(part.id, part.name, part.arguments) for part in answer.parts if isinstance(part, ToolCall)]


def without_states(answer: Answer) -> Answer:
    """Leave out what differs by nature between an answer and what a caller gets of it: the states, which are sealed."""
    kept = [
        msgspec.structs.replace(part, state=None) if isinstance(part, Text | Thinking | ToolCall) else part
        for part in answer.parts
    ]
    return msgspec.structs.replace(answer, parts=kept)


def signature(value: str = "sig", format: str = "anthropic_messages", kind: str = "signature") -> State:
    """Make a state as a provider gives it."""
    return State(format=format, kind=kind, value=value)


def cuts(data: bytes, size: int | None, seed: int = 0) -> list[bytes]:
    """Cut bytes into pieces of one size, or of any sizes."""
    if size is not None:
        return [data[start : start + size] for start in range(0, len(data), size)]
    chance, pieces, start = random.Random(seed), list[bytes](), 0
    while start < len(data):
        end = start + chance.randint(1, 200)
        pieces.append(data[start:end])
        start = end
    return pieces


def said(*messages: Message, capabilities: Capabilities = EVERYTHING, **fields: Any) -> list[dict[str, Any]]:
    """Write messages of another format's caller."""
    written: list[dict[str, Any]] = write(asked(messages=list(messages), **fields), capabilities).body["messages"]
    return written


def system(*parts: Part) -> Message:
    return Message(role="system", parts=list(parts))


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def own(kind: str, value: str) -> State:
    """Make a state that belongs to the destination."""
    return State(format="openai_chat", kind=kind, value=value, provider="p", model="upstream")


def image(url: str, **members: str) -> dict[str, Any]:
    """Make a part with an image."""
    return {"type": "image_url", "image_url": {"url": url, **members}}


def call(arguments: str = "", **members: Any) -> dict[str, Any]:
    """Make a piece of a call; `name` goes into its function."""
    function = {"arguments": arguments} | ({"name": members.pop("name")} if "name" in members else {})
    return {**members, "function": function}


def pieces(*entries: dict[str, Any]) -> bytes:
    """Make a chunk with pieces of calls."""
    return chunk({"tool_calls": list(entries)})
