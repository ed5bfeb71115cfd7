"""Anthropic Messages: `POST /v1/messages`.

Files are named as in every format (see `protocols`). Of its own it has `draft`: a request while it is written, portion
by portion; `marks`: which cache marks may stay; `client_tools`: tools that a client runs and Anthropic knows by type.
How errors are written is in `anthropic_errors.py`, for Anthropic's other endpoints have the same.
"""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.anthropic_errors import status_of, write_error, write_error_event
from ai_gateway.protocols.anthropic_messages.errors import read_error
from ai_gateway.protocols.anthropic_messages.passing import MessagePassing
from ai_gateway.protocols.anthropic_messages.request_reader import read_request
from ai_gateway.protocols.anthropic_messages.request_writer import write_request
from ai_gateway.protocols.anthropic_messages.response import read_answer, write_answer
from ai_gateway.protocols.anthropic_messages.restoring import restore
from ai_gateway.protocols.anthropic_messages.stream_reader import MessagesReader
from ai_gateway.protocols.anthropic_messages.stream_writer import MessagesWriter
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.protocol import Protocol
from ai_gateway.sse import EventSplitter

DIALECT = Dialect(
    name="anthropic_messages",
    family="anthropic",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.OVERLOADED: 529, Kind.QUOTA: 402},
    keep_alive=b'event: ping\ndata: {"type": "ping"}\n\n',
    # A `message_delta` with a stop reason and a clean end was recorded without `message_stop`: either proves the end.
    terminal=(b"event: error", b'"message_stop"', b'"stop_reason":"', b'"stop_reason": "'),
    # The text of an answer stands at least one brace deeper.
    last=tuple(b'"message_stop"' + end for end in (b"}\n\n", b" }\n\n", b"}\r\n\r\n", b" }\r\n\r\n")),
    read_error=status_of,
)

PROTOCOL = Protocol(
    name="anthropic_messages",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=lambda request, carrier, head: MessagesWriter(request, carrier),
    stream_type=lambda head: b"text/event-stream; charset=utf-8",
    write_request=write_request,
    target=lambda model, stream: ("/v1/messages", b""),
    read_answer=read_answer,
    stream_reader=MessagesReader,
    splitter=EventSplitter,
    read_error=read_error,
    restore=restore,
    passing=MessagePassing,
)
