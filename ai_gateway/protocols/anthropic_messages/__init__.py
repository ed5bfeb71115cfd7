"""Anthropic Messages, the caller's side: `POST /v1/messages`."""

from __future__ import annotations

from ai_gateway.protocols.anthropic_errors import status_of, write_error, write_error_event
from ai_gateway.protocols.dialect import Dialect

DIALECT = Dialect(
    name="anthropic_messages",
    family="anthropic",
    is_generation=True,
    write_error=write_error,
    write_error_event=write_error_event,
    keep_alive=b'event: ping\ndata: {"type": "ping"}\n\n',
    # A `message_delta` with a stop reason and a clean end was recorded without `message_stop`: either proves the end.
    terminal=(b"event: error", b"message_stop", b'"stop_reason":"', b'"stop_reason": "'),
    read_error=status_of,
)
