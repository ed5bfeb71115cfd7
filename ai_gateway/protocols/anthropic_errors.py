"""How every Anthropic endpoint writes an error: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

Source: the errors page of Anthropic's API documentation. Only its own type names may appear.
"""

from __future__ import annotations

from ai_gateway.errors import GatewayError, Kind, LimitReached, ProviderError
from ai_gateway.protocols.jsontext import dumps, loads

TYPES = {
    Kind.BAD_REQUEST: "invalid_request_error",
    Kind.AUTHENTICATION: "authentication_error",
    Kind.PERMISSION: "permission_error",
    Kind.NOT_FOUND: "not_found_error",
    Kind.TOO_LARGE: "request_too_large",
    Kind.QUOTA: "billing_error",
    Kind.RATE_LIMIT: "rate_limit_error",
    Kind.TIMEOUT: "timeout_error",
    Kind.OVERLOADED: "overloaded_error",
    Kind.UPSTREAM: "api_error",
    Kind.INTERNAL: "api_error",
    Kind.CANCELLED: "api_error",
}

STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that Anthropic itself answers with, by the type of the error."""

TOO_LONG = "prompt is too long"
"""How Anthropic's message begins where the prompt does not fit: Claude Code goes by these words, and compacts."""


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer. The gateway's own errors have their code where Anthropic's have theirs."""
    message = error.naming_message
    if error.code == "context_length_exceeded" and not message.startswith(TOO_LONG):
        message = f"{TOO_LONG}: {message}"
    kind = TYPES[error.kind]
    if isinstance(error, LimitReached):
        # A budget of the gateway's own has the status 429, and the type that goes with it: Claude Code then asks once,
        # shows the message, and stops (with `x-should-retry: false`).
        kind = "rate_limit_error"
    detail: dict[str, object] = {"type": kind, "message": message}
    if error.code is not None and not isinstance(error, ProviderError):
        detail["details"] = {"error_code": error.code}
    return dumps({"type": "error", "error": detail, "request_id": request_id})


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the event that ends a broken stream: nothing follows it, no `message_stop` either."""
    return b"event: error\ndata: " + write_error(error, request_id) + b"\n\n"


def status_of(name: str | None, data: bytes) -> int | None:
    """Read an event as an error: the HTTP status that it stands for, None if it is none."""
    if name != "error":
        return None
    try:
        kind = loads(data)["error"]["type"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return 502
    return STATUSES.get(kind, 502) if isinstance(kind, str) else 502
