"""Google's Gemini API: `POST /v1beta/models/{model}:generateContent` and its relatives.

Files are named as in every format (see `protocols`). Of its own it has `spelling`: members in camelCase or not;
`parts_writer`: an answer's parts, whole or streamed; `partial_calls`: arguments in pieces; `tool_names`: names that
Google takes; `system_parameters`: what is asked for beside the body; `grounding` and `logprobs`: what an answer rests
on, and how likely it was; `embeddings`.
"""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.gemini.errors import STATUSES, read_error, status_of, write_error, write_error_event
from ai_gateway.protocols.gemini.passing import GeminiPassing
from ai_gateway.protocols.gemini.request_reader import read_request
from ai_gateway.protocols.gemini.request_writer import write_request
from ai_gateway.protocols.gemini.response import read_answer, refuses_prompt, write_answer
from ai_gateway.protocols.gemini.restoring import restore
from ai_gateway.protocols.gemini.splitter import GeminiSplitter
from ai_gateway.protocols.gemini.stream_reader import GeminiReader
from ai_gateway.protocols.gemini.stream_writer import GeminiWriter, stream_type
from ai_gateway.protocols.protocol import Protocol
from ai_gateway.protocols.segments import path_segments


def target(model: str, stream: bool) -> tuple[str, bytes]:
    """Tell the path and the query that a model is asked by. A stream is asked for as server-sent events. Raises
    ModelNotFound for what is no name."""
    name = path_segments(model)
    if stream:
        return f"/v1beta/models/{name}:streamGenerateContent", b"alt=sse"
    return f"/v1beta/models/{name}:generateContent", b""


DIALECT = Dialect(
    name="gemini",
    family="gemini",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
    # google-genai takes a comment for an answer that it cannot read; an empty line it skips.
    keep_alive=b"\r\n",
    first_sign=b"\r\n",
    terminal=(b'"error"', b'"finishReason"', b'"blockReason"'),
    read_error=lambda name, data: status_of(data),
    refuses_prompt=refuses_prompt,
)

PROTOCOL = Protocol(
    name="gemini",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=GeminiWriter,
    stream_type=stream_type,
    write_request=write_request,
    target=target,
    read_answer=read_answer,
    stream_reader=GeminiReader,
    splitter=GeminiSplitter,
    read_error=read_error,
    restore=restore,
    passing=GeminiPassing,
)

__all__ = ["DIALECT", "PROTOCOL", "STATUSES", "write_error", "write_error_event"]
