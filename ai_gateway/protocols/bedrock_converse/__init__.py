"""Amazon Bedrock's Converse: `POST /model/{id}/converse`, and `/converse-stream`, which answers in binary frames.

Files are named as in every format (see `protocols`). Of its own it has `framing`: the binary frames; `words`: the words
that both of its sides use.

Source: the service model of `bedrock-runtime` (2023-09-30), which AWS publishes with its SDKs, and "Converse" in the
Amazon Bedrock API Reference.
"""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.bedrock_converse.errors import (
    ERROR_TYPE_HEADER,
    error_type,
    read_error,
    status_of,
    write_error,
    write_error_event,
)
from ai_gateway.protocols.bedrock_converse.framing import CONTENT_TYPE, FrameSplitter
from ai_gateway.protocols.bedrock_converse.passing import ConversePassing
from ai_gateway.protocols.bedrock_converse.request_reader import read_request
from ai_gateway.protocols.bedrock_converse.request_writer import write_request
from ai_gateway.protocols.bedrock_converse.response import read_answer, write_answer
from ai_gateway.protocols.bedrock_converse.restoring import restore
from ai_gateway.protocols.bedrock_converse.stream_reader import ConverseStreamReader
from ai_gateway.protocols.bedrock_converse.stream_writer import KEEP_ALIVE, ConverseStreamWriter
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.protocol import Protocol
from ai_gateway.protocols.segments import path_segment


def target(model: str, stream: bool) -> tuple[str, bytes]:
    """Tell the path for a model. Its id may be the ARN of a profile, with slashes and colons. Raises ModelNotFound for
    what is no name."""
    return f"/v1/model/{path_segment(model, safe='')}/converse{'-stream' if stream else ''}", b""


DIALECT = Dialect(
    name=NAME,
    family="bedrock",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
    keep_alive=KEEP_ALIVE,
    # The value of `:event-type` in the headers of the last frame, with its type and length, or the name of a header
    # that only an exception has, or an error.
    terminal=(b"\x07\x00\x08metadata", b":exception-type", b":error-code"),
    read_error=status_of,
    error_headers=lambda error: [(ERROR_TYPE_HEADER, error_type(error).encode())],
)

PROTOCOL = Protocol(
    name=NAME,
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=lambda request, carrier, head: ConverseStreamWriter(carrier),
    stream_type=lambda head: CONTENT_TYPE,
    write_request=write_request,
    target=target,
    read_answer=read_answer,
    stream_reader=ConverseStreamReader,
    splitter=FrameSplitter,
    read_error=read_error,
    restore=restore,
    passing=ConversePassing,
)

__all__ = ["DIALECT", "PROTOCOL", "error_type"]
