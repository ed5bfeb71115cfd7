"""OpenAI Responses: `POST /v1/responses` and what is below it."""

from __future__ import annotations

import msgspec

from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_errors import error_object, status_of_error, write_error
from ai_gateway.protocols.openai_responses.errors import read_error
from ai_gateway.protocols.openai_responses.request_reader import read_request
from ai_gateway.protocols.openai_responses.request_writer import write_request
from ai_gateway.protocols.openai_responses.response import read_answer, write_answer
from ai_gateway.protocols.openai_responses.restoring import restore
from ai_gateway.protocols.openai_responses.stream_reader import ResponsesReader
from ai_gateway.protocols.openai_responses.stream_writer import ResponsesWriter
from ai_gateway.protocols.protocol import Head, Protocol, StreamWriter
from ai_gateway.sse import EventSplitter


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the `error` event. OpenAI nests the error on the wire while its SDK's type is flat, so both are written."""
    members = error_object(error)
    event = {"type": "error", "sequence_number": 0, **members, "error": members}
    event["type"] = "error"  # `members` has a type of its own, which only the nested form shows.
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def judge(name: str | None, data: bytes) -> int | None:
    """Read an event as an error: the HTTP status that it stands for, None if it is none.

    The error may be nested (as on OpenAI's wire) or flat (as in its SDK's type). Some servers leave the name out.
    """
    if name not in ("error", None):
        return None
    try:
        event = msgspec.json.decode(data)
    except msgspec.DecodeError:
        event = None
    if not isinstance(event, dict):
        return 502 if name == "error" else None
    if name is None and event.get("type") != "error" and not event.get("error"):
        return None
    return status_of_error(event.get("error") or {"code": event.get("code")})


DIALECT = Dialect(
    name="openai_responses",
    family="openai",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
    terminal=(b"response.completed", b"response.incomplete", b"response.failed", b"event: error", b'"type":"error"'),
    read_error=judge,
)


def stream_writer(request: Request, carrier: Carrier, head: Head) -> StreamWriter:
    """Make what writes a stream for the caller whose request this was."""
    return ResponsesWriter(request, carrier)


def stream_type(head: Head) -> bytes:
    """The content type of a stream."""
    return b"text/event-stream; charset=utf-8"


def target(model: str, stream: bool) -> tuple[str, bytes]:
    """Tell the path that is asked for: the model and whether to stream stand in the body."""
    return "/v1/responses", b""


PROTOCOL = Protocol(
    name="openai_responses",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=stream_writer,
    stream_type=stream_type,
    write_request=write_request,
    target=target,
    read_answer=read_answer,
    stream_reader=ResponsesReader,
    splitter=EventSplitter,
    read_error=read_error,
    restore=restore,
)
