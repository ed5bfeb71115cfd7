"""OpenAI Chat Completions, the caller's side: `POST /v1/chat/completions`."""

from __future__ import annotations

from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_errors import status_of, write_error, write_error_event

DIALECT = Dialect(
    name="openai_chat",
    family="openai",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    # Not every provider sends [DONE], and one was recorded that sends it without a finish reason: either will do.
    # An error of the provider's own ends it, too: it needs no second one.
    terminal=(b'"error":{', b'"error": {', b"[DONE]", b'"finish_reason":"', b'"finish_reason": "'),
    read_error=lambda name, data: status_of(data),
)
