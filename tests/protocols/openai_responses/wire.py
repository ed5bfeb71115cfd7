"""Helpers of these tests: requests and streams as they stand on the wire, through the protocol and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.events import Event
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Head, Outgoing
from ai_gateway.sse import EventSplitter, read_events
from tests.protocols.streams import cut, events_of_pieces

CARRIER = Carrier([b"a key of thirty-two bytes, or so."])
SEALING = CARRIER.bound("acme", "thinker-1")
"""A carrier for what the model of `destination()` makes."""

OPENAI = Capabilities(
    reasoning="effort",
    efforts=("none", "minimal", "low", "medium", "high"),
    reasons_by_default=True,
    sampling="without_reasoning",
    custom_tools=True,
    strict_tools=True,
    result_media=True,
    openai_hints=True,
    user_field="safety_identifier",
    system_role="developer",
)
"""What a model of OpenAI's can do that reasons."""

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def destination(capabilities: Capabilities = OPENAI) -> Destination:
    """Where requests go to in these tests."""
    return Destination(provider="acme", model="thinker-1", format="openai_responses", capabilities=capabilities)


def read(body: dict[str, Any]) -> Request:
    """Read a request."""
    return PROTOCOL.read_request(body, Head(model=str(body.get("model")), stream=bool(body.get("stream"))), CARRIER)


def asked(**members: Any) -> Request:
    """Read a request that says hello, and what else is given."""
    return read({"model": "thinker-1", "input": "Hello!", **members})


def sent(request: Request, capabilities: Capabilities = OPENAI) -> Outgoing:
    """Write a request."""
    return PROTOCOL.write_request(request, destination(capabilities))


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    """Write events as they stand on the wire, with their names or without."""
    frames = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        frames.append(f"{name}data: {json.dumps(event)}\n\n".encode())
    return b"".join(frames)


def events_of(stream: bytes, size: int = 1 << 20) -> list[Event]:
    """Read a stream that comes in pieces of a size."""
    return events_of_pieces(PROTOCOL, cut(stream, size))


def written(events: Iterable[Event], request: Request | None = None) -> bytes:
    """Write a stream."""
    writer = PROTOCOL.stream_writer(request or asked(), SEALING, Head(model="thinker-1", stream=True))
    return b"".join(writer.write(event) for event in events)


def wire_events(stream: bytes) -> list[dict[str, Any]]:
    """Take a written stream apart; the name of each event is its type."""
    splitter = EventSplitter()
    found = []
    for name, data in splitter.feed(stream):
        event = json.loads(data)
        assert name == event["type"]
        found.append(event)
    assert splitter.flush() == []
    return found


def types(stream: bytes) -> list[str]:
    """The types of a written stream's events, without `response.`."""
    return [event["type"].removeprefix("response.") for event in wire_events(stream)]


def accumulated(stream: bytes) -> Response:
    """Have OpenAI's SDK check every event of a stream and put it together; the numbers have no gaps."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    last: dict[str, Any] = {}
    for number, event in enumerate(wire_events(stream)):
        assert event["sequence_number"] == number
        state.handle_event(EVENT.validate_python(event))
        last = event
    return Response.model_validate(last["response"])


def last_response(stream: bytes) -> dict[str, Any]:
    """The response in the last event of a recorded stream."""
    data = [data for _, data in read_events(stream + b"\n\n")][-1]
    response: dict[str, Any] = json.loads(data)["response"]
    return response
