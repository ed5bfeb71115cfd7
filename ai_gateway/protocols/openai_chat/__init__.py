"""OpenAI Chat Completions: `POST /v1/chat/completions`, of OpenAI and of all whose API is compatible with it.

Files are named as in every format (see `protocols`). Of its own it has `call_reader`: which call a piece of a stream
belongs to, as providers do not agree on that. How errors are written is in `openai_errors.py`, for OpenAI's other
endpoints have the same.
"""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_chat.errors import read_error
from ai_gateway.protocols.openai_chat.passing import ChatPassing
from ai_gateway.protocols.openai_chat.request_reader import read_request
from ai_gateway.protocols.openai_chat.request_writer import write_request
from ai_gateway.protocols.openai_chat.response import read_answer, write_answer
from ai_gateway.protocols.openai_chat.restoring import restore
from ai_gateway.protocols.openai_chat.splitter import ChatSplitter
from ai_gateway.protocols.openai_chat.stream_reader import ChatStreamReader
from ai_gateway.protocols.openai_chat.stream_writer import ChatStreamWriter
from ai_gateway.protocols.openai_errors import status_of, write_error, write_error_event
from ai_gateway.protocols.protocol import Protocol

DIALECT = Dialect(
    name="openai_chat",
    family="openai",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
    # Not every provider sends [DONE], and one was recorded that sends it without a finish reason: either will do.
    # An error of the provider's own ends it, too: it needs no second one. (That of a chunk may be null.)
    terminal=(b'"error":', b"[DONE]", b'"finish_reason":"', b'"finish_reason": "'),
    done=b"[DONE]",
    # Data in JSON, whatever stands in it, ends with a brace.
    last=(b"[DONE]\n\n", b"[DONE]\r\n\r\n"),
    read_error=lambda name, data: status_of(data),
)

PROTOCOL = Protocol(
    name=DIALECT.name,
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=lambda request, carrier, head: ChatStreamWriter(request, carrier),
    stream_type=lambda head: b"text/event-stream; charset=utf-8",
    write_request=write_request,
    target=lambda model, stream: ("/v1/chat/completions", b""),
    read_answer=read_answer,
    stream_reader=ChatStreamReader,
    splitter=ChatSplitter,
    read_error=read_error,
    restore=restore,
    passing=ChatPassing,
)
