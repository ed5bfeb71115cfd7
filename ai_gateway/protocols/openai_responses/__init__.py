"""OpenAI Responses, the caller's side: `POST /v1/responses` and what is below it."""

from __future__ import annotations

import msgspec

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_errors import error_object, status_of_error, write_error


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
    terminal=(b"response.completed", b"response.incomplete", b"response.failed", b"event: error", b'"type":"error"'),
    read_error=judge,
)
