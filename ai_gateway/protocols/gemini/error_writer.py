"""Writing the gateway's errors as Google writes its own: `{"error": {"code", "message", "status"}}`.

The status is a name of google.rpc.Code. Source: "Errors" of the Gemini API's documentation.
"""

from __future__ import annotations

import msgspec

from ai_gateway.errors import GatewayError, Kind

STATUSES = {
    Kind.BAD_REQUEST: "INVALID_ARGUMENT",
    Kind.AUTHENTICATION: "UNAUTHENTICATED",
    Kind.PERMISSION: "PERMISSION_DENIED",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.TOO_LARGE: "INVALID_ARGUMENT",
    Kind.QUOTA: "RESOURCE_EXHAUSTED",
    Kind.RATE_LIMIT: "RESOURCE_EXHAUSTED",
    Kind.TIMEOUT: "DEADLINE_EXCEEDED",
    Kind.OVERLOADED: "UNAVAILABLE",
    Kind.UPSTREAM: "INTERNAL",
    Kind.INTERNAL: "INTERNAL",
}


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer."""
    members = {"code": error.status, "message": error.message, "status": STATUSES[error.kind]}
    return msgspec.json.encode({"error": members})


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the event that ends a broken stream. Google ends its lines with CRLF."""
    return b"data: " + write_error(error, request_id) + b"\r\n\r\n"


def status_of(data: bytes) -> int | None:
    """Read an event as an error: the HTTP status that it stands for, None if it is none. It may come inside a list."""
    if b'"error"' not in data:
        return None
    try:
        event = msgspec.json.decode(data)
        error = (event[0] if isinstance(event, list) else event)["error"]
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 502
