"""OpenAI Responses: `POST /v1/responses` and what is below it.

Files are named as in every format (see `protocols`); a message is an item here. Of its own it has `item_reader` and
`item_writer`: what an answer consists of; `open_items`: an item while it is streamed; `namespaces`: tools in groups,
and those that only this format knows, as plain functions.
"""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_errors import write_error
from ai_gateway.protocols.openai_responses.errors import error_body, read_error, status_of, write_error_event
from ai_gateway.protocols.openai_responses.passing import ResponsePassing
from ai_gateway.protocols.openai_responses.request_reader import read_request
from ai_gateway.protocols.openai_responses.request_writer import write_request
from ai_gateway.protocols.openai_responses.response import read_answer, write_answer
from ai_gateway.protocols.openai_responses.restoring import restore
from ai_gateway.protocols.openai_responses.stream_reader import ResponsesReader
from ai_gateway.protocols.openai_responses.stream_writer import ResponsesWriter
from ai_gateway.protocols.protocol import Head, Protocol, StreamWriter
from ai_gateway.sse import EventSplitter

DIALECT = Dialect(
    name="openai_responses",
    family="openai",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
    terminal=(
        b'"response.completed"',
        b'"response.incomplete"',
        b'"response.failed"',
        b"event: error",
        b'"type":"error"',
    ),
    read_error=status_of,
    error_body=error_body,
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
    passing=ResponsePassing,
)
